/* core/out/trace: files, disks and pipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/out/trace.h"
#include "tests/out/tracing.h"

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

static int begin_test(void **state)
{
	plain_write();
	return tracing_make_folder(state);
}

static const struct ng_trace_event *an_event(void)
{
	static struct ng_trace_event event;
	static char room[32];

	event = tracing_numbered(0, room);
	return &event;
}

static void what_cannot_be_opened_is_told(void **state)
{
	struct ng_trace_options options = {.format = NG_TRACE_PERFETTO, .path = tracing_folder()};
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_trace *trace = NULL;

	(void)state;
	assert_int_equal(ng_trace_open(&options, &trace, &diag), -EISDIR);
	assert_non_null(strstr(diag.text, tracing_folder()));
	tracing_must_close(tracing_opened_as(NG_TRACE_NDJSON), NULL);
	diag.text[0] = '\0';
	options = (struct ng_trace_options){.format = NG_TRACE_CTF, .path = tracing_folder()};
	assert_int_equal(ng_trace_open(&options, &trace, &diag), -EEXIST);
	assert_non_null(strstr(diag.text, "not empty"));
	diag.text[0] = '\0';
	options.path = tracing_path(NG_TRACE_NDJSON); /* a file */
	assert_int_equal(ng_trace_open(&options, &trace, &diag), -ENOTDIR);
	options.path = "/nonexistent/folder";
	assert_int_equal(ng_trace_open(&options, &trace, &diag), -ENOENT);
	full_error = ENOSPC;
	options.path = tracing_path(NG_TRACE_CTF);
	assert_int_equal(ng_trace_open(&options, &trace, &diag), -ENOSPC);
	plain_write();
	tracing_must_close(tracing_opened(&options), NULL); /* it can be tried again */
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
	for (enum ng_trace_format format = 0; format < TRACING_FORMATS; format++) {
		const struct ng_trace_options options = {
			.format = format, .path = tracing_path(format), .segment_bytes = 100000};
		struct ng_trace *trace = tracing_opened(&options);
		struct ng_trace_totals totals;
		uint64_t i = 0, bytes = 0;

		tracing_write_numbered(trace, 0, 10000);
		tracing_must_close(trace, &totals);
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
				tracing_assert_numbered(&traced.calls[j], i++);
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
	for (enum ng_trace_format format = 0; format < TRACING_FORMATS; format++) {
		const struct ng_trace_options options = {.format = format,
			.path = tracing_path(format),
			.segment_bytes = 100000,
			.segment_count = 2,
			.is_ring = true};
		struct ng_trace *trace = tracing_opened(&options);
		struct ng_trace_totals totals;
		struct traced traced;
		uint64_t calls;

		tracing_write_numbered(trace, 0, 10000);
		tracing_must_close(trace, &totals);
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
		tracing_assert_numbered(&traced.calls[0], totals.removed_events);
		traced_release(&traced);
	}
}

static void a_limit_ends_it(void **state)
{
	(void)state;
	for (enum ng_trace_format format = 0; format < TRACING_FORMATS; format++) {
		const struct ng_trace_options options = {.format = format,
			.path = tracing_path(format),
			.segment_bytes = 100000,
			.segment_count = 2};
		struct ng_trace *trace = tracing_opened(&options);
		struct ng_diag diag = NG_DIAG_INIT;
		struct ng_trace_totals totals;
		struct traced traced;

		tracing_write_numbered(trace, 0, 10000);
		assert_int_equal(ng_trace_write(trace, an_event(), &diag), -E2BIG);
		assert_int_equal(ng_trace_flush(trace, NULL), -E2BIG);
		tracing_must_close(trace, &totals);
		assert_int_equal(totals.ended_by, -E2BIG);
		assert_int_equal(totals.segment_count, 2);
		assert_int_equal(totals.loss_count, 1);
		assert_int_equal(
			totals.events + tracing_lost_to(&totals, NG_TRACE_LOST_SIZE_LIMIT), 10001);
		assert_int_equal(traced_calls(format, options.path, &totals), totals.events);
		traced_read(format, traced_path(format, options.path, 1), &traced);
		assert_int_equal(traced.lost, 10001 - totals.events);
		traced_release(&traced);
	}
}

