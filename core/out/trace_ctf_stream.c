#include "core/out/trace_ctf_stream.h"

#include <stddef.h>
#include <string.h>

#include "core/out/text.h"

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

static uint64_t later(uint64_t one_ns, uint64_t other_ns)
{
	return one_ns > other_ns ? one_ns : other_ns;
}

/* babeltrace2 2.0.4 shows a text without a character as what stood in its place before. */
void ng_ctf_put_text(struct ng_buffer *out, const char *text)
{
	ng_text_put_line(out, text && text[0] ? text : NG_TRACE_UNKNOWN);
	ng_buffer_put(out, "", 1);
}

void ng_ctf_stream_release(struct ng_ctf_stream *stream)
{
	ng_ctf_held_release(&stream->held);
	ng_buffer_release(&stream->packet);
	ng_buffer_release(&stream->losses);
}

int ng_ctf_stream_lose(
	struct ng_ctf_stream *stream, uint64_t time_ns, const char *cause, uint64_t events)
{
	struct ng_buffer *losses = &stream->losses;
	const size_t begin = losses->length;

	losses->error = 0;
	ng_buffer_put(losses, &events, sizeof(events));
	ng_ctf_put_text(losses, cause);
	if (losses->error)
		losses->length = begin;
	else
		stream->losses_ns = later(stream->losses_ns, time_ns);
	return losses->error;
}

size_t ng_ctf_stream_pending(const struct ng_ctf_stream *stream)
{
	return stream->held.bytes.length + stream->losses.length;
}

/* Adds a record at a later time than its own. */
static void put_moved(struct ng_buffer *packet, const char *bytes,
	const struct ng_ctf_record *record, uint64_t time_ns)
{
	const uint64_t late_ns = time_ns - record->time_ns;
	struct ng_ctf_record_head head;

	memcpy(&head, bytes, sizeof(head));
	head.time_ns = time_ns;
	if (head.id == NG_CTF_CALL)
		head.id = NG_CTF_LATE_CALL;
	ng_buffer_put(packet, &head, sizeof(head));
	ng_buffer_put(packet, bytes + sizeof(head), record->length - sizeof(head));
	if (head.id == NG_CTF_LATE_CALL)
		ng_buffer_put(packet, &late_ns, sizeof(late_ns));
}

/* None is told to be before the time: a stack's says nothing, and a call is late by the rest. */
static void put_records(struct ng_ctf_stream *stream, size_t count, uint64_t time_ns)
{
	const struct ng_ctf_held *held = &stream->held;

	if (!count)
		return;
	if (!held->is_mixed && held->records[0].time_ns >= time_ns) {
		const struct ng_ctf_record *last = &held->records[count - 1];

		ng_buffer_put(&stream->packet, held->bytes.text, last->begin + last->length);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const struct ng_ctf_record *record = &held->records[i];
		const char *bytes = held->bytes.text + record->begin;

		if (record->time_ns >= time_ns)
			ng_buffer_put(&stream->packet, bytes, record->length);
		else
			put_moved(&stream->packet, bytes, record, time_ns);
	}
}

/* Of a loss that is told: its number of events, and its cause with a NUL. */
static size_t loss_length(const char *loss)
{
	return sizeof(uint64_t) + strlen(loss + sizeof(uint64_t)) + 1;
}

