/* core/out/trace: what was written is read again, from each format, and compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/out/trace.h"
#include "tests/out/traced.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define FORMATS	   3
#define NO_MAPPING .mapping = NG_FRAME_NO_MAPPING
#define NOW	   .function = "time.Now", .file = "/go/src/time/time.go", .line = 1160, NO_MAPPING

/* write() as the test wants it: in small pieces, and with an error where it is full. */
static size_t piece_bytes; /* 0: as it comes */
static size_t room_bytes;  /* until it is full; 0: never */
static int full_error;

ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);

ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
	static unsigned int calls;

	if (piece_bytes && ++calls % 3 == 0) {
		errno = EINTR;
		return -1;
	}
	if (piece_bytes && length > piece_bytes)
		length = piece_bytes;
	if (full_error && length > room_bytes)
		length = room_bytes;
	if (full_error && !length) {
		errno = full_error;
		return -1;
	}
	room_bytes -= full_error ? length : 0;
	return __real_write(fd, bytes, length);
}

static void plain_write(void)
{
	piece_bytes = room_bytes = 0;
	full_error = 0;
}

/* --- a place for traces ---------------------------------------------------------------------- */

static char folder[] = "/tmp/nowgate-trace-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	plain_write();
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[PATH_MAX + 16];

	(void)state;
	plain_write();
	(void)snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static const char *path_of(enum ng_trace_format format)
{
	static char room[PATH_MAX];
	static const char *const names[FORMATS] = {"ctf", "perfetto", "ndjson"};

	(void)snprintf(room, sizeof(room), "%s/%s", folder, names[format]);
	return room;
}

static struct ng_trace *opened(const struct ng_trace_options *options)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_trace *trace = NULL;
	int error = ng_trace_open(options, &trace, &diag);

	if (error)
		fail_msg("%d %s", error, diag.text);
	return trace;
}

static struct ng_trace *opened_as(enum ng_trace_format format)
{
	const struct ng_trace_options options = {
		.format = format, .path = path_of(format), .clock_offset_ns = 1700000000000000000};

	return opened(&options);
}

static void must_write(struct ng_trace *trace, const struct ng_trace_event *event)
{
	struct ng_diag diag = NG_DIAG_INIT;

	assert_int_equal(ng_trace_write(trace, event, &diag), 0);
	assert_string_equal(diag.text, "");
}

static void must_close(struct ng_trace *trace, struct ng_trace_totals *ret_totals)
{
	struct ng_diag diag = NG_DIAG_INIT;

	assert_int_equal(ng_trace_close(trace, ret_totals, &diag), 0);
	assert_string_equal(diag.text, "");
}

static uint64_t lost_to(const struct ng_trace_totals *totals, const char *cause)
{
	for (size_t i = 0; i < totals->loss_count; i++)
		if (!strcmp(totals->losses[i].cause, cause))
			return totals->losses[i].events;
	return 0;
}

/* --- events ---------------------------------------------------------------------------------- */

static const struct ng_profile_frame work[] = {
	{NOW, .is_inlined = true},
	{.function = "main.work", .file = "/src/main.go", .line = 25, NO_MAPPING},
	{.function = "main.main", .file = "/src/main.go", .line = 60, NO_MAPPING},
};
static const struct ng_profile_frame nameless[] = {{.address = 0x7f0000001234, NO_MAPPING}};
static const struct ng_profile_frame unknown[] = {{NOW}, {NO_MAPPING}};
static const struct ng_profile_frame alone[] = {{NOW}};
static const struct ng_profile_frame odd[] = {
	{.function = "a\nb\x1b[2J\x7f\xc2\x85", .file = "x\ty/", .line = UINT32_MAX, NO_MAPPING},
	{.function = "\xff\xc3\xa9\xc3\xed\xa0\x80\xf0\x9f\x98\x80\"\\", .file = "", NO_MAPPING},
	{.function = "", .file = "/\xe2\x80\xa8/\xef\xbf\xbf.go", .line = 1, NO_MAPPING},
};
static struct ng_profile_frame deep[127];

struct sample {
	struct ng_trace_event event;
	const char *function; /* as it is read again */
	const char *caller;
	const char *stack;
};

