#include "core/out/pprof.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/out/buffer.h"
#include "core/out/intern.h"
#include "core/out/pprof.pb-c.h"
#include "core/out/sink.h"
#include "core/out/text.h"

typedef Perftools__Profiles__Profile message_profile;
typedef Perftools__Profiles__ValueType message_type;
typedef Perftools__Profiles__Sample message_sample;
typedef Perftools__Profiles__Mapping message_mapping;
typedef Perftools__Profiles__Location message_location;
typedef Perftools__Profiles__Line message_line;
typedef Perftools__Profiles__Function message_function;

/* What a function is told apart by; hashed as bytes, so without padding. */
struct function_key {
	uint32_t name; /* in the table of strings, as all texts here */
	uint32_t file;
	uint32_t start_line;
};

/* The same of a location: a head, and its lines behind it. */
struct line_key {
	uint64_t function; /* id */
	uint64_t line;
};

struct location_key {
	uint64_t mapping; /* id, or 0 */
	uint64_t address;
	struct line_key lines[];
};

/* What is known of a mapping's frames. */
struct resolved {
	bool is_used;
	bool is_nameless; /* a frame of it is, as in the next two */
	bool is_fileless;
	bool is_lineless;
	bool is_inlined;
};

/*
 * Samples are written as they come, in a message each; then come the tables that they point to.
 * That is one message to a reader: repeated fields of messages one behind the other add up
 * (protobuf.dev/programming-guides/encoding, "Last One Wins").
 */
struct writer {
	const struct ng_profile *profile;
	struct ng_sink *sink;
	int error; /* the first one; what follows it does nothing */

	struct ng_intern strings;
	struct ng_intern functions; /* struct function_key */
	struct ng_intern locations; /* struct location_key */
	struct resolved *resolved;  /* by mapping */
	struct ng_buffer line;	    /* room for a string */

	uint64_t *ids;		  /* room for the longest stack's locations */
	struct location_key *key; /* … its frames, all in one location */
	uint8_t *packed;	  /* … a message */
	size_t packed_room_bytes;
};

static uint32_t add_string(struct writer *writer, const char *text)
{
	uint32_t number = 0;

	ng_buffer_clear(&writer->line);
	ng_text_put_line(&writer->line, text ? text : "");
	if (!writer->error)
		writer->error = writer->line.error;
	if (!writer->error)
		writer->error = ng_intern_add(
			&writer->strings, writer->line.text, writer->line.length, &number);
	return number;
}

/* @return its id; 0 where it has no name: then pprof knows that it has to look for it */
static uint64_t add_function(struct writer *writer, const struct ng_profile_frame *frame)
{
	struct function_key key = {.start_line = frame->start_line};
	char room[NG_FRAME_NAME_SIZE];
	uint32_t number = 0;

	if ((!frame->function || !frame->function[0]) && frame->address)
		return 0;
	key.name = add_string(writer, ng_profile_frame_name(frame, room));
	key.file = add_string(writer, frame->file);
	if (!writer->error)
		writer->error = ng_intern_add(&writer->functions, &key, sizeof(key), &number);
	return number + 1ull;
}

static void note_frame(
	struct writer *writer, const struct ng_profile_frame *frame, uint64_t function)
{
	struct resolved *resolved;

	if (frame->mapping == NG_FRAME_NO_MAPPING)
		return;
	resolved = &writer->resolved[frame->mapping];
	resolved->is_used = true;
	resolved->is_nameless |= !function;
	resolved->is_fileless |= !frame->file || !frame->file[0];
	resolved->is_lineless |= !frame->line;
	resolved->is_inlined |= frame->is_inlined;
}

static void put(struct writer *writer, const message_profile *part)
{
	const size_t bytes = perftools__profiles__profile__get_packed_size(part);

	if (bytes > writer->packed_room_bytes) {
		free(writer->packed);
		writer->packed = malloc(2 * bytes);
		writer->packed_room_bytes = writer->packed ? 2 * bytes : 0;
		if (!writer->packed && !writer->error)
			writer->error = -ENOMEM;
	}
	if (writer->error)
		return;
	(void)perftools__profiles__profile__pack(part, writer->packed); /* as many bytes */
	ng_sink_put(writer->sink, writer->packed, bytes);
}