/* The next file cannot be opened, but the oldest one has made room for it. */
static void a_ring_that_ends_tells_what_is_left(void **state)
{
	(void)state;
	for (enum ng_trace_format format = 0; format < TRACING_FORMATS; format++) {
		const struct ng_trace_options options = {.format = format,
			.path = tracing_path(format),
			.segment_bytes = 100000,
			.segment_count = 2,
			.is_ring = true};
		struct ng_trace *trace = tracing_opened(&options);
		struct ng_trace_totals totals;

		assert_int_equal(mkdir(traced_path(format, options.path, 3), 0777), 0);
		tracing_write_numbered(trace, 0, 10000);
		assert_int_equal(ng_trace_close(trace, &totals, NULL), -EISDIR);
		assert_int_equal(totals.ended_by, -EISDIR);
		assert_int_equal(
			totals.events + tracing_lost_to(&totals, NG_TRACE_LOST_WRITE_ERROR), 10000);
		assert_int_equal(totals.first_segment, 2);
		assert_int_equal(totals.segment_count, 1);
		assert_int_equal(traced_calls(format, options.path, &totals),
			totals.events - totals.removed_events);
	}
}

/* --- a disk that is full --------------------------------------------------------------------- */

static void assert_full(
	enum ng_trace_format format, struct ng_trace *trace, int error, uint64_t events)
{
	struct ng_trace_totals totals;

	tracing_must_close(trace, &totals);
	assert_int_equal(totals.ended_by, error);
	assert_int_equal(totals.loss_count, 1);
	assert_true(totals.events > 0);
	assert_int_equal(totals.events + tracing_lost_to(&totals, NG_TRACE_LOST_DISK_FULL), events);
	assert_int_equal(traced_calls(format, tracing_path(format), &totals), totals.events);
	assert_int_equal(size_of(traced_path(format, tracing_path(format), 0)), totals.bytes);
}