#define FRAMES(array) .frames = array, .frame_count = COUNT(array)
#define WORK_STACK                                                                                 \
	"time.Now@/go/src/time/time.go:1160;main.work@/src/main.go:25;main.main@/src/main.go:60;"

static struct sample samples[] = {
	{{1000, 1, 2, 7, "time.Now", 1, FRAMES(work)}, "time.Now", "main.work main.go:25",
		WORK_STACK},
	{{1001, 1, 1, 0, "time.Now", 2, FRAMES(nameless)}, "time.Now", "0x7f0000001234",
		"0x7f0000001234@:0;"},
	{{1001, 1, 2, UINT32_MAX, "time.Now", NG_TRACE_NO_STACK, NULL, 0}, "time.Now", NULL, ""},
	{{1002, 1, 2, 1ull << 40, "time.Now", 3, FRAMES(unknown)}, "time.Now", "[unknown]",
		"time.Now@/go/src/time/time.go:1160;[unknown]@:0;"},
	{{1003, 4194304, 4194303, 1, "time.Now", 4, FRAMES(alone)}, "time.Now", NULL,
		"time.Now@/go/src/time/time.go:1160;"},
	{{1004, 1, 2, 1, "time.\x01Now\xff", 5, FRAMES(odd)}, "time. Now\xef\xbf\xbd",
		"a b [2J   x y/:4294967295", /* nothing is behind the last / */
		"a b [2J  @x y/:4294967295;"
		"\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x98"
		"\x80\"\\@:0;[unknown]@/ / .go:1;"},
	{{1005, 1, 2, 7, "time.Now", 1, FRAMES(work)}, "time.Now", "main.work main.go:25",
		WORK_STACK},
	{{1006, 1, 2, 7, NULL, 1, FRAMES(work)}, "[unknown]", "time.Now time.go:1160", WORK_STACK},
	{{1007, 1, 2, 7, "", 6, FRAMES(deep)}, "[unknown]", "f main.go:7", NULL},
};

static char deep_stack[COUNT(deep) * 32];

static int make_deep(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(deep); i++) {
		deep[i] = (struct ng_profile_frame){.function = "f",
			.file = "/src/main.go",
			.line = (uint32_t)i + 7,
			.address = i,
			NO_MAPPING};
		(void)sprintf(deep_stack + strlen(deep_stack), "f@/src/main.go:%zu;", i + 7);
	}
	samples[COUNT(samples) - 1].stack = deep_stack;
	return 0;
}

static void assert_call(
	const struct traced_call *call, const struct sample *sample, enum ng_trace_format format)
{
	assert_int_equal(call->time_ns, sample->event.time_ns);
	assert_int_equal(call->pid, sample->event.pid);
	assert_int_equal(call->tid, sample->event.tid);
	assert_true(call->goroutine == sample->event.goroutine);
	assert_string_equal(call->function, sample->function);
	assert_string_equal(call->stack, sample->stack);
	if (format == NG_TRACE_NDJSON)
		return;
	if (sample->caller || format == NG_TRACE_CTF)
		assert_string_equal(call->caller, sample->caller ? sample->caller : "[unknown]");
	else
		assert_null(call->caller);
}

static void each_format_says_what_was_called(void **state)
{
	(void)state;
	for (enum ng_trace_format format = 0; format < FORMATS; format++) {
		struct ng_trace *trace = opened_as(format);
		struct ng_trace_totals totals;
		struct traced traced;

		for (size_t i = 0; i < COUNT(samples); i++)
			must_write(trace, &samples[i].event);
		must_close(trace, &totals);
		assert_int_equal(totals.events, COUNT(samples));
		assert_int_equal(totals.loss_count, 0);
		assert_int_equal(totals.ended_by, 0);
		assert_int_equal(totals.segment_count, 1);
		traced_read(format, traced_path(format, path_of(format), 0), &traced);
		assert_int_equal(traced.count, COUNT(samples));
		for (size_t i = 0; i < COUNT(samples); i++)
			assert_call(&traced.calls[i], &samples[i], format);
		traced_release(&traced);
	}
}

