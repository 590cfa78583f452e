/* core/out/trace: each allocation fails in turn. What is lost by that is counted, all else is
 * there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "core/out/trace.h"
#include "tests/out/failing.h"
#include "tests/out/traced.h"

#define FORMATS	   3
#define EVENTS	   3000 /* CTF takes a packet on the way */
#define STACKS	   100
#define NO_MAPPING .mapping = NG_FRAME_NO_MAPPING

static char folder[] = "/tmp/nowgate-trace-XXXXXX";

static int write_numbered(struct ng_trace *trace)
{
	int failed = 0;

	for (uint32_t i = 0; i < EVENTS; i++) {
		const struct ng_profile_frame frames[] = {
			{.function = "time.Now", .file = "/time.go", .line = 5, NO_MAPPING},
			{.function = "main.f", .file = "/main.go", .line = i % STACKS, NO_MAPPING},
		};
		const struct ng_trace_event event = {
			.time_ns = 1000 + (i ^ 1),
			.pid = 1,
			.tid = i % 70 + 1,
			.goroutine = i,
			.function = i % 2 ? "time.Now" : "time.Since",
			.stack_id = i % STACKS + 1,
			.frames = frames,
			.frame_count = 2,
		};
		struct ng_diag diag = NG_DIAG_INIT;
		int error = ng_trace_write(trace, &event, &diag);

		assert_true(!error || error == -ENOMEM);
		assert_true(!error || diag.text[0]);
		failed += error != 0;
	}
	return failed;
}

/* @return was there an allocation to fail? */
static bool write_failing(enum ng_trace_format format, size_t n)
{
	struct ng_trace_options options = {.format = format,
		.segment_bytes = 65536,
		.segment_count = 100,
		.is_ring = true,
		.exe = "/bin/a"};
	char path[64];
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_trace_totals totals;
	struct ng_trace *trace = NULL;
	int error, failed = 0;
	size_t allocations;

	(void)snprintf(path, sizeof(path), "%s/%d-%zu", folder, format, n);
	options.path = path;
	failing_begin(n);
	error = ng_trace_open(&options, &trace, &diag);
	if (error) {
		assert_true(failing_end() > n);
		assert_int_equal(error, -ENOMEM);
		assert_true(diag.text[0]);
		return true;
	}
	failed = write_numbered(trace);
	error = ng_trace_close(trace, &totals, &diag);
	allocations = failing_end();
	assert_true(!error || error == -ENOMEM); /* its end is missing */
	assert_true(failed + (error != 0) <= 1);
	assert_int_equal(totals.loss_count, failed ? 1 : 0);
	if (failed) {
		assert_string_equal(totals.losses[0].cause, NG_TRACE_LOST_NO_MEMORY);
		assert_int_equal(totals.losses[0].events, 1);
	}
	if (!error)
		assert_int_equal(totals.events, EVENTS - failed);
	assert_int_equal(traced_calls(format, path, &totals), totals.events);
	return allocations > n;
}

static void memory_that_is_out_costs_one_event(void **state)
{
	static const size_t at_least[FORMATS] = {200, 500, 5000};

	(void)state;
	for (enum ng_trace_format format = 0; format < FORMATS; format++) {
		char command[64];
		size_t n = 0;

		assert_non_null(mkdtemp(strcpy(folder, "/tmp/nowgate-trace-XXXXXX")));
		if (format == NG_TRACE_NDJSON)
			json_set_alloc_funcs(failing_malloc, free);
		/* Later ones are all alike: in larger steps. */
		while (write_failing(format, n))
			n += 1 + n / 12;
		json_set_alloc_funcs(malloc, free);
		(void)snprintf(command, sizeof(command), "rm -r %s", folder);
		assert_int_equal(system(command), 0);
		if (n < at_least[format])
			fail_msg("only %zu allocations", n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_that_is_out_costs_one_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
