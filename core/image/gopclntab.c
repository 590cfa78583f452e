#include "core/image/gopclntab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/image/gomodule.h"
#include "core/image/gopclntab_inside.h"

#define MAGIC_1_16 0xfffffffau
#define MAGIC_1_18 0xfffffff0u
#define MAGIC_1_20 0xfffffff1u /* to this day: 1.27 */

#define HEADER_BYTES 72 /* the longest: 8 bytes and eight words */
#define RECORD_BYTES 40 /* the shortest _func */

/* funcdata and pcdata that we read: runtime/funcdata.h */
#define FUNCDATA_INLTREE     3
#define PCDATA_INLTREE_INDEX 2
#define NO_FUNCDATA	     UINT32_MAX

uint32_t ng_pclntab_u32(const struct ng_pclntab *table, size_t offset)
{
	uint32_t value;

	memcpy(&value, table->blob.bytes + offset, sizeof(value));
	return value;
}

static uint64_t get_u64(const uint8_t *bytes, size_t offset)
{
	uint64_t value;

	memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

bool ng_pclntab_fits(const struct ng_pclntab *table, size_t offset, size_t size_bytes)
{
	return offset <= table->blob.size_bytes && size_bytes <= table->blob.size_bytes - offset;
}

static bool is_header(const uint8_t *bytes, enum ng_pclntab_layout *ret_layout)
{
	uint32_t magic;

	memcpy(&magic, bytes, sizeof(magic));
	/* Two zeros, the instruction quantum of x86, the pointer size. */
	if (bytes[4] || bytes[5] || bytes[6] != 1 || bytes[7] != 8)
		return false;
	switch (magic) {
	case MAGIC_1_16:
		*ret_layout = NG_PCLNTAB_1_16;
		return true;
	case MAGIC_1_18:
		*ret_layout = NG_PCLNTAB_1_18;
		return true;
	case MAGIC_1_20:
		*ret_layout = NG_PCLNTAB_1_20;
		return true;
	default:
		return false;
	}
}

static size_t row_bytes(enum ng_pclntab_layout layout)
{
	return layout == NG_PCLNTAB_1_16 ? 16 : 8;
}

/* What a header says, for a table that may take up to size_bytes. */
struct header {
	enum ng_pclntab_layout layout;
	uint64_t count;
	uint64_t text;
	uint64_t names;
	uint64_t units;
	uint64_t files;
	uint64_t pc_tables;
	uint64_t functions;
};

/* @return whether it is a header, and all that it says can be */
static bool parse_header(const uint8_t *bytes, uint64_t size_bytes, struct header *header)
{
	size_t words; /* of the first offset */
	uint64_t room;

	if (size_bytes < HEADER_BYTES || !is_header(bytes, &header->layout))
		return false;
	words = header->layout == NG_PCLNTAB_1_16 ? 24 : 32;
	header->count = get_u64(bytes, 8);
	header->text = header->layout == NG_PCLNTAB_1_16 ? 0 : get_u64(bytes, 24);
	header->names = get_u64(bytes, words);
	header->units = get_u64(bytes, words + 8);
	header->files = get_u64(bytes, words + 16);
	header->pc_tables = get_u64(bytes, words + 24);
	header->functions = get_u64(bytes, words + 32);
	if (header->names >= size_bytes || header->units >= size_bytes ||
		header->files >= size_bytes || header->pc_tables >= size_bytes ||
		header->functions >= size_bytes)
		return false;
	/* Each function has its row and its record, and the rows end in one more. A table whose
	 * rows share records could have us walk far more names than it holds. */
	room = size_bytes - header->functions;
	return header->count && room >= row_bytes(header->layout) &&
	       header->count <= (room - row_bytes(header->layout)) /
					(row_bytes(header->layout) + RECORD_BYTES);
}

/* A search for the table where no section names it. */
struct table_search {
	const struct ng_segment *segment;
	uint64_t address; /* where it was found */
};

static bool find_header(const uint8_t *bytes, size_t size_bytes, uint64_t address, void *context)
{
	struct table_search *search = context;
	struct header header;

	for (size_t at = 0; at + HEADER_BYTES <= size_bytes; at += 8) {
		uint64_t before = address + at - search->segment->address;

		if (bytes[at + 3] != 0xff ||
			!parse_header(bytes + at, search->segment->file_bytes - before, &header))
			continue;
		search->address = address + at;
		return true;
	}
	return false;
}

/* In data that is not code, by its magic; a header that cannot be one is passed over, for Go's own
 * tools hold the magic as a constant. */
static int find_by_magic(const struct ng_elf *elf, struct ng_section *ret_section)
{
	int error = -ENOENT;

	for (size_t i = 0; error == -ENOENT && i < elf->segment_count; i++) {
		const struct ng_segment *segment = &elf->segments[i];
		struct table_search search = {.segment = segment};

		if (segment->executable)
			continue;
		error = ng_elf_scan(elf, segment, HEADER_BYTES, find_header, &search);
		if (error)
			continue;
		*ret_section = (struct ng_section){.address = search.address,
			.offset = segment->offset + (search.address - segment->address),
			.size_bytes = segment->file_bytes - (search.address - segment->address)};
	}
	return error;
}

static int load_table(struct ng_pclntab *table, struct ng_elf *elf)
{
	static const char *const names[] = {".gopclntab", ".data.rel.ro.gopclntab"};
	const struct ng_section *section = NULL;
	struct ng_section found;
	int error;

	for (size_t i = 0; !section && i < sizeof(names) / sizeof(names[0]); i++)
		section = ng_elf_section(elf, names[i]);
	if (!section) {
		error = find_by_magic(elf, &found);
		if (error)
			return error;
		section = &found;
	}
	return ng_elf_load(elf, section, &table->blob);
}

/* Since Go 1.27 functions' descriptors have a section of their own. */
static bool has_func_section(const struct ng_elf *elf)
{
	return ng_elf_section(elf, ".go.func") || ng_elf_section(elf, ".data.rel.ro.go.func");
}

/* moduledata.gofunc has moved twice while the magic stayed. */
static size_t gofunc_offset(
	const struct ng_pclntab *table, const struct ng_elf *elf, unsigned int go_minor)
{
	if (table->layout == NG_PCLNTAB_1_18)
		return 0x130;
	return go_minor >= 27 || (!go_minor && has_func_section(elf)) ? 0x158 : 0x140;
}

uint64_t ng_pclntab_entry(const struct ng_pclntab *table, uint32_t index)
{
	size_t row = table->functions + (size_t)index * row_bytes(table->layout);

	if (table->layout == NG_PCLNTAB_1_16)
		return get_u64(table->blob.bytes, row);
	return table->text + ng_pclntab_u32(table, row);
}

/* Where the text begins: moduledata says so; the header too, up to Go 1.25. */
static int take_module(struct ng_pclntab *table, const struct ng_elf *elf, unsigned int go_minor)
{
	uint8_t module[NG_GOMODULE_BYTES];
	int error;

	if (table->layout == NG_PCLNTAB_1_16)
		return 0; /* entries are addresses, and so are inline trees */
	error = ng_gomodule_read(elf, table->blob.address, module);
	if (error)
		return error == -ENOENT ? 0 : error;
	table->text = get_u64(module, NG_GOMODULE_TEXT);
	table->gofunc = get_u64(module, gofunc_offset(table, elf, go_minor));
	return 0;
}

static bool take_header(struct ng_pclntab *table)
{
	struct header header;

	if (!parse_header(table->blob.bytes, table->blob.size_bytes, &header))
		return false;
	table->layout = header.layout;
	table->function_count = (uint32_t)header.count;
	table->text = header.text;
	table->names = (size_t)header.names;
	table->units = (size_t)header.units;
	table->files = (size_t)header.files;
	table->pc_tables = (size_t)header.pc_tables;
	table->functions = (size_t)header.functions;
	return true;
}

/* All of Go's functions lie in one segment. */
static bool take_code(struct ng_pclntab *table, const struct ng_elf *elf)
{
	const struct ng_segment *segment = ng_elf_text_segment(elf, ng_pclntab_entry(table, 0));

	if (!segment)
		return false;
	table->code_start = segment->address;
	table->code_end = segment->address + segment->file_bytes;
	return true;
}

int ng_pclntab_open(
	struct ng_pclntab *table, struct ng_elf *elf, unsigned int go_minor, struct ng_diag *diag)
{
	int error;

	*table = (struct ng_pclntab){0};
	error = load_table(table, elf);
	if (error)
		return error;
	if (!take_header(table)) {
		error = ng_diag_set(diag, -EINVAL,
			"Go's function table (.gopclntab) is damaged, or newer than nowgate knows");
		goto close_table;
	}
	error = take_module(table, elf, go_minor);
	if (error)
		goto close_table;
	if (!take_code(table, elf)) {
		error = ng_diag_set(diag, -EINVAL,
			"Go's function table does not say where the code begins (no moduledata "
			"found)");
		goto close_table;
	}
	table->wrapper_id = ng_pclntab_wrapper_id(table);
	return 0;

close_table:
	ng_pclntab_close(table);
	return error;
}

void ng_pclntab_close(struct ng_pclntab *table)
{
	ng_blob_release(&table->blob);
}

const char *ng_pclntab_text(const struct ng_pclntab *table, size_t base, uint32_t offset)
{
	size_t place;

	if (__builtin_add_overflow(base, (size_t)offset, &place) || place >= table->blob.size_bytes)
		return "";
	return (const char *)table->blob.bytes + place;
}

bool ng_pclntab_function(
	const struct ng_pclntab *table, uint32_t index, struct ng_pclntab_function *ret_function)
{
	const bool old = table->layout == NG_PCLNTAB_1_16;
	size_t row = table->functions + (size_t)index * row_bytes(table->layout);
	uint64_t offset =
		old ? get_u64(table->blob.bytes, row + 8) : ng_pclntab_u32(table, row + 4);
	size_t record;

	if (offset >= table->blob.size_bytes ||
		__builtin_add_overflow(table->functions, (size_t)offset, &record) ||
		!ng_pclntab_fits(table, record, 48))
		return false;
	*ret_function = (struct ng_pclntab_function){
		.name = ng_pclntab_text(
			table, table->names, ng_pclntab_u32(table, record + (old ? 8 : 4))),
		.entry = ng_pclntab_entry(table, index),
		.end = ng_pclntab_entry(table, index + 1),
		.record = record,
	};
	return ret_function->entry >= table->code_start &&
	       ret_function->end > ret_function->entry && ret_function->end <= table->code_end;
}

/* Reads a varint; moves on. @return false at the blob's end */
static bool read_varint(const struct ng_pclntab *table, size_t *at, uint32_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned int shift = 0; shift < 35; shift += 7) {
		uint8_t byte;

		if (*at >= table->blob.size_bytes)
			return false;
		byte = table->blob.bytes[(*at)++];
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret_value = (uint32_t)value;
			return true;
		}
	}
	return false;
}