static void lines_are_as_promised(void **state)
{
	static const char wanted[] =
		"{\"version\":1,\"kind\":\"nowgate-trace\",\"segment\":0,\"clock_offset_ns\":-5,"
		"\"pid\":4711,\"exe\":\"/bin/a b\",\"function\":null,\"mode\":\"full\"}\n"
		"{\"time_ns\":1000,\"pid\":1,\"tid\":2,\"goroutine\":7,\"function\":\"time.Now\","
		"\"stack\":[{\"function\":\"time.Now\",\"file\":\"/go/src/time/time.go\","
		"\"line\":1160},{\"function\":\"main.work\",\"file\":\"/src/main.go\",\"line\":25},"
		"{\"function\":\"main.main\",\"file\":\"/src/main.go\",\"line\":60}]}\n"
		"{\"time_ns\":1001,\"pid\":1,\"tid\":1,\"goroutine\":null,\"function\":\"time."
		"Now\","
		"\"stack\":[{\"function\":null,\"file\":null,\"line\":null,"
		"\"address\":\"0x7f0000001234\"}]}\n"
		"{\"time_ns\":1001,\"pid\":1,\"tid\":2,\"goroutine\":4294967295,"
		"\"function\":\"time.Now\",\"stack\":[]}\n"
		"{\"lost\":9,\"cause\":\"ring full\",\"time_ns\":1001}\n"
		"{\"end\":true,\"is_last\":true,\"segment_events\":3,\"events\":3,"
		"\"lost\":{\"ring full\":9}}\n";
	const struct ng_trace_options options = {.format = NG_TRACE_NDJSON,
		.path = path_of(NG_TRACE_NDJSON),
		.clock_offset_ns = -5,
		.pid = 4711,
		.exe = "/bin/a\nb",
		.function = "",
		.mode = "full"};
	struct ng_trace *trace = opened(&options);
	NG_CLEANUP_FREE char *bytes = NULL;
	size_t length;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		must_write(trace, &samples[i].event);
	ng_trace_lose(trace, "ring full", 4);
	ng_trace_lose(trace, "other", 0);
	ng_trace_lose(trace, "ring full", 5);
	must_close(trace, NULL);
	bytes = traced_bytes(options.path, &length);
	assert_string_equal(bytes, wanted);
}

static void options_that_do_not_go_together_are_refused(void **state)
{
	const struct ng_trace_options bad[] = {
		{.format = (enum ng_trace_format)FORMATS, .path = "/dev/null"},
		{.format = NG_TRACE_CTF, .fd = 1},
		{.format = NG_TRACE_NDJSON, .fd = 1, .segment_bytes = 1 << 20},
		{.format = NG_TRACE_NDJSON, .path = "/dev/null", .segment_bytes = 65535},
		{.format = NG_TRACE_NDJSON, .path = "/dev/null", .segment_count = 2},
		{.format = NG_TRACE_NDJSON,
			.path = "/dev/null",
			.segment_bytes = 65536,
			.segment_count = 100001},
		{.format = NG_TRACE_NDJSON,
			.path = "/dev/null",
			.segment_bytes = 65536,
			.is_ring = true},
	};
	struct ng_trace *trace = NULL;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct ng_diag diag = NG_DIAG_INIT;

		assert_int_equal(ng_trace_open(&bad[i], &trace, &diag), -EINVAL);
		assert_true(diag.text[0]);
	}
	assert_null(trace);
	assert_int_equal(ng_trace_close(NULL, NULL, NULL), 0);
}

static void what_cannot_be_opened_is_told(void **state)
{
	struct ng_trace_options options = {.format = NG_TRACE_PERFETTO, .path = folder};
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_trace *trace = NULL;

	(void)state;
	assert_int_equal(ng_trace_open(&options, &trace, &diag), -EISDIR);
	assert_non_null(strstr(diag.text, folder));
	must_close(opened_as(NG_TRACE_NDJSON), NULL);
	diag.text[0] = '\0';
	options = (struct ng_trace_options){.format = NG_TRACE_CTF, .path = folder};
	assert_int_equal(ng_trace_open(&options, &trace, &diag), -EEXIST);
	assert_non_null(strstr(diag.text, "not empty"));
	diag.text[0] = '\0';
	options.path = path_of(NG_TRACE_NDJSON); /* a file */
	assert_int_equal(ng_trace_open(&options, &trace, &diag), -ENOTDIR);
	options.path = "/nonexistent/folder";
	assert_int_equal(ng_trace_open(&options, &trace, &diag), -ENOENT);
	full_error = ENOSPC;
	options.path = path_of(NG_TRACE_CTF);
	assert_int_equal(ng_trace_open(&options, &trace, &diag), -ENOSPC);
	plain_write();
	must_close(opened(&options), NULL); /* it can be tried again */
}

