#include "control/plane/recorded.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "core/image/frames.h"

#define INLINED_MAX 64 /* frames of one address */

/* What stands at a place of an image, looked up once. */
struct known_place {
	const struct ng_image *image;
	uint64_t address;
	size_t count;
	char *symbol; /* owned; of a function that is not Go's */
	char *names;  /* owned: the frames' names as they are printed, one after the other */
	struct ng_code_frame frames[];
};

struct ng_recorded {
	struct ng_profile profile;
	const struct ng_recorded_parts *parts; /* while it is made */
	void *places;			       /* of struct known_place, by compare_places() */
	struct ng_profile_stack *stacks;
	size_t stack_count;
	struct ng_profile_frame *frames;
	size_t frame_count;
	size_t frame_room;
	size_t first_frame; /* of the stack that is being added */
	struct ng_profile_mapping *mappings;
	size_t mapping_count;
	int error;
};

static int compare_places(const void *a, const void *b)
{
	const struct known_place *first = a, *second = b;

	if (first->image != second->image)
		return (uintptr_t)first->image < (uintptr_t)second->image ? -1 : 1;
	return (first->address > second->address) - (first->address < second->address);
}

static void free_place(void *node)
{
	struct known_place *place = node;

	free(place->symbol);
	free(place->names);
	free(place);
}

/* As Go prints them. @return 0; -ENOMEM */
static int print_names(struct known_place *place)
{
	size_t bytes = 0;
	char *at;

	for (size_t i = 0; i < place->count; i++)
		bytes += strlen(place->frames[i].function) + sizeof("[...]");
	at = place->names = malloc(bytes + 1);
	if (!at)
		return -ENOMEM;
	for (size_t i = 0; i < place->count; i++) {
		const size_t room = strlen(place->frames[i].function) + sizeof("[...]");

		ng_code_print_name(place->frames[i].function, at, room);
		place->frames[i].function = at;
		at += room;
	}
	return 0;
}

/* Go's table first; then any symbol there is. */
static struct known_place *look_up(const struct ng_image *image, uint64_t address)
{
	struct known_place *place =
		calloc(1, sizeof(*place) + INLINED_MAX * sizeof(place->frames[0]));
	struct ng_function function;
	int count;

	if (!place)
		return NULL;
	place->image = image;
	place->address = address;
	count = ng_image_frames(image, address, place->frames, INLINED_MAX);
	if (count > 0) {
		place->count = (size_t)count < INLINED_MAX ? (size_t)count : INLINED_MAX;
	} else if (!ng_image_function_at(image, address, &function)) {
		place->symbol = function.name;
		place->frames[0] = (struct ng_code_frame){.function = function.name, .file = ""};
		place->count = 1;
	}
	if (print_names(place)) {
		free_place(place);
		return NULL;
	}
	return place;
}

static const struct known_place *place_of(
	struct ng_recorded *recorded, const struct ng_image *image, uint64_t address)
{
	const struct known_place wanted = {.image = image, .address = address};
	struct known_place **found = tfind(&wanted, &recorded->places, compare_places);
	struct known_place *place = found ? *found : look_up(image, address);

	if (!found && place && !tsearch(place, &recorded->places, compare_places)) {
		free_place(place);
		return NULL;
	}
	return place;
}

/* @return its index; NG_FRAME_NO_MAPPING where memory is out */
static uint32_t mapping_of(struct ng_recorded *recorded, const struct ng_place *place)
{
	struct ng_profile_mapping *grown;

	for (size_t i = 0; i < recorded->mapping_count; i++) {
		const struct ng_profile_mapping *mapping = &recorded->mappings[i];

		if (mapping->start == place->start && mapping->file == place->path)
			return (uint32_t)i;
	}
	grown = reallocarray(recorded->mappings, recorded->mapping_count + 1, sizeof(*grown));
	if (!grown)
		return NG_FRAME_NO_MAPPING;
	recorded->mappings = grown;
	grown[recorded->mapping_count] = (struct ng_profile_mapping){.start = place->start,
		.limit = place->end,
		.offset = place->offset,
		.file = place->path};
	return (uint32_t)recorded->mapping_count++;
}

