/*
 * Any file as an image: whatever core/image answers must be what core/image/image.h promises, and
 * the bytes of each site must stand in the file where it says.
 *
 * An input that begins with 0x7f is the file itself. Any other is a small image and what is wrong
 * with it, so that most inputs get past the headers:
 *
 *   byte 0   the Go version whose layouts it has: 1.16 and up, or no Go
 *   byte 1   its options, one a bit
 *   byte 2   bit 0 functions that read the clock; bit 1 the file is cut short once it is open;
 *            bits 4 to 7 a sparse tail, 4 KiB to the power of two
 *   byte 3   how many edits follow, of 8 bytes each: part, width, offset in it (16 bits), value
 *   rest     its code
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <elf.h>
#include <errno.h>
#include <sanitizer/allocator_interface.h>
#include <unistd.h>

#include "core/image/frames.h"
#include "core/image/goroutine.h"
#include "core/image/image.h"
#include "core/image/site.h"
#include "tests/fuzz/must.h"
#include "tests/image/made.h"

#define COUNT(array)   (sizeof(array) / sizeof((array)[0]))
#define HEADER_BYTES   4
#define SITE_PATTERNS  4 /* of the patterns, the first ones */
#define EDIT_BYTES     8
#define FILE_BYTES_MAX (64u << 10)

int LLVMFuzzerInitialize(int *argc, char ***argv);
const char *__asan_default_options(void);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes of the heap that the image at hand takes. */
static size_t heap_bytes;
static bool heap_counts;

static void on_malloc(const volatile void *pointer, size_t size)
{
	(void)pointer;
	if (!heap_counts)
		return;
	heap_bytes += size;
	MUST(heap_bytes <= NG_IMAGE_MEMORY_MAX);
}

static void on_free(const volatile void *pointer)
{
	if (heap_counts && pointer)
		heap_bytes -= __sanitizer_get_allocated_size((const void *)(uintptr_t)pointer);
}

/* A large quarantine is mostly fresh pages; leaks are seen by the count. */
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=8:detect_leaks=0";
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	MUST(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free));
	return 0;
}

/* The file under test. */
struct file {
	int fd;
	uint64_t text; /* an address to ask about */
	bool is_cut;   /* after it was opened */
};

static uint64_t get_u64(const uint8_t *bytes, size_t size_bytes)
{
	uint64_t value = 0;

	memcpy(&value, bytes, size_bytes);
	return value;
}

static size_t part_place(const struct ng_made_parts *at, uint8_t part)
{
	const size_t places[] = {0, at->text, at->table, at->function_rows, at->function_records,
		at->pc_tables, at->tree, at->module, at->build, at->rela, at->symbols,
		at->symbol_names, at->sections, sizeof(Elf64_Ehdr)};

	return places[part % COUNT(places)];
}

/* Sets, or adds to, a number of 1, 2, 4 or 8 bytes; its value's sign goes on in those of 8. */
static void edit(struct ng_made *made, const uint8_t *what)
{
	const size_t width = (size_t)1 << (what[1] & 3);
	const size_t at = part_place(&made->at, what[0]) + get_u64(what + 2, 2) % 0x400;
	uint64_t value = (uint64_t)(int64_t)(int32_t)get_u64(what + 4, 4);

	if (at + width > made->size_bytes)
		return;
	if (what[1] & 4)
		value += get_u64(made->bytes + at, width);
	memcpy(made->bytes + at, &value, width);
}

static void open_made(struct file *file, const uint8_t *data, size_t size)
{
	static struct ng_made made;
	const unsigned int minor = data[0] % 13 + 15;
	const size_t edits = data[3] % 32, tail = data[2] >> 4;
	struct ng_made_options options = {
		.go_minor = minor > 15 ? minor : 0,
		.pie = data[1] & 1,
		.has_sections = data[1] & 2,
		.has_symtab = data[1] & 4,
		.has_dynsym = data[1] & 8,
		.merged_table = data[1] & 16,
		.is_decoyed = data[1] & 32,
		.has_rela = (data[1] & 64) && minor >= 18,
		.is_unbuildinfo = data[1] & 128,
		.has_clock = data[2] & 1,
	};

	ng_made_make(&made, &options);
	data += HEADER_BYTES;
	size -= HEADER_BYTES;
	for (size_t i = 0; i < edits && size >= EDIT_BYTES; i++) {
		edit(&made, data);
		data += EDIT_BYTES;
		size -= EDIT_BYTES;
	}
	memcpy(made.bytes + made.at.text, data,
		size < NG_MADE_TEXT_BYTES ? size : NG_MADE_TEXT_BYTES);
	file->text = made.text_address;
	file->fd = ng_made_file(made.bytes, made.size_bytes);
	if (tail)
		MUST(!ftruncate(file->fd, (off_t)made.size_bytes + ((off_t)4096 << tail)));
}

static bool is_documented(int error, const int *documented, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (error == documented[i])
			return true;
	}
	return false;
}

