/*
 * core/image/goroutine: where a goroutine's id is, and where that cannot be told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/image/goroutine.h"
#include "tests/image/made.h"

#define FLAG_ASSEMBLY 4

static void only_releases_are_known(void **state)
{
	static const char *const unknown[] = {"", "go", "go1", "go1.", "go1.2", "go1.15.15",
		"go1.28", "go1.28.0", "go1.240", "go1.024", "go1.24.", "go1.24.x", "go1.24.4.1",
		"go1.24.4-mine", "go1.24rc1", "go1.24beta1", "go1.24-20250101", "devel go1.24",
		"devel go1.24-0123456", "go2.24", "xgo1.24", "go1. 24", "go1.+2", "go1.-2",
		"go1.99999999999999999999", "1.24"};
	static const struct {
		const char *version;
		uint32_t offset;
	} known[] = {{"go1.16", 152}, {"go1.16.15", 152}, {"go1.17.13", 152}, {"go1.18", 152},
		{"go1.19.8", 152}, {"go1.20.14", 152}, {"go1.21.13", 152}, {"go1.22.12", 152},
		{"go1.23.0", 160}, {"go1.23.5", 160}, {"go1.24", 160}, {"go1.24.4", 160},
		{"go1.25.0", 152}, {"go1.25.12", 152}, {"go1.26.11", 152}, {"go1.27", 152},
		{"go1.27.4", 152}};

	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		if (ng_goroutine_id_offset(unknown[i]))
			fail_msg("'%s' is known", unknown[i]);
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (ng_goroutine_id_offset(known[i].version) != known[i].offset)
			fail_msg("%s", known[i].version);
	}
}

/** What is changed in a small image of Go's. */
struct changed {
	struct ng_made_options options;
	bool has_no_lines; /* as C functions in Go's table */
	uint8_t flags;	   /* of all functions */
	bool has_interpreter;
	Elf64_Phdr tls;
	uint64_t tls_symbol; /* runtime.tlsg's place, plus one; 0: there is no such symbol */
	const char *version; /* of the same length as "go1.24.1" */
};

static void change_records(struct ng_made *made, const struct changed *changed)
{
	const bool old = changed->options.go_minor < 18;
	const size_t row_bytes = old ? 16 : 8, lines = old ? 28 : 24,
		     flags = changed->options.go_minor >= 20 ? 41
			     : old			     ? 41
							     : 37;

	for (size_t i = 0; i < 5; i++) { /* main.main to runtime.nanotime1 */
		const uint8_t *row = made->bytes + made->at.function_rows + i * row_bytes;
		uint32_t record;

		memcpy(&record, row + (old ? 8 : 4), sizeof(record));
		made->bytes[made->at.function_rows + record + lines] = !changed->has_no_lines;
		made->bytes[made->at.function_rows + record + flags] = changed->flags;
	}
}

/* The C++ name becomes Go's thread-local variable. */
static void change_symbol(struct ng_made *made, uint64_t value)
{
	static const char old[] = "_ZN2ns5thing3getEi";
	uint8_t *name = memmem(made->bytes + made->at.symbol_names,
		made->size_bytes - made->at.symbol_names, old, sizeof(old));

	assert_non_null(name);
	memcpy(name, "runtime.tlsg", sizeof("runtime.tlsg"));
	for (Elf64_Sym *symbol = (Elf64_Sym *)(void *)(made->bytes + made->at.symbols);; symbol++) {
		if (symbol->st_name != (uint32_t)(name - made->bytes - made->at.symbol_names))
			continue;
		symbol->st_info = ELF64_ST_INFO(STB_LOCAL, STT_TLS);
		symbol->st_value = value;
		return;
	}
}

/* Two more program headers: behind the rest, where there is room for all. */
static void add_headers(struct ng_made *made, const struct changed *changed)
{
	Elf64_Ehdr *header = (Elf64_Ehdr *)(void *)made->bytes;
	const size_t old_bytes = header->e_phnum * sizeof(Elf64_Phdr);
	Elf64_Phdr more[2] = {changed->tls};
	const size_t at = (made->size_bytes + 7) / 8 * 8;

	more[0].p_type = changed->tls.p_memsz ? PT_TLS : PT_NULL;
	more[1].p_type = changed->has_interpreter ? PT_INTERP : PT_NULL;
	assert_true(at + old_bytes + sizeof(more) <= NG_MADE_BYTES_MAX);
	memcpy(made->bytes + at, made->bytes + header->e_phoff, old_bytes);
	memcpy(made->bytes + at + old_bytes, more, sizeof(more));
	header->e_phoff = at;
	header->e_phnum += 2;
	made->size_bytes = at + old_bytes + sizeof(more);
}