static void a_full_disk_ends_it(void **state)
{
	static const int errors[] = {ENOSPC, EDQUOT, EFBIG};

	(void)state;
	for (enum ng_trace_format format = 0; format < TRACING_FORMATS; format++) {
		struct ng_trace *trace = tracing_opened_as(format);
		struct ng_diag diag = NG_DIAG_INIT;

		room_bytes = 300000;
		full_error = errors[format];
		tracing_write_numbered(trace, 0, 10000);
		assert_int_equal(ng_trace_write(trace, an_event(), &diag), -errors[format]);
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
	for (enum ng_trace_format format = 0; format < TRACING_FORMATS; format++) {
		struct ng_trace *trace = tracing_opened_as(format);
		struct traced traced;

		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		tracing_write_numbered(trace, 0, 10000);
		assert_full(format, trace, -EFBIG, 10000);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
		traced_read(format, traced_path(format, tracing_path(format), 0), &traced);
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
		for (enum ng_trace_format format = 0; format < TRACING_FORMATS; format++) {
			struct ng_trace *trace = tracing_opened_as(format);
			struct ng_trace_totals totals;
			const char *path = tracing_path(format);

			room_bytes = room;
			full_error = ENOSPC;
			tracing_write_numbered(trace, 0, 300);
			tracing_must_close(trace, &totals);
			plain_write();
			assert_int_equal(
				totals.events + tracing_lost_to(&totals, NG_TRACE_LOST_DISK_FULL),
				300);
			if (format != NG_TRACE_NDJSON || totals.bytes)
				assert_int_equal(
					traced_calls(format, path, &totals), totals.events);
			if (format != NG_TRACE_CTF)
				continue;
			assert_int_equal(unlink(traced_path(format, path, 0)), 0);
			assert_int_equal(
				tracing_remove_folder(NULL) | tracing_make_folder(NULL), 0);
		}
}

/* --- what else may come ---------------------------------------------------------------------- */

static void short_writes_are_continued(void **state)
{
	(void)state;
	for (enum ng_trace_format format = 0; format < TRACING_FORMATS; format++) {
		struct ng_trace *trace = tracing_opened_as(format);
		struct ng_trace_totals totals;

		piece_bytes = 1009;
		tracing_write_numbered(trace, 0, 5000);
		tracing_must_close(trace, &totals);
		plain_write();
		assert_int_equal(totals.events, 5000);
		assert_int_equal(traced_calls(format, tracing_path(format), &totals), 5000);
	}
}

static void a_pipe_that_nobody_reads_is_an_error(void **state)
{
	(void)state;
	assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	for (enum ng_trace_format format = NG_TRACE_PERFETTO; format < TRACING_FORMATS; format++) {
		struct ng_trace_options options = {.format = format};
		struct ng_diag diag = NG_DIAG_INIT, first = NG_DIAG_INIT;
		struct ng_trace_totals totals;
		struct ng_trace *trace;
		int ends[2];

		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		assert_int_equal(close(ends[0]), 0);
		options.fd = ends[1];
		trace = tracing_opened(&options);
		tracing_must_write(trace, an_event());
		assert_int_equal(ng_trace_flush(trace, &first), -EPIPE);
		assert_non_null(strstr(first.text, "Broken pipe"));
		assert_int_equal(ng_trace_write(trace, an_event(), NULL), -EPIPE);
		assert_int_equal(ng_trace_close(trace, &totals, &diag), -EPIPE);
		assert_true(diag.text[0]);
		assert_int_equal(totals.ended_by, -EPIPE);
		assert_int_equal(totals.events, 0);
		assert_int_equal(tracing_lost_to(&totals, NG_TRACE_LOST_WRITE_ERROR), 2);
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
	trace = tracing_opened(&options);
	tracing_must_write(trace, an_event());
	assert_int_equal(read(ends[0], bytes, sizeof(bytes)), -1);
	assert_int_equal(ng_trace_flush(trace, NULL), 0);
	assert_true(read(ends[0], bytes, sizeof(bytes)) > 200);
	assert_int_equal(ng_trace_flush(trace, NULL), 0);
	assert_int_equal(read(ends[0], bytes, sizeof(bytes)), -1);
	tracing_must_close(trace, NULL);
	assert_int_equal(close(ends[0]) | close(ends[1]), 0);
}

/* Blocks are taken ahead, the size is what was written, and in the end nothing is taken for
 * nothing. */
static void blocks_are_taken_ahead(void **state)
{
	const char *path = tracing_path(NG_TRACE_NDJSON);
	struct ng_trace *trace = tracing_opened_as(NG_TRACE_NDJSON);
	struct stat status;
	struct ng_trace_totals totals;

	(void)state;
	tracing_must_write(trace, an_event());
	assert_int_equal(ng_trace_flush(trace, NULL), 0);
	ng_trace_look(trace, &totals);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(totals.events, 1);
	assert_int_equal(status.st_size, totals.bytes);
	if (status.st_blocks * 512 < 16 << 20)
		print_message("the file system of %s takes no blocks ahead\n", path);
	tracing_must_close(trace, NULL);
	assert_int_equal(stat(path, &status), 0);
	assert_true(status.st_blocks * 512 <= 65536);
}

#define TRACE_TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, tracing_remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TRACE_TEST(what_cannot_be_opened_is_told),
		TRACE_TEST(files_follow_one_another),
		TRACE_TEST(a_ring_keeps_the_newest),
		TRACE_TEST(a_ring_that_ends_tells_what_is_left),
		TRACE_TEST(a_limit_ends_it),
		TRACE_TEST(a_full_disk_ends_it),
		TRACE_TEST(a_limit_of_the_process_ends_it),
		TRACE_TEST(any_room_will_do),
		TRACE_TEST(short_writes_are_continued),
		TRACE_TEST(a_pipe_that_nobody_reads_is_an_error),
		TRACE_TEST(a_pipe_gets_what_is_flushed),
		TRACE_TEST(blocks_are_taken_ahead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
