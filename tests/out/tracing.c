#include "tests/out/tracing.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NO_MAPPING .mapping = NG_FRAME_NO_MAPPING

static char folder[] = "/tmp/nowgate-trace-XXXXXX";

int tracing_make_folder(void **state)
{
	(void)state;
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

int tracing_remove_folder(void **state)
{
	char command[PATH_MAX + 16];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

const char *tracing_folder(void)
{
	return folder;
}

const char *tracing_path(enum ng_trace_format format)
{
	static char room[PATH_MAX];
	static const char *const names[TRACING_FORMATS] = {"ctf", "perfetto", "ndjson"};

	(void)snprintf(room, sizeof(room), "%s/%s", folder, names[format]);
	return room;
}

struct ng_trace *tracing_opened(const struct ng_trace_options *options)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_trace *trace = NULL;
	int error = ng_trace_open(options, &trace, &diag);

	if (error)
		fail_msg("%d %s", error, diag.text);
	return trace;
}

struct ng_trace *tracing_opened_as(enum ng_trace_format format)
{
	const struct ng_trace_options options = {.format = format,
		.path = tracing_path(format),
		.clock_offset_ns = 1700000000000000000};

	return tracing_opened(&options);
}

void tracing_must_write(struct ng_trace *trace, const struct ng_trace_event *event)
{
	struct ng_diag diag = NG_DIAG_INIT;

	assert_int_equal(ng_trace_write(trace, event, &diag), 0);
	assert_string_equal(diag.text, "");
}

void tracing_must_close(struct ng_trace *trace, struct ng_trace_totals *ret_totals)
{
	struct ng_diag diag = NG_DIAG_INIT;

	assert_int_equal(ng_trace_close(trace, ret_totals, &diag), 0);
	assert_string_equal(diag.text, "");
}

uint64_t tracing_lost_to(const struct ng_trace_totals *totals, const char *cause)
{
	for (size_t i = 0; i < totals->loss_count; i++)
		if (!strcmp(totals->losses[i].cause, cause))
			return totals->losses[i].events;
	return 0;
}

struct ng_trace_event tracing_numbered(uint64_t i, char room[32])
{
	static struct ng_profile_frame frames[3] = {
		{.function = "time.Now", .file = "/go/src/time/time.go", .line = 1160, NO_MAPPING},
		{.file = "/src/main.go", NO_MAPPING},
		{.function = "main.main", NO_MAPPING},
	};

	(void)snprintf(room, 32, "main.f%" PRIu64, i / 100 % 1000);
	frames[1].function = room;
	frames[1].line = (uint32_t)(i / 100 % 1000) + 1;
	return (struct ng_trace_event){.time_ns = 1000000 + 10 * i,
		.pid = 4711,
		.tid = 4711 + (uint32_t)(i % 3),
		.goroutine = i,
		.function = "time.Now",
		.stack_id = (uint32_t)(i / 100 % 1000) + 1,
		.frames = frames,
		.frame_count = 3};
}

void tracing_write_numbered(struct ng_trace *trace, uint64_t begin, uint64_t end)
{
	char room[32];

	for (uint64_t i = begin; i < end; i++) {
		const struct ng_trace_event event = tracing_numbered(i, room);

		(void)ng_trace_write(trace, &event, NULL); /* what is lost is counted */
	}
}

void tracing_assert_numbered(const struct traced_call *call, uint64_t i)
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
