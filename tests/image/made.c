#include "tests/image/made.h"

#include <assert.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEGMENTS  3 /* text, constants, data */
#define PAGE	  0x1000u
#define FUNCTIONS 5 /* in Go's table */
#define RELA_MAX  16

static const struct {
	const char *name;
	const char *of_clock; /* its name with has_clock, where it is another */
	uint32_t start;
	uint32_t end;
} functions[FUNCTIONS] = {
	{"main.main", NULL, NG_MADE_MAIN, NG_MADE_NOW},
	{"time.Now", "time.now", NG_MADE_NOW, NG_MADE_GENERIC},
	{"main.Gen[go.shape.int]", "runtime.nanotime", NG_MADE_GENERIC, NG_MADE_METHOD},
	{"net/http.(*conn).serve", "time.runtimeNano", NG_MADE_METHOD, NG_MADE_NANOTIME},
	{"runtime.nanotime1", NULL, NG_MADE_NANOTIME, NG_MADE_C},
};

static const struct {
	const char *name;
	uint32_t start;
	uint32_t size_bytes;
	unsigned char type;
	bool of_go;
} symbols[] = {
	{"main.main", NG_MADE_MAIN, 0x60, STT_FUNC, true},
	{"time.Now", NG_MADE_NOW, 0x40, STT_FUNC, true},
	{"main.Gen[go.shape.int]", NG_MADE_GENERIC, 0x20, STT_FUNC, true},
	{"net/http.(*conn).serve", NG_MADE_METHOD, 0x20, STT_FUNC, true},
	{"runtime.nanotime1.abi0", NG_MADE_NANOTIME, 0x20, STT_FUNC, true},
	{"clock_gettime", NG_MADE_C, 0x20, STT_FUNC, false},
	{"__clock_gettime", NG_MADE_C, 0x20, STT_FUNC, false},
	{"unsized_one", NG_MADE_UNSIZED, 0, STT_FUNC, false},
	{"time", NG_MADE_IFUNC, 0x10, STT_GNU_IFUNC, false},
	{"_ZN2ns5thing3getEi", NG_MADE_CXX, 0x20, STT_FUNC, false},
	{"unsized_last", NG_MADE_LAST, 0, STT_FUNC, false},
	{"an_object", NG_MADE_MAIN, 8, STT_OBJECT, false},
};

/* By any other name. */
static const char *name_of(const char *name, bool has_clock)
{
	for (size_t i = 0; has_clock && i < FUNCTIONS; i++) {
		if (functions[i].of_clock && !strcmp(functions[i].name, name))
			return functions[i].of_clock;
	}
	return name;
}

struct maker {
	struct ng_made *made;
	const struct ng_made_options *options;
	uint64_t base;
	Elf64_Phdr segments[SEGMENTS];
	size_t segment; /* the one that is being written */
	Elf64_Rela rela[RELA_MAX];
	size_t rela_count;
	Elf64_Shdr sections[12];
	size_t section_count;
	char section_names[160];
	size_t section_names_bytes;
};

static size_t put(struct maker *maker, const void *bytes, size_t size_bytes)
{
	size_t at = maker->made->size_bytes;

	assert(size_bytes <= NG_MADE_BYTES_MAX - at);
	if (bytes && size_bytes)
		memcpy(maker->made->bytes + at, bytes, size_bytes);
	maker->made->size_bytes += size_bytes;
	return at;
}

static size_t put_u32(struct maker *maker, uint32_t value)
{
	return put(maker, &value, sizeof(value));
}

static size_t put_u64(struct maker *maker, uint64_t value)
{
	return put(maker, &value, sizeof(value));
}

static size_t put_text(struct maker *maker, const char *text)
{
	return put(maker, text, strlen(text) + 1);
}

static size_t align(struct maker *maker, size_t to)
{
	(void)put(maker, NULL, (to - maker->made->size_bytes % to) % to);
	return maker->made->size_bytes;
}

static void set_u64(struct maker *maker, size_t at, uint64_t value)
{
	memcpy(maker->made->bytes + at, &value, sizeof(value));
}

/* Each segment has a page of its own in memory, while the file stays small. */
static uint64_t address_of(const struct maker *maker, size_t at)
{
	return maker->base + (maker->segment + 1) * PAGE + at;
}