static int add_frame(struct ng_recorded *recorded, const struct ng_profile_frame *frame)
{
	if (recorded->frame_count == recorded->frame_room) {
		const size_t room = recorded->frame_room ? 2 * recorded->frame_room : 1024;
		struct ng_profile_frame *grown =
			reallocarray(recorded->frames, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		recorded->frames = grown;
		recorded->frame_room = room;
	}
	recorded->frames[recorded->frame_count++] = *frame;
	return 0;
}

/* Go's own stacks leave wrappers out, but not where one panicked. */
static bool is_left_out(const struct ng_recorded *recorded, const struct ng_code_frame *code)
{
	const char *inner = recorded->frame_count > recorded->first_frame
				    ? recorded->frames[recorded->frame_count - 1].function
				    : NULL;

	return code->is_wrapper && inner && strcmp(inner, "runtime.gopanic") &&
	       strcmp(inner, "runtime.sigpanic") && strcmp(inner, "runtime.panicwrap");
}

static int add_address(
	struct ng_recorded *recorded, const struct ng_count_key *process, uint64_t address)
{
	struct ng_profile_frame frame = {.address = address, .mapping = NG_FRAME_NO_MAPPING};
	const struct known_place *known;
	struct ng_place place;
	int error = 0;

	if (!recorded->parts->locate(process, address, recorded->parts->context, &place))
		return add_frame(recorded, &frame);
	frame.mapping = mapping_of(recorded, &place);
	known = place_of(recorded, place.image, place.address);
	if (!known)
		return -ENOMEM;
	if (!known->count)
		return add_frame(recorded, &frame);
	for (size_t i = 0; !error && i < known->count; i++) {
		const struct ng_code_frame *code = &known->frames[i];

		if (is_left_out(recorded, code))
			continue;
		frame.function = code->function;
		frame.file = code->file[0] ? code->file : NULL;
		frame.line = code->line;
		frame.start_line = code->start_line;
		frame.is_inlined = i + 1 < known->count;
		error = add_frame(recorded, &frame);
	}
	/* Where the last one was left out, another is the last now. */
	if (recorded->frame_count > recorded->first_frame)
		recorded->frames[recorded->frame_count - 1].is_inlined = false;
	return error;
}

static void add_stack(const struct ng_recorded_stack *stack, void *context)
{
	struct ng_recorded *recorded = context;
	const struct ng_recorded_value value =
		recorded->parts->value(stack, recorded->parts->context);

	recorded->first_frame = recorded->frame_count;
	/* A return address is that of the instruction behind the call. */
	for (size_t i = 0; !recorded->error && i < stack->depth; i++)
		recorded->error = add_address(recorded, &stack->key, stack->frames[i] - (i != 0));
	recorded->stacks[recorded->stack_count++] = (struct ng_profile_stack){
		.frame_count = recorded->frame_count - recorded->first_frame,
		.hits = stack->hits,
		.calls = value.calls,
		.cost_ns = (uint64_t)value.cost_ns};
}

/* The frames moved while there came more; now they stay. */
static void place_frames(struct ng_recorded *recorded)
{
	const struct ng_profile_frame *frames = recorded->frames;

	for (size_t i = 0; i < recorded->stack_count; i++) {
		recorded->stacks[i].frames = frames;
		frames += recorded->stacks[i].frame_count;
	}
}

int ng_recorded_make(const struct ng_recorded_parts *parts, struct ng_recorded **ret_recorded)
{
	struct ng_recorded *recorded = calloc(1, sizeof(*recorded));
	int error;

	if (!recorded)
		return -ENOMEM;
	recorded->parts = parts;
	recorded->stacks =
		calloc(ng_recorder_totals(parts->recorder).stacks + 1, sizeof(*recorded->stacks));
	if (!recorded->stacks)
		recorded->error = -ENOMEM;
	else
		ng_recorder_walk(parts->recorder, add_stack, recorded);
	error = recorded->error;
	if (error) {
		ng_recorded_free(recorded);
		return error;
	}
	place_frames(recorded);
	recorded->profile = parts->header;
	recorded->profile.stacks = recorded->stacks;
	recorded->profile.stack_count = recorded->stack_count;
	recorded->profile.mappings = recorded->mappings;
	recorded->profile.mapping_count = recorded->mapping_count;
	*ret_recorded = recorded;
	return 0;
}

void ng_recorded_free(struct ng_recorded *recorded)
{
	if (!recorded)
		return;
	tdestroy(recorded->places, free_place);
	free(recorded->stacks);
	free(recorded->frames);
	free(recorded->mappings);
	free(recorded);
}

const struct ng_profile *ng_recorded_profile(const struct ng_recorded *recorded)
{
	return &recorded->profile;
}