/* Takes the location that begins with the first frame. @return how many frames it is made of */
static size_t add_location(struct writer *writer, const struct ng_profile_frame *frames,
	size_t count, uint64_t *ret_id)
{
	struct location_key *key = writer->key;
	const struct ng_profile_frame *outer;
	size_t taken = 0, lines = 0;
	uint32_t number = 0;

	do {
		const struct ng_profile_frame *frame = &frames[taken];
		const uint64_t function = add_function(writer, frame);

		note_frame(writer, frame, function);
		if (function)
			key->lines[lines++] = (struct line_key){function, frame->line};
	} while (frames[taken++].is_inlined && taken < count);
	outer = &frames[taken - 1];
	key->mapping = outer->mapping == NG_FRAME_NO_MAPPING ? 0 : outer->mapping + 1ull;
	key->address = outer->address;
	if (!writer->error)
		writer->error = ng_intern_add(&writer->locations, key,
			sizeof(*key) + lines * sizeof(key->lines[0]), &number);
	*ret_id = number + 1ull;
	return taken;
}

static int64_t limited(uint64_t value)
{
	return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static void put_samples(struct writer *writer)
{
	struct ng_rounder rounder = {0};

	for (size_t i = 0; i < writer->profile->stack_count && !writer->error; i++) {
		const struct ng_profile_stack *stack = &writer->profile->stacks[i];
		message_profile part = PERFTOOLS__PROFILES__PROFILE__INIT;
		message_sample sample = PERFTOOLS__PROFILES__SAMPLE__INIT;
		int64_t values[] = {
			(int64_t)ng_rounder_next(&rounder, stack->calls), limited(stack->cost_ns)};
		size_t count;
		const struct ng_profile_frame *frames = ng_profile_stack_frames(stack, &count);

		for (size_t at = 0; at < count;)
			at += add_location(writer, frames + at, count - at,
				&writer->ids[sample.n_location_id++]);
		sample.location_id = writer->ids;
		sample.value = values;
		sample.n_value = sizeof(values) / sizeof(values[0]);
		part.sample = &(message_sample *){&sample};
		part.n_sample = 1;
		put(writer, &part);
	}
}

static void put_mappings(struct writer *writer)
{
	for (size_t i = 0; i < writer->profile->mapping_count; i++) {
		const struct ng_profile_mapping *mapping = &writer->profile->mappings[i];
		const struct resolved *resolved = &writer->resolved[i];
		message_profile part = PERFTOOLS__PROFILES__PROFILE__INIT;
		message_mapping message = PERFTOOLS__PROFILES__MAPPING__INIT;

		message.id = i + 1;
		message.memory_start = mapping->start;
		message.memory_limit = mapping->limit;
		message.file_offset = mapping->offset;
		message.filename = add_string(writer, mapping->file);
		message.build_id = add_string(writer, mapping->build_id);
		message.has_functions = resolved->is_used && !resolved->is_nameless;
		message.has_filenames = resolved->is_used && !resolved->is_fileless;
		message.has_line_numbers = resolved->is_used && !resolved->is_lineless;
		message.has_inline_frames = resolved->is_inlined;
		part.mapping = &(message_mapping *){&message};
		part.n_mapping = 1;
		put(writer, &part);
	}
}

static void put_location(struct writer *writer, uint32_t number)
{
	const struct ng_interned *entry = &writer->locations.entries[number];
	const struct location_key *key = (const struct location_key *)entry->bytes;
	const size_t count = (entry->length - sizeof(*key)) / sizeof(key->lines[0]);
	NG_CLEANUP_FREE message_line *lines = calloc(count + 1, sizeof(*lines));
	NG_CLEANUP_FREE message_line **pointers = calloc(count + 1, sizeof(*pointers));
	message_profile part = PERFTOOLS__PROFILES__PROFILE__INIT;
	message_location message = PERFTOOLS__PROFILES__LOCATION__INIT;

	if (!lines || !pointers) {
		writer->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		perftools__profiles__line__init(&lines[i]);
		lines[i].function_id = key->lines[i].function;
		lines[i].line = (int64_t)key->lines[i].line;
		pointers[i] = &lines[i];
	}
	message.id = number + 1ull;
	message.mapping_id = key->mapping;
	message.address = key->address;
	message.line = pointers;
	message.n_line = count;
	part.location = &(message_location *){&message};
	part.n_location = 1;
	put(writer, &part);
}

static void put_function(struct writer *writer, uint32_t number)
{
	const struct function_key *key =
		(const struct function_key *)writer->functions.entries[number].bytes;
	message_profile part = PERFTOOLS__PROFILES__PROFILE__INIT;
	message_function message = PERFTOOLS__PROFILES__FUNCTION__INIT;

	message.id = number + 1ull;
	message.name = key->name;
	message.system_name = key->name;
	message.filename = key->file;
	message.start_line = key->start_line;
	part.function = &(message_function *){&message};
	part.n_function = 1;
	put(writer, &part);
}

static void put_comments(struct writer *writer, const struct ng_profile_total *total)
{
	NG_CLEANUP_FREE char *notes = NULL;
	int error = ng_profile_notes(writer->profile, total, &notes);
	char *rest = NULL;

	if (error && !writer->error)
		writer->error = error;
	if (writer->error)
		return;
	for (char *line = strtok_r(notes, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		message_profile part = PERFTOOLS__PROFILES__PROFILE__INIT;
		int64_t number = add_string(writer, line);

		part.comment = &number;
		part.n_comment = 1;
		put(writer, &part);
	}
}

/* Types, times, and how many calls a hit stands for. */
static void put_head(struct writer *writer, const struct ng_profile_total *total)
{
	message_profile part = PERFTOOLS__PROFILES__PROFILE__INIT;
	message_type calls = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
	message_type cost = PERFTOOLS__PROFILES__VALUE_TYPE__INIT;
	message_type *types[] = {&calls, &cost};

	calls.type = add_string(writer, "calls");
	calls.unit = add_string(writer, "count");
	cost.type = add_string(writer, "cost");
	cost.unit = add_string(writer, "nanoseconds");
	part.sample_type = types;
	part.n_sample_type = sizeof(types) / sizeof(types[0]);
	part.default_sample_type = calls.type;
	part.time_nanos = limited(writer->profile->began_at_ns);
	part.duration_nanos = limited(writer->profile->duration_ns);
	part.period_type = &calls;
	part.period = 1;
	if (writer->profile->is_estimate && total->hits && total->calls > (double)total->hits)
		part.period = (int64_t)(total->calls / (double)total->hits + 0.5);
	put(writer, &part);
}

/* After all that adds to it. */
static void put_strings(struct writer *writer)
{
	for (uint32_t i = 0; i < writer->strings.count; i++) {
		message_profile part = PERFTOOLS__PROFILES__PROFILE__INIT;

		part.string_table = &writer->strings.entries[i].bytes;
		part.n_string_table = 1;
		put(writer, &part);
	}
}

static int writer_init(struct writer *writer, const struct ng_profile *profile, int fd)
{
	size_t longest = 1;

	*writer = (struct writer){.profile = profile};
	for (size_t i = 0; i < profile->stack_count; i++)
		if (profile->stacks[i].frame_count > longest)
			longest = profile->stacks[i].frame_count;
	writer->ids = calloc(longest, sizeof(*writer->ids));
	writer->key = calloc(1, sizeof(*writer->key) + longest * sizeof(writer->key->lines[0]));
	writer->resolved = calloc(profile->mapping_count + 1, sizeof(*writer->resolved));
	writer->sink = ng_sink_open(fd, true);
	if (!writer->ids || !writer->key || !writer->resolved || !writer->sink)
		return -ENOMEM;
	(void)add_string(writer, ""); /* the format wants it first */
	return 0;
}

/* @return what the sink says, or the error */
static int writer_release(struct writer *writer, int error, struct ng_diag *diag)
{
	ng_intern_release(&writer->strings);
	ng_intern_release(&writer->functions);
	ng_intern_release(&writer->locations);
	ng_buffer_release(&writer->line);
	free(writer->resolved);
	free(writer->ids);
	free(writer->key);
	free(writer->packed);
	if (!writer->sink)
		return ng_diag_set(diag, error, "no memory for the pprof profile");
	ng_sink_fail(writer->sink, error);
	return ng_sink_close(writer->sink, "pprof profile", diag);
}

int ng_pprof_write(const struct ng_profile *profile, int fd, struct ng_diag *diag)
{
	struct ng_profile_total total;
	struct writer writer;
	int error = ng_profile_check(profile, &total, diag);

	if (error)
		return error;
	error = writer_init(&writer, profile, fd);
	if (error)
		return writer_release(&writer, error, diag);
	put_head(&writer, &total);
	put_samples(&writer);
	put_mappings(&writer);
	for (uint32_t i = 0; i < writer.locations.count && !writer.error; i++)
		put_location(&writer, i);
	for (uint32_t i = 0; i < writer.functions.count && !writer.error; i++)
		put_function(&writer, i);
	put_comments(&writer, &total);
	put_strings(&writer);
	return writer_release(&writer, writer.error, diag);
}