static void set_pointer(struct maker *maker, size_t at, uint64_t address)
{
	if (!maker->options->has_rela) {
		set_u64(maker, at, address);
		return;
	}
	assert(maker->rela_count < RELA_MAX);
	maker->rela[maker->rela_count++] = (Elf64_Rela){.r_offset = address_of(maker, at),
		.r_info = ELF64_R_INFO(0, R_X86_64_RELATIVE),
		.r_addend = (int64_t)address};
}

static void begin_segment(struct maker *maker, size_t index, uint32_t flags)
{
	size_t at = align(maker, 16);

	maker->segment = index;
	maker->segments[index] = (Elf64_Phdr){.p_type = PT_LOAD,
		.p_flags = flags,
		.p_offset = at,
		.p_vaddr = address_of(maker, at),
		.p_paddr = address_of(maker, at),
		.p_align = 16};
}

static void end_segment(struct maker *maker)
{
	Elf64_Phdr *header = &maker->segments[maker->segment];

	header->p_filesz = header->p_memsz = maker->made->size_bytes - header->p_offset;
}

static Elf64_Shdr *add_section(struct maker *maker, const char *name, uint32_t type, size_t at)
{
	Elf64_Shdr *section = &maker->sections[maker->section_count++];
	size_t length = strlen(name) + 1;

	assert(maker->section_count <= sizeof(maker->sections) / sizeof(maker->sections[0]));
	assert(maker->section_names_bytes + length <= sizeof(maker->section_names));
	memcpy(maker->section_names + maker->section_names_bytes, name, length);
	*section = (Elf64_Shdr){.sh_name = (uint32_t)maker->section_names_bytes,
		.sh_type = type,
		.sh_offset = at,
		.sh_size = maker->made->size_bytes - at};
	maker->section_names_bytes += length;
	return section;
}

static void add_loaded_section(struct maker *maker, const char *name, uint32_t type, size_t at)
{
	add_section(maker, name, type, at)->sh_addr = address_of(maker, at);
}

static void make_text(struct maker *maker)
{
	begin_segment(maker, 0, PF_R | PF_X);
	maker->made->at.text = maker->made->size_bytes;
	maker->made->text_address = address_of(maker, maker->made->at.text);
	(void)put(maker, NULL, NG_MADE_TEXT_BYTES);
	memset(maker->made->bytes + maker->made->at.text, 0x90, NG_MADE_TEXT_BYTES);
	end_segment(maker);
	add_loaded_section(maker, ".text", SHT_PROGBITS, maker->made->at.text);
}

static bool is_old(const struct maker *maker)
{
	return maker->options->go_minor < 18;
}

static uint32_t magic_of(unsigned int minor)
{
	return minor < 18 ? 0xfffffffa : minor < 20 ? 0xfffffff0 : 0xfffffff1;
}

/* Where in the header its offsets begin. */
static size_t offsets_place(const struct maker *maker)
{
	return maker->made->at.table + (is_old(maker) ? 24 : 32);
}

/* main.main's inline table: value, end of the stretch. */
static void put_pc_table(struct maker *maker)
{
	static const struct {
		int value;
		uint8_t end;
	} runs[] = {{-1, 0x10}, {0, 0x20}, {1, 0x28}, {0, 0x30}, {-1, 0x60}};
	int value = -1;
	uint8_t end = 0;

	maker->made->at.pc_tables = maker->made->size_bytes;
	(void)put(maker, "", 1); /* offset 0 is no table */
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		int delta = runs[i].value - value;
		uint8_t pair[2] = {(uint8_t)(delta < 0 ? -2 * delta - 1 : 2 * delta),
			(uint8_t)(runs[i].end - end)};

		(void)put(maker, pair, sizeof(pair));
		value = runs[i].value;
		end = runs[i].end;
	}
	(void)put(maker, "", 1);
}

