/* core/image: files that lie, are cut short or are no programs; then names, ranges and addresses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/image/image.h"
#include "tests/image/made.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct ng_made_options go_full = {
	.go_minor = 24, .has_sections = true, .has_symtab = true, .has_dynsym = true};
static const struct ng_made_options go_stripped = {.go_minor = 24, .has_sections = true};
static const struct ng_made_options c_library = {
	.pie = true, .has_sections = true, .has_dynsym = true};

static int open_bytes(
	const void *bytes, size_t size_bytes, struct ng_image **ret_image, struct ng_diag *diag)
{
	int fd = ng_made_file(bytes, size_bytes);
	int error = ng_image_open(fd, ret_image, diag);

	assert_int_equal(close(fd), 0); /* the image has its own */
	return error;
}

static struct ng_image *open_made(struct ng_made *made, const struct ng_made_options *options)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_image *image = NULL;

	ng_made_make(made, options);
	if (open_bytes(made->bytes, made->size_bytes, &image, &diag))
		fail_msg("%s", diag.text);
	return image;
}

/* Asks for one name, or pattern, that must be there once. */
static void check_found(
	const struct ng_image *image, const char *pattern, const struct ng_function *expected)
{
	struct ng_functions functions = NG_FUNCTIONS_INIT;
	struct ng_diag diag = NG_DIAG_INIT;

	if (ng_image_find(image, pattern, &functions, &diag))
		fail_msg("%s: %s", pattern, diag.text);
	assert_int_equal(functions.count, 1);
	if (expected->name)
		assert_string_equal(functions.items[0].name, expected->name);
	assert_int_equal(functions.items[0].address, expected->address);
	assert_int_equal(functions.items[0].size_bytes, expected->size_bytes);
	assert_int_equal(functions.items[0].source, expected->source);
	ng_functions_release(&functions);
}

static void check_absent(
	const struct ng_image *image, const char *pattern, int error, const char *text)
{
	struct ng_functions functions = NG_FUNCTIONS_INIT;
	struct ng_diag diag = NG_DIAG_INIT;

	assert_int_equal(ng_image_find(image, pattern, &functions, &diag), error);
	assert_int_equal(functions.count, 0);
	if (!strstr(diag.text, text))
		fail_msg("%s: '%s' is not in: %s", pattern, text, diag.text);
}

/* Bytes that are no program of ours, and what is said of them. */

static void check_refused(const void *bytes, size_t size_bytes, int error, const char *text)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_image *image = NULL;

	assert_int_equal(open_bytes(bytes, size_bytes, &image, &diag), error);
	assert_null(image);
	if (!strstr(diag.text, text))
		fail_msg("'%s' is not in: %s", text, diag.text);
}

static void refuses_what_is_no_program(void **state)
{
	static const char script[] = "#!/usr/bin/env -S bash -e\necho hello\n";

	(void)state;
	check_refused("", 0, -ENOEXEC, "empty");
	check_refused("hello\n", 6, -ENOEXEC, "not an ELF file");
	check_refused(script, sizeof(script) - 1, -ENOEXEC, "'/usr/bin/env -S bash -e'");
	check_refused("#!", 2, -ENOEXEC, "script");
	check_refused("\x7f"
		      "ELF",
		4, -ENOEXEC, "truncated");
}

