#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/clock.h"
#include "core/base/write.h"
#include "core/out/buffer.h"
#include "core/out/text.h"
#include "core/out/trace_ctf.h"

#define DIRECTORY_MODE 0777 /* the umask decides, as for any output */
#define FILE_MODE      0666

/* TSDL, as diamon.org/ctf/v1.8.3 has it. */
static const char types[] =
	"typealias integer { size = 8; align = 8; signed = false; } := uint8_t;\n"
	"typealias integer { size = 32; align = 8; signed = false; } := uint32_t;\n"
	"typealias integer { size = 64; align = 8; signed = false; } := uint64_t;\n"
	"typealias integer { size = 64; align = 8; signed = false; base = 16; } := address_t;\n\n";

static const char packet_header[] = "\tpacket.header := struct {\n"
				    "\t\tuint32_t magic;\n"
				    "\t\tuint8_t uuid[16];\n"
				    "\t\tuint32_t stream_id;\n"
				    "\t\tuint64_t stream_instance_id;\n"
				    "\t};\n"
				    "};\n\n";

static const char stream[] =
	"typealias integer {\n"
	"\tsize = 64; align = 8; signed = false; map = clock.monotonic.value;\n"
	"} := time_t;\n\n"
	"stream {\n"
	"\tid = 0;\n"
	"\tpacket.context := struct {\n"
	"\t\ttime_t timestamp_begin;\n"
	"\t\ttime_t timestamp_end;\n"
	"\t\tuint64_t content_size;\n"
	"\t\tuint64_t packet_size;\n"
	"\t\tuint64_t packet_seq_num;\n"
	"\t\tuint64_t events_discarded;\n"
	"\t};\n"
	"\tevent.header := struct {\n"
	"\t\tuint8_t id;\n"
	"\t\ttime_t timestamp;\n"
	"\t};\n"
	"};\n\n";

/* What a call is told by; the goroutine and the stack are 0, a text is "[unknown]" where not known.
 */
#define CALL                                                                                       \
	"\t\tuint32_t pid;\n"                                                                      \
	"\t\tuint32_t tid;\n"                                                                      \
	"\t\tuint64_t goroutine;\n"                                                                \
	"\t\tstring function;\n"                                                                   \
	"\t\tstring caller;\n"                                                                     \
	"\t\tstring at;\n"                                                                         \
	"\t\tuint32_t stack;\n"

static const struct {
	int id;
	const char *name;
	const char *fields;
} events[] = {
	{NG_CTF_CALL, "call", CALL},
	/* It came when later ones had been written: its time is so much before. */
	{NG_CTF_LATE_CALL, "late_call", CALL "\t\tuint64_t late_ns;\n"},
	/* Before the calls that have it, in each file: its time says nothing. */
	{NG_CTF_STACK, "stack",
		"\t\tuint32_t stack;\n"
		"\t\tuint32_t depth;\n"
		"\t\tstruct {\n"
		"\t\t\tstring function;\n"
		"\t\t\tstring file;\n"
		"\t\t\tuint32_t line;\n"
		"\t\t\taddress_t address;\n"
		"\t\t} frames[depth];\n"},
	{NG_CTF_LOST, "lost",
		"\t\tuint64_t events;\n"
		"\t\tstring cause;\n"},
	/* From its time on nobody looked for so long. */
	{NG_CTF_GAP, "gap", "\t\tuint64_t gap_ns;\n"},
};

static void put_string(struct ng_buffer *out, const char *key, const char *text)
{
	struct ng_buffer line = {0};

	if (!text || !text[0])
		return;
	ng_text_put_line(&line, text);
	ng_buffer_printf(out, "\t%s = \"", key);
	for (size_t i = 0; i < line.length; i++) {
		if (line.text[i] == '"' || line.text[i] == '\\')
			ng_buffer_puts(out, "\\");
		ng_buffer_put(out, &line.text[i], 1);
	}
	ng_buffer_puts(out, "\";\n");
	if (line.error && !out->error)
		out->error = line.error;
	ng_buffer_release(&line);
}

static void put_environment(struct ng_buffer *out, const struct ng_trace_options *options)
{
	ng_buffer_puts(out, "env {\n\ttracer_name = \"nowgate\";\n");
	put_string(out, "exe", options->exe);
	put_string(out, "function", options->function);
	put_string(out, "mode", options->mode);
	if (options->pid)
		ng_buffer_printf(out, "\tpid = %" PRIu32 ";\n", options->pid);
	ng_buffer_puts(out, "};\n\n");
}

