/*
 * A trace as NDJSON, version 1. The first line of a file is its header, the last one its trailer:
 *
 *   {"version": 1, "kind": "nowgate-trace", "segment": number, "clock_offset_ns": add it to a time,
 *    and it is one since 1970, "pid", "exe", "function", "mode": null where not known}
 *   {"time_ns", "pid", "tid", "goroutine": number or null, "function",
 *    "stack": [{"function", "file", "line": null where not known}], innermost first}
 *   {"gap_ns", "time_ns"}: for so long from then nobody looked
 *   {"lost": number, "cause": text, "time_ns"}: where it was noticed
 *   {"end": true, "is_last": bool, "segment_events", "events": so far, "lost": {cause: number}}
 *
 * A frame whose function is not known has "address", a text: "0x…".
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/out/blobs.h"
#include "core/out/json_parts.h"
#include "core/out/text.h"
#include "core/out/trace_writer.h"

#define FORMAT_VERSION 1
#define LINE_FLAGS     JSON_COMPACT

struct ndjson {
	json_t *target; /* what the header says of it */

	struct ng_buffer lines;
	uint64_t events; /* in them */
	bool is_taken;	 /* they were, and go when something is added */

	/* JSON that was made before. */
	struct ng_blobs functions; /* by name */
	struct ng_blobs stacks;	   /* by id */
	struct ng_buffer made;	   /* room for one */
};

/* What is made by these is NULL where memory is out, and so is what takes it. */