static void put_function(struct maker *maker, size_t index, uint32_t name, uint64_t text)
{
	const unsigned int minor = maker->options->go_minor;
	const bool has_tree = !index;
	const uint32_t none = minor < 18 ? 0 : UINT32_MAX;

	if (is_old(maker))
		set_pointer(maker, put_u64(maker, 0), text + functions[index].start);
	else
		(void)put_u32(maker, functions[index].start);
	(void)put_u32(maker, name);
	(void)put(maker, NULL, 20);		/* args, deferreturn, pcsp, pcfile, pcln */
	(void)put_u32(maker, has_tree ? 3 : 0); /* npcdata */
	(void)put_u32(maker, 0);		/* cuOffset */
	if (minor >= 20)
		(void)put_u32(maker, 1); /* startLine */
	(void)put(maker, (const uint8_t[]){0, 0, 0, has_tree ? 4 : 0}, 4);
	if (!has_tree)
		return;
	for (uint32_t i = 0; i < 3; i++)
		(void)put_u32(maker, i == 2); /* pcdata[2]: the table at offset 1 */
	for (uint32_t i = 0; i < 4 && !is_old(maker); i++)
		(void)put_u32(maker, i == 3 ? 0 : none); /* funcdata[3]: offset 0 from go:func.* */
}

/* Rows first, then the records that they point to. */
static void put_functions(struct maker *maker, const uint32_t *names)
{
	const size_t start = align(maker, 8), row = is_old(maker) ? 16 : 8;
	const uint64_t text = maker->made->text_address;

	maker->made->at.function_rows = start;
	(void)put(maker, NULL, row * (FUNCTIONS + 1));
	maker->made->at.function_records = maker->made->size_bytes;
	for (size_t i = 0; i <= FUNCTIONS; i++) {
		uint32_t offset = i < FUNCTIONS ? functions[i].start : functions[i - 1].end;
		size_t record = align(maker, 8) - start, at = start + i * row;

		if (is_old(maker)) {
			set_pointer(maker, at, text + offset);
			set_u64(maker, at + 8, i < FUNCTIONS ? record : 0);
		} else {
			set_u64(maker, at, (uint64_t)record << 32 | offset);
		}
		if (i < FUNCTIONS)
			put_function(maker, i, names[i], text);
	}
}

static void put_tree(struct maker *maker, const uint32_t *inlined_names)
{
	maker->made->at.tree = align(maker, 8);
	for (uint32_t i = 0; i < 2; i++) {
		if (maker->options->go_minor >= 20) {
			(void)put_u32(maker, 0); /* funcID */
			(void)put_u32(maker, inlined_names[i]);
			(void)put_u32(maker, i ? 0x1f : 0x0f); /* parentPc */
			(void)put_u32(maker, 7);	       /* startLine */
		} else {
			(void)put_u32(maker, i ? 0 : 0xffff); /* parent, funcID */
			(void)put_u32(maker, 0);	      /* file */
			(void)put_u32(maker, 7);	      /* line */
			(void)put_u32(maker, inlined_names[i]);
			(void)put_u32(maker, i ? 0x1f : 0x0f);
		}
	}
}

static void put_header(struct maker *maker, uint64_t function_count)
{
	(void)put_u32(maker, magic_of(maker->options->go_minor));
	(void)put(maker, (const uint8_t[]){0, 0, 1, 8}, 4);
	(void)put_u64(maker, function_count);
	(void)put_u64(maker, 1); /* files */
	(void)put(maker, NULL, 48);
}

static void make_table(struct maker *maker)
{
	uint32_t names[FUNCTIONS], inlined_names[2];
	const size_t at = align(maker, 32);
	struct ng_made_parts *parts = &maker->made->at;
	size_t names_at, offsets;

	parts->table = at;
	put_header(maker, FUNCTIONS);
	offsets = offsets_place(maker);
	if (!is_old(maker) && maker->options->go_minor < 26)
		set_u64(maker, at + 24, maker->made->text_address);
	names_at = put(maker, "", 1);
	for (size_t i = 0; i < FUNCTIONS; i++)
		names[i] = (uint32_t)(put_text(maker, name_of(functions[i].name,
							      maker->options->has_clock)) -
				      names_at);
	inlined_names[0] = names[1];
	inlined_names[1] = (uint32_t)(put_text(maker, "main.helper") - names_at);
	set_u64(maker, offsets, names_at - at);
	set_u64(maker, offsets + 8, align(maker, 8) - at); /* cu */
	(void)put_u64(maker, 0);
	set_u64(maker, offsets + 16, maker->made->size_bytes - at); /* files */
	(void)put_text(maker, "main.go");
	set_u64(maker, offsets + 24, maker->made->size_bytes - at);
	put_pc_table(maker);
	put_functions(maker, names);
	set_u64(maker, offsets + 32, parts->function_rows - at);
	put_tree(maker, inlined_names);
}

