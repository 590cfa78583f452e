/* core/image/site: images whose functions are many, large or all in one place have an end, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/image/image.h"
#include "core/image/site.h"
#include "tests/image/made.h"

/** An image's functions, each of its own address and name, or all of one name. */
struct crowd {
	const struct ng_made_options *options;
	const uint8_t *text;
	size_t text_bytes;
	const char *const *names; /* the first ones'; all others are called main.f */
	size_t name_count;
	size_t count;
	size_t step_bytes; /* from one's start to the next one's */
	size_t size_bytes; /* of each */
};

/* Behind a small image: the code, which takes the place of its own; then symbols and their names.
 */
static struct ng_image *open_crowd(const struct crowd *crowd)
{
	const size_t table_bytes = (crowd->count + 1) * sizeof(Elf64_Sym);
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_image *image = NULL;
	struct ng_made made;
	Elf64_Phdr *segment;
	Elf64_Shdr *table;
	Elf64_Sym *symbols;
	char names[512] = "\0main.f";
	size_t used = sizeof("\0main.f");
	int fd;

	ng_made_make(&made, crowd->options);
	segment = (Elf64_Phdr *)(void *)(made.bytes + sizeof(Elf64_Ehdr));
	segment->p_vaddr = 0x10000000; /* far from the others */
	segment->p_offset = NG_MADE_BYTES_MAX;
	segment->p_filesz = segment->p_memsz = crowd->text_bytes;
	table = (Elf64_Shdr *)(void *)(made.bytes + made.at.sections);
	while (table->sh_type != SHT_SYMTAB)
		table++;
	table->sh_offset = NG_MADE_BYTES_MAX + crowd->text_bytes;
	table->sh_size = table_bytes;
	table[1].sh_offset = table->sh_offset + table_bytes;
	table[1].sh_size = sizeof(names);
	symbols = calloc(crowd->count + 1, sizeof(*symbols));
	assert_non_null(symbols);
	for (size_t i = 0; i < crowd->count; i++) {
		symbols[i + 1] = (Elf64_Sym){.st_name = i < crowd->name_count ? (uint32_t)used : 1,
			.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
			.st_shndx = 1,
			.st_value = segment->p_vaddr + i * crowd->step_bytes,
			.st_size = crowd->size_bytes};
		if (i < crowd->name_count)
			used += (size_t)snprintf(
					names + used, sizeof(names) - used, "%s", crowd->names[i]) +
				1;
	}
	fd = ng_made_file(made.bytes, made.size_bytes);
	assert_int_equal(
		pwrite(fd, crowd->text, crowd->text_bytes, NG_MADE_BYTES_MAX), crowd->text_bytes);
	assert_int_equal(pwrite(fd, symbols, table_bytes, (off_t)table->sh_offset), table_bytes);
	assert_int_equal(
		pwrite(fd, names, sizeof(names), (off_t)table[1].sh_offset), sizeof(names));
	if (ng_image_open(fd, &image, &diag))
		fail_msg("%s", diag.text);
	close(fd);
	free(symbols);
	return image;
}

static const struct ng_made_options c_program = {.has_sections = true, .has_symtab = true};

/* Each of them might be another's ABI wrapper: that took 170 s. */
static void looks_at_each_of_one_name_once(void **state)
{
	static uint8_t text[8192];
	struct ng_sites sites = NG_SITES_INIT;
	struct ng_image *image;

	(void)state;
	memset(text, 0x90, sizeof(text));
	image = open_crowd(&(struct crowd){.options = &c_program,
		.text = text,
		.text_bytes = sizeof(text),
		.count = 4096,
		.step_bytes = 1,
		.size_bytes = 512});
	assert_int_equal(ng_sites_find(image, "main.f", &sites, NULL), 0);
	assert_int_equal(sites.count, 4096);
	assert_int_equal(sites.gap_count, 0);
	ng_sites_release(&sites);
	ng_image_free(image);
}

/* Of functions of one name those that lead to another are wrappers, but not those that only share
 * the place that they lead to. */