static json_t *frame_object(const struct ng_profile_frame *frame)
{
	json_t *object = ng_json_frame(frame);

	if ((frame->function && frame->function[0]) || !frame->address)
		return object;
	if (json_object_set_new(object, "address", ng_json_address(frame->address))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static json_t *stack_array(const struct ng_trace_event *event)
{
	json_t *array = json_array();

	for (size_t i = 0; i < event->frame_count; i++)
		if (json_array_append_new(array, frame_object(&event->frames[i]))) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static int add_piece(const char *bytes, size_t length, void *context)
{
	ng_buffer_put(context, bytes, length);
	return 0; /* the buffer keeps the error */
}

/* Takes the value. @return 0; -ENOMEM */
static int put(struct ng_buffer *buffer, json_t *value)
{
	if (!value || json_dump_callback(value, add_piece, buffer, LINE_FLAGS | JSON_ENCODE_ANY))
		buffer->error = -ENOMEM;
	json_decref(value);
	return buffer->error;
}

/* What was taken goes, and there is no error yet. */
static void open_lines(struct ndjson *ndjson)
{
	if (ndjson->is_taken)
		ng_buffer_clear(&ndjson->lines);
	ndjson->lines.error = 0;
	ndjson->is_taken = false;
}

/* A line is whole, or goes. */
static int close_line(struct ndjson *ndjson, size_t begin)
{
	int error;

	ng_buffer_puts(&ndjson->lines, "\n");
	error = ndjson->lines.error;
	if (error)
		ndjson->lines.length = begin;
	return error;
}

static int put_line(struct ndjson *ndjson, json_t *value)
{
	size_t begin;

	open_lines(ndjson);
	begin = ndjson->lines.length;
	(void)put(&ndjson->lines, value); /* the buffer keeps the error */
	return close_line(ndjson, begin);
}

/* Adds what is kept for a key, or else keeps what is made by an event. */
static int put_kept(struct ndjson *ndjson, struct ng_blobs *blobs, const void *key,
	size_t key_length, json_t *(*make)(const struct ng_trace_event *),
	const struct ng_trace_event *event)
{
	uint32_t number = 0;
	size_t length;
	const char *kept;
	int error = ng_blobs_number(blobs, key, key_length, &number);

	if (error)
		return error;
	kept = ng_blobs_get(blobs, number, &length);
	if (!kept) {
		ng_buffer_clear(&ndjson->made);
		error = put(&ndjson->made, make(event));
		if (!error)
			error = ng_blobs_keep(
				blobs, number, ndjson->made.text, ndjson->made.length);
		if (error)
			return error;
		kept = ng_blobs_get(blobs, number, &length);
	}
	ng_buffer_put(&ndjson->lines, kept, length);
	return ndjson->lines.error;
}

static json_t *function_text(const struct ng_trace_event *event)
{
	return ng_json_text_or_null(event->function);
}

static int put_event(struct ndjson *ndjson, const struct ng_trace_event *event)
{
	struct ng_buffer *lines = &ndjson->lines;
	const char *function = event->function ? event->function : "";
	int error;

	ng_buffer_printf(lines, "{\"time_ns\":%" PRIu64 ",\"pid\":%" PRIu32 ",\"tid\":%" PRIu32,
		event->time_ns, event->pid, event->tid);
	if (event->goroutine)
		ng_buffer_printf(lines, ",\"goroutine\":%" PRIu64, event->goroutine);
	else
		ng_buffer_puts(lines, ",\"goroutine\":null");
	ng_buffer_puts(lines, ",\"function\":");
	error = put_kept(
		ndjson, &ndjson->functions, function, strlen(function), function_text, event);
	ng_buffer_puts(lines, ",\"stack\":");
	if (event->stack_id == NG_TRACE_NO_STACK)
		ng_buffer_puts(lines, "[]");
	else if (!error)
		error = put_kept(ndjson, &ndjson->stacks, &event->stack_id, sizeof(event->stack_id),
			stack_array, event);
	ng_buffer_puts(lines, "}");
	return error;
}

static int add(void *state, const struct ng_trace_event *event)
{
	struct ndjson *ndjson = state;
	size_t begin;
	int error;

	open_lines(ndjson);
	begin = ndjson->lines.length;
	error = put_event(ndjson, event);
	if (error && !ndjson->lines.error)
		ndjson->lines.error = error;
	error = close_line(ndjson, begin);
	ndjson->events += !error;
	return error;
}

static int begin(void *state, uint32_t segment)
{
	struct ndjson *ndjson = state;
	json_t *header = json_pack("{s:i, s:s, s:o}", "version", FORMAT_VERSION, "kind",
		"nowgate-trace", "segment", ng_json_number(segment));

	if (header && json_object_update(header, ndjson->target)) {
		json_decref(header);
		header = NULL;
	}
	ng_blobs_release(&ndjson->functions);
	ng_blobs_release(&ndjson->stacks);
	return put_line(ndjson, header);
}

static int gap(void *state, uint64_t from_ns, uint64_t to_ns)
{
	return put_line(state, json_pack("{s:o, s:o}", "gap_ns", ng_json_number(to_ns - from_ns),
				       "time_ns", ng_json_number(from_ns)));
}

static int lose(void *state, uint64_t time_ns, const char *cause, uint64_t events)
{
	return put_line(
		state, json_pack("{s:o, s:o, s:o}", "lost", ng_json_number(events), "cause",
			       ng_json_text_or_null(cause), "time_ns", ng_json_number(time_ns)));
}

static json_t *losses(const struct ng_trace_totals *totals)
{
	json_t *object = json_object();

	for (size_t i = 0; i < totals->loss_count && object; i++) {
		json_t *cause = ng_json_text_or_null(totals->losses[i].cause);

		if (!cause || json_object_set_new(object,
				      json_is_string(cause) ? json_string_value(cause) : "",
				      ng_json_number(totals->losses[i].events))) {
			json_decref(object);
			object = NULL;
		}
		json_decref(cause);
	}
	return object;
}

static int end(void *state, const struct ng_trace_end *end)
{
	return put_line(
		state, json_pack("{s:b, s:b, s:o, s:o, s:o}", "end", 1, "is_last", end->is_last,
			       "segment_events", ng_json_number(end->segment_events), "events",
			       ng_json_number(end->totals->events), "lost", losses(end->totals)));
}

static uint64_t drop(void *state)
{
	struct ndjson *ndjson = state;
	const uint64_t events = ndjson->events;

	ndjson->is_taken = true;
	ndjson->events = 0;
	return events;
}

static size_t pending(const void *state)
{
	const struct ndjson *ndjson = state;

	return ndjson->is_taken ? 0 : ndjson->lines.length;
}

static int take(void *state, bool is_all, struct ng_trace_unit *ret_unit)
{
	struct ndjson *ndjson = state;

	(void)is_all; /* nothing is ever held back */
	*ret_unit = (struct ng_trace_unit){ndjson->lines.text, pending(state), ndjson->events};
	ndjson->is_taken = true;
	ndjson->events = 0;
	return 0;
}

static void free_state(void *state)
{
	struct ndjson *ndjson = state;

	json_decref(ndjson->target);
	ng_buffer_release(&ndjson->lines);
	ng_buffer_release(&ndjson->made);
	ng_blobs_release(&ndjson->functions);
	ng_blobs_release(&ndjson->stacks);
	free(ndjson);
}

static int open_state(
	const struct ng_trace_options *options, void **ret_state, struct ng_diag *diag)
{
	struct ndjson *ndjson = calloc(1, sizeof(*ndjson));

	if (ndjson)
		ndjson->target = json_pack("{s:I, s:o, s:o, s:o, s:o}", "clock_offset_ns",
			(json_int_t)options->clock_offset_ns, "pid",
			ng_json_number_or_null(options->pid), "exe",
			ng_json_text_or_null(options->exe), "function",
			ng_json_text_or_null(options->function), "mode",
			ng_json_text_or_null(options->mode));
	if (!ndjson || !ndjson->target) {
		free(ndjson);
		return ng_diag_set(diag, -ENOMEM, "no memory for a trace");
	}
	*ret_state = ndjson;
	return 0;
}

const struct ng_trace_writer ng_trace_ndjson = {
	.names = NG_SEGMENT_SUFFIX,
	.open = open_state,
	.free = free_state,
	.begin = begin,
	.add = add,
	.gap = gap,
	.lose = lose,
	.end = end,
	.drop = drop,
	.pending = pending,
	.take = take,
};
