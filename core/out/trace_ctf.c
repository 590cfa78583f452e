/*
 * A trace in the Common Trace Format, version 1.8: one stream in files of whole packets. What it
 * is made of stands in its metadata, trace_ctf_metadata.c.
 *
 * Times of a stream never go back. So calls are sorted before they are written, as many as are held
 * back; what comes later than that is a late_call at the time of the last one written.
 */
#include "core/out/trace_ctf.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "core/out/blobs.h"
#include "core/out/trace_ctf_stream.h"
#include "core/out/trace_writer.h"

struct call_head {
	struct ng_ctf_record_head head;
	uint32_t pid;
	uint32_t tid;
	uint64_t goroutine;
	/* … and the call's tail: three texts and the stack's id */
} __attribute__((packed));

struct tail_key {
	uint32_t function; /* in functions */
	uint32_t stack_id;
};

struct ctf {
	struct ng_ctf_stream stream;

	/* What was written in this file. */
	struct ng_intern functions;
	struct ng_intern stacks; /* ids */
	struct ng_blobs tails;	 /* of calls, by struct tail_key: their stacks are defined */
	struct ng_buffer made;	 /* room for a tail, or a stack */
};

static void forget(struct ctf *ctf)
{
	ng_intern_release(&ctf->functions);
	ng_intern_release(&ctf->stacks);
	ng_blobs_release(&ctf->tails);
}

static int define_stack(struct ctf *ctf, const struct ng_trace_event *event)
{
	const struct ng_ctf_record_head head = {.id = NG_CTF_STACK};
	const uint32_t before = ctf->stacks.count;
	const uint32_t depth = (uint32_t)event->frame_count;
	struct ng_buffer *made = &ctf->made;
	char room[NG_FRAME_NAME_SIZE];
	uint32_t number = 0;
	int error = ng_intern_add(&ctf->stacks, &event->stack_id, sizeof(event->stack_id), &number);

	if (error || number != before)
		return error;
	ng_buffer_clear(made);
	ng_buffer_put(made, &event->stack_id, sizeof(event->stack_id));
	ng_buffer_put(made, &depth, sizeof(depth));
	for (size_t i = 0; i < event->frame_count; i++) {
		const struct ng_profile_frame *frame = &event->frames[i];

		ng_ctf_put_text(made, ng_profile_frame_name(frame, room));
		ng_ctf_put_text(made, frame->file);
		ng_buffer_put(made, &frame->line, sizeof(frame->line));
		ng_buffer_put(made, &frame->address, sizeof(frame->address));
	}
	if (made->error)
		return made->error;
	return ng_ctf_hold(&ctf->stream.held, NG_CTF_BEFORE_CALLS, &head, sizeof(head), made->text,
		made->length);
}

static int make_tail(struct ctf *ctf, const struct ng_trace_event *event, uint32_t number)
{
	const struct ng_profile_frame *caller = ng_trace_caller(event);
	struct ng_buffer *made = &ctf->made;
	char room[NG_FRAME_NAME_SIZE];
	int error = 0;

	if (event->stack_id != NG_TRACE_NO_STACK)
		error = define_stack(ctf, event);
	if (error)
		return error;
	ng_buffer_clear(made);
	ng_ctf_put_text(made, event->function);
	ng_ctf_put_text(made, caller ? ng_profile_frame_name(caller, room) : NULL);
	if (caller && caller->file && caller->file[0]) {
		ng_trace_put_place(made, caller);
		ng_buffer_put(made, "", 1);
	} else {
		ng_ctf_put_text(made, NULL);
	}
	ng_buffer_put(made, &event->stack_id, sizeof(event->stack_id));
	if (made->error)
		return made->error;
	return ng_blobs_keep(&ctf->tails, number, made->text, made->length);
}

/* What a call has in common with others; its stack is defined before. */
static int tail_of(struct ctf *ctf, const struct ng_trace_event *event, const char **ret_tail,
	size_t *ret_length)
{
	struct tail_key key = {.stack_id = event->stack_id};
	uint32_t number = 0;
	int error = ng_intern_add_text(
		&ctf->functions, event->function ? event->function : "", &key.function);

	if (!error)
		error = ng_blobs_number(&ctf->tails, &key, sizeof(key), &number);
	if (error)
		return error;
	*ret_tail = ng_blobs_get(&ctf->tails, number, ret_length);
	if (*ret_tail)
		return 0;
	error = make_tail(ctf, event, number);
	if (!error)
		*ret_tail = ng_blobs_get(&ctf->tails, number, ret_length);
	return error;
}

static int add(void *state, const struct ng_trace_event *event)
{
	const struct call_head head = {
		.head = {.id = NG_CTF_CALL, .time_ns = event->time_ns},
		.pid = event->pid,
		.tid = event->tid,
		.goroutine = event->goroutine,
	};
	struct ctf *ctf = state;
	struct ng_ctf_held *held = &ctf->stream.held;
	const size_t count = held->count;
	const char *tail;
	size_t length;
	int error = tail_of(ctf, event, &tail, &length);

	if (!error)
		error = ng_ctf_hold(held, event->time_ns, &head, sizeof(head), tail, length);
	if (error) {
		ng_ctf_held_cut(held, count);
		forget(ctf); /* a definition may have gone */
	}
	return error;
}

static int gap(void *state, uint64_t from_ns, uint64_t to_ns)
{
	const struct ng_ctf_record_head head = {.id = NG_CTF_GAP, .time_ns = from_ns};
	const uint64_t gap_ns = to_ns - from_ns;
	struct ctf *ctf = state;

	return ng_ctf_hold(
		&ctf->stream.held, from_ns, &head, sizeof(head), &gap_ns, sizeof(gap_ns));
}

static int begin_file(void *state, uint32_t segment)
{
	(void)segment; /* packets are numbered */
	forget(state);
	return 0;
}

static int end_file(void *state, const struct ng_trace_end *end)
{
	(void)state;
	(void)end; /* losses were told */
	return 0;
}

static int lose(void *state, uint64_t time_ns, const char *cause, uint64_t events)
{
	struct ctf *ctf = state;

	return ng_ctf_stream_lose(&ctf->stream, time_ns, cause, events);
}

static uint64_t drop(void *state)
{
	struct ctf *ctf = state;

	forget(ctf); /* what it defined may be gone */
	return ng_ctf_stream_drop(&ctf->stream);
}

static size_t pending(const void *state)
{
	const struct ctf *ctf = state;

	return ng_ctf_stream_pending(&ctf->stream);
}

static int take(void *state, bool is_all, struct ng_trace_unit *ret_unit)
{
	struct ctf *ctf = state;

	return ng_ctf_stream_take(&ctf->stream, is_all, ret_unit);
}

static void free_state(void *state)
{
	struct ctf *ctf = state;

	forget(ctf);
	ng_ctf_stream_release(&ctf->stream);
	ng_buffer_release(&ctf->made);
	free(ctf);
}

static int open_state(
	const struct ng_trace_options *options, void **ret_state, struct ng_diag *diag)
{
	struct ctf *ctf = calloc(1, sizeof(*ctf));
	int error;

	if (!ctf)
		return ng_diag_set(diag, -ENOMEM, "no memory for a trace");
	error = ng_ctf_create(options, ctf->stream.uuid, diag);
	if (error) {
		free(ctf);
		return error;
	}
	*ret_state = ctf;
	return 0;
}

const struct ng_trace_writer ng_trace_ctf = {
	.names = NG_SEGMENT_DIRECTORY,
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