static void put_clock(struct ng_buffer *out, int64_t offset_ns)
{
	int64_t seconds = offset_ns / (int64_t)NG_NS_PER_S;
	int64_t rest_ns = offset_ns % (int64_t)NG_NS_PER_S;

	if (rest_ns < 0) { /* cycles are not negative */
		seconds--;
		rest_ns += (int64_t)NG_NS_PER_S;
	}
	ng_buffer_printf(out,
		"clock {\n"
		"\tname = monotonic;\n"
		"\tdescription = \"CLOCK_MONOTONIC\";\n"
		"\tfreq = 1000000000;\n"
		"\toffset_s = %" PRId64 ";\n"
		"\toffset = %" PRId64 ";\n"
		"};\n\n",
		seconds, rest_ns);
}

static void put_uuid(struct ng_buffer *out, const uint8_t uuid[NG_CTF_UUID_BYTES])
{
	for (size_t i = 0; i < NG_CTF_UUID_BYTES; i++)
		ng_buffer_printf(
			out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", uuid[i]);
}

static void put_metadata(struct ng_buffer *out, const struct ng_trace_options *options,
	const uint8_t uuid[NG_CTF_UUID_BYTES])
{
	ng_buffer_puts(out, "/* CTF 1.8 */\n\n");
	ng_buffer_puts(out, types);
	ng_buffer_puts(out, "trace {\n\tmajor = 1;\n\tminor = 8;\n\tuuid = \"");
	put_uuid(out, uuid);
	ng_buffer_puts(out, "\";\n\tbyte_order = le;\n");
	ng_buffer_puts(out, packet_header);
	put_environment(out, options);
	put_clock(out, options->clock_offset_ns);
	ng_buffer_puts(out, stream);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		ng_buffer_printf(out,
			"event {\n\tid = %d;\n\tname = \"%s\";\n\tstream_id = 0;\n"
			"\tfields := struct {\n%s\t};\n};\n\n",
			events[i].id, events[i].name, events[i].fields);
}

/* @return 1; 0 where there is something in it; what opendir() said */
static int is_empty(const char *path)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;

	if (!directory)
		return -errno;
	while ((entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			break;
	(void)closedir(directory); /* nothing was written */
	return !entry;
}

static int make_directory(const char *path, struct ng_diag *diag)
{
	int empty;

	if (!mkdir(path, DIRECTORY_MODE))
		return 0;
	if (errno != EEXIST)
		return ng_diag_set(diag, -errno, "%s: %s", path, strerror(errno));
	empty = is_empty(path);
	if (empty < 0)
		return ng_diag_set(diag, empty, "%s: %s", path, strerror(-empty));
	if (!empty)
		return ng_diag_set(diag, -EEXIST,
			"%s is not empty: a CTF trace is a directory of its own", path);
	return 0;
}

static int write_file(const char *path, const char *text, size_t length)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
	int error;

	if (fd < 0)
		return -errno;
	error = ng_write_all(fd, text, length);
	if (close(fd) && !error && errno != EINTR)
		error = -errno;
	if (error)
		(void)unlink(path); /* so that it can be tried again */
	return error;
}

int ng_ctf_create(const struct ng_trace_options *options, uint8_t ret_uuid[NG_CTF_UUID_BYTES],
	struct ng_diag *diag)
{
	NG_CLEANUP_FREE char *path = NULL, *text = NULL;
	struct ng_buffer metadata = {0};
	size_t length;
	int error;

	if (getrandom(ret_uuid, NG_CTF_UUID_BYTES, 0) != NG_CTF_UUID_BYTES)
		return ng_diag_set(diag, errno ? -errno : -EIO, "no random number for a trace");
	ret_uuid[6] = (uint8_t)((ret_uuid[6] & 0x0f) | 0x40); /* RFC 4122: a random one */
	ret_uuid[8] = (uint8_t)((ret_uuid[8] & 0x3f) | 0x80);
	put_metadata(&metadata, options, ret_uuid);
	length = metadata.length;
	if (ng_buffer_finish(&metadata, &text) || asprintf(&path, "%s/metadata", options->path) < 0)
		return ng_diag_set(diag, -ENOMEM, "no memory for a trace");
	error = make_directory(options->path, diag);
	if (error)
		return error;
	error = write_file(path, text, length);
	return error ? ng_diag_set(diag, error, "%s: %s", path, strerror(-error)) : 0;
}
