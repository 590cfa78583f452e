#include "core/image/gopclntab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/image/image.h"

#define MAGIC_1_16 0xfffffffau
#define MAGIC_1_18 0xfffffff0u
#define MAGIC_1_20 0xfffffff1u /* to this day: 1.27 */

#define HEADER_BYTES 72 /* the longest: 8 bytes and eight words */
#define CHUNK_BYTES  (1u << 20)

/* moduledata, by byte offset: the same from Go 1.16 to 1.27. */
#define MODULE_MINPC 0xa0
#define MODULE_MAXPC 0xa8
#define MODULE_TEXT  0xb0
#define MODULE_ETEXT 0xb8
#define MODULE_BYTES 0x160

/* funcdata and pcdata that we read: runtime/funcdata.h */
#define FUNCDATA_INLTREE     3
#define PCDATA_INLTREE_INDEX 2
#define NO_FUNCDATA	     UINT32_MAX

static uint32_t get_u32(const struct ng_pclntab *table, size_t offset)
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

static bool fits(const struct ng_pclntab *table, size_t offset, size_t size_bytes)
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

static size_t entry_bytes(const struct ng_pclntab *table)
{
	return table->layout == NG_PCLNTAB_1_16 ? 16 : 8;
}

/* Takes the header's offsets, each checked against the blob. */
static bool take_header(struct ng_pclntab *table)
{
	const uint8_t *bytes = table->blob.bytes;
	const size_t words = table->layout == NG_PCLNTAB_1_16 ? 24 : 32; /* of the first offset */
	uint64_t count, names, pc_tables, functions;

	if (!fits(table, 0, HEADER_BYTES))
		return false;
	count = get_u64(bytes, 8);
	names = get_u64(bytes, words);
	pc_tables = get_u64(bytes, words + 24);
	functions = get_u64(bytes, words + 32);
	if (names >= table->blob.size_bytes || pc_tables >= table->blob.size_bytes ||
		functions >= table->blob.size_bytes || !count ||
		count > (table->blob.size_bytes - functions) / entry_bytes(table) - 1)
		return false;
	table->function_count = (uint32_t)count;
	table->names = (size_t)names;
	table->pc_tables = (size_t)pc_tables;
	table->functions = (size_t)functions;
	table->text = table->layout == NG_PCLNTAB_1_16 ? 0 : get_u64(bytes, 24);
	return true;
}

/* Scans a segment's file part in chunks that overlap by what a match needs. */
typedef bool (*chunk_reader)(
	const uint8_t *bytes, size_t size_bytes, uint64_t address, void *context);

static bool scan_segment(const struct ng_elf *elf, const struct ng_segment *segment,
	size_t match_bytes, chunk_reader on_chunk, void *context)
{
	NG_CLEANUP_FREE uint8_t *chunk = malloc(CHUNK_BYTES);

	for (uint64_t at = 0; chunk && at < segment->file_bytes; at += CHUNK_BYTES - match_bytes) {
		int64_t length = ng_elf_read(elf, segment->address + at, chunk, CHUNK_BYTES);

		if (length < (int64_t)match_bytes)
			return false;
		if (on_chunk(chunk, (size_t)length, segment->address + at, context))
			return true;
	}
	return false;
}

static bool find_header(const uint8_t *bytes, size_t size_bytes, uint64_t address, void *context)
{
	enum ng_pclntab_layout layout;

	for (size_t at = 0; at + HEADER_BYTES <= size_bytes; at += 8) {
		if (bytes[at + 3] != 0xff || !is_header(bytes + at, &layout))
			continue;
		*(uint64_t *)context = address + at;
		return true;
	}
	return false;
}

/* The table's place where no section names it: in data that is not code, by its magic. */
static int find_by_magic(const struct ng_elf *elf, struct ng_section *ret_section)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const struct ng_segment *segment = &elf->segments[i];
		uint64_t address;

		if (segment->executable ||
			!scan_segment(elf, segment, HEADER_BYTES, find_header, &address))
			continue;
		*ret_section = (struct ng_section){.address = address,
			.offset = segment->offset + (address - segment->address),
			.size_bytes = segment->file_bytes - (address - segment->address)};
		return 0;
	}
	return -ENOENT;
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

