#include "control/plane/namer.h"

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

struct ng_namer {
	struct ng_namer_source source;
	void *places; /* of struct known_place, by compare_places() */
	struct ng_profile_frame *frames;
	size_t frame_count;
	size_t frame_room;
	size_t first_frame; /* of the stack that is being named */
	struct ng_profile_mapping *mappings;
	size_t mapping_count;
};

struct ng_namer *ng_namer_new(const struct ng_namer_source *source)
{
	struct ng_namer *namer = calloc(1, sizeof(*namer));

	if (!namer)
		return NULL;
	namer->source = *source;
	return namer;
}

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
	struct ng_namer *namer, const struct ng_image *image, uint64_t address)
{
	const struct known_place wanted = {.image = image, .address = address};
	struct known_place **found = tfind(&wanted, &namer->places, compare_places);
	struct known_place *place = found ? *found : look_up(image, address);

	if (!found && place && !tsearch(place, &namer->places, compare_places)) {
		free_place(place);
		return NULL;
	}
	return place;
}

/* @return its index; NG_FRAME_NO_MAPPING where memory is out */
static uint32_t mapping_of(struct ng_namer *namer, const struct ng_place *place)
{
	struct ng_profile_mapping *grown;

	for (size_t i = 0; i < namer->mapping_count; i++) {
		const struct ng_profile_mapping *mapping = &namer->mappings[i];

		if (mapping->start == place->start && mapping->file == place->path)
			return (uint32_t)i;
	}
	grown = reallocarray(namer->mappings, namer->mapping_count + 1, sizeof(*grown));
	if (!grown)
		return NG_FRAME_NO_MAPPING;
	namer->mappings = grown;
	grown[namer->mapping_count] = (struct ng_profile_mapping){.start = place->start,
		.limit = place->end,
		.offset = place->offset,
		.file = place->path,
		.build_id = ng_image_info(place->image)->build_id};
	return (uint32_t)namer->mapping_count++;
}

static int add_frame(struct ng_namer *namer, const struct ng_profile_frame *frame)
{
	if (namer->frame_count == namer->frame_room) {
		const size_t room = namer->frame_room ? 2 * namer->frame_room : 1024;
		struct ng_profile_frame *grown = reallocarray(namer->frames, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		namer->frames = grown;
		namer->frame_room = room;
	}
	namer->frames[namer->frame_count++] = *frame;
	return 0;
}

/* Go's own stacks leave wrappers out, but not where one panicked. */
static bool is_left_out(const struct ng_namer *namer, const struct ng_code_frame *code)
{
	const char *inner = namer->frame_count > namer->first_frame
				    ? namer->frames[namer->frame_count - 1].function
				    : NULL;

	return code->is_wrapper && inner && strcmp(inner, "runtime.gopanic") &&
	       strcmp(inner, "runtime.sigpanic") && strcmp(inner, "runtime.panicwrap");
}

/* The site of a function may stand in what was inlined into it there, which was not called. */
static size_t first_called(const struct ng_namer *namer, const struct ng_count_key *process,
	const struct known_place *known)
{
	const struct ng_site *site = namer->source.site(process->site, namer->source.context);

	return site && site->kind == NG_SITE_FUNCTION ? known->count - 1 : 0;
}

static int add_known(struct ng_namer *namer, const struct ng_profile_frame *where,
	const struct known_place *known, size_t first)
{
	int error = 0;

	for (size_t i = first; !error && i < known->count; i++) {
		const struct ng_code_frame *code = &known->frames[i];
		struct ng_profile_frame frame = *where;

		if (is_left_out(namer, code))
			continue;
		frame.function = code->function;
		frame.file = code->file[0] ? code->file : NULL;
		frame.line = code->line;
		frame.start_line = code->start_line;
		frame.is_inlined = i + 1 < known->count;
		error = add_frame(namer, &frame);
	}
	/* Where the last one was left out, another is the last now. */
	if (namer->frame_count > namer->first_frame)
		namer->frames[namer->frame_count - 1].is_inlined = false;
	return error;
}

static int add_address(struct ng_namer *namer, const struct ng_count_key *process, uint64_t address,
	bool is_innermost)
{
	struct ng_profile_frame frame = {.address = address, .mapping = NG_FRAME_NO_MAPPING};
	const struct known_place *known;
	struct ng_place place;

	if (!namer->source.locate(process, address, namer->source.context, &place))
		return add_frame(namer, &frame);
	frame.mapping = mapping_of(namer, &place);
	known = place_of(namer, place.image, place.address);
	if (!known)
		return -ENOMEM;
	if (!known->count)
		return add_frame(namer, &frame);
	return add_known(
		namer, &frame, known, is_innermost ? first_called(namer, process, known) : 0);
}

int ng_namer_add(struct ng_namer *namer, const struct ng_count_key *process, const uint64_t *frames,
	size_t depth, struct ng_named *ret_named)
{
	int error = 0;

	namer->first_frame = namer->frame_count;
	/* A return address is that of the instruction behind the call. */
	for (size_t i = 0; !error && i < depth; i++)
		error = add_address(namer, process, frames[i] - (i != 0), i == 0);
	if (error)
		namer->frame_count = namer->first_frame;
	*ret_named = (struct ng_named){
		.first = namer->first_frame, .count = namer->frame_count - namer->first_frame};
	return error;
}

const struct ng_profile_frame *ng_namer_frames(const struct ng_namer *namer)
{
	return namer->frames;
}

const struct ng_profile_mapping *ng_namer_mappings(const struct ng_namer *namer, size_t *ret_count)
{
	*ret_count = namer->mapping_count;
	return namer->mappings;
}

void ng_namer_free(struct ng_namer *namer)
{
	if (!namer)
		return;
	tdestroy(namer->places, free_place);
	free(namer->frames);
	free(namer->mappings);
	free(namer);
}