/* Asks at a place in the text of such an image. */
static int ask(const struct changed *changed, uint64_t place, struct ng_goroutine *ret_where,
	struct ng_diag *diag)
{
	struct ng_image *image = NULL;
	struct ng_made made;
	int fd, error;

	ng_made_make(&made, &changed->options);
	if (changed->options.go_minor)
		change_records(&made, changed);
	if (changed->tls_symbol)
		change_symbol(&made, changed->tls_symbol - 1);
	if (changed->version)
		memcpy(made.bytes + made.at.build + 33, changed->version, strlen(changed->version));
	add_headers(&made, changed);
	fd = ng_made_file(made.bytes, made.size_bytes);
	assert_int_equal(ng_image_open(fd, &image, diag), 0);
	error = ng_goroutine_at(image, made.text_address + place, ret_where, diag);
	ng_image_free(image);
	close(fd);
	return error;
}

static void check_nowhere(const struct changed *changed, uint64_t place, const char *why)
{
	struct ng_goroutine where = {.g = NG_G_R14, .id_offset = 1};
	struct ng_diag diag = NG_DIAG_INIT;

	assert_int_equal(ask(changed, place, &where, &diag), -ENODATA);
	if (!strstr(diag.text, why))
		fail_msg("'%s' is not in '%s'", why, diag.text);
	assert_int_equal(where.g, NG_G_NOWHERE);
	assert_int_equal(where.tls_bytes, 0);
	assert_int_equal(where.id_offset, 0);
}

static void check_where(const struct changed *changed, uint64_t place, struct ng_goroutine wanted)
{
	struct ng_goroutine where = {0};
	struct ng_diag diag = NG_DIAG_INIT;

	if (ask(changed, place, &where, &diag))
		fail_msg("%s", diag.text);
	assert_int_equal(where.g, wanted.g);
	assert_int_equal(where.tls_bytes, wanted.tls_bytes);
	assert_int_equal(where.id_offset, wanted.id_offset);
}

#define GO(minor, ...)                                                                             \
	{                                                                                          \
		.go_minor = (minor), .has_sections = true, __VA_ARGS__                             \
	}

static void code_that_is_not_gos_has_none(void **state)
{
	(void)state;
	check_nowhere(&(struct changed){.options = {.has_sections = true, .has_symtab = true}},
		NG_MADE_C, "not code of Go's");
	check_nowhere(&(struct changed){.options = GO(24), .has_no_lines = true}, NG_MADE_MAIN,
		"not code of Go's");
	check_nowhere(&(struct changed){.options = GO(24)}, NG_MADE_C, "not code of Go's");
	check_nowhere(&(struct changed){.options = GO(24)}, (uint64_t)-1, "not code of Go's");
	check_nowhere(&(struct changed){.options = GO(24)}, NG_MADE_TEXT_BYTES, "not code of Go's");
}

static void unknown_versions_have_none(void **state)
{
	(void)state;
	check_nowhere(&(struct changed){.options = GO(24), .version = "go1.28.1"}, NG_MADE_MAIN,
		"this one is of go1.28.1");
	check_nowhere(&(struct changed){.options = GO(24), .version = "go1.24-1"}, NG_MADE_MAIN,
		"this one is of go1.24-1");
	check_nowhere(&(struct changed){.options = GO(24, .is_unbuildinfo = true)}, NG_MADE_MAIN,
		"a version that it does not tell");
}

static void compiled_code_has_it_in_r14(void **state)
{
	(void)state;
	for (unsigned int minor = 18; minor <= 27; minor++) {
		const uint32_t offset = minor == 23 || minor == 24 ? 160 : 152;
		const struct changed plain = {.options = GO(minor)};
		const struct changed pie = {.options = GO(minor, .pie = true)};

		check_where(&plain, NG_MADE_MAIN,
			(struct ng_goroutine){.g = NG_G_R14, .id_offset = offset});
		check_where(&plain, NG_MADE_NOW - 1,
			(struct ng_goroutine){.g = NG_G_R14, .id_offset = offset});
		check_where(&pie, NG_MADE_NOW,
			(struct ng_goroutine){.g = NG_G_R14, .id_offset = offset});
	}
}

