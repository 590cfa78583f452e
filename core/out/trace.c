#include "core/out/trace.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/out/segment.h"
#include "core/out/text.h"
#include "core/out/trace_writer.h"

#define OTHER "other"

struct ng_trace {
	const struct ng_trace_writer *writer;
	void *state;
	struct ng_segment segment;
	uint64_t segment_bytes; /* 0: there is one */
	uint32_t segment_count; /* 0: any number */
	bool is_ring;
	bool has_begun; /* the segment */

	uint64_t time_ns;      /* of the latest event; 0: there is none */
	uint64_t begun_events; /* that were written before this segment */
	uint64_t *kept_events; /* of a ring's segments, by number % segment_count; or NULL */
	struct ng_trace_totals totals;
	uint64_t told[NG_TRACE_CAUSES_MAX]; /* of totals.losses, to the writer … */
	uint64_t sure[NG_TRACE_CAUSES_MAX]; /* … and in what was written */
};

static const struct ng_trace_writer *const writers[] = {
	[NG_TRACE_CTF] = &ng_trace_ctf,
	[NG_TRACE_PERFETTO] = &ng_trace_perfetto,
	[NG_TRACE_NDJSON] = &ng_trace_ndjson,
};

const struct ng_profile_frame *ng_trace_caller(const struct ng_trace_event *event)
{
	const char *function = event->function ? event->function : "";
	const struct ng_profile_frame *first = event->frames;

	if (!event->frame_count)
		return NULL;
	if (!first->function || strcmp(first->function, function))
		return first;
	return event->frame_count > 1 ? first + 1 : NULL;
}

const char *ng_trace_function(const struct ng_trace_event *event)
{
	return event->function && event->function[0] ? event->function : NG_TRACE_UNKNOWN;
}

void ng_trace_put_place(struct ng_buffer *buffer, const struct ng_profile_frame *frame)
{
	const char *slash;

	if (!frame->file || !frame->file[0])
		return;
	slash = strrchr(frame->file, '/');
	ng_text_put_line(buffer, slash && slash[1] ? slash + 1 : frame->file);
	if (frame->line)
		ng_buffer_printf(buffer, ":%" PRIu32, frame->line);
}

static int check(const struct ng_trace_options *options, struct ng_diag *diag)
{
	if ((size_t)options->format >= sizeof(writers) / sizeof(writers[0]))
		return ng_diag_set(
			diag, -EINVAL, "there is no format of traces %d", options->format);
	if (!options->path && options->format == NG_TRACE_CTF)
		return ng_diag_set(diag, -EINVAL, "a CTF trace is a directory: it needs a path");
	if (!options->path && options->segment_bytes)
		return ng_diag_set(diag, -EINVAL, "only a trace with a path can have segments");
	if (options->segment_bytes && options->segment_bytes < NG_TRACE_SEGMENT_MIN_BYTES)
		return ng_diag_set(diag, -EINVAL,
			"segments of %" PRIu64 " bytes are too small: %u at the least",
			options->segment_bytes, NG_TRACE_SEGMENT_MIN_BYTES);
	if (options->segment_count > NG_TRACE_SEGMENTS_MAX)
		return ng_diag_set(diag, -EINVAL, "%" PRIu32 " segments are too many: %u at most",
			options->segment_count, NG_TRACE_SEGMENTS_MAX);
	if ((options->segment_count && !options->segment_bytes) ||
		(options->is_ring && !options->segment_count))
		return ng_diag_set(diag, -EINVAL, "segments need a size, and a ring their number");
	return 0;
}

/* The place of a cause's loss, a new one if need be. */
static size_t loss_of(struct ng_trace *trace, const char *cause)
{
	struct ng_trace_totals *totals = &trace->totals;
	struct ng_trace_loss wanted = {0};
	size_t i = 0;

	(void)snprintf(wanted.cause, sizeof(wanted.cause), "%s", cause);
	while (i < totals->loss_count && strcmp(totals->losses[i].cause, wanted.cause))
		i++;
	if (i < totals->loss_count)
		return i;
	if (i == NG_TRACE_CAUSES_MAX)
		return i - 1;
	if (i == NG_TRACE_CAUSES_MAX - 1)
		(void)snprintf(wanted.cause, sizeof(wanted.cause), OTHER);
	totals->losses[totals->loss_count++] = wanted;
	return i;
}

void ng_trace_lose(struct ng_trace *trace, const char *cause, uint64_t events)
{
	if (events)
		trace->totals.losses[loss_of(trace, cause)].events += events;
}

static const char *cause_of(int error)
{
	if (error == -E2BIG)
		return NG_TRACE_LOST_SIZE_LIMIT;
	return ng_segment_is_full(error) ? NG_TRACE_LOST_DISK_FULL : NG_TRACE_LOST_WRITE_ERROR;
}

