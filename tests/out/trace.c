/*
 * Writes a trace whose events follow from their number, for tests/e2e/test_trace_files.py, and
 * tells the totals as JSON: trace [-s SEGMENT_BYTES] [-n SEGMENTS] [-r] [-k] FORMAT PATH EVENTS.
 *
 * PATH "-" is stdout: then the totals come on stderr. -r: a ring. -k: flushes, tells how it stands,
 * writes as many events again, and waits to be killed.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/out/trace.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define BEGAN_NS  5000000000000ull
#define OFFSET_NS 1700000000123456789ll
#define PID	  4711u
#define LATE	  4000u /* events: one of so many should have come before all the others */

#define NO_MAPPING .mapping = NG_FRAME_NO_MAPPING
#define NOW                                                                                        \
	.function = "time.Now", .file = "/go/src/time/time.go", .line = 1160, .address = 0x401000, \
	.is_inlined = true, NO_MAPPING
#define MAIN                                                                                       \
	{                                                                                          \
		.function = "main.main", .file = "/src/main.go", .line = 60, .address = 0x402000,  \
		NO_MAPPING                                                                         \
	}

static const struct ng_profile_frame work[] = {
	{NOW},
	{.function = "main.work[go.shape.struct { A \"x\"; B <-chan\\int }]",
		.file = "/src/main.go",
		.line = 25,
		.address = 0x401000,
		NO_MAPPING},
	MAIN,
};
static const struct ng_profile_frame nameless[] = {
	{NOW},
	{.address = 0x7f0000001234, NO_MAPPING},
	MAIN,
};
static const struct ng_profile_frame odd[] = {
	{.function = "odd\n\x01 \xff\xc3\xa9 name",
		.file = "/src/\x7f odd\t.go",
		.line = 3,
		NO_MAPPING},
};

static const struct {
	const struct ng_profile_frame *frames;
	size_t count;
} stacks[] = {
	{NULL, 0}, /* no stack */
	{work, COUNT(work)},
	{nameless, COUNT(nameless)},
	{odd, COUNT(odd)},
};

static void write_all(struct ng_trace *trace, uint64_t events)
{
	for (uint64_t i = 0; i < events; i++) {
		const size_t stack = i % COUNT(stacks);
		const bool is_late = i % LATE == LATE - 1;
		const struct ng_trace_event event = {
			/* Pairs come the wrong way round, and some far too late. */
			.time_ns = BEGAN_NS + 1000 * (is_late ? i - LATE + 1 : i ^ 1) + is_late,
			.pid = PID,
			.tid = PID + (uint32_t)(i % 3),
			.goroutine = i % 5,
			.function = "time.Now",
			.stack_id = (uint32_t)stack,
			.frames = stacks[stack].frames,
			.frame_count = stacks[stack].count,
		};

		if (i == events / 2)
			ng_trace_lose(trace, "ring full", 7);
		(void)ng_trace_write(trace, &event, NULL); /* what is lost is counted */
	}
	ng_trace_lose(trace, "map full", 3);
}

static void tell(FILE *out, const struct ng_trace_totals *totals)
{
	(void)fprintf(out,
		"{\"events\": %" PRIu64 ", \"removed_events\": %" PRIu64 ", \"bytes\": %" PRIu64
		", \"first_segment\": %" PRIu32 ", \"segments\": %" PRIu32
		", \"ended_by\": \"%s\", \"lost\": {",
		totals->events, totals->removed_events, totals->bytes, totals->first_segment,
		totals->segment_count, totals->ended_by ? strerrorname_np(-totals->ended_by) : "");
	for (size_t i = 0; i < totals->loss_count; i++)
		(void)fprintf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", totals->losses[i].cause,
			totals->losses[i].events);
	(void)fprintf(out, "}}\n");
	(void)fflush(out);
}

static void wait_to_be_killed(struct ng_trace *trace, uint64_t events)
{
	struct ng_trace_totals totals;

	(void)ng_trace_flush(trace, NULL); /* the totals say whether */
	ng_trace_look(trace, &totals);
	write_all(trace, events);
	tell(stdout, &totals);
	for (;;)
		(void)pause();
}

static int write_trace(const struct ng_trace_options *options, uint64_t events, bool is_killed)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_trace_totals totals;
	struct ng_trace *trace;
	int error = ng_trace_open(options, &trace, &diag);

	if (!error) {
		write_all(trace, events);
		if (is_killed)
			wait_to_be_killed(trace, events);
		error = ng_trace_close(trace, &totals, &diag);
		tell(options->path ? stdout : stderr, &totals);
	}
	if (error)
		(void)fprintf(stderr, "trace: %s\n", diag.text);
	return error ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const char *const formats[] = {"ctf", "perfetto", "ndjson"};
	struct ng_trace_options options = {
		.fd = STDOUT_FILENO,
		.clock_offset_ns = OFFSET_NS,
		.pid = PID,
		.exe = "/usr/bin/a \"server\"\\",
		.function = "time.Now",
	};
	bool is_killed = false;
	int option;

	while ((option = getopt(argc, argv, "s:n:rk")) != -1) {
		if (option == 's')
			options.segment_bytes = strtoull(optarg, NULL, 10);
		else if (option == 'n')
			options.segment_count = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'r')
			options.is_ring = true;
		else if (option == 'k')
			is_killed = true;
		else
			return 2;
	}
	argv += optind;
	if (argc - optind != 3)
		return 2;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return 1;
	while (options.format < COUNT(formats) && strcmp(argv[0], formats[options.format]))
		options.format++;
	options.path = strcmp(argv[1], "-") ? argv[1] : NULL;
	return write_trace(&options, strtoull(argv[2], NULL, 10), is_killed);
}
