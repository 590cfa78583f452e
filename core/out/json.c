#include "core/out/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

#include <jansson.h>

#include "core/out/buffer.h"
#include "core/out/intern.h"
#include "core/out/json_parts.h"
#include "core/out/text.h"

#define FORMAT_VERSION 1

/* What is made by these is NULL where memory is out, and so is what takes it: json_pack() and the
 * functions that end in _new pass that on. */

static json_t *losses(const struct ng_profile *profile)
{
	struct ng_buffer cause = {0};
	json_t *object = json_object();

	for (size_t i = 0; i < profile->loss_count && object; i++) {
		ng_buffer_clear(&cause);
		ng_text_put_line(&cause, profile->losses[i].cause);
		ng_buffer_put(&cause, "", 0); /* there is a text then */
		if (cause.error || json_object_set_new(object, cause.text,
					   ng_json_number(profile->losses[i].count))) {
			json_decref(object);
			object = NULL;
		}
	}
	ng_buffer_release(&cause);
	return object;
}

static json_t *comments(const struct ng_profile *profile)
{
	json_t *array = json_array();

	for (size_t i = 0; i < profile->comment_count; i++)
		if (json_array_append_new(array, ng_json_text_or_null(profile->comments[i]))) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *mappings(const struct ng_profile *profile)
{
	json_t *array = json_array();

	for (size_t i = 0; i < profile->mapping_count; i++) {
		const struct ng_profile_mapping *mapping = &profile->mappings[i];

		if (json_array_append_new(
			    array, json_pack("{s:o, s:o, s:o, s:o, s:o}", "start",
					   ng_json_address(mapping->start), "limit",
					   ng_json_address(mapping->limit), "offset",
					   ng_json_address(mapping->offset), "file",
					   ng_json_text_or_null(mapping->file), "build_id",
					   ng_json_text_or_null(mapping->build_id)))) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *frame_object(const struct ng_profile_frame *frame)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "function",
		ng_json_text_or_null(frame->function), "file", ng_json_text_or_null(frame->file),
		"line", ng_json_number_or_null(frame->line), "start_line",
		ng_json_number_or_null(frame->start_line), "address",
		frame->address ? ng_json_address(frame->address) : json_null(), "mapping",
		frame->mapping == NG_FRAME_NO_MAPPING ? json_null()
						      : ng_json_number(frame->mapping),
		"is_inlined", frame->is_inlined);
}

/* What a frame is told apart by; hashed as bytes, so without padding. */
struct frame_key {
	uint64_t address;
	uint32_t function; /* in the texts, as the file */
	uint32_t file;
	uint32_t line;
	uint32_t start_line;
	uint32_t mapping;
	uint32_t is_inlined;
};

/* Frames that were met, in the order of the document. */
struct frames {
	json_t *array;
	struct ng_intern keys;
	struct ng_intern texts;
};

static int add_text(struct frames *frames, const char *text, uint32_t *ret_number)
{
	return ng_intern_add_text(&frames->texts, text ? text : "", ret_number);
}

/* @return its place, as JSON */
static json_t *frame_place(const struct ng_profile_frame *frame, struct frames *frames)
{
	const uint32_t before = frames->keys.count;
	struct frame_key key = {.address = frame->address,
		.line = frame->line,
		.start_line = frame->start_line,
		.mapping = frame->mapping,
		.is_inlined = frame->is_inlined};
	uint32_t place;

	if (add_text(frames, frame->function, &key.function) ||
		add_text(frames, frame->file, &key.file) ||
		ng_intern_add(&frames->keys, &key, sizeof(key), &place))
		return NULL;
	if (place == before && json_array_append_new(frames->array, frame_object(frame)))
		return NULL;
	return json_integer(place);
}

static json_t *stack_object(
	const struct ng_profile_stack *stack, uint64_t calls, struct frames *frames)
{
	json_t *places = json_array();

	for (size_t i = 0; i < stack->frame_count; i++)
		if (json_array_append_new(places, frame_place(&stack->frames[i], frames))) {
			json_decref(places);
			return NULL;
		}
	return json_pack("{s:o, s:o, s:o, s:o}", "frames", places, "hits",
		ng_json_number(stack->hits), "calls", ng_json_number(calls), "cost_ns",
		ng_json_number(stack->cost_ns));
}

/* Fills frames_array on the way. */
static json_t *stacks(const struct ng_profile *profile, json_t *frames_array)
{
	struct frames frames = {.array = frames_array};
	struct ng_rounder rounder = {0};
	json_t *array = json_array();

	for (size_t i = 0; i < profile->stack_count; i++) {
		const struct ng_profile_stack *stack = &profile->stacks[i];
		const uint64_t calls = ng_rounder_next(&rounder, stack->calls);

		if (json_array_append_new(array, stack_object(stack, calls, &frames))) {
			json_decref(array);
			array = NULL;
			break;
		}
	}
	ng_intern_release(&frames.keys);
	ng_intern_release(&frames.texts);
	return array;
}

static json_t *bound(const struct ng_profile *profile, double calls)
{
	return profile->is_estimate && isfinite(calls) ? json_real(calls) : json_null();
}

static json_t *document(const struct ng_profile *profile, const struct ng_profile_total *total)
{
	json_t *frames = json_array();
	json_t *all = frames ? stacks(profile, frames) : NULL;

	return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, "
			 "s:o, s:o, s:o, s:o}",
		"v", FORMAT_VERSION, "function", ng_json_text_or_null(profile->function), "exe",
		ng_json_text_or_null(profile->exe), "pid", ng_json_number_or_null(profile->pid),
		"mode", ng_json_text_or_null(profile->mode), "began_at_ns",
		ng_json_number_or_null(profile->began_at_ns), "duration_ns",
		ng_json_number(profile->duration_ns), "hits", ng_json_number(total->hits), "calls",
		ng_json_number((uint64_t)(total->calls + 0.5)), "cost_ns",
		ng_json_number(total->cost_ns), "is_estimate", profile->is_estimate, "low_calls",
		bound(profile, profile->low_calls), "high_calls",
		bound(profile, profile->high_calls), "lost", losses(profile), "comments",
		comments(profile), "mappings", mappings(profile), "frames", frames, "stacks", all);
}

static int add_piece(const char *bytes, size_t length, void *context)
{
	ng_buffer_put(context, bytes, length);
	return 0; /* the buffer keeps the error: json_dumps() overlooks some of its own */
}

int ng_profile_json(const struct ng_profile *profile, char **ret_text, struct ng_diag *diag)
{
	struct ng_buffer text = {0};
	struct ng_profile_total total;
	int error = ng_profile_check(profile, &total, diag);
	json_t *root;

	if (error)
		return error;
	root = document(profile, &total);
	if (!root || json_dump_callback(root, add_piece, &text, JSON_COMPACT))
		text.error = -ENOMEM;
	json_decref(root);
	error = ng_buffer_finish(&text, ret_text);
	return error ? ng_diag_set(diag, error, "no memory for the profile as JSON") : 0;
}