bool ng_pclntab_next_run(const struct ng_pclntab *table, struct ng_pclntab_run *run)
{
	uint32_t value_delta, pc_delta;

	if (!read_varint(table, &run->at, &value_delta) || (!value_delta && run->started) ||
		!read_varint(table, &run->at, &pc_delta))
		return false;
	run->started = true;
	/* Zigzag: the sign is in the lowest bit. */
	run->value = (int32_t)((uint32_t)run->value +
			       ((value_delta & 1) ? ~(value_delta >> 1) : value_delta >> 1));
	run->start = run->end;
	run->end += pc_delta;
	return true;
}

bool ng_pclntab_inline_data(const struct ng_pclntab *table,
	const struct ng_pclntab_function *function, struct ng_pclntab_inline_data *ret_data)
{
	const size_t fixed = table->layout == NG_PCLNTAB_1_18 ? 40 : 44;
	const size_t npcdata = function->record + 28;
	const uint32_t pcdata_count = ng_pclntab_u32(table, npcdata);
	const size_t pcdata = function->record + fixed;
	uint8_t funcdata_count;
	size_t funcdata;
	uint32_t offset, tree;

	if (pcdata_count <= PCDATA_INLTREE_INDEX || pcdata_count > 64)
		return false;
	funcdata = pcdata + 4ull * pcdata_count;
	if (!ng_pclntab_fits(table, funcdata, 4 * (FUNCDATA_INLTREE + 1)))
		return false;
	funcdata_count = table->blob.bytes[pcdata - 1];
	if (funcdata_count <= FUNCDATA_INLTREE)
		return false;
	offset = ng_pclntab_u32(table, pcdata + 4 * PCDATA_INLTREE_INDEX);
	tree = ng_pclntab_u32(table, funcdata + 4 * FUNCDATA_INLTREE);
	if (!offset || tree == NO_FUNCDATA ||
		__builtin_add_overflow(table->pc_tables, (size_t)offset, &ret_data->pc_table) ||
		ret_data->pc_table >= table->blob.size_bytes)
		return false;
	ret_data->tree = table->gofunc + tree;
	return true;
}

