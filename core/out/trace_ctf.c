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
#include <string.h>

#include "core/out/blobs.h"
#include "core/out/text.h"
#include "core/out/trace_ctf_held.h"
#include "core/out/trace_writer.h"

struct packet_head {
	uint32_t magic;
	uint8_t uuid[NG_CTF_UUID_BYTES];
	uint32_t stream_id;
	uint64_t stream_instance_id;
	uint64_t time_begin_ns;
	uint64_t time_end_ns;
	uint64_t content_bits;
	uint64_t packet_bits;
	uint64_t number;
	uint64_t lost_events; /* before its end, since the stream began */
} __attribute__((packed));

struct record_head {
	uint8_t id;
	uint64_t time_ns;
} __attribute__((packed));

struct call_head {
	struct record_head head;
	uint32_t pid;
	uint32_t tid;
	uint64_t goroutine;
	/* … and the call's tail: three texts and the stack's id */
} __attribute__((packed));

struct tail_key {
	uint32_t function; /* in functions */
	uint32_t stack_id;
};

/* Where the stream stands, by what was taken. */
struct stand {
	uint64_t packets;
	uint64_t time_ns; /* of the last record */
	uint64_t lost_events;
};

struct ctf {
	uint8_t uuid[NG_CTF_UUID_BYTES];
	struct stand stand;
	struct stand stand_before; /* the last unit was taken */

	struct ng_ctf_held held;
	struct ng_buffer packet;
	struct ng_buffer losses; /* for the next packet: each a number of events, and a cause */
	uint64_t losses_ns;	 /* the latest one's time */

	/* What was written in this file. */
	struct ng_intern functions;
	struct ng_intern stacks; /* ids */
	struct ng_blobs tails;	 /* of calls, by struct tail_key: their stacks are defined */
	struct ng_buffer made;	 /* room for a tail, or a stack */
};

static uint64_t later(uint64_t one_ns, uint64_t other_ns)
{
	return one_ns > other_ns ? one_ns : other_ns;
}

static void forget(struct ctf *ctf)
{
	ng_intern_release(&ctf->functions);
	ng_intern_release(&ctf->stacks);
	ng_blobs_release(&ctf->tails);
}

/* A text in CTF ends with a NUL. */
static void put_text(struct ng_buffer *out, const char *text)
{
	ng_text_put_line(out, text);
	ng_buffer_put(out, "", 1);
}

static int define_stack(struct ctf *ctf, const struct ng_trace_event *event)
{
	const struct record_head head = {.id = NG_CTF_STACK, .time_ns = event->time_ns};
	const uint32_t before = ctf->stacks.count;
	const uint32_t depth = (uint32_t)event->frame_count;
	struct ng_buffer *made = &ctf->made;
	uint32_t number = 0;
	int error = ng_intern_add(&ctf->stacks, &event->stack_id, sizeof(event->stack_id), &number);

	if (error || number != before)
		return error;
	ng_buffer_clear(made);
	ng_buffer_put(made, &event->stack_id, sizeof(event->stack_id));
	ng_buffer_put(made, &depth, sizeof(depth));
	for (size_t i = 0; i < event->frame_count; i++) {
		const struct ng_profile_frame *frame = &event->frames[i];

		put_text(made, frame->function ? frame->function : "");
		put_text(made, frame->file ? frame->file : "");
		ng_buffer_put(made, &frame->line, sizeof(frame->line));
		ng_buffer_put(made, &frame->address, sizeof(frame->address));
	}
	if (made->error)
		return made->error;
	return ng_ctf_hold(
		&ctf->held, event->time_ns, &head, sizeof(head), made->text, made->length);
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
	put_text(made, ng_trace_function(event));
	put_text(made, caller ? ng_profile_frame_name(caller, room) : "");
	if (caller)
		ng_trace_put_place(made, caller);
	ng_buffer_put(made, "", 1);
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
	const size_t count = ctf->held.count;
	const char *tail;
	size_t length;
	int error = tail_of(ctf, event, &tail, &length);

	if (!error)
		error = ng_ctf_hold(&ctf->held, event->time_ns, &head, sizeof(head), tail, length);
	if (error) {
		ng_ctf_held_cut(&ctf->held, count);
		forget(ctf); /* a definition may have gone */
	}
	return error;
}