static void drops_wrappers_only(void **state)
{
	static const char *const names[] = {"main.w.abi0", "main.w", "main.w", "main.other"};
	static const uint8_t text[4 * 16] = {0x55, 0xe8, 10, 0, 0, 0,
		0xc3,				      /* calls the second of its name */
		[16] = 0x55, 0xe8, 26, 0, 0, 0, 0xc3, /* calls main.other */
		[32] = 0x55, 0xe8, 10, 0, 0, 0, 0xc3, /* as does this */
		[48] = 0x55, 0xc3};
	struct ng_sites sites = NG_SITES_INIT;
	struct ng_image *image = open_crowd(&(struct crowd){.options = &c_program,
		.text = text,
		.text_bytes = sizeof(text),
		.names = names,
		.name_count = 4,
		.count = 4,
		.step_bytes = 16,
		.size_bytes = 16});

	(void)state;
	assert_int_equal(ng_sites_find(image, "main.w", &sites, NULL), 0);
	assert_int_equal(sites.count, 2);
	assert_int_equal(sites.items[0].entry, 0x10000010);
	assert_int_equal(sites.items[1].entry, 0x10000020);
	ng_sites_release(&sites);
	ng_image_free(image);
}

/* Large functions that overlap are as much code as their sizes add up to. */
static void ends_with_so_much_code(void **state)
{
	static const char *const names[] = {"main.good"};
	const size_t size_bytes = 1u << 20;
	uint8_t *text = calloc(1, size_bytes + 64);
	struct ng_sites sites = NG_SITES_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_image *image;

	(void)state;
	assert_non_null(text);
	text[0] = 0x55;
	text[1] = 0xc3;
	image = open_crowd(&(struct crowd){.options = &c_program,
		.text = text,
		.text_bytes = size_bytes + 64,
		.names = names,
		.name_count = 1,
		.count = 64,
		.step_bytes = 1,
		.size_bytes = size_bytes});
	assert_int_equal(ng_sites_find(image, "main.f", &sites, NULL), 0);
	assert_true(sites.gap_count > 0);
	assert_int_equal(ng_sites_find(image, "main.good", &sites, &diag), -ENOEXEC);
	assert_non_null(strstr(diag.text, "more code than is looked at"));
	ng_sites_release(&sites);
	assert_int_equal(ng_sites_find(image, "main.good", &sites, NULL), 0); /* by itself */
	assert_int_equal(sites.count, 1);
	assert_int_equal(sites.gap_count, 0);
	ng_sites_release(&sites);
	ng_image_free(image);
	free(text);
}

/* Each caller was a walk over all names, twice. */
static void counts_callers_to_an_end(void **state)
{
	static const struct ng_made_options go_program = {
		.go_minor = 24, .has_sections = true, .has_symtab = true};
	static const char *const names[] = {"runtime.nanotime", "time.now", "runtime.mcall"};
	static uint8_t text[48 + 5 * 5000];
	struct ng_sites sites = NG_SITES_INIT;
	struct ng_image *image;

	(void)state;
	memset(text, 0x90, sizeof(text));
	text[0] = text[16] = text[32] = 0x55;
	for (size_t at = 48; at < sizeof(text); at += 5) {
		const int32_t displacement = -(int32_t)at - 5;

		text[at] = 0xe8;
		memcpy(text + at + 1, &displacement, sizeof(displacement));
	}
	/* One from the runtime makes each call from elsewhere a site of its own. */
	memcpy(text + 33, (const uint8_t[]){0xe8, 0xda, 0xff, 0xff, 0xff}, 5);
	image = open_crowd(&(struct crowd){.options = &go_program,
		.text = text,
		.text_bytes = sizeof(text),
		.names = names,
		.name_count = 3,
		.count = 100,
		.step_bytes = 16,
		.size_bytes = 0});
	assert_int_equal(ng_sites_clock(image, NG_CLOCK_PROGRAM, &sites, NULL), 0);
	assert_true(sites.gap_count > 0);
	assert_non_null(strstr(sites.gaps[0].text, "more than 4096 places"));
	assert_true(sites.count > 1 && sites.count < 4096);
	ng_sites_release(&sites);
	ng_image_free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(looks_at_each_of_one_name_once),
		cmocka_unit_test(drops_wrappers_only),
		cmocka_unit_test(ends_with_so_much_code),
		cmocka_unit_test(counts_callers_to_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
