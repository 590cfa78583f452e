/* core/out/trace: what was written is read again, from each format, and compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/out/trace.h"
#include "tests/out/tracing.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define NO_MAPPING .mapping = NG_FRAME_NO_MAPPING
#define NOW	   .function = "time.Now", .file = "/go/src/time/time.go", .line = 1160, NO_MAPPING

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
	for (enum ng_trace_format format = 0; format < TRACING_FORMATS; format++) {
		struct ng_trace *trace = tracing_opened_as(format);
		struct ng_trace_totals totals;
		struct traced traced;

		for (size_t i = 0; i < COUNT(samples); i++)
			tracing_must_write(trace, &samples[i].event);
		tracing_must_close(trace, &totals);
		assert_int_equal(totals.events, COUNT(samples));
		assert_int_equal(totals.loss_count, 0);
		assert_int_equal(totals.ended_by, 0);
		assert_int_equal(totals.segment_count, 1);
		traced_read(format, traced_path(format, tracing_path(format), 0), &traced);
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
		.path = tracing_path(NG_TRACE_NDJSON),
		.clock_offset_ns = -5,
		.pid = 4711,
		.exe = "/bin/a\nb",
		.function = "",
		.mode = "full"};
	struct ng_trace *trace = tracing_opened(&options);
	NG_CLEANUP_FREE char *bytes = NULL;
	size_t length;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		tracing_must_write(trace, &samples[i].event);
	ng_trace_lose(trace, "ring full", 4);
	ng_trace_lose(trace, "other", 0);
	ng_trace_lose(trace, "ring full", 5);
	tracing_must_close(trace, NULL);
	bytes = traced_bytes(options.path, &length);
	assert_string_equal(bytes, wanted);
}

static void options_that_do_not_go_together_are_refused(void **state)
{
	const struct ng_trace_options bad[] = {
		{.format = (enum ng_trace_format)TRACING_FORMATS, .path = "/dev/null"},
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

/* CTF's times never go back: what comes a little late is sorted, and what comes very late says so.
 */
static void late_calls_are_told(void **state)
{
	struct ng_trace *trace = tracing_opened_as(NG_TRACE_CTF);
	uint64_t late = 0, total = 0;
	struct traced traced;
	char room[32];

	(void)state;
	for (uint64_t i = 0; i < 20000; i++) {
		struct ng_trace_event event = tracing_numbered(i ^ 7, room);

		if (i % 5000 == 4999)
			event.time_ns = 1000000 + 10 * (i - 4990); /* 4,990 calls late */
		tracing_must_write(trace, &event);
	}
	tracing_must_close(trace, NULL);
	traced_read(
		NG_TRACE_CTF, traced_path(NG_TRACE_CTF, tracing_path(NG_TRACE_CTF), 0), &traced);
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
	struct ng_trace *trace = tracing_opened_as(NG_TRACE_PERFETTO);
	struct ng_trace_totals totals;
	struct traced traced;
	char cause[100];

	(void)state;
	for (int i = 0; i < 20; i++) {
		(void)snprintf(cause, sizeof(cause), "cause %d%s", i,
			i == 3 ? " that is longer than there is room for a cause" : "");
		ng_trace_lose(trace, cause, 1);
	}
	tracing_must_close(trace, &totals);
	assert_int_equal(totals.loss_count, NG_TRACE_CAUSES_MAX);
	assert_int_equal(tracing_lost_to(&totals, "cause 14"), 1);
	assert_int_equal(tracing_lost_to(&totals, "other"), 5);
	assert_int_equal(
		tracing_lost_to(&totals, "cause 3 that is longer than there is room for a"), 1);
	traced_read(NG_TRACE_PERFETTO, tracing_path(NG_TRACE_PERFETTO), &traced);
	assert_int_equal(traced.lost, 20);
	traced_release(&traced);
}

#define TRACE_TEST(name)                                                                           \
	cmocka_unit_test_setup_teardown(name, tracing_make_folder, tracing_remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TRACE_TEST(options_that_do_not_go_together_are_refused),
		TRACE_TEST(each_format_says_what_was_called),
		TRACE_TEST(lines_are_as_promised),
		TRACE_TEST(late_calls_are_told),
		TRACE_TEST(causes_beyond_all_bounds_are_one),
	};

	return cmocka_run_group_tests(tests, make_deep, NULL);
}
