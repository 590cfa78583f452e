#include "tests/out/traced.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/cleanup.h"
#include "core/out/buffer.h"
#include "core/out/perfetto.pb-c.h"

#define STACKS_MAX 1024

char *traced_bytes(const char *path, size_t *ret_length)
{
	NG_CLEANUP_FCLOSE FILE *file = fopen(path, "re");
	struct ng_buffer all = {0};
	char part[65536], *text = NULL;
	size_t length;

	if (!file)
		fail_msg("%s cannot be opened", path);
	while ((length = fread(part, 1, sizeof(part), file)))
		ng_buffer_put(&all, part, length);
	*ret_length = all.length;
	assert_int_equal(ng_buffer_finish(&all, &text), 0);
	return text;
}

static struct traced_call *add_call(struct traced *traced)
{
	traced->calls = reallocarray(traced->calls, traced->count + 1, sizeof(*traced->calls));
	assert_non_null(traced->calls);
	traced->calls[traced->count] = (struct traced_call){0};
	return &traced->calls[traced->count++];
}

static char *copy(const char *text)
{
	char *copied = strdup(text);

	assert_non_null(copied);
	return copied;
}

static void put_frame(struct ng_buffer *out, const char *name, const char *file, uint64_t line)
{
	ng_buffer_printf(out, "%s@%s:%" PRIu64 ";", name, file, line);
}

static char *finished(struct ng_buffer *buffer)
{
	char *text = NULL;

	assert_int_equal(ng_buffer_finish(buffer, &text), 0);
	return text;
}

/* --- CTF: as its metadata say, by offsets that are counted here ------------------------------ */

struct cursor {
	const char *at;
	const char *end;
};

static uint64_t number(struct cursor *cursor, size_t bytes)
{
	uint64_t value = 0;

	assert_true((size_t)(cursor->end - cursor->at) >= bytes);
	memcpy(&value, cursor->at, bytes);
	cursor->at += bytes;
	return value;
}

static const char *text(struct cursor *cursor)
{
	const char *begin = cursor->at;
	const size_t room = (size_t)(cursor->end - begin), length = strnlen(begin, room);

	assert_true(length > 0 && length < room); /* babeltrace2 cannot tell an empty one */
	cursor->at += length + 1;
	return begin;
}

static void read_stack(struct cursor *cursor, char **stacks)
{
	const uint64_t id = number(cursor, 4), depth = number(cursor, 4);
	struct ng_buffer out = {0};

	for (uint64_t i = 0; i < depth; i++) {
		const char *function = text(cursor), *file = text(cursor);
		const uint64_t line = number(cursor, 4);

		(void)number(cursor, 8); /* the address */
		put_frame(&out, function, strcmp(file, "[unknown]") ? file : "", line);
	}
	assert_true(id > 0 && id < STACKS_MAX);
	free(stacks[id]);
	stacks[id] = finished(&out);
}

static void read_call(struct cursor *cursor, uint64_t time_ns, bool is_late, struct traced *traced,
	char *const *stacks)
{
	struct traced_call *call = add_call(traced);
	const char *caller, *at;
	char caller_at[4096];
	uint64_t id;

	call->pid = (uint32_t)number(cursor, 4);
	call->tid = (uint32_t)number(cursor, 4);
	call->goroutine = number(cursor, 8);
	call->function = copy(text(cursor));
	caller = text(cursor);
	at = text(cursor);
	(void)snprintf(
		caller_at, sizeof(caller_at), strcmp(at, "[unknown]") ? "%s %s" : "%s", caller, at);
	call->caller = copy(caller_at);
	id = number(cursor, 4);
	assert_true(!id || (id < STACKS_MAX && stacks[id])); /* it was defined before */
	call->stack = copy(id ? stacks[id] : "");
	call->is_late = is_late;
	call->time_ns = time_ns - (is_late ? number(cursor, 8) : 0);
}

static void read_record(
	struct cursor *cursor, uint64_t *time_ns, struct traced *traced, char **stacks)
{
	const uint64_t id = number(cursor, 1), now_ns = number(cursor, 8);