/* What a search for moduledata knows and finds. */
struct module_search {
	const struct ng_elf *elf;
	uint64_t table_address;
	uint8_t module[MODULE_BYTES];
};

static bool is_text(const struct ng_elf *elf, uint64_t address)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const struct ng_segment *segment = &elf->segments[i];

		if (segment->executable && address >= segment->address &&
			address - segment->address < segment->memory_bytes)
			return true;
	}
	return false;
}

static bool is_module(const struct module_search *search, const uint8_t *module)
{
	uint64_t text = get_u64(module, MODULE_TEXT), maxpc = get_u64(module, MODULE_MAXPC);

	return get_u64(module, MODULE_MINPC) == text && text <= maxpc &&
	       maxpc <= get_u64(module, MODULE_ETEXT) && is_text(search->elf, text);
}

static bool find_module(const uint8_t *bytes, size_t size_bytes, uint64_t address, void *context)
{
	struct module_search *search = context;

	(void)address;
	for (size_t at = 0; at + MODULE_BYTES <= size_bytes; at += 8) {
		if (get_u64(bytes, at) != search->table_address || !is_module(search, bytes + at))
			continue;
		memcpy(search->module, bytes + at, MODULE_BYTES);
		return true;
	}
	return false;
}

/* moduledata.gofunc has moved twice while the magic stayed. */
static size_t gofunc_offset(
	const struct ng_pclntab *table, const struct ng_elf *elf, unsigned int go_minor)
{
	if (table->layout == NG_PCLNTAB_1_18)
		return 0x130;
	return go_minor >= 27 || (!go_minor && ng_elf_section(elf, ".go.func")) ? 0x158 : 0x140;
}

/* moduledata says where the text begins: the header does so only up to Go 1.25. */
static void take_module(struct ng_pclntab *table, const struct ng_elf *elf, unsigned int go_minor)
{
	struct module_search search = {.elf = elf, .table_address = table->blob.address};

	for (size_t i = 0; i < elf->segment_count; i++) {
		if (elf->segments[i].executable ||
			!scan_segment(elf, &elf->segments[i], MODULE_BYTES, find_module, &search))
			continue;
		if (table->layout == NG_PCLNTAB_1_16)
			return; /* entries are addresses, and so are inline trees */
		table->text = get_u64(search.module, MODULE_TEXT);
		table->gofunc = get_u64(search.module, gofunc_offset(table, elf, go_minor));
		return;
	}
}

int ng_pclntab_open(
	struct ng_pclntab *table, struct ng_elf *elf, unsigned int go_minor, struct ng_diag *diag)
{
	int error;

	*table = (struct ng_pclntab){0};
	error = load_table(table, elf);
	if (error)
		return error;
	if (table->blob.size_bytes < HEADER_BYTES ||
		!is_header(table->blob.bytes, &table->layout) || !take_header(table)) {
		ng_pclntab_close(table);
		return ng_diag_set(diag, -EINVAL,
			"Go's function table (.gopclntab) is damaged, or newer than nowgate knows");
	}
	take_module(table, elf, go_minor);
	if (table->layout != NG_PCLNTAB_1_16 && !is_text(elf, table->text)) {
		ng_pclntab_close(table);
		return ng_diag_set(diag, -EINVAL,
			"Go's function table does not say where the code begins (no moduledata "
			"found)");
	}
	return 0;
}

void ng_pclntab_close(struct ng_pclntab *table)
{
	ng_blob_release(&table->blob);
}

/* The entry address in row `index` of the function table; the row behind the last is its end. */
static uint64_t entry_at(const struct ng_pclntab *table, uint32_t index)
{
	size_t row = table->functions + (size_t)index * entry_bytes(table);

	if (table->layout == NG_PCLNTAB_1_16)
		return get_u64(table->blob.bytes, row);
	return table->text + get_u32(table, row);
}

/* A name is terminated within the blob, for its last byte and one more are 0. */
static const char *name_at(const struct ng_pclntab *table, uint32_t offset)
{
	size_t place;

	if (__builtin_add_overflow(table->names, (size_t)offset, &place) ||
		place >= table->blob.size_bytes)
		return "";
	return (const char *)table->blob.bytes + place;
}

