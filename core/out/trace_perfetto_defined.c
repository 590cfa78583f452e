#include "core/out/trace_perfetto.h"

#include <errno.h>
#include <stdlib.h>

#include "core/out/text.h"

typedef Perfetto__Protos__Trace message_trace;
typedef Perfetto__Protos__ProcessDescriptor message_process;
typedef Perfetto__Protos__ThreadDescriptor message_thread;
typedef Perfetto__Protos__InternedData message_interned;
typedef Perfetto__Protos__EventName message_event_name;
typedef Perfetto__Protos__InternedString message_string;
typedef Perfetto__Protos__Frame message_frame;
typedef Perfetto__Protos__Callstack message_callstack;

#define SEQUENCE 1u

/* Beside the tracks of threads, which have their pid and tid: of a process, with its pid. */
#define TRACK_OF_PROCESS (1ull << 63)

/* What a frame is told apart by; hashed as bytes, so without padding. */
struct frame_key {
	uint64_t function; /* iid */
	uint64_t file;	   /* iid, or 0 */
	uint64_t line;
};

void ng_perfetto_fail(struct ng_perfetto *perfetto, int error)
{
	if (!perfetto->error)
		perfetto->error = error;
}

/* As a field of a Trace: packets one behind the other are one. */
void ng_perfetto_put(struct ng_perfetto *perfetto, ng_perfetto_packet *packet)
{
	message_trace part = PERFETTO__PROTOS__TRACE__INIT;
	size_t bytes;

	packet->has_trusted_packet_sequence_id = true;
	packet->trusted_packet_sequence_id = SEQUENCE;
	packet->has_sequence_flags = true;
	if (!packet->sequence_flags)
		packet->sequence_flags = NG_PERFETTO_NEEDS_STATE;
	part.packet = &packet;
	part.n_packet = 1;
	bytes = perfetto__protos__trace__get_packed_size(&part);
	if (bytes > perfetto->packed_room_bytes) {
		free(perfetto->packed);
		perfetto->packed = malloc(2 * bytes);
		perfetto->packed_room_bytes = perfetto->packed ? 2 * bytes : 0;
	}
	if (!perfetto->packed)
		ng_perfetto_fail(perfetto, -ENOMEM);
	if (perfetto->error)
		return;
	(void)perfetto__protos__trace__pack(&part, perfetto->packed); /* as many bytes */
	ng_buffer_put(&perfetto->packets, perfetto->packed, bytes);
	ng_perfetto_fail(perfetto, perfetto->packets.error);
}

static void put_interned(struct ng_perfetto *perfetto, message_interned *interned)
{
	ng_perfetto_packet packet = PERFETTO__PROTOS__TRACE_PACKET__INIT;

	packet.interned_data = interned;
	ng_perfetto_put(perfetto, &packet);
}

/* The text as it is written, in the room for it. */
static char *clean(struct ng_perfetto *perfetto, const char *text)
{
	ng_buffer_clear(&perfetto->line);
	ng_text_put_line(&perfetto->line, text);
	ng_buffer_put(&perfetto->line, "", 0); /* there is a text then */
	ng_perfetto_fail(perfetto, perfetto->line.error);
	return perfetto->line.text;
}

/* The iid of a text. @return is it new? Then the message has it, in the room for a text. */
static bool add_text(struct ng_perfetto *perfetto, struct ng_intern *texts, const char *text,
	uint64_t *ret_iid, message_string *ret_message)
{
	const uint32_t before = texts->count;
	uint32_t number = 0;

	if (!perfetto->error)
		perfetto->error = ng_intern_add_text(texts, text, &number);
	*ret_iid = number + 1ull;
	if (perfetto->error || number != before)
		return false;
	perfetto__protos__interned_string__init(ret_message);
	ret_message->has_iid = true;
	ret_message->iid = *ret_iid;
	ret_message->has_str = true;
	ret_message->str.data = (uint8_t *)clean(perfetto, text);
	ret_message->str.len = perfetto->line.length;
	return true;
}