	assert_true(now_ns >= *time_ns);
	*time_ns = now_ns;
	if (id < 2) {
		read_call(cursor, now_ns, id == 1, traced, stacks);
	} else if (id == 2) {
		read_stack(cursor, stacks);
	} else {
		assert_int_equal(id, 3);
		traced->lost += number(cursor, 8);
		(void)text(cursor);
	}
}

/* Returns what was lost before its end. */
static uint64_t read_packet(
	struct cursor *cursor, uint64_t *time_ns, struct traced *traced, char **stacks)
{
	static uint64_t next;
	const char *begin = cursor->at;
	uint64_t begin_ns, end_ns, bits, seq, lost;
	struct cursor packet;

	assert_int_equal(number(cursor, 4), 0xc1fc1fc1);
	cursor->at += 16; /* its UUID */
	assert_int_equal(number(cursor, 4), 0);
	assert_int_equal(number(cursor, 8), 0);
	begin_ns = number(cursor, 8);
	end_ns = number(cursor, 8);
	bits = number(cursor, 8);
	assert_int_equal(number(cursor, 8), bits);
	seq = number(cursor, 8);
	if (traced->packets)
		assert_int_equal(seq, next);
	next = seq + 1;
	lost = number(cursor, 8);
	assert_int_equal(bits % 8, 0);
	assert_true(bits / 8 <= (uint64_t)(cursor->end - begin));
	packet = (struct cursor){cursor->at, begin + bits / 8};
	assert_true(begin_ns >= *time_ns);
	*time_ns = begin_ns;
	while (packet.at < packet.end)
		read_record(&packet, time_ns, traced, stacks);
	assert_int_equal(*time_ns, end_ns);
	cursor->at = packet.end;
	traced->packets++;
	return lost;
}

static void read_ctf(const char *bytes, size_t length, struct traced *traced)
{
	struct cursor cursor = {bytes, bytes + length};
	char *stacks[STACKS_MAX] = {0};
	uint64_t time_ns = 0, lost = 0, lost_before = 0;

	while (cursor.at < cursor.end) {
		lost = read_packet(&cursor, &time_ns, traced, stacks);
		if (traced->packets == 1)
			lost_before = lost - traced->lost; /* in files before this one */
		assert_int_equal(lost - lost_before, traced->lost);
	}
	for (size_t i = 0; i < STACKS_MAX; i++)
		free(stacks[i]);
}

/* --- Perfetto -------------------------------------------------------------------------------- */

#define IIDS_MAX 4096

typedef Perfetto__Protos__InternedData interned_data;

/* What was defined, by iid. */
struct defined {
	char *names[IIDS_MAX], *values[IIDS_MAX], *functions[IIDS_MAX], *files[IIDS_MAX],
		*frames[IIDS_MAX], *stacks[IIDS_MAX];
	bool is_cleared;
	bool has_clock;
	bool has_thread[IIDS_MAX]; /* by tid % IIDS_MAX */
};

static void define(char **place, uint64_t iid, const void *bytes, size_t length)
{
	assert_true(iid > 0 && iid < IIDS_MAX && !place[iid]);
	place[iid] = strndup(bytes, length);
	assert_non_null(place[iid]);
}

static const char *defined_as(char *const *place, uint64_t iid)
{
	assert_true(iid > 0 && iid < IIDS_MAX && place[iid]);
	return place[iid];
}

static void forget(struct defined *defined)
{
	for (size_t i = 0; i < IIDS_MAX; i++) {
		free(defined->names[i]);
		free(defined->values[i]);
		free(defined->functions[i]);
		free(defined->files[i]);
		free(defined->frames[i]);
		free(defined->stacks[i]);
	}
	*defined = (struct defined){.has_clock = defined->has_clock};
}

static void define_strings(
	char **place, Perfetto__Protos__InternedString *const *strings, size_t count)
{
	for (size_t i = 0; i < count; i++)
		define(place, strings[i]->iid, strings[i]->str.data, strings[i]->str.len);
}