/* --- many events ----------------------------------------------------------------------------- */

/* The i-th of many; with 3 threads, and a stack that is new each 100. */
static struct ng_trace_event numbered(uint64_t i, char room[32])
{
	static struct ng_profile_frame frames[3] = {
		{NOW}, {.file = "/src/main.go", NO_MAPPING}, {.function = "main.main", NO_MAPPING}};

	(void)snprintf(room, 32, "main.f%" PRIu64, i / 100 % 1000);
	frames[1].function = room;
	frames[1].line = (uint32_t)(i / 100 % 1000) + 1;
	return (struct ng_trace_event){.time_ns = 1000000 + 10 * i,
		.pid = 4711,
		.tid = 4711 + (uint32_t)(i % 3),
		.goroutine = i,
		.function = "time.Now",
		.stack_id = (uint32_t)(i / 100 % 1000) + 1,
		FRAMES(frames)};
}

static void write_numbered(struct ng_trace *trace, uint64_t begin, uint64_t end)
{
	char room[32];

	for (uint64_t i = begin; i < end; i++) {
		const struct ng_trace_event event = numbered(i, room);

		(void)ng_trace_write(trace, &event, NULL); /* what is lost is counted */
	}
}

static void assert_numbered(const struct traced_call *call, uint64_t i)
{
	char name[32], stack[128];

	assert_int_equal(call->goroutine, i);
	assert_int_equal(call->time_ns, 1000000 + 10 * i);
	assert_int_equal(call->tid, 4711 + i % 3);
	(void)snprintf(name, sizeof(name), "main.f%" PRIu64, i / 100 % 1000);
	(void)snprintf(stack, sizeof(stack),
		"time.Now@/go/src/time/time.go:1160;%s@/src/main.go:%" PRIu64 ";main.main@:0;",
		name, i / 100 % 1000 + 1);
	assert_string_equal(call->stack, stack);
}

static uint64_t size_of(const char *path)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	return (uint64_t)status.st_size;
}

/* Files of the size that was asked for, each to be read alone; together they are all. */
static void files_follow_one_another(void **state)
{
	(void)state;
	for (enum ng_trace_format format = 0; format < FORMATS; format++) {
		const struct ng_trace_options options = {
			.format = format, .path = path_of(format), .segment_bytes = 100000};
		struct ng_trace *trace = opened(&options);
		struct ng_trace_totals totals;
		uint64_t i = 0, bytes = 0;

		write_numbered(trace, 0, 10000);
		must_close(trace, &totals);
		assert_int_equal(totals.events, 10000);
		assert_true(totals.segment_count >= 4);
		for (uint32_t n = 0; n < totals.segment_count; n++) {
			const char *path = traced_path(format, options.path, n);
			const uint64_t size = size_of(path);
			struct traced traced;

			assert_true(size < 100000 + 2000);
			assert_true(n == totals.segment_count - 1 || size >= 99000);
			bytes += size;
			traced_read(format, path, &traced);
			for (size_t j = 0; j < traced.count; j++)
				assert_numbered(&traced.calls[j], i++);
			traced_release(&traced);
		}
		assert_int_equal(i, 10000);
		assert_int_equal(bytes, totals.bytes);
		assert_int_equal(
			access(traced_path(format, options.path, totals.segment_count), F_OK), -1);
	}
}