/* An error is one of those that the header lists, and comes with a text; success with none. */
#define MUST_SAY(error, diag, ...)                                                                 \
	do {                                                                                       \
		static const int documented[] = {0, __VA_ARGS__};                                  \
		MUST(is_documented(error, documented, COUNT(documented)));                         \
		MUST(((error) != 0) == ((diag)->text[0] != '\0'));                                 \
	} while (0)

static void check_function(const struct ng_image *image, const struct ng_function *function)
{
	const uint64_t last = function->address + function->size_bytes - 1;

	MUST(function->size_bytes > 0 && last >= function->address);
	MUST(function->name[0] && strlen(function->name) <= NG_IMAGE_NAME_MAX);
	MUST(ng_image_text_offset(image, function->address) >= 0);
	MUST(ng_image_text_offset(image, last) >= 0);
	MUST(function->source <= NG_NAME_PCLNTAB);
}

static void check_find(const struct ng_image *image, const char *pattern)
{
	struct ng_functions functions = NG_FUNCTIONS_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	const int error = ng_image_find(image, pattern, &functions, &diag);

	MUST_SAY(error, &diag, -ENOENT, -ENOTSUP, -E2BIG, -EINVAL);
	MUST((error == 0) == (functions.count > 0));
	for (size_t i = 0; i < functions.count; i++) {
		const struct ng_function *function = &functions.items[i];

		check_function(image, function);
		MUST(i == 0 || function[-1].address < function->address);
	}
	ng_functions_release(&functions);
}

static void check_function_at(const struct ng_image *image, uint64_t address)
{
	struct ng_function function;
	const int error = ng_image_function_at(image, address, &function);

	MUST(!error || error == -ENOENT || error == -EINVAL);
	if (error)
		return;
	check_function(image, &function);
	MUST(address >= function.address && address - function.address < function.size_bytes);
	free(function.name);
}

static void check_goroutine(const struct ng_image *image, uint64_t address)
{
	struct ng_goroutine where;
	const int error = ng_goroutine_at(image, address, &where, NULL);

	MUST(error == 0 || error == -ENODATA);
	MUST((where.g == NG_G_NOWHERE) == (error != 0));
	MUST((where.id_offset != 0) == !error);
	MUST(where.g == NG_G_TLS ? where.tls_bytes < 0 : where.tls_bytes == 0);
}

static void check_frames(const struct ng_image *image, uint64_t address)
{
	struct ng_code_frame frames[8];
	const int count = ng_image_frames(image, address, frames, 8);

	MUST(count && (count > 0 || count == -ENOENT || count == -EINVAL || count == -EIO));
	for (int i = 0; i < count && i < 8; i++) {
		char name[64];

		MUST(strlen(frames[i].function) < NG_IMAGE_NAME_MAX);
		MUST(strlen(frames[i].file) < NG_IMAGE_NAME_MAX);
		MUST(frames[i].is_inlined == (i < count - 1));
		ng_code_print_name(frames[i].function, name, sizeof(name));
		MUST(strlen(name) < sizeof(name));
	}
}

static void check_inlined(const struct ng_image *image, const char *name)
{
	struct ng_inlined inlined = NG_INLINED_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	const int error = ng_image_inlined(image, name, &inlined, &diag);

	MUST_SAY(error, &diag, -ENODATA, -E2BIG);
	MUST((inlined.count > 0) == (inlined.copy_count > 0));
	for (size_t i = 0; i < inlined.count; i++) {
		const struct ng_inlined_range *range = &inlined.items[i];

		MUST(i == 0 || range[-1].start <= range->start);
		MUST(range->start < range->end && range->copy < inlined.copy_count);
		MUST(range->start >= range->caller.address);
		MUST(range->end - range->caller.address <= range->caller.size_bytes);
		MUST(range->tree_index >= 0);
		MUST(ng_image_text_offset(image, range->start) >= 0);
		MUST(ng_image_text_offset(image, range->end - 1) >= 0);
	}
	ng_inlined_release(&inlined);
}

/* What is read at an address is what the file holds at its offset. */
static void check_read(const struct file *file, const struct ng_image *image, uint64_t address)
{
	const int64_t offset = ng_image_text_offset(image, address);
	uint8_t read[40], held[sizeof(read)];
	const int64_t length = ng_image_read(image, address, read, sizeof(read));

	MUST(length == -EFAULT || (length > 0 && length <= (int64_t)sizeof(read)) ||
		(file->is_cut && length == -EIO));
	MUST(offset == -EFAULT || offset >= 0);
	MUST(offset < 0 || length > 0 || file->is_cut);
	if (offset >= 0 && length > 0) {
		MUST(pread(file->fd, held, (size_t)length, offset) == length);
		MUST(!memcmp(read, held, (size_t)length));
	}
}

static void check_site(
	const struct file *file, const struct ng_image *image, const struct ng_site *site)
{
	uint8_t held[sizeof(site->bytes)];

	MUST(site->function && site->function[0]);
	MUST((site->kind == NG_SITE_INLINED_COPY) == (site->caller != NULL));
	MUST(site->address == site->entry + site->delta);
	MUST(ng_image_text_offset(image, site->address) == (int64_t)site->offset);
	MUST(site->length > 0 && site->length <= sizeof(site->bytes));
	MUST(pread(file->fd, held, site->length, (off_t)site->offset) == site->length);
	MUST(!memcmp(held, site->bytes, site->length));
	MUST(site->insn[0] && memchr(site->insn, '\0', sizeof(site->insn)));
	MUST(site->why[0] && memchr(site->why, '\0', sizeof(site->why)));
	MUST(site->kind != NG_SITE_INLINED_COPY || site->class == NG_SITE_EMULATED);
}