static void define_all(struct defined *defined, const interned_data *data)
{
	for (size_t i = 0; i < data->n_event_names; i++)
		define(defined->names, data->event_names[i]->iid, data->event_names[i]->name,
			strlen(data->event_names[i]->name));
	define_strings(defined->functions, data->function_names, data->n_function_names);
	define_strings(defined->files, data->source_paths, data->n_source_paths);
	define_strings(defined->values, data->debug_annotation_string_values,
		data->n_debug_annotation_string_values);
	for (size_t i = 0; i < data->n_frames; i++) {
		const Perfetto__Protos__Frame *frame = data->frames[i];
		struct ng_buffer out = {0};

		put_frame(&out, defined_as(defined->functions, frame->function_name_id),
			frame->has_source_path_iid
				? defined_as(defined->files, frame->source_path_iid)
				: "",
			frame->line_number);
		define(defined->frames, frame->iid, out.text, out.length);
		ng_buffer_release(&out);
	}
	for (size_t i = 0; i < data->n_callstacks; i++) {
		const Perfetto__Protos__Callstack *stack = data->callstacks[i];
		struct ng_buffer out = {0};

		assert_true(stack->n_frame_ids > 0);
		for (size_t j = stack->n_frame_ids; j-- > 0;)
			ng_buffer_puts(&out, defined_as(defined->frames, stack->frame_ids[j]));
		define(defined->stacks, stack->iid, out.text, out.length);
		ng_buffer_release(&out);
	}
}

static void read_track_event(const Perfetto__Protos__TracePacket *packet,
	const struct defined *defined, struct traced *traced)
{
	const Perfetto__Protos__TrackEvent *event = packet->track_event;
	const char *name = defined_as(defined->names, event->name_iid);
	struct traced_call *call;

	assert_true(packet->has_timestamp && defined->has_clock);
	assert_int_equal(event->type, 3);
	if (!strncmp(name, "lost: ", 6)) {
		assert_int_equal(event->n_debug_annotations, 1);
		assert_int_equal(event->debug_annotations[0]->name_iid, 3);
		traced->lost += event->debug_annotations[0]->uint_value;
		return;
	}
	call = add_call(traced);
	call->time_ns = packet->timestamp;
	call->pid = (uint32_t)(event->track_uuid >> 32);
	call->tid = (uint32_t)event->track_uuid;
	assert_true(defined->has_thread[call->tid % IIDS_MAX]);
	call->function = copy(name);
	call->stack = copy(
		event->has_callstack_iid ? defined_as(defined->stacks, event->callstack_iid) : "");
	for (size_t i = 0; i < event->n_debug_annotations; i++) {
		const Perfetto__Protos__DebugAnnotation *annotation = event->debug_annotations[i];

		if (annotation->name_iid == 1)
			call->goroutine = annotation->uint_value;
		else
			call->caller =
				copy(defined_as(defined->values, annotation->string_value_iid));
	}
}

static void read_perfetto_packet(
	const Perfetto__Protos__TracePacket *packet, struct defined *defined, struct traced *traced)
{
	assert_int_equal(packet->trusted_packet_sequence_id, 1);
	if (packet->sequence_flags == 1) {
		forget(defined);
		defined->is_cleared = true;
		assert_int_equal(packet->trace_packet_defaults->timestamp_clock_id, 3);
		assert_int_equal(packet->interned_data->n_debug_annotation_names, 3);
	} else {
		assert_int_equal(packet->sequence_flags, 2);
	}
	assert_true(defined->is_cleared);
	if (packet->interned_data)
		define_all(defined, packet->interned_data);
	if (packet->clock_snapshot)
		defined->has_clock = true;
	if (packet->track_descriptor && packet->track_descriptor->thread) {
		const Perfetto__Protos__ThreadDescriptor *thread = packet->track_descriptor->thread;

		assert_int_equal(packet->track_descriptor->uuid,
			(uint64_t)(uint32_t)thread->pid << 32 | (uint64_t)thread->tid);
		defined->has_thread[thread->tid % IIDS_MAX] = true;
	}
	if (packet->track_event)
		read_track_event(packet, defined, traced);
}