/* Steps through all inline tables; Prometheus takes 2 million. A hostile file's end there. */
#define WALK_STEPS_MAX (32u << 20)

/* Inline trees stand close together: a window of the file saves a read for each. Prometheus takes
 * 120 reads; of trees strewn over a hostile file each is as long as so many steps. */
#define WINDOW_BYTES (64u << 10)
#define WINDOW_STEPS 1024

struct window {
	const struct ng_elf *elf;
	uint8_t *bytes;
	uint64_t address;
	size_t size_bytes;
	uint32_t steps; /* of the whole walk */
};

static bool window_holds(const struct window *window, uint64_t address, size_t size_bytes)
{
	return address >= window->address && address - window->address <= window->size_bytes &&
	       window->size_bytes - (address - window->address) >= size_bytes;
}

/* The bytes at an offset in a tree. */
static const uint8_t *window_at(
	struct window *window, uint64_t tree, uint64_t offset, size_t size_bytes)
{
	const uint64_t address = tree + offset;

	if (!window_holds(window, address, size_bytes)) {
		/* From the tree's start, or its entries would push each other out. */
		const uint64_t start = offset < WINDOW_BYTES - size_bytes ? tree : address;
		int64_t length = ng_elf_read(window->elf, start, window->bytes, WINDOW_BYTES);

		window->steps += WINDOW_STEPS;
		window->address = start;
		window->size_bytes = length > 0 ? (size_t)length : 0;
		if (!window_holds(window, address, size_bytes))
			return NULL;
	}
	return window->bytes + (address - window->address);
}