static void a_ring_keeps_the_newest(void **state)
{
	(void)state;
	for (enum ng_trace_format format = 0; format < FORMATS; format++) {
		const struct ng_trace_options options = {.format = format,
			.path = path_of(format),
			.segment_bytes = 100000,
			.segment_count = 2,
			.is_ring = true};
		struct ng_trace *trace = opened(&options);
		struct ng_trace_totals totals;
		struct traced traced;
		uint64_t calls;

		write_numbered(trace, 0, 10000);
		must_close(trace, &totals);
		assert_int_equal(totals.events, 10000);
		assert_int_equal(totals.segment_count, 2);
		assert_true(totals.first_segment >= 2);
		assert_int_equal(totals.ended_by, 0);
		for (uint32_t n = 0; n < totals.first_segment; n++)
			assert_int_equal(access(traced_path(format, options.path, n), F_OK), -1);
		calls = traced_calls(format, options.path, &totals);
		assert_int_equal(calls, totals.events - totals.removed_events);
		traced_read(
			format, traced_path(format, options.path, totals.first_segment), &traced);
		assert_numbered(&traced.calls[0], totals.removed_events);
		traced_release(&traced);
	}
}

static void a_limit_ends_it(void **state)
{
	(void)state;
	for (enum ng_trace_format format = 0; format < FORMATS; format++) {
		const struct ng_trace_options options = {.format = format,
			.path = path_of(format),
			.segment_bytes = 100000,
			.segment_count = 2};
		struct ng_trace *trace = opened(&options);
		struct ng_diag diag = NG_DIAG_INIT;
		struct ng_trace_totals totals;
		struct traced traced;

		write_numbered(trace, 0, 10000);
		assert_int_equal(ng_trace_write(trace, &samples[0].event, &diag), -E2BIG);
		assert_int_equal(ng_trace_flush(trace, NULL), -E2BIG);
		must_close(trace, &totals);
		assert_int_equal(totals.ended_by, -E2BIG);
		assert_int_equal(totals.segment_count, 2);
		assert_int_equal(totals.loss_count, 1);
		assert_int_equal(totals.events + lost_to(&totals, NG_TRACE_LOST_SIZE_LIMIT), 10001);
		assert_int_equal(traced_calls(format, options.path, &totals), totals.events);
		traced_read(format, traced_path(format, options.path, 1), &traced);
		assert_int_equal(traced.lost, 10001 - totals.events);
		traced_release(&traced);
	}
}

/* --- a disk that is full --------------------------------------------------------------------- */

static void assert_full(
	enum ng_trace_format format, struct ng_trace *trace, int error, uint64_t events)
{
	struct ng_trace_totals totals;

	must_close(trace, &totals);
	assert_int_equal(totals.ended_by, error);
	assert_int_equal(totals.loss_count, 1);
	assert_true(totals.events > 0);
	assert_int_equal(totals.events + lost_to(&totals, NG_TRACE_LOST_DISK_FULL), events);
	assert_int_equal(traced_calls(format, path_of(format), &totals), totals.events);
	assert_int_equal(size_of(traced_path(format, path_of(format), 0)), totals.bytes);
}

static void a_full_disk_ends_it(void **state)
{
	static const int errors[] = {ENOSPC, EDQUOT, EFBIG};

	(void)state;
	for (enum ng_trace_format format = 0; format < FORMATS; format++) {
		struct ng_trace *trace = opened_as(format);
		struct ng_diag diag = NG_DIAG_INIT;

		room_bytes = 300000;
		full_error = errors[format];
		write_numbered(trace, 0, 10000);
		assert_int_equal(ng_trace_write(trace, &samples[0].event, &diag), -errors[format]);
		assert_non_null(strstr(diag.text, "disk full"));
		assert_full(format, trace, -errors[format], 10001);
		plain_write();
	}
}