static void assembly_has_it_in_the_threads_memory(void **state)
{
	(void)state;
	for (unsigned int minor = 16; minor <= 27; minor++) {
		const uint32_t offset = minor == 23 || minor == 24 ? 160 : 152;
		const struct changed assembly = {
			.options = GO(minor), .flags = minor < 18 ? 0 : FLAG_ASSEMBLY};

		check_where(&assembly, NG_MADE_MAIN,
			(struct ng_goroutine){.g = NG_G_TLS, .tls_bytes = -8, .id_offset = offset});
	}
}

static void assembly_that_takes_g_from_r14_has_it_there(void **state)
{
	const struct changed changed = {
		.options = GO(24, .pie = true, .has_clock = true), .flags = FLAG_ASSEMBLY};
	const struct changed old = {.options = GO(17, .has_clock = true)};

	(void)state;
	check_where(&changed, NG_MADE_NOW,
		(struct ng_goroutine){.g = NG_G_R14, .id_offset = 160}); /* time.now */
	check_nowhere(&changed, NG_MADE_GENERIC, "runtime.nanotime: it is assembly");
	check_where(&old, NG_MADE_NOW,
		(struct ng_goroutine){.g = NG_G_TLS, .tls_bytes = -8, .id_offset = 152});
}

static void the_threads_memory_is_where_the_file_says(void **state)
{
	static const struct {
		const char *what;
		bool pie, has_interpreter;
		uint64_t address, size_bytes, alignment;
		uint64_t symbol_plus_one;
		int32_t wanted; /* 0: it cannot be told */
	} cases[] = {
		{"a library without any", true, false, 0, 0, 0, 0, 0},
		{"a library", true, false, 0, 8, 8, 0, 0},
		{"a library that tells", true, false, 0, 8, 8, 1, 0},
		{"not known whose", false, true, 0, 0, 0, 0, 0},
		{"too small", false, true, 0, 7, 8, 0, 0},
		{"too large", false, true, 0, 1 << 21, 8, 1, 0},
		{"far too large", false, true, 0, UINT64_MAX, 8, 1, 0},
		{"no alignment", false, true, 0, 8, 0, 0, 0},
		{"no power of two", false, true, 0, 8, 24, 0, 0},
		{"too much alignment", false, true, 0, 8, 1 << 13, 0, 0},
		{"not aligned", false, true, 4, 8, 8, 0, 0},
		{"which of two", false, true, 0, 16, 8, 0, 0},
		{"beyond the end", false, true, 0, 16, 8, 10, 0},
		{"far beyond it", false, true, 0, 16, 8, UINT64_MAX, 0},
		{"Go's alone", false, true, 0x1000, 8, 8, 0, -8},
		{"Go's alone, in a PIE", true, true, 0x1000, 8, 8, 0, -8},
		{"statically linked with C", false, false, 0x1000, 16, 8, 1, -16},
		{"the first of two", true, true, 0, 16, 8, 1, -16},
		{"the last of two", true, true, 0, 16, 8, 9, -8},
		{"aligned", false, true, 0x40, 8, 64, 0, -64},
		{"aligned, with others", false, true, 0x80, 72, 64, 65, -64},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct changed changed = {
			.options = GO(24, .pie = cases[i].pie, .has_symtab = true),
			.flags = FLAG_ASSEMBLY,
			.has_interpreter = cases[i].has_interpreter,
			.tls = {.p_vaddr = cases[i].address,
				.p_memsz = cases[i].size_bytes,
				.p_align = cases[i].alignment},
			.tls_symbol = cases[i].symbol_plus_one};
		struct ng_goroutine where = {0};
		struct ng_diag diag = NG_DIAG_INIT;
		const int error = ask(&changed, NG_MADE_MAIN, &where, &diag);

		if (error != (cases[i].wanted ? 0 : -ENODATA) ||
			where.g != (cases[i].wanted ? NG_G_TLS : NG_G_NOWHERE) ||
			where.tls_bytes != cases[i].wanted)
			fail_msg("%s: %d, %u at %d: %s", cases[i].what, error, where.g,
				where.tls_bytes, diag.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_releases_are_known),
		cmocka_unit_test(code_that_is_not_gos_has_none),
		cmocka_unit_test(unknown_versions_have_none),
		cmocka_unit_test(compiled_code_has_it_in_r14),
		cmocka_unit_test(assembly_has_it_in_the_threads_memory),
		cmocka_unit_test(assembly_that_takes_g_from_r14_has_it_there),
		cmocka_unit_test(the_threads_memory_is_where_the_file_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