uint64_t ng_perfetto_name(struct ng_perfetto *perfetto, const char *text)
{
	message_interned interned = PERFETTO__PROTOS__INTERNED_DATA__INIT;
	message_event_name name = PERFETTO__PROTOS__EVENT_NAME__INIT;
	message_string message;
	uint64_t iid;

	if (!add_text(perfetto, &perfetto->defined.names, text, &iid, &message))
		return iid;
	name.has_iid = true;
	name.iid = iid;
	name.name = (char *)message.str.data;
	interned.event_names = &(message_event_name *){&name};
	interned.n_event_names = 1;
	put_interned(perfetto, &interned);
	return iid;
}

uint64_t ng_perfetto_value(struct ng_perfetto *perfetto, const char *text)
{
	message_interned interned = PERFETTO__PROTOS__INTERNED_DATA__INIT;
	message_string message;
	uint64_t iid;

	if (!add_text(perfetto, &perfetto->defined.values, text, &iid, &message))
		return iid;
	interned.debug_annotation_string_values = &(message_string *){&message};
	interned.n_debug_annotation_string_values = 1;
	put_interned(perfetto, &interned);
	return iid;
}

static uint64_t add_function(struct ng_perfetto *perfetto, const char *text)
{
	message_interned interned = PERFETTO__PROTOS__INTERNED_DATA__INIT;
	message_string message;
	uint64_t iid;

	if (!add_text(perfetto, &perfetto->defined.functions, text, &iid, &message))
		return iid;
	interned.function_names = &(message_string *){&message};
	interned.n_function_names = 1;
	put_interned(perfetto, &interned);
	return iid;
}

/* @return 0 where there is none */
static uint64_t add_file(struct ng_perfetto *perfetto, const char *text)
{
	message_interned interned = PERFETTO__PROTOS__INTERNED_DATA__INIT;
	message_string message;
	uint64_t iid;

	if (!text || !text[0])
		return 0;
	if (!add_text(perfetto, &perfetto->defined.files, text, &iid, &message))
		return iid;
	interned.source_paths = &(message_string *){&message};
	interned.n_source_paths = 1;
	put_interned(perfetto, &interned);
	return iid;
}

static uint64_t add_frame(struct ng_perfetto *perfetto, const struct ng_profile_frame *frame)
{
	const uint32_t before = perfetto->defined.frames.count;
	char room[NG_FRAME_NAME_SIZE];
	const struct frame_key key = {
		.function = add_function(perfetto, ng_profile_frame_name(frame, room)),
		.file = add_file(perfetto, frame->file),
		.line = frame->line,
	};
	message_interned interned = PERFETTO__PROTOS__INTERNED_DATA__INIT;
	message_frame message = PERFETTO__PROTOS__FRAME__INIT;
	uint32_t number = 0;

	if (!perfetto->error)
		perfetto->error =
			ng_intern_add(&perfetto->defined.frames, &key, sizeof(key), &number);
	if (perfetto->error || number != before)
		return number + 1ull;
	message.has_iid = true;
	message.iid = number + 1ull;
	message.has_function_name_id = true;
	message.function_name_id = key.function;
	message.has_source_path_iid = key.file != 0;
	message.source_path_iid = key.file;
	message.has_line_number = frame->line != 0;
	message.line_number = frame->line;
	interned.frames = &(message_frame *){&message};
	interned.n_frames = 1;
	put_interned(perfetto, &interned);
	return number + 1ull;
}