static int lose(void *state, uint64_t time_ns, const char *cause, uint64_t events)
{
	struct ctf *ctf = state;
	struct ng_buffer *losses = &ctf->losses;
	const size_t begin = losses->length;

	losses->error = 0;
	ng_buffer_put(losses, &events, sizeof(events));
	put_text(losses, cause);
	if (losses->error)
		losses->length = begin;
	else
		ctf->losses_ns = later(ctf->losses_ns, time_ns);
	return losses->error;
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

static size_t pending(const void *state)
{
	const struct ctf *ctf = state;

	return ctf->held.bytes.length + ctf->losses.length;
}

static void put_late(struct ng_buffer *packet, const char *bytes,
	const struct ng_ctf_record *record, uint64_t time_ns)
{
	const uint64_t late_ns = time_ns - record->time_ns;
	struct record_head head;

	memcpy(&head, bytes, sizeof(head));
	head.time_ns = time_ns;
	if (head.id != NG_CTF_CALL) { /* a stack's time says nothing */
		ng_buffer_put(packet, &head, sizeof(head));
		ng_buffer_put(packet, bytes + sizeof(head), record->length - sizeof(head));
		return;
	}
	head.id = NG_CTF_LATE_CALL;
	ng_buffer_put(packet, &head, sizeof(head));
	ng_buffer_put(packet, bytes + sizeof(head), record->length - sizeof(head));
	ng_buffer_put(packet, &late_ns, sizeof(late_ns));
}

static void put_records(struct ctf *ctf, size_t count)
{
	const struct ng_ctf_held *held = &ctf->held;
	const uint64_t time_ns = ctf->stand.time_ns;

	if (!count)
		return;
	if (!held->is_mixed && held->records[0].time_ns >= time_ns) {
		const struct ng_ctf_record *last = &held->records[count - 1];

		ng_buffer_put(&ctf->packet, held->bytes.text, last->begin + last->length);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const struct ng_ctf_record *record = &held->records[i];
		const char *bytes = held->bytes.text + record->begin;

		if (record->time_ns >= time_ns)
			ng_buffer_put(&ctf->packet, bytes, record->length);
		else
			put_late(&ctf->packet, bytes, record, time_ns);
	}
}

/* Of a loss that is told: its number of events, and its cause with a NUL. */
static size_t loss_length(const char *loss)
{
	return sizeof(uint64_t) + strlen(loss + sizeof(uint64_t)) + 1;
}

/* Adds what was lost, at the packet's end. */
static void put_losses(struct ctf *ctf, uint64_t time_ns)
{
	const struct record_head head = {.id = NG_CTF_LOST, .time_ns = time_ns};
	const struct ng_buffer *losses = &ctf->losses;

	for (size_t at = 0; at < losses->length; at += loss_length(losses->text + at)) {
		ng_buffer_put(&ctf->packet, &head, sizeof(head));
		ng_buffer_put(&ctf->packet, losses->text + at, loss_length(losses->text + at));
	}
}

static uint64_t sum_of(const struct ng_buffer *losses)
{
	uint64_t sum = 0, events;

	for (size_t at = 0; at < losses->length; at += loss_length(losses->text + at)) {
		memcpy(&events, losses->text + at, sizeof(events));
		sum += events;
	}
	return sum;
}

/* Adds a packet's head, which is not whole before its end. @return its place */
static size_t open_packet(struct ctf *ctf, const struct stand *stand, uint64_t begin_ns)
{
	const size_t place = ctf->packet.length;
	struct packet_head head = {
		.magic = NG_CTF_MAGIC,
		.time_begin_ns = begin_ns,
		.time_end_ns = stand->time_ns,
		.number = stand->packets - 1,
		.lost_events = stand->lost_events,
	};

	memcpy(head.uuid, ctf->uuid, sizeof(head.uuid));
	ng_buffer_put(&ctf->packet, &head, sizeof(head));
	return place;
}

static void close_packet(struct ctf *ctf, size_t place)
{
	const uint64_t bits = 8 * (ctf->packet.length - place);
	char *head;

	if (ctf->packet.error)
		return;
	head = ctf->packet.text + place;
	memcpy(head + offsetof(struct packet_head, content_bits), &bits, sizeof(bits));
	memcpy(head + offsetof(struct packet_head, packet_bits), &bits, sizeof(bits));
}

/* Makes a packet of the first records. @return where the stream stands behind it */
static struct stand make_packet(struct ctf *ctf, size_t count)
{
	const struct ng_ctf_held *held = &ctf->held;
	struct stand stand = ctf->stand;
	uint64_t begin_ns = stand.time_ns;
	size_t place;

	ng_buffer_clear(&ctf->packet);
	if (count) {
		begin_ns = later(begin_ns, held->records[0].time_ns);
		stand.time_ns = later(begin_ns, held->records[count - 1].time_ns);
	}
	if (count == held->count && ctf->losses.length)
		stand.time_ns = later(stand.time_ns, ctf->losses_ns);
	if (!begin_ns)
		begin_ns = stand.time_ns;
	if (!stand.packets && ctf->losses.length) {
		/* Readers take the difference to the packet before: an empty one. */
		const struct stand first = {.packets = 1, .time_ns = begin_ns};

		place = open_packet(ctf, &first, begin_ns);
		close_packet(ctf, place);
		stand.packets++;
	}
	stand.packets++;
	stand.lost_events += sum_of(&ctf->losses);
	place = open_packet(ctf, &stand, begin_ns);
	put_records(ctf, count);
	put_losses(ctf, stand.time_ns);
	close_packet(ctf, place);
	return stand;
}

static uint64_t calls_of(const struct ng_ctf_held *held, size_t count)
{
	uint64_t calls = 0;

	for (size_t i = 0; i < count; i++)
		calls += held->bytes.text[held->records[i].begin] == NG_CTF_CALL;
	return calls;
}

static int take(void *state, bool is_all, struct ng_trace_unit *ret_unit)
{
	struct ctf *ctf = state;
	struct ng_ctf_held *held = &ctf->held;
	const size_t count = is_all ? held->count : (held->count + 1) / 2;
	struct stand stand;
	uint64_t calls;
	int error;

	*ret_unit = (struct ng_trace_unit){0};
	if (!count && !ctf->losses.length)
		return 0;
	ng_ctf_held_sort(held);
	calls = calls_of(held, count);
	stand = make_packet(ctf, count);
	error = ctf->packet.error;
	if (!error)
		error = ng_ctf_held_drop(held, count);
	if (error)
		return error;
	ng_buffer_clear(&ctf->losses);
	ctf->losses_ns = 0;
	ctf->stand_before = ctf->stand;
	ctf->stand = stand;
	*ret_unit = (struct ng_trace_unit){ctf->packet.text, ctf->packet.length, calls};
	return 0;
}

static uint64_t drop(void *state)
{
	struct ctf *ctf = state;
	const uint64_t calls = calls_of(&ctf->held, ctf->held.count);

	ng_ctf_held_release(&ctf->held);
	ng_buffer_clear(&ctf->losses);
	ctf->losses_ns = 0;
	ctf->stand = ctf->stand_before;
	forget(ctf);
	return calls;
}

static void free_state(void *state)
{
	struct ctf *ctf = state;

	forget(ctf);
	ng_ctf_held_release(&ctf->held);
	ng_buffer_release(&ctf->packet);
	ng_buffer_release(&ctf->losses);
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
	error = ng_ctf_create(options, ctf->uuid, diag);
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
	.lose = lose,
	.end = end_file,
	.drop = drop,
	.pending = pending,
	.take = take,
};
