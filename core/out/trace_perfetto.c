/*
 * A trace for ui.perfetto.dev: each call is an instant on its thread's track, with its stack
 * (TrackEvent.callstack_iid), its caller and its goroutine. All is one sequence of packets; each
 * file defines anew what it refers to. What was lost stands on a track of its own.
 */
#include "core/out/trace_perfetto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/out/trace_writer.h"

typedef Perfetto__Protos__TracePacketDefaults message_defaults;
typedef Perfetto__Protos__ClockSnapshot message_snapshot;
typedef Perfetto__Protos__ClockSnapshot__Clock message_clock;
typedef Perfetto__Protos__TrackEvent message_event;
typedef Perfetto__Protos__DebugAnnotation message_annotation;
typedef Perfetto__Protos__InternedData message_interned;
typedef Perfetto__Protos__DebugAnnotationName message_annotation_name;

/* track_event.proto and builtin_clock.proto of Perfetto. */
#define TYPE_SLICE_BEGIN  1u
#define TYPE_SLICE_END	  2u
#define TYPE_INSTANT	  3u
#define CLOCK_OF_REALTIME 1u
#define CLOCK_OF_EVENTS	  3u /* CLOCK_MONOTONIC */

/* Beside those of threads and processes. */
#define TRACK_OF_LOSSES (1ull << 62)
#define TRACK_OF_GAPS	(TRACK_OF_LOSSES + 1)

enum annotation {
	ANNOTATION_GOROUTINE = 1, /* iids */
	ANNOTATION_CALLER,
	ANNOTATION_EVENTS,
};

/* By iid. */
static const char *const annotation_names[] = {
	[ANNOTATION_GOROUTINE] = "goroutine",
	[ANNOTATION_CALLER] = "caller",
	[ANNOTATION_EVENTS] = "events",
};

#define ANNOTATION_COUNT (sizeof(annotation_names) / sizeof(annotation_names[0]))

/* What a caller is told apart by; hashed as bytes, so without padding. */
struct caller_key {
	uint64_t name; /* iid of the called function */
	uint64_t stack_id;
};

static void put_head(struct ng_perfetto *perfetto)
{
	ng_perfetto_packet packet = PERFETTO__PROTOS__TRACE_PACKET__INIT;
	message_defaults defaults = PERFETTO__PROTOS__TRACE_PACKET_DEFAULTS__INIT;
	message_interned interned = PERFETTO__PROTOS__INTERNED_DATA__INIT;
	message_annotation_name names[ANNOTATION_COUNT - 1], *pointers[ANNOTATION_COUNT - 1];

	for (size_t i = 0; i < ANNOTATION_COUNT - 1; i++) {
		perfetto__protos__debug_annotation_name__init(&names[i]);
		names[i].has_iid = true;
		names[i].iid = i + 1;
		names[i].name = (char *)annotation_names[i + 1];
		pointers[i] = &names[i];
	}
	interned.debug_annotation_names = pointers;
	interned.n_debug_annotation_names = ANNOTATION_COUNT - 1;
	defaults.has_timestamp_clock_id = true;
	defaults.timestamp_clock_id = CLOCK_OF_EVENTS;
	packet.sequence_flags = NG_PERFETTO_STATE_CLEARED;
	packet.has_first_packet_on_sequence = !perfetto->has_clock;
	packet.first_packet_on_sequence = true;
	packet.trace_packet_defaults = &defaults;
	packet.interned_data = &interned;
	ng_perfetto_put(perfetto, &packet);
}

/* Both clocks at a time; a difference is all that is known of them, so any would do. */
static void put_clocks(struct ng_perfetto *perfetto, uint64_t time_ns)
{
	ng_perfetto_packet packet = PERFETTO__PROTOS__TRACE_PACKET__INIT;
	message_snapshot snapshot = PERFETTO__PROTOS__CLOCK_SNAPSHOT__INIT;
	message_clock monotonic = PERFETTO__PROTOS__CLOCK_SNAPSHOT__CLOCK__INIT;
	message_clock realtime = PERFETTO__PROTOS__CLOCK_SNAPSHOT__CLOCK__INIT;
	message_clock *clocks[] = {&monotonic, &realtime};

	monotonic.has_clock_id = true;
	monotonic.clock_id = CLOCK_OF_EVENTS;
	monotonic.has_timestamp = true;
	monotonic.timestamp = time_ns;
	realtime.has_clock_id = true;
	realtime.clock_id = CLOCK_OF_REALTIME;
	realtime.has_timestamp = true;
	realtime.timestamp = time_ns + (uint64_t)perfetto->clock_offset_ns;
	snapshot.clocks = clocks;
	snapshot.n_clocks = sizeof(clocks) / sizeof(clocks[0]);
	snapshot.has_primary_trace_clock = true;
	snapshot.primary_trace_clock = CLOCK_OF_EVENTS;
	packet.clock_snapshot = &snapshot;
	ng_perfetto_put(perfetto, &packet);
}