/* Constants: Go's table, or nothing much. */
static uint64_t make_constants(struct maker *maker)
{
	size_t at;

	begin_segment(maker, 1, PF_R);
	at = put_u64(maker, 0x1122334455667788);
	if (!maker->options->go_minor) {
		end_segment(maker);
		return 0;
	}
	if (maker->options->is_decoyed) {
		(void)align(maker, 32);
		put_header(maker, UINT64_MAX);
	}
	make_table(maker);
	end_segment(maker);
	if (maker->options->merged_table)
		add_loaded_section(maker, ".rodata", SHT_PROGBITS, at);
	else
		add_loaded_section(maker,
			maker->options->pie && maker->options->go_minor < 26
				? ".data.rel.ro.gopclntab"
				: ".gopclntab",
			SHT_PROGBITS, maker->made->at.table);
	return address_of(maker, maker->made->at.table);
}

static const char modules[] =
	"\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6"
	"path\texample.com/m/cmd\nmod\texample.com/m\t(devel)\t\n"
	"build\t-compiler=gc\nbuild\tCGO_ENABLED=0\nbuild\t-pgo=/m/default.pgo\n"
	"\xf9\x32\x43\x31\x86\x18\x20\x72\x00\x82\x42\x10\x41\x16\xd8\xf2";

/* A Go string header and its text. @return the header's place */
static size_t put_string(struct maker *maker, const char *text, size_t length)
{
	size_t at = put(maker, text, length), header = align(maker, 8);

	(void)put_u64(maker, 0);
	set_pointer(maker, header, address_of(maker, at));
	(void)put_u64(maker, length);
	return header;
}

static void make_build(struct maker *maker)
{
	char version[16];
	size_t at = align(maker, 16), header;
	uint8_t length;

	maker->made->at.build = at;
	(void)snprintf(version, sizeof(version), "go1.%u.1", maker->options->go_minor);
	length = (uint8_t)strlen(version);
	(void)put(maker, "\xff Go buildinf:\x08", 15);
	(void)put(maker, is_old(maker) ? "\0" : "\2", 1);
	(void)put(maker, NULL, 16);
	if (is_old(maker)) {
		header = put_string(maker, version, length);
		set_pointer(maker, at + 16, address_of(maker, header));
		header = put_string(maker, modules, sizeof(modules) - 1);
		set_pointer(maker, at + 24, address_of(maker, header));
	} else {
		(void)put(maker, &length, 1);
		(void)put(maker, version, length);
		length = sizeof(modules) - 1;
		_Static_assert(sizeof(modules) - 1 >= 128 && sizeof(modules) - 1 < 256,
			"the length takes two bytes");
		(void)put(maker, &length, 1);
		(void)put(maker, "\1", 1);
		(void)put(maker, modules, length);
	}
	add_loaded_section(maker, ".go.buildinfo", SHT_PROGBITS, at);
}

static void make_module(struct maker *maker, uint64_t table, uint64_t tree)
{
	const unsigned int minor = maker->options->go_minor;
	const uint64_t text = maker->made->text_address;
	const size_t at = align(maker, 32);

	maker->made->at.module = at;
	(void)put(maker, NULL, 0x250);
	set_pointer(maker, at, table);
	set_pointer(maker, at + 0xa0, text);
	set_pointer(maker, at + 0xa8, text + NG_MADE_C);
	set_pointer(maker, at + 0xb0, text);
	set_pointer(maker, at + 0xb8, text + NG_MADE_TEXT_BYTES);
	if (minor >= 18)
		set_pointer(maker, at + (minor >= 27 ? 0x158 : minor >= 20 ? 0x140 : 0x130), tree);
	add_loaded_section(maker, minor >= 26 ? ".go.module" : ".noptrdata", SHT_PROGBITS, at);
}

static void make_data(struct maker *maker, uint64_t table)
{
	/* The tree is in the segment before; so is the table. */
	uint64_t tree = table + (maker->made->at.tree - maker->made->at.table);

	begin_segment(maker, 2, PF_R | PF_W);
	(void)put_u64(maker, 0);
	if (maker->options->go_minor) {
		if (!maker->options->is_unbuildinfo)
			make_build(maker);
		make_module(maker, table, tree);
	}
	/* Really read-only; here it saves a segment. */
	maker->made->at.rela = maker->rela_count ? align(maker, 8) : 0;
	if (maker->rela_count) {
		(void)put(maker, maker->rela, maker->rela_count * sizeof(maker->rela[0]));
		add_loaded_section(maker, ".rela.dyn", SHT_RELA, maker->made->at.rela);
	}
	end_segment(maker);
}