/* @return 0 where the event has none: Perfetto takes one without frames for an error */
uint64_t ng_perfetto_stack(struct ng_perfetto *perfetto, const struct ng_trace_event *event)
{
	const uint32_t before = perfetto->defined.stacks.count;
	message_interned interned = PERFETTO__PROTOS__INTERNED_DATA__INIT;
	message_callstack message = PERFETTO__PROTOS__CALLSTACK__INIT;
	uint32_t number = 0;

	if (event->stack_id == NG_TRACE_NO_STACK || !event->frame_count)
		return 0;
	if (!perfetto->error)
		perfetto->error = ng_intern_add(&perfetto->defined.stacks, &event->stack_id,
			sizeof(event->stack_id), &number);
	if (perfetto->error || number != before)
		return number + 1ull;
	if (event->frame_count > perfetto->id_room) {
		free(perfetto->ids);
		perfetto->ids = calloc(event->frame_count, sizeof(*perfetto->ids));
		perfetto->id_room = perfetto->ids ? event->frame_count : 0;
		if (!perfetto->ids)
			ng_perfetto_fail(perfetto, -ENOMEM);
	}
	for (size_t i = 0; i < event->frame_count && !perfetto->error; i++)
		perfetto->ids[event->frame_count - 1 - i] = add_frame(perfetto, &event->frames[i]);
	message.has_iid = true;
	message.iid = number + 1ull;
	message.frame_ids = perfetto->ids;
	message.n_frame_ids = event->frame_count;
	interned.callstacks = &(message_callstack *){&message};
	interned.n_callstacks = 1;
	if (!perfetto->error)
		put_interned(perfetto, &interned);
	return number + 1ull;
}

/* Is the track new here? */
static bool is_new_track(struct ng_perfetto *perfetto, uint64_t uuid)
{
	const uint32_t before = perfetto->defined.tracks.count;
	uint32_t number = 0;

	if (!perfetto->error)
		perfetto->error =
			ng_intern_add(&perfetto->defined.tracks, &uuid, sizeof(uuid), &number);
	return !perfetto->error && number == before;
}

static void put_track(struct ng_perfetto *perfetto, ng_perfetto_track *track, uint64_t uuid)
{
	ng_perfetto_packet packet = PERFETTO__PROTOS__TRACE_PACKET__INIT;

	track->has_uuid = true;
	track->uuid = uuid;
	packet.track_descriptor = track;
	ng_perfetto_put(perfetto, &packet);
}

static void add_process(struct ng_perfetto *perfetto, uint32_t pid)
{
	const uint64_t uuid = TRACK_OF_PROCESS | pid;
	ng_perfetto_track track = PERFETTO__PROTOS__TRACK_DESCRIPTOR__INIT;
	message_process process = PERFETTO__PROTOS__PROCESS_DESCRIPTOR__INIT;

	if (!is_new_track(perfetto, uuid))
		return;
	process.has_pid = true;
	process.pid = (int32_t)pid;
	if (perfetto->exe && (!perfetto->pid || perfetto->pid == pid))
		process.process_name = clean(perfetto, perfetto->exe);
	track.process = &process;
	put_track(perfetto, &track, uuid);
}

uint64_t ng_perfetto_thread(struct ng_perfetto *perfetto, uint32_t pid, uint32_t tid)
{
	const uint64_t uuid = (uint64_t)pid << 32 | tid;
	ng_perfetto_track track = PERFETTO__PROTOS__TRACK_DESCRIPTOR__INIT;
	message_thread thread = PERFETTO__PROTOS__THREAD_DESCRIPTOR__INIT;

	if (!is_new_track(perfetto, uuid))
		return uuid;
	add_process(perfetto, pid);
	thread.has_pid = true;
	thread.pid = (int32_t)pid;
	thread.has_tid = true;
	thread.tid = tid;
	track.thread = &thread;
	put_track(perfetto, &track, uuid);
	return uuid;
}

void ng_perfetto_track_named(struct ng_perfetto *perfetto, uint64_t uuid, const char *name)
{
	ng_perfetto_track track = PERFETTO__PROTOS__TRACK_DESCRIPTOR__INIT;

	if (!is_new_track(perfetto, uuid))
		return;
	track.name = (char *)name;
	put_track(perfetto, &track, uuid);
}

void ng_perfetto_forget(struct ng_perfetto *perfetto)
{
	struct ng_perfetto_defined *defined = &perfetto->defined;

	ng_intern_release(&defined->names);
	ng_intern_release(&defined->values);
	ng_intern_release(&defined->functions);
	ng_intern_release(&defined->files);
	ng_intern_release(&defined->frames);
	ng_intern_release(&defined->stacks);
	ng_intern_release(&defined->tracks);
	ng_blobs_release(&defined->callers);
	perfetto->has_head = false;
}
