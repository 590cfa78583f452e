#include "core/out/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/cleanup.h"
#include "core/out/intern.h"
#include "core/out/text.h"

#define FORMAT_VERSION 1

/* What is made by these is NULL where memory is out, and so is what takes it: json_pack() and the
 * functions that end in _new pass that on. */

static json_t *text_or_null(const char *text)
{
	NG_CLEANUP_FREE char *line = NULL;

	if (!text)
		return json_null();
	line = ng_text_to_line(text);
	return line ? json_string(line) : NULL;
}

static json_t *number(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *number_or_null(uint64_t value)
{
	return value ? number(value) : json_null();
}

static json_t *address(uint64_t value)
{
	return json_sprintf("0x%" PRIx64, value);
}

static json_t *losses(const struct ng_profile *profile)
{
	json_t *object = json_object();

	for (size_t i = 0; i < profile->loss_count; i++) {
		NG_CLEANUP_FREE char *cause = ng_text_to_line(profile->losses[i].cause);

		if (!cause || json_object_set_new(object, cause, number(profile->losses[i].hits))) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static json_t *comments(const struct ng_profile *profile)
{
	json_t *array = json_array();

	for (size_t i = 0; i < profile->comment_count; i++)
		if (json_array_append_new(array, text_or_null(profile->comments[i]))) {
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

		if (json_array_append_new(array,
			    json_pack("{s:o, s:o, s:o, s:o, s:o}", "start", address(mapping->start),
				    "limit", address(mapping->limit), "offset",
				    address(mapping->offset), "file", text_or_null(mapping->file),
				    "build_id", text_or_null(mapping->build_id)))) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *frame_object(const struct ng_profile_frame *frame)
{
	const bool is_named = frame->function && frame->function[0];

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "function",
		text_or_null(is_named ? frame->function : NULL), "file", text_or_null(frame->file),
		"line", number_or_null(frame->line), "start_line",
		number_or_null(frame->start_line), "address",
		frame->address ? address(frame->address) : json_null(), "mapping",
		frame->mapping == NG_FRAME_NO_MAPPING ? json_null() : number(frame->mapping),
		"is_inlined", frame->is_inlined);
}

/* Frames are told apart by how they are written. @return its place, as JSON */
static json_t *frame_place(
	const struct ng_profile_frame *frame, struct ng_intern *seen, json_t *frames)
{
	json_t *object = frame_object(frame);
	NG_CLEANUP_FREE char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	const uint32_t before = seen->count;
	uint32_t place = 0;

	if (!text || ng_intern_add_text(seen, text, &place) ||
		(seen->count > before && json_array_append(frames, object))) {
		json_decref(object);
		return NULL;
	}
	json_decref(object);
	return json_integer(place);
}

static json_t *stack_object(const struct ng_profile_stack *stack, uint64_t calls,
	struct ng_intern *seen, json_t *frames)
{
	json_t *places = json_array();

	for (size_t i = 0; i < stack->frame_count; i++)
		if (json_array_append_new(places, frame_place(&stack->frames[i], seen, frames))) {
			json_decref(places);
			return NULL;
		}
	return json_pack("{s:o, s:o, s:o, s:o}", "frames", places, "hits", number(stack->hits),
		"calls", number(calls), "cost_ns", number(stack->cost_ns));
}

/* Fills frames on the way. */
static json_t *stacks(const struct ng_profile *profile, json_t *frames)
{
	struct ng_rounder rounder = {0};
	struct ng_intern seen = {0};
	json_t *array = json_array();

	for (size_t i = 0; i < profile->stack_count; i++) {
		const struct ng_profile_stack *stack = &profile->stacks[i];
		const uint64_t calls = ng_rounder_next(&rounder, stack->calls);

		if (json_array_append_new(array, stack_object(stack, calls, &seen, frames))) {
			json_decref(array);
			array = NULL;
			break;
		}
	}
	ng_intern_release(&seen);
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
		"v", FORMAT_VERSION, "function", text_or_null(profile->function), "exe",
		text_or_null(profile->exe), "pid", number_or_null(profile->pid), "mode",
		text_or_null(profile->mode), "began_at_ns", number_or_null(profile->began_at_ns),
		"duration_ns", number(profile->duration_ns), "hits", number(total->hits), "calls",
		number((uint64_t)(total->calls + 0.5)), "cost_ns", number(total->cost_ns),
		"is_estimate", profile->is_estimate, "low_calls",
		bound(profile, profile->low_calls), "high_calls",
		bound(profile, profile->high_calls), "lost", losses(profile), "comments",
		comments(profile), "mappings", mappings(profile), "frames", frames, "stacks", all);
}

int ng_profile_json(const struct ng_profile *profile, char **ret_text, struct ng_diag *diag)
{
	struct ng_profile_total total;
	int error = ng_profile_check(profile, &total, diag);
	json_t *root;
	char *text;

	if (error)
		return error;
	root = document(profile, &total);
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (!text)
		return ng_diag_set(diag, -ENOMEM, "no memory for the profile as JSON");
	*ret_text = text;
	return 0;
}