bool ng_pclntab_function(
	const struct ng_pclntab *table, uint32_t index, struct ng_pclntab_function *ret_function)
{
	const bool old = table->layout == NG_PCLNTAB_1_16;
	size_t row = table->functions + (size_t)index * entry_bytes(table);
	uint64_t offset = old ? get_u64(table->blob.bytes, row + 8) : get_u32(table, row + 4);
	size_t record;

	if (offset >= table->blob.size_bytes ||
		__builtin_add_overflow(table->functions, (size_t)offset, &record) ||
		!fits(table, record, 48))
		return false;
	*ret_function = (struct ng_pclntab_function){
		.name = name_at(table, get_u32(table, record + (old ? 8 : 4))),
		.entry = entry_at(table, index),
		.end = entry_at(table, index + 1),
		.record = record,
	};
	return ret_function->end > ret_function->entry;
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

/* One step through a pc-value table: a run of code with one value. */
struct pc_run {
	size_t at; /* offset of the next pair in the blob */
	uint64_t start;
	uint64_t end;
	int32_t value;
	bool started;
};

static bool next_run(const struct ng_pclntab *table, struct pc_run *run)
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

/* Where a function's inline tree is, and its inline index table. */
struct inline_data {
	uint64_t tree;	 /* address */
	size_t pc_table; /* offset in the blob */
};

static bool find_inline_data(const struct ng_pclntab *table,
	const struct ng_pclntab_function *function, struct inline_data *ret_data)
{
	const size_t fixed = table->layout == NG_PCLNTAB_1_18 ? 40 : 44;
	const size_t npcdata = function->record + 28;
	const uint32_t pcdata_count = get_u32(table, npcdata);
	const size_t pcdata = function->record + fixed;
	uint8_t funcdata_count;
	size_t funcdata;
	uint32_t offset, tree;

	if (pcdata_count <= PCDATA_INLTREE_INDEX || pcdata_count > 64)
		return false;
	funcdata = pcdata + 4ull * pcdata_count;
	if (!fits(table, funcdata, 4 * (FUNCDATA_INLTREE + 1)))
		return false;
	funcdata_count = table->blob.bytes[pcdata - 1];
	if (funcdata_count <= FUNCDATA_INLTREE)
		return false;
	offset = get_u32(table, pcdata + 4 * PCDATA_INLTREE_INDEX);
	tree = get_u32(table, funcdata + 4 * FUNCDATA_INLTREE);
	if (!offset || tree == NO_FUNCDATA ||
		__builtin_add_overflow(table->pc_tables, (size_t)offset, &ret_data->pc_table) ||
		ret_data->pc_table >= table->blob.size_bytes)
		return false;
	ret_data->tree = table->gofunc + tree;
	return true;
}

/* Steps through all inline tables; Prometheus takes 2 million. A hostile file's end there. */
#define WALK_STEPS_MAX (200u << 20)

/* Inline trees stand close together: a window of the file saves a read for each. */
struct window {
	const struct ng_elf *elf;
	uint8_t *bytes;
	uint64_t address;
	size_t size_bytes;
	uint32_t steps; /* of the whole walk */
};

#define WINDOW_BYTES (64u << 10)

static const uint8_t *window_at(struct window *window, uint64_t address, size_t size_bytes)
{
	if (address < window->address || address - window->address > window->size_bytes ||
		window->size_bytes - (address - window->address) < size_bytes) {
		int64_t length = ng_elf_read(window->elf, address, window->bytes, WINDOW_BYTES);

		window->address = address;
		window->size_bytes = length > 0 ? (size_t)length : 0;
		if (window->size_bytes < size_bytes)
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
	const uint8_t *entry = window_at(window, tree + (uint64_t)index * size_bytes, size_bytes);
	uint32_t name;

	if (!entry)
		return "";
	memcpy(&name, entry + name_place, sizeof(name));
	return name_at(table, name);
}

static int walk_function(const struct ng_pclntab *table, const struct ng_pclntab_function *function,
	struct window *window, ng_pclntab_on_inlined on_inlined, void *context)
{
	struct inline_data data;
	struct pc_run run = {.value = -1};
	int error = 0;

	if (!find_inline_data(table, function, &data))
		return 0;
	run.at = data.pc_table;
	run.end = function->entry;
	while (!error && run.end < function->end && next_run(table, &run)) {
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
	ng_pclntab_on_inlined on_inlined, void *context)
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
	return error;
}