/* The system's own limit; what there is no room for is small enough at the end to be told. */
static void a_limit_of_the_process_ends_it(void **state)
{
	struct rlimit before, limit;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	limit = before;
	limit.rlim_cur = 300000;
	for (enum ng_trace_format format = 0; format < FORMATS; format++) {
		struct ng_trace *trace = opened_as(format);
		struct traced traced;

		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		write_numbered(trace, 0, 10000);
		assert_full(format, trace, -EFBIG, 10000);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
		traced_read(format, traced_path(format, path_of(format), 0), &traced);
		assert_int_equal(traced.lost, 10000 - traced.count);
		traced_release(&traced);
	}
	assert_true(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
}

/* At each place where the room may end, also where a trace begins and ends. */
static void any_room_will_do(void **state)
{
	(void)state;
	for (size_t room = 0; room < 120000; room += 1 + room / 7)
		for (enum ng_trace_format format = 0; format < FORMATS; format++) {
			struct ng_trace *trace = opened_as(format);
			struct ng_trace_totals totals;
			const char *path = path_of(format);

			room_bytes = room;
			full_error = ENOSPC;
			write_numbered(trace, 0, 300);
			must_close(trace, &totals);
			plain_write();
			assert_int_equal(
				totals.events + lost_to(&totals, NG_TRACE_LOST_DISK_FULL), 300);
			if (format != NG_TRACE_NDJSON || totals.bytes)
				assert_int_equal(
					traced_calls(format, path, &totals), totals.events);
			if (format != NG_TRACE_CTF)
				continue;
			assert_int_equal(unlink(traced_path(format, path, 0)), 0);
			assert_int_equal(remove_folder(NULL) | make_folder(NULL), 0);
		}
}

/* --- what else may come ---------------------------------------------------------------------- */

static void short_writes_are_continued(void **state)
{
	(void)state;
	for (enum ng_trace_format format = 0; format < FORMATS; format++) {
		struct ng_trace *trace = opened_as(format);
		struct ng_trace_totals totals;

		piece_bytes = 1009;
		write_numbered(trace, 0, 5000);
		must_close(trace, &totals);
		plain_write();
		assert_int_equal(totals.events, 5000);
		assert_int_equal(traced_calls(format, path_of(format), &totals), 5000);
	}
}

static void a_pipe_that_nobody_reads_is_an_error(void **state)
{
	(void)state;
	assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	for (enum ng_trace_format format = NG_TRACE_PERFETTO; format < FORMATS; format++) {
		struct ng_trace_options options = {.format = format};
		struct ng_diag diag = NG_DIAG_INIT, first = NG_DIAG_INIT;
		struct ng_trace_totals totals;
		struct ng_trace *trace;
		int ends[2];

		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		assert_int_equal(close(ends[0]), 0);
		options.fd = ends[1];
		trace = opened(&options);
		must_write(trace, &samples[0].event);
		assert_int_equal(ng_trace_flush(trace, &first), -EPIPE);
		assert_non_null(strstr(first.text, "Broken pipe"));
		assert_int_equal(ng_trace_write(trace, &samples[0].event, NULL), -EPIPE);
		assert_int_equal(ng_trace_close(trace, &totals, &diag), -EPIPE);
		assert_true(diag.text[0]);
		assert_int_equal(totals.ended_by, -EPIPE);
		assert_int_equal(totals.events, 0);
		assert_int_equal(lost_to(&totals, NG_TRACE_LOST_WRITE_ERROR), 2);
		assert_int_equal(close(ends[1]), 0); /* it was borrowed */
	}
	assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
}

static void a_pipe_gets_what_is_flushed(void **state)
{
	struct ng_trace_options options = {.format = NG_TRACE_NDJSON};
	struct ng_trace *trace;
	char bytes[4096];
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	options.fd = ends[1];
	trace = opened(&options);
	must_write(trace, &samples[0].event);
	assert_int_equal(read(ends[0], bytes, sizeof(bytes)), -1);
	assert_int_equal(ng_trace_flush(trace, NULL), 0);
	assert_true(read(ends[0], bytes, sizeof(bytes)) > 200);
	assert_int_equal(ng_trace_flush(trace, NULL), 0);
	assert_int_equal(read(ends[0], bytes, sizeof(bytes)), -1);
	must_close(trace, NULL);
	assert_int_equal(close(ends[0]) | close(ends[1]), 0);
}

/* Blocks are taken ahead, the size is what was written, and in the end nothing is taken for
 * nothing. */
static void blocks_are_taken_ahead(void **state)
{
	const char *path = path_of(NG_TRACE_NDJSON);
	struct ng_trace *trace = opened_as(NG_TRACE_NDJSON);
	struct stat status;
	struct ng_trace_totals totals;

	(void)state;
	must_write(trace, &samples[0].event);
	assert_int_equal(ng_trace_flush(trace, NULL), 0);
	ng_trace_look(trace, &totals);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(totals.events, 1);
	assert_int_equal(status.st_size, totals.bytes);
	if (status.st_blocks * 512 < 16 << 20)
		print_message("the file system of %s takes no blocks ahead\n", path);
	must_close(trace, NULL);
	assert_int_equal(stat(path, &status), 0);
	assert_true(status.st_blocks * 512 <= 65536);
}

/* CTF's times never go back: what comes a little late is sorted, and what comes very late says so.
 */
static void late_calls_are_told(void **state)
{
	struct ng_trace *trace = opened_as(NG_TRACE_CTF);
	uint64_t late = 0, total = 0;
	struct traced traced;
	char room[32];

	(void)state;
	for (uint64_t i = 0; i < 20000; i++) {
		struct ng_trace_event event = numbered(i ^ 7, room);

		if (i % 5000 == 4999)
			event.time_ns = 1000000 + 10 * (i - 4990); /* 4,990 calls late */
		must_write(trace, &event);
	}
	must_close(trace, NULL);
	traced_read(NG_TRACE_CTF, traced_path(NG_TRACE_CTF, path_of(NG_TRACE_CTF), 0), &traced);
	assert_int_equal(traced.count, 20000);
	for (size_t i = 0; i < traced.count; i++) {
		const struct traced_call *call = &traced.calls[i];
		const uint64_t n = call->goroutine ^ 7; /* its place when it came */

		late += call->is_late;
		total += call->goroutine;
		assert_int_equal(call->is_late, n % 5000 == 4999);
		assert_int_equal(
			call->time_ns, 1000000 + 10 * (call->is_late ? n - 4990 : call->goroutine));
	}
	assert_int_equal(late, 4);
	assert_int_equal(total, 20000ull * 19999 / 2);
	traced_release(&traced);
}

static void causes_beyond_all_bounds_are_one(void **state)
{
	struct ng_trace *trace = opened_as(NG_TRACE_PERFETTO);
	struct ng_trace_totals totals;
	struct traced traced;
	char cause[100];

	(void)state;
	for (int i = 0; i < 20; i++) {
		(void)snprintf(cause, sizeof(cause), "cause %d%s", i,
			i == 3 ? " that is longer than there is room for a cause" : "");
		ng_trace_lose(trace, cause, 1);
	}
	must_close(trace, &totals);
	assert_int_equal(totals.loss_count, NG_TRACE_CAUSES_MAX);
	assert_int_equal(lost_to(&totals, "cause 14"), 1);
	assert_int_equal(lost_to(&totals, "other"), 5);
	assert_int_equal(lost_to(&totals, "cause 3 that is longer than there is room for a"), 1);
	traced_read(NG_TRACE_PERFETTO, path_of(NG_TRACE_PERFETTO), &traced);
	assert_int_equal(traced.lost, 20);
	traced_release(&traced);
}

#define TRACE_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TRACE_TEST(options_that_do_not_go_together_are_refused),
		TRACE_TEST(what_cannot_be_opened_is_told),
		TRACE_TEST(each_format_says_what_was_called),
		TRACE_TEST(lines_are_as_promised),
		TRACE_TEST(files_follow_one_another),
		TRACE_TEST(a_ring_keeps_the_newest),
		TRACE_TEST(a_limit_ends_it),
		TRACE_TEST(a_full_disk_ends_it),
		TRACE_TEST(a_limit_of_the_process_ends_it),
		TRACE_TEST(any_room_will_do),
		TRACE_TEST(short_writes_are_continued),
		TRACE_TEST(a_pipe_that_nobody_reads_is_an_error),
		TRACE_TEST(a_pipe_gets_what_is_flushed),
		TRACE_TEST(blocks_are_taken_ahead),
		TRACE_TEST(late_calls_are_told),
		TRACE_TEST(causes_beyond_all_bounds_are_one),
	};

	return cmocka_run_group_tests(tests, make_deep, NULL);
}