static void read_perfetto(const char *bytes, size_t length, struct traced *traced)
{
	Perfetto__Protos__Trace *trace =
		perfetto__protos__trace__unpack(NULL, length, (const uint8_t *)bytes);
	struct defined *defined = calloc(1, sizeof(*defined));

	assert_non_null(trace);
	assert_non_null(defined);
	for (size_t i = 0; i < trace->n_packet; i++)
		read_perfetto_packet(trace->packet[i], defined, traced);
	traced->packets = trace->n_packet;
	forget(defined);
	free(defined);
	perfetto__protos__trace__free_unpacked(trace, NULL);
}

/* --- NDJSON ---------------------------------------------------------------------------------- */

static const char *string_or(const json_t *object, const char *key, const char *other)
{
	const json_t *value = json_object_get(object, key);

	assert_true(!value || json_is_string(value) || json_is_null(value));
	return json_is_string(value) ? json_string_value(value) : other;
}

static uint64_t integer(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void read_line(const json_t *line, struct traced *traced)
{
	struct ng_buffer stack = {0};
	struct traced_call *call;
	const json_t *frame;
	size_t i;

	if (json_is_integer(json_object_get(line, "lost"))) {
		traced->lost += integer(line, "lost");
		return;
	}
	if (!json_object_get(line, "function") || json_object_get(line, "version"))
		return;
	call = add_call(traced);
	call->time_ns = integer(line, "time_ns");
	call->pid = (uint32_t)integer(line, "pid");
	call->tid = (uint32_t)integer(line, "tid");
	call->goroutine = integer(line, "goroutine");
	call->function = copy(string_or(line, "function", "[unknown]"));
	json_array_foreach(json_object_get(line, "stack"), i, frame) put_frame(&stack,
		string_or(frame, "function", string_or(frame, "address", "[unknown]")),
		string_or(frame, "file", ""), integer(frame, "line"));
	call->stack = finished(&stack);
}

static void read_ndjson(char *bytes, size_t length, struct traced *traced)
{
	char *rest = NULL;

	assert_true(length > 0 && bytes[length - 1] == '\n');
	for (char *line = strtok_r(bytes, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		json_error_t error;
		json_t *object = json_loads(line, 0, &error);

		if (!object)
			fail_msg("line %zu: %s: %s", traced->packets, error.text, line);
		assert_true((json_object_get(object, "version") != NULL) == (traced->packets == 0));
		read_line(object, traced);
		traced->packets++;
		json_decref(object);
	}
}

void traced_read(enum ng_trace_format format, const char *path, struct traced *ret_traced)
{
	size_t length;
	NG_CLEANUP_FREE char *bytes = traced_bytes(path, &length);

	*ret_traced = (struct traced){0};
	if (format == NG_TRACE_CTF)
		read_ctf(bytes, length, ret_traced);
	else if (format == NG_TRACE_PERFETTO)
		read_perfetto(bytes, length, ret_traced);
	else
		read_ndjson(bytes, length, ret_traced);
}

void traced_release(struct traced *traced)
{
	for (size_t i = 0; i < traced->count; i++) {
		free(traced->calls[i].function);
		free(traced->calls[i].caller);
		free(traced->calls[i].stack);
	}
	free(traced->calls);
	*traced = (struct traced){0};
}

const char *traced_path(enum ng_trace_format format, const char *path, uint32_t segment)
{
	static char room[4096];

	if (format == NG_TRACE_CTF)
		(void)snprintf(room, sizeof(room), "%s/stream_%" PRIu32, path, segment);
	else if (segment)
		(void)snprintf(room, sizeof(room), "%s.%" PRIu32, path, segment);
	else
		(void)snprintf(room, sizeof(room), "%s", path);
	return room;
}

uint64_t traced_calls(
	enum ng_trace_format format, const char *path, const struct ng_trace_totals *totals)
{
	uint64_t calls = 0;

	for (uint32_t i = 0; i < totals->segment_count; i++) {
		struct traced traced;

		traced_read(format, traced_path(format, path, totals->first_segment + i), &traced);
		calls += traced.count;
		traced_release(&traced);
	}
	return calls;
}