/* The trace has ended: a unit could not be written, and what is held back goes with it. */
static int end_by(struct ng_trace *trace, int error, uint64_t unit_events)
{
	if (!trace->totals.ended_by)
		trace->totals.ended_by = error;
	ng_trace_lose(trace, cause_of(error), unit_events + trace->writer->drop(trace->state));
	memcpy(trace->told, trace->sure, sizeof(trace->told));
	trace->has_begun = trace->segment.bytes > 0;
	return error;
}

/* Writes what the writer gives. */
static int write_units(struct ng_trace *trace, bool is_all, struct ng_diag *diag)
{
	struct ng_trace_unit unit;

	do {
		int error = trace->writer->take(trace->state, is_all, &unit);

		if (error)
			return ng_diag_set(diag, error, "no memory for the trace");
		if (!unit.length)
			return 0;
		error = ng_segment_write(&trace->segment, unit.bytes, unit.length, diag);
		if (error)
			return end_by(trace, error, unit.events);
		trace->totals.events += unit.events;
		memcpy(trace->sure, trace->told, sizeof(trace->sure));
	} while (is_all);
	return 0;
}

static int tell_losses(struct ng_trace *trace)
{
	const uint64_t time_ns = trace->time_ns ? trace->time_ns : ng_clock_ns();

	for (size_t i = 0; i < trace->totals.loss_count; i++) {
		const struct ng_trace_loss *loss = &trace->totals.losses[i];
		int error;

		if (loss->events == trace->told[i])
			continue;
		error = trace->writer->lose(
			trace->state, time_ns, loss->cause, loss->events - trace->told[i]);
		if (error)
			return error;
		trace->told[i] = loss->events;
	}
	return 0;
}

static int begin(struct ng_trace *trace)
{
	int error =
		trace->has_begun ? 0 : trace->writer->begin(trace->state, trace->segment.number);

	trace->has_begun |= !error;
	return error;
}

/* Writes all there is, and what belongs at a segment's end. */
static int finish(struct ng_trace *trace, bool is_last, struct ng_diag *diag)
{
	struct ng_trace_end end = {.is_last = is_last, .totals = &trace->totals};
	int error = begin(trace);

	if (!error)
		error = tell_losses(trace);
	if (error)
		return ng_diag_set(diag, error, "no memory for the trace's end");
	error = write_units(trace, true, diag); /* the events are counted then */
	if (error)
		return error;
	end.segment_events = trace->totals.events - trace->begun_events;
	error = trace->writer->end(trace->state, &end);
	if (error)
		return ng_diag_set(diag, error, "no memory for the trace's end");
	return write_units(trace, true, diag);
}

/* Of a ring's segment: the events that it has. */
static uint64_t *kept_of(struct ng_trace *trace, uint32_t number)
{
	assert(trace->kept_events && trace->segment_count);
	return &trace->kept_events[number % trace->segment_count];
}

/* To the next segment; in a ring, the oldest one makes room for it. */
static int next_segment(struct ng_trace *trace, struct ng_diag *diag)
{
	const uint32_t first = trace->segment.first;
	int error;

	if (trace->is_ring)
		*kept_of(trace, trace->segment.number) = trace->totals.events - trace->begun_events;
	trace->begun_events = trace->totals.events;
	error = ng_segment_next(&trace->segment, diag);
	if (trace->segment.first != first)
		trace->totals.removed_events += *kept_of(trace, first);
	return error;
}

/* This segment is full: to the next one. */
static int turn(struct ng_trace *trace, struct ng_diag *diag)
{
	int error;

	if (trace->segment_count && !trace->is_ring &&
		trace->segment.number + 1 == trace->segment_count) {
		trace->totals.ended_by = -E2BIG;
		return ng_diag_set(diag, -E2BIG, "the trace has reached its size");
	}
	error = finish(trace, false, diag);
	if (error)
		return error;
	error = next_segment(trace, diag);
	if (error)
		return end_by(trace, error, 0);
	trace->has_begun = false;
	return 0;
}

static bool is_full(const struct ng_trace *trace)
{
	return trace->segment_bytes && trace->segment.is_file &&
	       trace->segment.bytes + trace->writer->pending(trace->state) >= trace->segment_bytes;
}

/* All that has to be there before an event is added. */
static int prepare(struct ng_trace *trace, struct ng_diag *diag)
{
	int error;

	if (trace->totals.ended_by)
		return ng_diag_set(diag, trace->totals.ended_by, "the trace has ended: %s",
			cause_of(trace->totals.ended_by));
	error = is_full(trace) ? turn(trace, diag) : 0;
	if (error)
		return error;
	error = begin(trace);
	return error ? ng_diag_set(diag, error, "no memory for the trace") : 0;
}