static void refuses_other_kinds_of_elf(void **state)
{
	static const struct {
		size_t offset;
		size_t size_bytes;
		unsigned int value;
		int error;
		const char *text;
	} cases[] = {
		{EI_CLASS, 1, ELFCLASS32, -ENOTSUP, "32-bit"},
		{EI_CLASS, 1, 7, -EINVAL, "damaged"},
		{EI_DATA, 1, ELFDATA2MSB, -ENOTSUP, "big-endian"},
		{EI_DATA, 1, 9, -EINVAL, "damaged"},
		{EI_VERSION, 1, 0, -EINVAL, "damaged"},
		{offsetof(Elf64_Ehdr, e_machine), 2, EM_AARCH64, -ENOTSUP, "arm64"},
		{offsetof(Elf64_Ehdr, e_machine), 2, EM_RISCV, -ENOTSUP, "243"},
		{offsetof(Elf64_Ehdr, e_type), 2, ET_REL, -ENOEXEC, "an object file"},
		{offsetof(Elf64_Ehdr, e_type), 2, ET_CORE, -ENOEXEC, "a core dump"},
		{offsetof(Elf64_Ehdr, e_type), 2, 77, -ENOEXEC, "unknown kind"},
		{offsetof(Elf64_Ehdr, e_phnum), 2, 0, -EINVAL, "no program headers"},
		{offsetof(Elf64_Ehdr, e_phentsize), 2, 7, -EINVAL, "damaged"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ng_made made;

		ng_made_make(&made, &go_full);
		memcpy(made.bytes + cases[i].offset, &cases[i].value, cases[i].size_bytes);
		check_refused(made.bytes, made.size_bytes, cases[i].error, cases[i].text);
	}
}

static void refuses_what_is_no_file(void **state)
{
	static const struct {
		const char *path;
		int flags;
		int error;
	} cases[] = {
		{"/", O_RDONLY, -ENOEXEC},
		{"/dev/zero", O_RDONLY, -ENOEXEC},
		{"/proc/self/exe", O_PATH, -EBADF},
		{"/dev/null", O_WRONLY, -ENOEXEC},
	};
	struct ng_image *image = NULL;
	int ends[2];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		int fd = open(cases[i].path, cases[i].flags | O_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(ng_image_open(fd, &image, &diag), cases[i].error);
		assert_true(diag.text[0]);
		close(fd);
	}
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(ng_image_open(ends[0], &image, NULL), -ENOEXEC); /* and does not wait */
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(ng_image_open(-1, &image, NULL), -EBADF);
	assert_null(image);
}

/* However much of it is missing. */
static void tells_that_a_file_is_cut(void **state)
{
	struct ng_made made;

	(void)state;
	ng_made_make(&made, &go_full);
	for (size_t length = 4; length < made.size_bytes; length++)
		check_refused(made.bytes, length, -ENOEXEC, "truncated");
}

static void reads_on_when_a_file_shrinks(void **state)
{
	struct ng_made made;
	struct ng_image *image = open_made(&made, &go_stripped);
	struct ng_inlined inlined = NG_INLINED_INIT;
	uint8_t byte;

	(void)state;
	assert_int_equal(ng_image_read(image, made.text_address, &byte, 1), 1);
	assert_int_equal(ftruncate(ng_image_fd(image), 0), 0);
	assert_int_equal(ng_image_read(image, made.text_address, &byte, 1), -EIO);
	check_found(image, "time.Now",
		&(struct ng_function){.address = made.text_address + NG_MADE_NOW,
			.size_bytes = NG_MADE_GENERIC - NG_MADE_NOW,
			.source = NG_NAME_PCLNTAB});
	/* The trees are read when they are asked for. */
	(void)ng_image_inlined(image, "time.Now", &inlined, NULL);
	assert_int_equal(inlined.count, 0);
	ng_inlined_release(&inlined);
	ng_image_free(image);
}

/* Whatever a damaged image answers must still be of the documented shape. */

static bool is_documented(int error)
{
	return error == -ENOEXEC || error == -EINVAL || error == -ENOTSUP || error == -E2BIG;
}

static void check_functions(const struct ng_image *image, const struct ng_functions *functions)
{
	for (size_t i = 0; i < functions->count; i++) {
		const struct ng_function *function = &functions->items[i];

		assert_true(i == 0 || function[-1].address < function->address);
		assert_true(function->size_bytes > 0);
		assert_true(function->name[0]);
		assert_true(ng_image_text_offset(image, function->address) >= 0);
		assert_true(ng_image_text_offset(
				    image, function->address + function->size_bytes - 1) >= 0);
	}
}

static void check_inlined(const struct ng_image *image, const char *name)
{
	struct ng_inlined inlined = NG_INLINED_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	int error = ng_image_inlined(image, name, &inlined, &diag);

	assert_true(!error || error == -ENODATA);
	assert_true(!error || diag.text[0]);
	for (size_t i = 0; i < inlined.count; i++) {
		const struct ng_inlined_range *range = &inlined.items[i];

		assert_true(i == 0 || range[-1].start <= range->start);
		assert_true(range->start < range->end);
		assert_true(range->copy < inlined.copy_count);
		assert_true(range->start >= range->caller.address);
		assert_true(range->end <= range->caller.address + range->caller.size_bytes);
	}
	ng_inlined_release(&inlined);
}

static void ask_everything(const struct ng_image *image, uint64_t text)
{
	static const char *const patterns[] = {"time.Now", "*", "main.Gen[...]", "main.helper",
		"clock_gettime", "time", "time.Nov", "ns::thing::get", ""};

	for (size_t i = 0; i < COUNT(patterns); i++) {
		struct ng_functions functions = NG_FUNCTIONS_INIT;
		struct ng_diag diag = NG_DIAG_INIT;
		int error = ng_image_find(image, patterns[i], &functions, &diag);

		assert_true(!error || error == -ENOENT || error == -ENOTSUP || error == -EINVAL);
		assert_true(error ? diag.text[0] && !functions.count : functions.count > 0);
		check_functions(image, &functions);
		ng_functions_release(&functions);
	}
	check_inlined(image, "time.Now");
	for (uint64_t address = text - 8; address < text + NG_MADE_TEXT_BYTES + 8; address += 8) {
		struct ng_function function;

		if (ng_image_function_at(image, address, &function))
			continue;
		check_functions(image, &(struct ng_functions){.items = &function, .count = 1});
		assert_true(address >= function.address &&
			    address - function.address < function.size_bytes);
		free(function.name);
	}
}

static void poison(struct ng_made *made, size_t at, size_t width)
{
	static const uint64_t values[] = {0, 1, 7, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff,
		0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000,
		0xfffffffffffffff8, 0xffffffffffffffff};
	uint64_t original = 0;

	memcpy(&original, made->bytes + at, width);
	for (size_t i = 0; i < COUNT(values) + 3; i++) {
		/* And near misses. */
		uint64_t value = i < COUNT(values)	  ? values[i]
				 : i == COUNT(values)	  ? original + 1
				 : i == COUNT(values) + 1 ? original - 1
							  : made->size_bytes;
		struct ng_diag diag = NG_DIAG_INIT;
		struct ng_image *image;
		int error;

		memcpy(made->bytes + at, &value, width);
		error = open_bytes(made->bytes, made->size_bytes, &image, &diag);
		if (error) {
			assert_true(is_documented(error));
			assert_true(diag.text[0]);
			continue;
		}
		ask_everything(image, made->text_address);
		ng_image_free(image);
	}
	memcpy(made->bytes + at, &original, width);
}

static void poison_range(struct ng_made *made, size_t at, size_t size_bytes, size_t width)
{
	for (size_t done = 0; at && done + width <= size_bytes; done += width)
		poison(made, at + done, width);
}

static void survives_poisoned_headers(void **state)
{
	static const struct ng_made_options variants[] = {
		{.go_minor = 24, .has_sections = true, .has_symtab = true},
		{.pie = true, .has_sections = true, .has_dynsym = true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(variants); i++) {
		struct ng_made made;

		ng_made_make(&made, &variants[i]);
		for (size_t at = 16; at < sizeof(Elf64_Ehdr); at += 2)
			poison(&made, at, 2);
		poison_range(&made, sizeof(Elf64_Ehdr), 3 * sizeof(Elf64_Phdr), 8);
		poison_range(
			&made, made.at.sections, made.at.section_count * sizeof(Elf64_Shdr), 4);
		poison_range(
			&made, made.at.sections, made.at.section_count * sizeof(Elf64_Shdr), 8);
		poison_range(&made, made.at.symbols, 3 * sizeof(Elf64_Sym), 4);
		poison_range(&made, made.at.symbols, 3 * sizeof(Elf64_Sym), 8);
	}
}

static void survives_poisoned_tables(void **state)
{
	static const struct ng_made_options variants[] = {
		{.go_minor = 16, .has_sections = true},
		{.go_minor = 18, .pie = true},
		{.go_minor = 24, .has_sections = true},
		{.go_minor = 27, .pie = true, .has_sections = true, .has_rela = true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(variants); i++) {
		struct ng_made made;

		ng_made_make(&made, &variants[i]);
		poison_range(&made, made.at.table, 72, 4);
		poison_range(&made, made.at.table, 72, 8);
		poison_range(&made, made.at.pc_tables, 12, 1);
		poison_range(&made, made.at.function_rows, 24, 4);
		poison_range(&made, made.at.function_records, 72, 4);
		poison_range(&made, made.at.tree, 40, 4);
		poison_range(&made, made.at.module + 0xa0, 0x20, 8);
		poison_range(&made, made.at.module + 0x130, 0x30, 8);
		poison_range(&made, made.at.build, 48, 1);
		poison_range(&made, made.at.build, 48, 8);
		poison_range(&made, made.at.rela, 10 * 24, 8);
	}
}

/* A file can be sparse: sizes that its length allows, and no memory does. */

static int open_large(struct ng_made *made, off_t size_bytes, struct ng_diag *diag)
{
	struct ng_image *image = NULL;
	int fd = ng_made_file(made->bytes, made->size_bytes), error;

	assert_int_equal(ftruncate(fd, size_bytes), 0);
	error = ng_image_open(fd, &image, diag);
	ng_image_free(image);
	close(fd);
	return error;
}

static Elf64_Shdr *section_headers(struct ng_made *made)
{
	return (Elf64_Shdr *)(void *)(made->bytes + made->at.sections);
}

static void keeps_to_its_memory(void **state)
{
	const off_t huge = (off_t)1 << 38;
	struct ng_diag diag = NG_DIAG_INIT;
	struct rusage before, after;
	struct ng_made made;
	size_t last;

	(void)state;
	assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
	ng_made_make(&made, &go_full);
	last = made.at.section_count - 1;
	section_headers(&made)[0].sh_size = huge / sizeof(Elf64_Shdr) / 2;
	((Elf64_Ehdr *)(void *)made.bytes)->e_shnum = 0;
	assert_int_equal(open_large(&made, huge, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "too many sections"));
	for (size_t i = 1; i < last; i++) { /* the tables, each in turn */
		ng_made_make(&made, &go_full);
		section_headers(&made)[i].sh_size = (uint64_t)huge / 2;
		diag.text[0] = '\0';
		if (open_large(&made, huge, &diag))
			assert_non_null(strstr(diag.text, "too large"));
	}
	ng_made_make(&made, &go_full);
	section_headers(&made)[last].sh_size = (uint64_t)huge / 2; /* the sections' names */
	(void)open_large(&made, huge, NULL);
	assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
	assert_true(after.ru_maxrss - before.ru_maxrss < (long)(NG_IMAGE_MEMORY_MAX >> 10));
}

static Elf64_Phdr *program_headers(struct ng_made *made)
{
	return (Elf64_Phdr *)(void *)(made->bytes + sizeof(Elf64_Ehdr));
}

/* What is decoded at an address must be what is probed there. */
static void refuses_segments_that_overlap(void **state)
{
	struct ng_made made;

	(void)state;
	for (size_t i = 1; i < 3; i++) {
		Elf64_Phdr *headers;

		ng_made_make(&made, &go_full);
		headers = program_headers(&made);
		headers[i].p_vaddr = headers[i - 1].p_vaddr + headers[i - 1].p_memsz - 1;
		check_refused(made.bytes, made.size_bytes, -EINVAL, "overlap");
		headers[i].p_vaddr++; /* side by side */
		assert_int_equal(open_large(&made, (off_t)made.size_bytes, NULL), 0);
	}
}

/* Or the search for Go's tables would read holes for hours. */
static void refuses_more_than_can_be_loaded(void **state)
{
	const off_t huge = (off_t)1 << 40;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		struct ng_made made;

		ng_made_make(&made, &(struct ng_made_options){.go_minor = 24});
		program_headers(&made)[i].p_vaddr = (uint64_t)1 << 41;
		program_headers(&made)[i].p_filesz = (uint64_t)huge / 2;
		program_headers(&made)[i].p_memsz = (uint64_t)huge / 2;
		assert_int_equal(open_large(&made, huge, &diag), -E2BIG);
		assert_non_null(strstr(diag.text, "too large"));
	}
}

/* Names: how they may be written, and what is said when there is none. */

static void finds_by_any_spelling(void **state)
{
	struct ng_made made;
	struct ng_image *image = open_made(&made, &go_full);
	const uint64_t text = made.text_address;
	const struct {
		const char *pattern;
		uint64_t start;
		uint64_t size_bytes;
		const char *name;
	} cases[] = {
		{"time.Now", NG_MADE_NOW, 0x40, "time.Now"},
		{"main.Gen[...]", NG_MADE_GENERIC, 0x20, "main.Gen[go.shape.int]"},
		{"main.Gen[go.shape.int]", NG_MADE_GENERIC, 0x20, "main.Gen[go.shape.int]"},
		{"net/http.(*conn).serve", NG_MADE_METHOD, 0x20, "net/http.(*conn).serve"},
		{"net/http.(*conn).*", NG_MADE_METHOD, 0x20, "net/http.(*conn).serve"},
		{"*/http*", NG_MADE_METHOD, 0x20, "net/http.(*conn).serve"},
		{"main.mai?", NG_MADE_MAIN, 0x60, "main.main"},
		{"runtime.nanotime1", NG_MADE_NANOTIME, 0x20, "runtime.nanotime1.abi0"},
		{"runtime.nanotime1.abi0", NG_MADE_NANOTIME, 0x20, "runtime.nanotime1.abi0"},
		{"runtime.nano*", NG_MADE_NANOTIME, 0x20, "runtime.nanotime1.abi0"},
		{"__clock_gettime", NG_MADE_C, 0x20, "__clock_gettime"},
		{"*clock_gettime", NG_MADE_C, 0x20, NULL},
		{"unsized_one", NG_MADE_UNSIZED, 0x10, "unsized_one"},
		{"unsized_last", NG_MADE_LAST, 0x20, "unsized_last"},
		{"_ZN2ns5thing3getEi", NG_MADE_CXX, 0x20, "_ZN2ns5thing3getEi"},
		{"ns::thing::get", NG_MADE_CXX, 0x20, "_ZN2ns5thing3getEi"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		check_found(image, cases[i].pattern,
			&(struct ng_function){.name = (char *)(uintptr_t)cases[i].name,
				.address = text + cases[i].start,
				.size_bytes = cases[i].size_bytes,
				.source = NG_NAME_SYMTAB});
	ng_image_free(image);
}

static void finds_all_that_a_glob_names(void **state)
{
	static const uint64_t starts[] = {NG_MADE_MAIN, NG_MADE_NOW, NG_MADE_GENERIC,
		NG_MADE_METHOD, NG_MADE_NANOTIME, NG_MADE_C, NG_MADE_UNSIZED, NG_MADE_CXX,
		NG_MADE_LAST};
	struct ng_functions functions = NG_FUNCTIONS_INIT;
	struct ng_made made;
	struct ng_image *image = open_made(&made, &go_full);

	(void)state;
	assert_int_equal(ng_image_find(image, "*", &functions, NULL), 0);
	assert_int_equal(functions.count, COUNT(starts)); /* no IFUNC, and each address once */
	for (size_t i = 0; i < COUNT(starts); i++)
		assert_int_equal(functions.items[i].address, made.text_address + starts[i]);
	check_functions(image, &functions);
	ng_functions_release(&functions);
	ng_image_free(image);
}

static void says_why_there_is_none(void **state)
{
	struct ng_made made;
	struct ng_image *image = open_made(&made, &go_full);

	(void)state;
	check_absent(image, "time.now", -ENOENT, "Near it: time.Now");
	check_absent(image, "Now", -ENOENT, "Near it: time.Now");
	check_absent(image, "http.(*conn).serve", -ENOENT, "Near it: net/http.(*conn).serve");
	check_absent(image, "main.helper", -ENOENT, "inlined everywhere, into main.main");
	check_absent(image, "quite.different", -ENOENT, "none with a name like it");
	check_absent(image, "main.x*", -ENOENT, "no function");
	check_absent(image, "", -ENOENT, "no function");
	check_absent(image, "an_object", -ENOENT, "no function");
	check_absent(image, "time", -ENOTSUP, "IFUNC");
	check_absent(image, "main.Gen", -ENOENT, "main.Gen[");
	ng_image_free(image);
	image = open_made(&made, &(struct ng_made_options){0});
	check_absent(image, "main", -ENOENT, "no symbols at all");
	ng_image_free(image);
}

/* What an inline tree has no readable name for is not the function without a name. */
static void takes_no_name_for_none(void **state)
{
	const uint32_t beyond = 0x7fffffff;
	struct ng_inlined inlined = NG_INLINED_INIT;
	struct ng_image *image;
	struct ng_made made;

	(void)state;
	ng_made_make(&made, &go_stripped);
	memcpy(made.bytes + made.at.tree + 4, &beyond, sizeof(beyond));
	assert_int_equal(open_bytes(made.bytes, made.size_bytes, &image, NULL), 0);
	assert_int_equal(ng_image_inlined(image, "", &inlined, NULL), 0);
	assert_int_equal(inlined.count, 0);
	check_absent(image, "", -ENOENT, "no function");
	ng_image_free(image);
}

/* "*" of many functions: too many to take, and without sizes. */
static void refuses_too_many(void **state)
{
	(void)state;
	for (size_t count = 4096; count <= 4097; count++) {
		struct ng_functions functions = NG_FUNCTIONS_INIT;
		struct ng_diag diag = NG_DIAG_INIT;
		struct ng_image *image;
		struct ng_made made;
		size_t size_bytes;
		Elf64_Shdr *table;
		uint8_t *bytes;

		ng_made_make(&made, &c_library);
		size_bytes = made.size_bytes + (count + 1) * sizeof(Elf64_Sym);
		bytes = calloc(1, size_bytes);
		assert_non_null(bytes);
		table = section_headers(&made);
		while (table->sh_type != SHT_DYNSYM)
			table++;
		table->sh_offset = made.size_bytes;
		table->sh_size = (count + 1) * sizeof(Elf64_Sym);
		memcpy(bytes, made.bytes, made.size_bytes);
		/* An executable segment that is large enough: all of the file. */
		((Elf64_Phdr *)(void *)(bytes + sizeof(Elf64_Ehdr)))->p_filesz = 0x1000;
		((Elf64_Phdr *)(void *)(bytes + sizeof(Elf64_Ehdr)))->p_memsz = 0x1000;
		for (size_t i = 1; i <= count; i++) {
			Elf64_Sym symbol = {.st_name = 1,
				.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
				.st_shndx = 1,
				.st_value = made.text_address + (i * 7) % 0xe00};

			memcpy(bytes + made.size_bytes + i * sizeof(symbol), &symbol,
				sizeof(symbol));
		}
		assert_int_equal(open_bytes(bytes, size_bytes, &image, &diag), 0);
		if (count > 4096) {
			assert_int_equal(ng_image_find(image, "*", &functions, &diag), -E2BIG);
			assert_non_null(strstr(diag.text, "4096"));
		} else {
			assert_int_equal(ng_image_find(image, "*", &functions, &diag), 0);
			assert_true(functions.count > 500); /* of 4096, by address */
			for (size_t i = 1; i < functions.count; i++)
				assert_true(functions.items[i - 1].size_bytes ==
					    functions.items[i].address -
						    functions.items[i - 1].address);
			check_functions(image, &functions);
		}
		ng_functions_release(&functions);
		ng_image_free(image);
		free(bytes);
	}
}

/* Go images, by the layouts of each version, however little was left in them. */

static void check_go_image(const struct ng_made_options *options)
{
	static const uint64_t now[][2] = NG_MADE_NOW_COPY;
	struct ng_inlined inlined = NG_INLINED_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_made made;
	struct ng_image *image = open_made(&made, options);
	const struct ng_image_info *info = ng_image_info(image);
	char version[16];

	(void)snprintf(version, sizeof(version), "go1.%u.1", options->go_minor);
	assert_true(info->is_go && info->is_pgo && info->has_pclntab);
	assert_int_equal(info->is_pie, options->pie);
	assert_int_equal(info->has_symtab, options->has_symtab);
	assert_string_equal(info->go_version, version);
	assert_string_equal(info->module_path, "example.com/m");
	check_found(image, "runtime.nanotime1",
		&(struct ng_function){.address = made.text_address + NG_MADE_NANOTIME,
			.size_bytes = 0x20,
			.source = options->has_symtab ? NG_NAME_SYMTAB : NG_NAME_PCLNTAB});
	if (options->go_minor < 18) {
		assert_int_equal(ng_image_inlined(image, "time.Now", &inlined, &diag), -ENODATA);
		assert_non_null(strstr(diag.text, "1.18"));
		ng_image_free(image);
		return;
	}
	assert_int_equal(ng_image_inlined(image, "time.Now", &inlined, &diag), 0);
	assert_int_equal(inlined.count, 2);
	assert_int_equal(inlined.copy_count, 1);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(inlined.items[i].start, made.text_address + now[i][0]);
		assert_int_equal(inlined.items[i].end, made.text_address + now[i][1]);
		assert_int_equal(inlined.items[i].copy, 0);
		assert_int_equal(inlined.items[i].tree_index, 0);
		assert_string_equal(inlined.items[i].caller.name, "main.main");
		assert_int_equal(inlined.items[i].caller.address, made.text_address);
		assert_int_equal(inlined.items[i].caller.size_bytes, NG_MADE_NOW);
	}
	ng_inlined_release(&inlined);
	assert_int_equal(ng_image_inlined(image, "no.such", &inlined, &diag), 0);
	assert_int_equal(inlined.count, 0);
	ng_image_free(image);
}

static void reads_every_layout(void **state)
{
	static const unsigned int minors[] = {16, 17, 18, 19, 20, 21, 24, 25, 26, 27};

	(void)state;
	for (size_t i = 0; i < COUNT(minors); i++) {
		/* Each bit an option. */
		for (unsigned int bits = 0; bits < 64; bits++) {
			const struct ng_made_options options = {
				.go_minor = minors[i],
				.pie = bits & 1,
				.has_sections = bits & 2,
				.has_symtab = (bits & 6) == 6,
				.merged_table = bits & 8,
				.is_decoyed = bits & 16,
				.has_rela = (bits & 35) == 35 && minors[i] >= 18,
			};

			check_go_image(&options);
		}
	}
}

static void knows_go_without_build_information(void **state)
{
	struct ng_made made;
	struct ng_image *image = open_made(
		&made, &(struct ng_made_options){
			       .go_minor = 27, .has_sections = true, .is_unbuildinfo = true});

	(void)state;
	assert_true(ng_image_info(image)->is_go);
	assert_string_equal(ng_image_info(image)->go_version, "");
	assert_string_equal(ng_image_info(image)->module_path, "");
	check_found(image, "time.Now",
		&(struct ng_function){.address = made.text_address + NG_MADE_NOW,
			.size_bytes = 0x40,
			.source = NG_NAME_PCLNTAB});
	check_inlined(image, "time.Now");
	ng_image_free(image);
}

static void knows_c_from_go(void **state)
{
	struct ng_inlined inlined = NG_INLINED_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_made made;
	struct ng_image *image = open_made(&made, &c_library);

	(void)state;
	assert_false(ng_image_info(image)->is_go);
	assert_false(ng_image_info(image)->has_pclntab);
	assert_true(ng_image_info(image)->is_pie);
	assert_string_equal(ng_image_info(image)->go_version, "");
	check_found(image, "clock_gettime",
		&(struct ng_function){.name = (char *)(uintptr_t) "clock_gettime",
			.address = made.text_address + NG_MADE_C,
			.size_bytes = 0x20,
			.source = NG_NAME_DYNSYM});
	assert_int_equal(ng_image_inlined(image, "clock_gettime", &inlined, &diag), -ENODATA);
	assert_true(diag.text[0]);
	ng_image_free(image);
}

static void reads_and_places_addresses(void **state)
{
	struct ng_made made;
	struct ng_image *image = open_made(&made, &go_full);
	const uint64_t text = made.text_address, end = text + NG_MADE_TEXT_BYTES;
	struct ng_text texts[2];
	uint8_t bytes[16];

	(void)state;
	assert_int_equal(ng_image_text_offset(image, text), made.at.text);
	assert_int_equal(ng_image_text_offset(image, end - 1), made.at.text + 0x17f);
	assert_int_equal(ng_image_text_offset(image, end), -EFAULT);
	assert_int_equal(ng_image_text_offset(image, text - 1), -EFAULT);
	assert_int_equal(ng_image_text_offset(image, UINT64_MAX), -EFAULT);
	assert_int_equal(ng_image_read(image, text, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(bytes[15], 0x90);
	assert_int_equal(ng_image_read(image, end - 3, bytes, sizeof(bytes)), 3);
	assert_int_equal(ng_image_read(image, end, bytes, sizeof(bytes)), -EFAULT);
	assert_int_equal(ng_image_read(image, 0, bytes, sizeof(bytes)), -EFAULT);
	assert_int_equal(ng_image_read(image, UINT64_MAX, bytes, sizeof(bytes)), -EFAULT);
	assert_int_equal(ng_image_texts(image, texts, 2), 1);
	assert_int_equal(texts[0].start, text);
	assert_int_equal(texts[0].size_bytes, NG_MADE_TEXT_BYTES);
	ng_image_free(image);
}

static void names_the_function_at_an_address(void **state)
{
	static const struct {
		uint64_t offset;
		const char *name; /* NULL: none */
		uint64_t start;
		uint64_t size_bytes;
	} cases[] = {
		{0, "main.main", NG_MADE_MAIN, 0x60},
		{0x5f, "main.main", NG_MADE_MAIN, 0x60},
		{0x60, "time.Now", NG_MADE_NOW, 0x40},
		{0x12f, "unsized_one", NG_MADE_UNSIZED, 0x10},
		{0x17f, "unsized_last", NG_MADE_LAST, 0x20},
		{0x180, NULL, 0, 0},
		{0x10000, NULL, 0, 0},
		{(uint64_t)-1, NULL, 0, 0},
	};
	struct ng_made made;
	struct ng_image *image = open_made(&made, &go_full);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ng_function function;
		int error =
			ng_image_function_at(image, made.text_address + cases[i].offset, &function);

		assert_int_equal(error, cases[i].name ? 0 : -ENOENT);
		if (error)
			continue;
		assert_string_equal(function.name, cases[i].name);
		assert_int_equal(function.address, made.text_address + cases[i].start);
		assert_int_equal(function.size_bytes, cases[i].size_bytes);
		free(function.name);
	}
	ng_image_free(image);
}

/* By one walk, the same as one by one. */
static void names_the_functions_at_many_addresses(void **state)
{
	struct ng_function functions[NG_MADE_TEXT_BYTES / 4 + 16];
	uint64_t addresses[COUNT(functions)];
	struct ng_made made;
	struct ng_image *image = open_made(&made, &go_full);

	(void)state;
	for (size_t i = 0; i < COUNT(addresses); i++)
		addresses[i] = made.text_address - 32 + 4 * i;
	assert_int_equal(ng_image_functions_at(image, addresses, COUNT(addresses), functions), 0);
	for (size_t i = 0; i < COUNT(addresses); i++) {
		struct ng_function one;

		if (ng_image_function_at(image, addresses[i], &one)) {
			assert_null(functions[i].name);
			continue;
		}
		assert_string_equal(functions[i].name, one.name);
		assert_int_equal(functions[i].address, one.address);
		assert_int_equal(functions[i].size_bytes, one.size_bytes);
		free(one.name);
		free(functions[i].name);
	}
	ng_image_free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_no_program),
		cmocka_unit_test(refuses_other_kinds_of_elf),
		cmocka_unit_test(refuses_what_is_no_file),
		cmocka_unit_test(tells_that_a_file_is_cut),
		cmocka_unit_test(reads_on_when_a_file_shrinks),
		cmocka_unit_test(survives_poisoned_headers),
		cmocka_unit_test(survives_poisoned_tables),
		cmocka_unit_test(keeps_to_its_memory),
		cmocka_unit_test(refuses_segments_that_overlap),
		cmocka_unit_test(refuses_more_than_can_be_loaded),
		cmocka_unit_test(takes_no_name_for_none),
		cmocka_unit_test(finds_by_any_spelling),
		cmocka_unit_test(finds_all_that_a_glob_names),
		cmocka_unit_test(says_why_there_is_none),
		cmocka_unit_test(refuses_too_many),
		cmocka_unit_test(reads_every_layout),
		cmocka_unit_test(knows_go_without_build_information),
		cmocka_unit_test(knows_c_from_go),
		cmocka_unit_test(reads_and_places_addresses),
		cmocka_unit_test(names_the_function_at_an_address),
		cmocka_unit_test(names_the_functions_at_many_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
