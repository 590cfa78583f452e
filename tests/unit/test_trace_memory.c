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

#include <jansson.h>

#include "core/out/trace.h"
#include "tests/out/failing.h"
#include "tests/out/tracing.h"

#define MANY	   3000 /* CTF takes a packet on the way */
#define FEW	   10	/* nothing is taken before the end */
#define STACKS	   100
#define NO_MAPPING .mapping = NG_FRAME_NO_MAPPING

static int write_numbered(struct ng_trace *trace, uint32_t events)
{
	int failed = 0;

	for (uint32_t i = 0; i < events; i++) {
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
static bool write_failing(enum ng_trace_format format, uint32_t events, size_t n)
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
	uint64_t lost;

	(void)snprintf(path, sizeof(path), "%s/%d-%zu", tracing_folder(), format, n);
	options.path = path;
	failing_begin(n);
	error = ng_trace_open(&options, &trace, &diag);
	if (error) {
		assert_true(failing_end() > n);
		assert_int_equal(error, -ENOMEM);
		assert_true(diag.text[0]);
		return true;
	}
	failed = write_numbered(trace, events);
	error = ng_trace_close(trace, &totals, &diag);
	allocations = failing_end();
	assert_true(!error || error == -ENOMEM); /* its end is missing */
	assert_true(failed + (error != 0) <= 1);
	lost = tracing_lost_to(&totals, NG_TRACE_LOST_NO_MEMORY);
	assert_int_equal(totals.loss_count, lost ? 1 : 0);
	assert_int_equal(totals.events + lost, events);
	if (!error)
		assert_int_equal(lost, failed);
	assert_int_equal(traced_calls(format, path, &totals), totals.events);
	return allocations > n;
}

/* Fails each in turn; if they are many, later ones are all alike: in larger steps. */
static void fail_each(enum ng_trace_format format, uint32_t events, size_t at_least)
{
	size_t n = 0;

	if (format == NG_TRACE_NDJSON)
		json_set_alloc_funcs(failing_malloc, free);
	while (write_failing(format, events, n))
		n += events == FEW ? 1 : 1 + n / 12;
	json_set_alloc_funcs(malloc, free);
	if (n < at_least)
		fail_msg("only %zu allocations", n);
}

static void memory_that_is_out_costs_one_event(void **state)
{
	(void)state;
	fail_each(NG_TRACE_CTF, MANY, 200);
	fail_each(NG_TRACE_PERFETTO, MANY, 500);
	fail_each(NG_TRACE_NDJSON, MANY, 5000);
}

static void what_the_end_costs_is_counted(void **state)
{
	(void)state;
	fail_each(NG_TRACE_CTF, FEW, 50);
	fail_each(NG_TRACE_PERFETTO, FEW, 60);
	fail_each(NG_TRACE_NDJSON, FEW, 60);
}

#define MEMORY_TEST(name)                                                                          \
	cmocka_unit_test_setup_teardown(name, tracing_make_folder, tracing_remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEMORY_TEST(memory_that_is_out_costs_one_event),
		MEMORY_TEST(what_the_end_costs_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
