#include "core/image/frames.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/image/gopclntab_inside.h"
#include "core/image/symbols.h"

/* Steps through pc-value tables for one address. A hostile file's end there. */
#define STEPS_MAX (1u << 20)

/* Go's compiler inlines some 20 deep. A tree whose entries lead to each other ends there. */
#define DEPTH_MAX 1000

#define NO_FILE UINT32_MAX

/* Bytes of a _func record from its name's offset on: runtime/runtime2.go. */
#define FUNC_FILES	16
#define FUNC_LINES	20
#define FUNC_UNIT	28
#define FUNC_START_LINE 32

/* An entry of an inline tree. */
struct inlined_call {
	uint32_t name;
	uint32_t parent_pc; /* offset in the function */
	uint32_t start_line;
};

/* Where a lookup is: a function, and an address in it. */
struct place {
	const struct ng_pclntab *table;
	struct ng_pclntab_function function;
	size_t record; /* of the function, from its name's offset on */
	uint64_t address;
	uint32_t steps; /* so far */
};

/* The last function that begins at the address or before it. */
static bool find_function(const struct ng_pclntab *table, uint64_t address, struct place *place)
{
	uint32_t low = 0, high = table->function_count;

	while (high - low > 1) {
		const uint32_t middle = low + (high - low) / 2;

		if (ng_pclntab_entry(table, middle) <= address)
			low = middle;
		else
			high = middle;
	}
	if (!ng_pclntab_function(table, low, &place->function))
		return false;
	place->table = table;
	place->address = address;
	place->record = place->function.record + (table->layout == NG_PCLNTAB_1_16 ? 8 : 4);
	return address >= place->function.entry && address < place->function.end;
}

/* @return -1 where the table says nothing of the address, as the runtime has it */
static int32_t value_at(struct place *place, size_t pc_table)
{
	struct ng_pclntab_run run = {.at = pc_table, .end = place->function.entry, .value = -1};

	while (place->steps++ < STEPS_MAX) {
		if (!ng_pclntab_next_run(place->table, &run))
			return -1;
		if (place->address < run.end)
			return run.value;
	}
	return -1;
}

/* The value of a table whose offset stands in the function's record. */
static int32_t recorded_value(struct place *place, size_t word)
{
	const uint32_t offset = ng_pclntab_u32(place->table, place->record + word);

	return offset ? value_at(place, place->table->pc_tables + offset) : -1;
}

/* A text that is longer than any can be is none. */
static const char *bounded(const char *text)
{
	return strnlen(text, NG_IMAGE_NAME_MAX) < NG_IMAGE_NAME_MAX ? text : "";
}

static const char *file_of(struct place *place)
{
	const struct ng_pclntab *table = place->table;
	const int32_t number = recorded_value(place, FUNC_FILES);
	const uint64_t unit = ng_pclntab_u32(table, place->record + FUNC_UNIT);
	size_t row;
	uint32_t offset;

	if (number < 0)
		return "";
	row = table->units + 4 * (unit + (uint64_t)number);
	if (!ng_pclntab_fits(table, row, 4))
		return "";
	offset = ng_pclntab_u32(table, row);
	return offset == NO_FILE ? "" : bounded(ng_pclntab_text(table, table->files, offset));
}

static void fill(struct place *place, struct ng_code_frame *frame)
{
	const int32_t line = recorded_value(place, FUNC_LINES);

	*frame = (struct ng_code_frame){.function = bounded(place->function.name),
		.file = file_of(place),
		.line = line > 0 ? (uint32_t)line : 0};
	if (place->table->layout >= NG_PCLNTAB_1_20)
		frame->start_line = ng_pclntab_u32(place->table, place->record + FUNC_START_LINE);
}

static int read_call(
	const struct ng_image *image, uint64_t tree, int32_t index, struct inlined_call *ret_call)
{
	const bool new_layout = image->pclntab.layout == NG_PCLNTAB_1_20;
	const size_t words = new_layout ? 4 : 5, name = new_layout ? 1 : 3;
	uint32_t entry[5];
	int error =
		ng_elf_read_all(&image->elf, tree + 4 * words * (uint64_t)index, entry, 4 * words);

	if (error)
		return error == -EFAULT ? -EINVAL : error;
	*ret_call = (struct inlined_call){.name = entry[name],
		.parent_pc = entry[name + 1],
		.start_line = new_layout ? entry[name + 2] : 0};
	return 0;
}

int ng_image_frames(const struct ng_image *image, uint64_t address,
	struct ng_code_frame *ret_frames, size_t max)
{
	const struct ng_pclntab *table = &image->pclntab;
	struct ng_pclntab_inline_data data = {.tree = 0};
	struct place place = {.steps = 0};
	struct ng_code_frame frame;

	if (!image->info.has_pclntab || !find_function(table, address, &place))
		return -ENOENT;
	if (!table->gofunc || table->layout == NG_PCLNTAB_1_16 ||
		!ng_pclntab_inline_data(table, &place.function, &data))
		data.tree = 0;
	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		const int32_t index = data.tree ? value_at(&place, data.pc_table) : -1;
		struct inlined_call call;
		int error;

		fill(&place, &frame);
		if (index >= 0) {
			error = read_call(image, data.tree, index, &call);
			if (error)
				return error;
			frame.is_inlined = true;
			frame.function = bounded(ng_pclntab_text(table, table->names, call.name));
			frame.start_line = call.start_line;
			place.address = place.function.entry + call.parent_pc;
		}
		if ((size_t)depth < max)
			ret_frames[depth] = frame;
		if (index < 0)
			return place.steps < STEPS_MAX ? depth + 1 : -EINVAL;
		if (place.address >= place.function.end)
			return -EINVAL;
	}
	return -EINVAL;
}

void ng_code_print_name(const char *function, char *ret_name, size_t size_bytes)
{
	const char *open = strchr(function, '['), *close = strrchr(function, ']');

	if (open && close && open < close)
		snprintf(ret_name, size_bytes, "%.*s[...]%s", (int)(open - function), function,
			close + 1);
	else
		snprintf(ret_name, size_bytes, "%s", function);
}