static void make_symbols(struct maker *maker, const char *name, const char *names_name, bool go)
{
	const size_t count = sizeof(symbols) / sizeof(symbols[0]);
	Elf64_Sym table[sizeof(symbols) / sizeof(symbols[0]) + 1] = {0};
	char names[512] = "";
	size_t names_bytes = 1, used = 1;
	Elf64_Shdr *section;

	for (size_t i = 0; i < count; i++) {
		const char *symbol_name = name_of(symbols[i].name, maker->options->has_clock);

		if (symbols[i].of_go && !go)
			continue;
		table[used++] = (Elf64_Sym){.st_name = (uint32_t)names_bytes,
			.st_info = ELF64_ST_INFO(STB_GLOBAL, symbols[i].type),
			.st_shndx = 1,
			.st_value = maker->made->text_address + symbols[i].start,
			.st_size = symbols[i].size_bytes};
		assert(names_bytes + strlen(symbol_name) < sizeof(names));
		memcpy(names + names_bytes, symbol_name, strlen(symbol_name) + 1);
		names_bytes += strlen(symbol_name) + 1;
	}
	maker->made->at.symbols = align(maker, 8);
	(void)put(maker, table, used * sizeof(table[0]));
	section = add_section(maker, name, !strcmp(name, ".symtab") ? SHT_SYMTAB : SHT_DYNSYM,
		maker->made->at.symbols);
	section->sh_link = (uint32_t)maker->section_count;
	section->sh_entsize = sizeof(Elf64_Sym);
	maker->made->at.symbol_names = put(maker, names, names_bytes);
	(void)add_section(maker, names_name, SHT_STRTAB, maker->made->at.symbol_names);
}

static void make_headers(struct maker *maker)
{
	const struct ng_made_options *options = maker->options;
	Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = options->pie ? ET_DYN : ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = maker->made->text_address,
		.e_phoff = sizeof(header),
		.e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = SEGMENTS,
		.e_shentsize = sizeof(Elf64_Shdr)};

	if (options->has_sections) {
		size_t at = maker->made->size_bytes;
		Elf64_Shdr *names = add_section(maker, ".shstrtab", SHT_STRTAB, at);

		(void)put(maker, maker->section_names, maker->section_names_bytes);
		names->sh_size = maker->section_names_bytes;
		header.e_shoff = align(maker, 8);
		header.e_shnum = (uint16_t)maker->section_count;
		header.e_shstrndx = (uint16_t)(maker->section_count - 1);
		(void)put(
			maker, maker->sections, maker->section_count * sizeof(maker->sections[0]));
		maker->made->at.sections = header.e_shoff;
		maker->made->at.section_count = maker->section_count;
	}
	memcpy(maker->made->bytes, &header, sizeof(header));
	memcpy(maker->made->bytes + sizeof(header), maker->segments, sizeof(maker->segments));
}

void ng_made_make(struct ng_made *made, const struct ng_made_options *options)
{
	struct maker maker = {
		.made = made,
		.options = options,
		.base = options->pie ? 0 : 0x400000,
		.section_count = 1,
		.section_names_bytes = 1,
	};

	memset(made, 0, sizeof(*made));
	(void)put(&maker, NULL, sizeof(Elf64_Ehdr) + SEGMENTS * sizeof(Elf64_Phdr));
	make_text(&maker);
	make_data(&maker, make_constants(&maker));
	if (options->has_symtab)
		make_symbols(&maker, ".symtab", ".strtab", options->go_minor);
	if (options->has_dynsym)
		make_symbols(&maker, ".dynsym", ".dynstr", false);
	make_headers(&maker);
}

int ng_made_file(const void *bytes, size_t size_bytes)
{
	int fd = memfd_create("made", MFD_CLOEXEC);

	if (fd < 0 || pwrite(fd, bytes, size_bytes, 0) != (ssize_t)size_bytes)
		abort();
	return fd;
}