/* The name of entry `index` of an inline tree. */
static const char *inlined_name(
	const struct ng_pclntab *table, struct window *window, uint64_t tree, int32_t index)
{
	const bool new_layout = table->layout == NG_PCLNTAB_1_20;
	const size_t size_bytes = new_layout ? 16 : 20, name_place = new_layout ? 4 : 12;
	const uint8_t *entry = window_at(window, tree, (uint64_t)index * size_bytes, size_bytes);
	uint32_t name;

	if (!entry)
		return "";
	memcpy(&name, entry + name_place, sizeof(name));
	return ng_pclntab_text(table, table->names, name);
}

static int walk_function(const struct ng_pclntab *table, const struct ng_pclntab_function *function,
	struct window *window, ng_pclntab_on_inlined on_inlined, void *context)
{
	struct ng_pclntab_inline_data data;
	struct ng_pclntab_run run = {.value = -1};
	int error = 0;

	if (!ng_pclntab_inline_data(table, function, &data))
		return 0;
	run.at = data.pc_table;
	run.end = function->entry;
	while (!error && run.end < function->end && ng_pclntab_next_run(table, &run)) {
		uint64_t end = run.end < function->end ? run.end : function->end;

		if (++window->steps > WALK_STEPS_MAX)
			return -EINVAL;
		if (run.value < 0 || run.start >= end)
			continue;
		error = on_inlined(function, run.start, end, run.value,
			inlined_name(table, window, data.tree, run.value), context);
	}
	return error;
}

int ng_pclntab_walk_inlined(const struct ng_pclntab *table, const struct ng_elf *elf,
	ng_pclntab_on_inlined on_inlined, void *context, uint64_t *ret_steps)
{
	struct window window = {.elf = elf};
	int error = 0;

	if (!table->gofunc)
		return -ENODATA;
	window.bytes = malloc(WINDOW_BYTES);
	if (!window.bytes)
		return -ENOMEM;
	for (uint32_t i = 0; !error && i < table->function_count; i++) {
		struct ng_pclntab_function function;

		if (ng_pclntab_function(table, i, &function))
			error = walk_function(table, &function, &window, on_inlined, context);
	}
	free(window.bytes);
	*ret_steps = window.steps;
	return error;
}