/* @return where the packets end before something is added */
static size_t open_packets(struct ng_perfetto *perfetto)
{
	if (perfetto->is_taken)
		ng_buffer_clear(&perfetto->packets);
	perfetto->packets.error = 0;
	perfetto->is_taken = false;
	perfetto->error = 0;
	perfetto->had_clock = perfetto->has_clock;
	return perfetto->packets.length;
}

/* All that was added is there, or none of it: then what it defined is forgotten, and the rest. */
static int close_packets(struct ng_perfetto *perfetto, size_t begin)
{
	if (!perfetto->error)
		return 0;
	perfetto->packets.length = begin;
	perfetto->has_clock = perfetto->had_clock;
	ng_perfetto_forget(perfetto);
	return perfetto->error;
}

/* What has to be there before the first packet with a time. */
static void need(struct ng_perfetto *perfetto, uint64_t time_ns)
{
	if (!perfetto->has_head)
		put_head(perfetto);
	perfetto->has_head = true;
	if (!perfetto->has_clock)
		put_clocks(perfetto, time_ns);
	perfetto->has_clock = true;
}

/* An instant, unless its type says otherwise. */
static void put_event(struct ng_perfetto *perfetto, message_event *event, uint64_t time_ns)
{
	ng_perfetto_packet packet = PERFETTO__PROTOS__TRACE_PACKET__INIT;

	if (!event->has_type)
		event->type = TYPE_INSTANT;
	event->has_type = true;
	event->has_name_iid = event->type != TYPE_SLICE_END;
	event->has_track_uuid = true;
	packet.has_timestamp = true;
	packet.timestamp = time_ns;
	packet.track_event = event;
	ng_perfetto_put(perfetto, &packet);
}

/* "main.work main.go:25", the iid of it; 0: not known. */
static uint64_t make_caller(struct ng_perfetto *perfetto, const struct ng_trace_event *event)
{
	const struct ng_profile_frame *frame = ng_trace_caller(event);
	char room[NG_FRAME_NAME_SIZE];

	if (!frame)
		return 0;
	ng_buffer_clear(&perfetto->caller);
	ng_buffer_puts(&perfetto->caller, ng_profile_frame_name(frame, room));
	if (frame->file && frame->file[0])
		ng_buffer_puts(&perfetto->caller, " ");
	ng_trace_put_place(&perfetto->caller, frame);
	ng_perfetto_fail(perfetto, perfetto->caller.error);
	return perfetto->error ? 0 : ng_perfetto_value(perfetto, perfetto->caller.text);
}

static uint64_t add_caller(
	struct ng_perfetto *perfetto, const struct ng_trace_event *event, uint64_t name)
{
	struct ng_blobs *callers = &perfetto->defined.callers;
	const struct caller_key key = {name, event->stack_id};
	uint32_t number = 0;
	uint64_t iid = 0;
	size_t length;
	const char *kept;

	if (event->stack_id == NG_TRACE_NO_STACK)
		return 0;
	if (!perfetto->error)
		perfetto->error = ng_blobs_number(callers, &key, sizeof(key), &number);
	if (perfetto->error)
		return 0;
	kept = ng_blobs_get(callers, number, &length);
	if (kept) {
		memcpy(&iid, kept, sizeof(iid));
		return iid;
	}
	iid = make_caller(perfetto, event);
	if (!perfetto->error)
		perfetto->error = ng_blobs_keep(callers, number, &iid, sizeof(iid));
	return iid;
}

static int add(void *state, const struct ng_trace_event *event)
{
	struct ng_perfetto *perfetto = state;
	const size_t begin = open_packets(perfetto);
	message_event message = PERFETTO__PROTOS__TRACK_EVENT__INIT;
	message_annotation goroutine = PERFETTO__PROTOS__DEBUG_ANNOTATION__INIT;
	message_annotation caller = PERFETTO__PROTOS__DEBUG_ANNOTATION__INIT;
	message_annotation *annotations[2];
	int error;

	need(perfetto, event->time_ns);
	message.name_iid = ng_perfetto_name(perfetto, ng_trace_function(event));
	message.track_uuid = ng_perfetto_thread(perfetto, event->pid, event->tid);
	message.callstack_iid = ng_perfetto_stack(perfetto, event);
	message.has_callstack_iid = message.callstack_iid != 0;
	message.debug_annotations = annotations;
	caller.has_name_iid = caller.has_string_value_iid = true;
	caller.name_iid = ANNOTATION_CALLER;
	caller.string_value_iid = add_caller(perfetto, event, message.name_iid);
	if (caller.string_value_iid)
		annotations[message.n_debug_annotations++] = &caller;
	goroutine.has_name_iid = goroutine.has_uint_value = true;
	goroutine.name_iid = ANNOTATION_GOROUTINE;
	goroutine.uint_value = event->goroutine;
	if (event->goroutine)
		annotations[message.n_debug_annotations++] = &goroutine;
	put_event(perfetto, &message, event->time_ns);
	error = close_packets(perfetto, begin);
	perfetto->events += !error;
	return error;
}