int ng_trace_write(struct ng_trace *trace, const struct ng_trace_event *event, struct ng_diag *diag)
{
	int error = prepare(trace, diag);

	if (!error) {
		error = trace->writer->add(trace->state, event);
		if (error)
			(void)ng_diag_set(diag, error, "no memory for an event of the trace");
	}
	if (error) {
		ng_trace_lose(trace,
			trace->totals.ended_by ? cause_of(trace->totals.ended_by)
					       : NG_TRACE_LOST_NO_MEMORY,
			1);
		return error;
	}
	if (event->time_ns > trace->time_ns)
		trace->time_ns = event->time_ns;
	if (trace->writer->pending(trace->state) < NG_TRACE_UNIT_BYTES)
		return 0;
	/* Memory that is out is no loss here: both are tried again with the next event. */
	if (tell_losses(trace))
		return 0;
	error = write_units(trace, false, diag);
	return trace->totals.ended_by ? error : 0;
}

int ng_trace_gap(struct ng_trace *trace, uint64_t from_ns, uint64_t to_ns, struct ng_diag *diag)
{
	int error = prepare(trace, diag);

	if (error)
		return error;
	error = trace->writer->gap(trace->state, from_ns, to_ns);
	return error ? ng_diag_set(diag, error, "no memory for a gap of the trace") : 0;
}

int ng_trace_flush(struct ng_trace *trace, struct ng_diag *diag)
{
	int error = prepare(trace, diag);

	if (!error)
		error = tell_losses(trace);
	if (error)
		return ng_diag_set(diag, error, "no memory for the trace");
	return write_units(trace, true, diag);
}

void ng_trace_look(const struct ng_trace *trace, struct ng_trace_totals *ret_totals)
{
	*ret_totals = trace->totals;
	ret_totals->bytes = trace->segment.all_bytes;
	ret_totals->first_segment = trace->segment.first;
	ret_totals->segment_count = trace->segment.number + 1 - trace->segment.first;
}

static void free_trace(struct ng_trace *trace)
{
	if (trace->state)
		trace->writer->free(trace->state);
	free(trace->kept_events);
	free(trace);
}

int ng_trace_open(
	const struct ng_trace_options *options, struct ng_trace **ret_trace, struct ng_diag *diag)
{
	struct ng_segment_options files = {.path = options->path,
		.fd = options->fd,
		.keep = options->is_ring ? options->segment_count : 0};
	struct ng_trace *trace;
	int error = check(options, diag);

	if (error)
		return error;
	trace = calloc(1, sizeof(*trace));
	if (!trace)
		return ng_diag_set(diag, -ENOMEM, "no memory for a trace");
	trace->writer = writers[options->format];
	trace->segment_bytes = options->segment_bytes;
	trace->segment_count = options->segment_count;
	trace->is_ring = options->is_ring;
	if (options->is_ring)
		trace->kept_events = calloc(options->segment_count, sizeof(*trace->kept_events));
	if (options->is_ring && !trace->kept_events)
		error = ng_diag_set(diag, -ENOMEM, "no memory for a trace");
	if (!error)
		error = trace->writer->open(options, &trace->state, diag);
	files.names = trace->writer->names;
	if (options->segment_bytes && options->segment_bytes < NG_SEGMENT_STEP_BYTES)
		files.step_bytes = (uint32_t)options->segment_bytes;
	if (!error)
		error = ng_segment_open(&trace->segment, &files, diag);
	if (error) {
		free_trace(trace);
		return error;
	}
	*ret_trace = trace;
	return 0;
}

int ng_trace_close(struct ng_trace *trace, struct ng_trace_totals *ret_totals, struct ng_diag *diag)
{
	struct ng_diag unsaid = NG_DIAG_INIT; /* a trace that has ended: its end was told before */
	int error, close_error;

	if (ret_totals)
		*ret_totals = (struct ng_trace_totals){0};
	if (!trace)
		return 0;
	error = trace->totals.ended_by;
	if (!error || error == -E2BIG)
		error = finish(trace, true, &unsaid);
	/* What is small may find room in place of the unit that found none. */
	if (ng_segment_is_full(error)) {
		(void)finish(trace, true, NULL); /* if not, the totals are all that tells */
		error = 0;
	}
	if (error == -ENOMEM)
		ng_trace_lose(trace, NG_TRACE_LOST_NO_MEMORY, trace->writer->drop(trace->state));
	close_error = ng_segment_close(&trace->segment, error ? NULL : diag);
	if (ret_totals)
		ng_trace_look(trace, ret_totals);
	if (error)
		(void)ng_diag_set(diag, error, "%s%s",
			unsaid.text[0] ? "" : "the trace ended before: ",
			unsaid.text[0] ? unsaid.text : strerror(-error));
	free_trace(trace);
	return error ? error : close_error;
}