/* Adds what was lost, at the packet's end. */
static void put_losses(struct ng_ctf_stream *stream, uint64_t time_ns)
{
	const struct ng_ctf_record_head head = {.id = NG_CTF_LOST, .time_ns = time_ns};
	const struct ng_buffer *losses = &stream->losses;

	for (size_t at = 0; at < losses->length; at += loss_length(losses->text + at)) {
		ng_buffer_put(&stream->packet, &head, sizeof(head));
		ng_buffer_put(&stream->packet, losses->text + at, loss_length(losses->text + at));
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
static size_t open_packet(
	struct ng_ctf_stream *stream, const struct ng_ctf_stand *stand, uint64_t begin_ns)
{
	const size_t place = stream->packet.length;
	struct packet_head head = {
		.magic = NG_CTF_MAGIC,
		.time_begin_ns = begin_ns,
		.time_end_ns = stand->time_ns,
		.number = stand->packets - 1,
		.lost_events = stand->lost_events,
	};

	memcpy(head.uuid, stream->uuid, sizeof(head.uuid));
	ng_buffer_put(&stream->packet, &head, sizeof(head));
	return place;
}

static void close_packet(struct ng_ctf_stream *stream, size_t place)
{
	const uint64_t bits = 8 * (stream->packet.length - place);
	char *head;

	if (stream->packet.error)
		return;
	head = stream->packet.text + place;
	memcpy(head + offsetof(struct packet_head, content_bits), &bits, sizeof(bits));
	memcpy(head + offsetof(struct packet_head, packet_bits), &bits, sizeof(bits));
}

/* Stacks, which are sorted before all calls, never come without one. @return its place */
static size_t first_call(const struct ng_ctf_held *held)
{
	size_t i = 0;

	while (i + 1 < held->count && held->records[i].time_ns == NG_CTF_BEFORE_CALLS)
		i++;
	return i;
}

/* Makes a packet of the first records. @return where the stream stands behind it */
static struct ng_ctf_stand make_packet(struct ng_ctf_stream *stream, size_t count)
{
	const struct ng_ctf_held *held = &stream->held;
	const size_t calls = first_call(held);
	struct ng_ctf_stand stand = stream->stand;
	uint64_t begin_ns = stand.time_ns;
	size_t place;

	ng_buffer_clear(&stream->packet);
	if (count) {
		begin_ns = later(begin_ns, held->records[calls].time_ns);
		stand.time_ns = later(begin_ns, held->records[count - 1].time_ns);
	}
	if (count == held->count && stream->losses.length)
		stand.time_ns = later(stand.time_ns, stream->losses_ns);
	if (!begin_ns)
		begin_ns = stand.time_ns;
	if (!stand.packets && stream->losses.length) {
		/* Readers take the difference to the packet before: an empty one. */
		const struct ng_ctf_stand first = {.packets = 1, .time_ns = begin_ns};

		place = open_packet(stream, &first, begin_ns);
		close_packet(stream, place);
		stand.packets++;
	}
	stand.packets++;
	stand.lost_events += sum_of(&stream->losses);
	place = open_packet(stream, &stand, begin_ns);
	put_records(stream, count, begin_ns);
	put_losses(stream, stand.time_ns);
	close_packet(stream, place);
	return stand;
}

static uint64_t calls_of(const struct ng_ctf_held *held, size_t count)
{
	uint64_t calls = 0;

	for (size_t i = 0; i < count; i++)
		calls += held->bytes.text[held->records[i].begin] == NG_CTF_CALL;
	return calls;
}

int ng_ctf_stream_take(struct ng_ctf_stream *stream, bool is_all, struct ng_trace_unit *ret_unit)
{
	struct ng_ctf_held *held = &stream->held;
	size_t count = held->count;
	struct ng_ctf_stand stand;
	uint64_t calls;
	int error;

	*ret_unit = (struct ng_trace_unit){0};
	if (!count && !stream->losses.length)
		return 0;
	ng_ctf_held_sort(held);
	if (!is_all)
		count -= (count - first_call(held)) / 2;
	calls = calls_of(held, count);
	stand = make_packet(stream, count);
	error = stream->packet.error;
	if (!error)
		error = ng_ctf_held_drop(held, count);
	if (error)
		return error;
	ng_buffer_clear(&stream->losses);
	stream->losses_ns = 0;
	stream->stand_before = stream->stand;
	stream->stand = stand;
	*ret_unit = (struct ng_trace_unit){stream->packet.text, stream->packet.length, calls};
	return 0;
}

uint64_t ng_ctf_stream_drop(struct ng_ctf_stream *stream)
{
	const uint64_t calls = calls_of(&stream->held, stream->held.count);

	ng_ctf_held_release(&stream->held);
	ng_buffer_clear(&stream->losses);
	stream->losses_ns = 0;
	stream->stand = stream->stand_before;
	return calls;
}