static int gap(void *state, uint64_t from_ns, uint64_t to_ns)
{
	struct ng_perfetto *perfetto = state;
	const size_t begin = open_packets(perfetto);
	message_event from = PERFETTO__PROTOS__TRACK_EVENT__INIT;
	message_event to = PERFETTO__PROTOS__TRACK_EVENT__INIT;

	need(perfetto, from_ns);
	ng_perfetto_track_named(perfetto, TRACK_OF_GAPS, "nowgate: nobody looked");
	from.has_type = to.has_type = true;
	from.type = TYPE_SLICE_BEGIN;
	from.name_iid = ng_perfetto_name(perfetto, "gap");
	from.track_uuid = to.track_uuid = TRACK_OF_GAPS;
	put_event(perfetto, &from, from_ns);
	to.type = TYPE_SLICE_END;
	put_event(perfetto, &to, to_ns);
	return close_packets(perfetto, begin);
}

static int lose(void *state, uint64_t time_ns, const char *cause, uint64_t events)
{
	struct ng_perfetto *perfetto = state;
	const size_t begin = open_packets(perfetto);
	message_event message = PERFETTO__PROTOS__TRACK_EVENT__INIT;
	message_annotation count = PERFETTO__PROTOS__DEBUG_ANNOTATION__INIT;

	need(perfetto, time_ns);
	ng_perfetto_track_named(perfetto, TRACK_OF_LOSSES, "nowgate: calls lost");
	ng_buffer_clear(&perfetto->caller);
	ng_buffer_puts(&perfetto->caller, "lost: ");
	ng_buffer_puts(&perfetto->caller, cause);
	ng_perfetto_fail(perfetto, perfetto->caller.error);
	if (!perfetto->error)
		message.name_iid = ng_perfetto_name(perfetto, perfetto->caller.text);
	message.track_uuid = TRACK_OF_LOSSES;
	count.has_name_iid = count.has_uint_value = true;
	count.name_iid = ANNOTATION_EVENTS;
	count.uint_value = events;
	message.debug_annotations = &(message_annotation *){&count};
	message.n_debug_annotations = 1;
	put_event(perfetto, &message, time_ns);
	return close_packets(perfetto, begin);
}

static int begin_file(void *state, uint32_t segment)
{
	struct ng_perfetto *perfetto = state;
	const size_t begin = open_packets(perfetto);

	(void)segment; /* nothing in the format is for it */
	ng_perfetto_forget(perfetto);
	perfetto->has_clock = perfetto->had_clock = false;
	put_head(perfetto);
	perfetto->has_head = true;
	return close_packets(perfetto, begin);
}

static int end_file(void *state, const struct ng_trace_end *end)
{
	(void)state;
	(void)end; /* losses were told */
	return 0;
}

static uint64_t drop(void *state)
{
	struct ng_perfetto *perfetto = state;
	const uint64_t events = perfetto->events;

	ng_perfetto_forget(perfetto); /* what it defined may be gone */
	perfetto->has_clock = false;
	perfetto->is_taken = true;
	perfetto->events = 0;
	return events;
}

static size_t pending(const void *state)
{
	const struct ng_perfetto *perfetto = state;

	return perfetto->is_taken ? 0 : perfetto->packets.length;
}

static int take(void *state, bool is_all, struct ng_trace_unit *ret_unit)
{
	struct ng_perfetto *perfetto = state;

	(void)is_all; /* nothing is ever held back: readers sort */
	*ret_unit =
		(struct ng_trace_unit){perfetto->packets.text, pending(state), perfetto->events};
	perfetto->is_taken = true;
	perfetto->events = 0;
	return 0;
}

static void free_state(void *state)
{
	struct ng_perfetto *perfetto = state;

	ng_perfetto_forget(perfetto);
	ng_buffer_release(&perfetto->packets);
	ng_buffer_release(&perfetto->line);
	ng_buffer_release(&perfetto->caller);
	free(perfetto->ids);
	free(perfetto->packed);
	free(perfetto->exe);
	free(perfetto);
}

static int open_state(
	const struct ng_trace_options *options, void **ret_state, struct ng_diag *diag)
{
	struct ng_perfetto *perfetto = calloc(1, sizeof(*perfetto));

	if (!perfetto)
		return ng_diag_set(diag, -ENOMEM, "no memory for a trace");
	perfetto->clock_offset_ns = options->clock_offset_ns;
	perfetto->pid = options->pid;
	perfetto->exe = options->exe && options->exe[0] ? strdup(options->exe) : NULL;
	if (options->exe && options->exe[0] && !perfetto->exe) {
		free_state(perfetto);
		return ng_diag_set(diag, -ENOMEM, "no memory for a trace");
	}
	*ret_state = perfetto;
	return 0;
}

const struct ng_trace_writer ng_trace_perfetto = {
	.names = NG_SEGMENT_SUFFIX,
	.open = open_state,
	.free = free_state,
	.begin = begin_file,
	.add = add,
	.gap = gap,
	.lose = lose,
	.end = end_file,
	.drop = drop,
	.pending = pending,
	.take = take,
};