static void check_sites(
	const struct file *file, const struct ng_image *image, const struct ng_sites *sites)
{
	for (size_t i = 0; i < sites->count; i++)
		check_site(file, image, &sites->items[i]);
	for (size_t i = 0; i < sites->gap_count; i++) {
		const struct ng_gap *gap = &sites->gaps[i];

		MUST(gap->text[0] && memchr(gap->text, '\0', sizeof(gap->text)));
	}
}

static void check_sites_find(
	const struct file *file, const struct ng_image *image, const char *pattern)
{
	struct ng_sites sites = NG_SITES_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	const int error = ng_sites_find(image, pattern, &sites, &diag);

	if (file->is_cut)
		MUST_SAY(error, &diag, -ENOENT, -ENOTSUP, -E2BIG, -EINVAL, -ENOEXEC, -EIO);
	else
		MUST_SAY(error, &diag, -ENOENT, -ENOTSUP, -E2BIG, -EINVAL, -ENOEXEC);
	if (!error)
		check_sites(file, image, &sites);
	ng_sites_release(&sites);
}

static void check_sites_clock(
	const struct file *file, const struct ng_image *image, enum ng_clock_set set)
{
	struct ng_sites sites = NG_SITES_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	const int error = ng_sites_clock(image, set, &sites, &diag);

	MUST(!error || (file->is_cut && error == -EIO && diag.text[0]));
	if (!error)
		check_sites(file, image, &sites);
	for (size_t i = 0; i < sites.count; i++)
		MUST(sites.items[i].source);
	ng_sites_release(&sites);
}

static void check_info(const struct ng_image *image)
{
	const struct ng_image_info *info = ng_image_info(image);

	MUST(info->is_go || (!info->has_pclntab && !info->is_pgo));
	MUST(info->is_go || (!info->go_version[0] && !info->module_path[0]));
	MUST(strlen(info->go_version) < 64 && strlen(info->module_path) < 512);
	MUST(ng_image_fd(image) >= 0);
}

static void ask_everything(const struct file *file, const struct ng_image *image)
{
	static const char *const patterns[] = {"time.Now", "*", "main.helper", "", "clock_gettime",
		"time", "time.Nov", "ns::thing::get", "?i*e.*n*", "main.Gen[...]",
		"std::thing::~thing"};
	struct ng_text texts[2];
	const size_t count = ng_image_texts(image, texts, COUNT(texts));

	check_info(image);
	for (size_t i = 0; i < COUNT(patterns); i++) {
		check_find(image, patterns[i]);
		if (i < SITE_PATTERNS)
			check_sites_find(file, image, patterns[i]);
	}
	check_inlined(image, "time.Now");
	check_inlined(image, "main.helper");
	for (uint64_t i = 0; i < NG_MADE_TEXT_BYTES + 32; i += 0x18) {
		check_function_at(image, file->text - 8 + i);
		check_frames(image, file->text - 8 + i);
		check_goroutine(image, file->text - 8 + i);
		check_read(file, image, file->text - 8 + i);
	}
	/* Where stacks are garbage; what is not in a text has been sorted out before. */
	check_frames(image, 0);
	check_frames(image, UINT64_MAX);
	for (size_t i = 0; i < count && i < COUNT(texts); i++) {
		const uint64_t last = texts[i].start + texts[i].size_bytes - 1;

		MUST(texts[i].size_bytes > 0);
		check_function_at(image, last);
		check_frames(image, texts[i].start);
		check_frames(image, last);
		check_read(file, image, texts[i].start);
		check_read(file, image, last);
	}
	check_sites_clock(file, image, NG_CLOCK_PROGRAM);
	check_sites_clock(file, image, NG_CLOCK_ALL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_image *image = NULL;
	struct file file = {.text = 0x401000};
	int error;

	if (size > FILE_BYTES_MAX || (size && data[0] != 0x7f && size < HEADER_BYTES))
		return -1;
	if (!size || data[0] == 0x7f)
		file.fd = ng_made_file(data, size);
	else
		open_made(&file, data, size);
	heap_bytes = 0;
	heap_counts = true;
	error = ng_image_open(file.fd, &image, &diag);
	MUST_SAY(error, &diag, -ENOEXEC, -EINVAL, -ENOTSUP, -E2BIG);
	MUST((error == 0) == (image != NULL));
	if (image) {
		file.is_cut = data[0] != 0x7f && (data[2] & 2);
		if (file.is_cut)
			MUST(!ftruncate(file.fd, data[size - 1] * 16));
		ask_everything(&file, image);
		ng_image_free(image);
	}
	heap_counts = false;
	MUST(heap_bytes == 0);
	close(file.fd);
	return 0;
}
