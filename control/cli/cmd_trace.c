/* nowgate trace: each call by itself, with its time, thread, goroutine and stack, into a file. */
#include "control/cli/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/numbers.h"
#include "control/cli/options.h"
#include "control/cli/run.h"
#include "control/cli/targets.h"
#include "control/cli/trace_output.h"
#include "control/plane/named_stacks.h"
#include "control/plane/spool.h"
#include "control/target/process.h"
#include "core/base/clock.h"
#include "core/base/number.h"
#include "core/out/trace.h"

#define COMMAND	       "trace"
#define WRITE_NS       (20 * NG_NS_PER_MS) /* between two turns of writing */
#define SPOOL_CHUNKS   256		   /* 64 MiB: half a second of 1 M calls/s */
#define STACKS_MAX     1000000
#define SEGMENT_NEWEST 2 /* of a ring: one that is whole, and one that is written */

#define LOST_RING   "ring of records full"
#define LOST_SPOOL  "writer too slow"
#define LOST_STACKS "too many stacks"
#define LOST_COUNTS "map of counts full"

static const char help[] =
	"Writes each call of a function into a file: time, process, thread, goroutine, stack.\n"
	"\n"
	"Usage: nowgate trace [OPTION...] -o PATH -p PID... | --exe PATH... | -- COMMAND ARG...\n"
	"\n"
	"  -p, --pid PID        a running process. Again for more; its children are not followed\n"
	"      --exe PATH       every process that runs this file, now and started later\n"
	"  -- COMMAND ARG...    from its first instruction to its end, its children too\n"
	"  -f, --func FUNC      as `nowgate stat` has it; again for more. Default: "
	"time.Now\n" NG_TARGETS_ENGINE_HELP
	"  -d, --duration TIME  such as 1s; default: until the targets end, or "
	"^C\n" NG_TRACE_OUTPUT_HELP
	"      --segment SIZE   begin a new file at each SIZE, such as 64M; each can be read "
	"alone\n"
	"      --keep N         keep only the newest N files, 2 or more\n"
	"  -h, --help\n"
	"\n"
	"While it runs, each call of the function takes as long as a trap: see `nowgate doctor`. "
	"A\n"
	"disk that is full ends it; what was written can be read, and what was lost is counted.\n"
	"Exit status: 0 done; 1 failed; 2 usage; 4 denied; 6 no such process or function; 7 done,\n"
	"but some calls were lost. With a command its own, 128 + signal where one ended it, 125 "
	"where\n"
	"nowgate failed, 126 not executable, 127 not found.\n";

enum option_index {
	OPTION_PID,
	OPTION_EXE,
	OPTION_FUNC,
	OPTION_ENGINE,
	OPTION_DURATION,
	OPTION_OUTPUT,
	OPTION_FORMAT,
	OPTION_SEGMENT,
	OPTION_KEEP,
	OPTION_HELP,
};

static const struct ng_option option_table[] = {
	[OPTION_PID] = {'p', "pid", NG_OPTION_VALUE, true},
	[OPTION_EXE] = {0, "exe", NG_OPTION_VALUE, true},
	[OPTION_FUNC] = {'f', "func", NG_OPTION_VALUE, true},
	[OPTION_ENGINE] = {0, "engine", NG_OPTION_VALUE, false},
	[OPTION_DURATION] = {'d', "duration", NG_OPTION_VALUE, false},
	[OPTION_OUTPUT] = {'o', "output", NG_OPTION_VALUE, false},
	[OPTION_FORMAT] = {0, "format", NG_OPTION_VALUE, false},
	[OPTION_SEGMENT] = {0, "segment", NG_OPTION_VALUE, false},
	[OPTION_KEEP] = {0, "keep", NG_OPTION_VALUE, false},
	[OPTION_HELP] = {'h', "help", NG_OPTION_FLAG, false},
};

/* One run of the command. */
struct trace_run {
	struct ng_targets targets;
	uint64_t duration_ns; /* 0: no end */
	const char *output;
	const char *format; /* NULL: by the output's name */
	struct ng_trace_options trace_options;
	bool help;
	struct ng_run_options options;
	struct ng_run run;
	struct ng_spool *spool;
	uint64_t told_spool_lost;
	struct ng_named_stacks *stacks;
	struct ng_trace *trace;
	struct ng_trace_totals totals; /* when it is closed */
	int ended_by;		       /* 0, or what the trace ended with */
	struct ng_diag diag;
};

static int set_segment(struct trace_run *run, const char *text)
{
	const struct ng_range range = {NG_TRACE_SEGMENT_MIN_BYTES, 1ull << 40};

	if (ng_size_parse(text, range, &run->trace_options.segment_bytes, &run->diag))
		return ng_complain_usage(COMMAND, "--segment: %s", run->diag.text);
	return 0;
}

static int set_keep(struct trace_run *run, const char *text)
{
	const struct ng_range range = {SEGMENT_NEWEST, NG_TRACE_SEGMENTS_MAX};
	uint64_t count;

	if (ng_number_parse(text, range, &count, &run->diag))
		return ng_complain_usage(COMMAND, "--keep: %s", run->diag.text);
	run->trace_options.segment_count = (uint32_t)count;
	run->trace_options.is_ring = true;
	return 0;
}

static int set_option(int index, const char *value, void *context)
{
	struct trace_run *run = context;

	switch (index) {
	case OPTION_PID:
		return ng_targets_add_pid(&run->targets, COMMAND, value);
	case OPTION_EXE:
		return ng_targets_add_exe(&run->targets, COMMAND, value);
	case OPTION_FUNC:
		return ng_targets_add_function(&run->targets, COMMAND, value);
	case OPTION_ENGINE:
		return ng_targets_set_engine(&run->targets, COMMAND, value);
	case OPTION_DURATION:
		return ng_option_duration(COMMAND, "duration", value, &run->duration_ns);
	case OPTION_OUTPUT:
		run->output = value;
		return 0;
	case OPTION_FORMAT:
		run->format = value;
		return 0;
	case OPTION_SEGMENT:
		return set_segment(run, value);
	case OPTION_KEEP:
		return set_keep(run, value);
	default:
		run->help = true;
		return 0;
	}
}

static int check_output(struct trace_run *run)
{
	struct ng_trace_options *options = &run->trace_options;
	int code = ng_trace_output(COMMAND, run->output, run->format, options);

	if (code)
		return code;
	if (!options->path && options->segment_bytes)
		return ng_complain_usage(COMMAND, "--segment goes with files, not with stdout");
	if (options->is_ring && !options->segment_bytes)
		return ng_complain_usage(
			COMMAND, "--keep goes with --segment, which says how long files are");
	return 0;
}

static int read_arguments(struct trace_run *run, int argc, char **argv)
{
	struct ng_options options = NG_OPTIONS_INIT(COMMAND, option_table, argc, argv);
	int code = ng_options_each(&options, set_option, run);

	if (code || run->help)
		return code;
	code = ng_targets_finish(&run->targets, &options);
	if (!code)
		code = check_output(run);
	if (!code && !run->targets.function_count)
		run->targets.functions[run->targets.function_count++] = "time.Now";
	return code;
}

static void write_call(const struct ng_call *call, void *context)
{
	struct trace_run *run = context;
	struct ng_trace_event event = {.time_ns = call->time_ns,
		.pid = call->tgid,
		.tid = call->tid,
		.goroutine = call->goroutine,
		.function = run->trace_options.function};
	struct ng_named_stack stack;
	int error = ng_named_stacks_of(run->stacks, call, &stack);

	if (error) {
		ng_trace_lose(
			run->trace, error == -E2BIG ? LOST_STACKS : NG_TRACE_LOST_NO_MEMORY, 1);
		return;
	}
	event.stack_id = stack.number + 1;
	event.frames = stack.frames;
	event.frame_count = stack.frame_count;
	if (stack.frame_count && stack.frames[0].function)
		event.function = stack.frames[0].function;
	error = ng_trace_write(run->trace, &event, run->ended_by ? NULL : &run->diag);
	if (error && error != -ENOMEM && !run->ended_by)
		run->ended_by = error;
}

static void write_collected(struct trace_run *run)
{
	const uint64_t lost = ng_spool_lost(run->spool);

	ng_spool_drain(run->spool, write_call, run);
	if (lost > run->told_spool_lost)
		ng_trace_lose(run->trace, LOST_SPOOL, lost - run->told_spool_lost);
	run->told_spool_lost = lost;
}

/* Calls are named when the session knows of all that happened before them. */
static int on_interval(void *context)
{
	struct trace_run *run = context;
	int error = 0;

	ng_spool_collect(run->spool);
	ng_session_turn(run->run.session);
	write_collected(run);
	if (!run->ended_by && !run->trace_options.path)
		error = ng_trace_flush(run->trace, &run->diag);
	if (error && error != -ENOMEM)
		run->ended_by = error;
	return run->ended_by;
}

static int open_trace(struct trace_run *run)
{
	struct ng_trace_options *options = &run->trace_options;
	const struct ng_targets *targets = &run->targets;
	char exe[PATH_MAX];
	int error;

	options->clock_offset_ns = (int64_t)(ng_clock_read(CLOCK_REALTIME) - ng_clock_ns());
	options->mode = "full";
	options->function = targets->function_count == 1 ? targets->functions[0] : NULL;
	if (targets->pid_count == 1 && !targets->exe_count) {
		options->pid = (uint32_t)targets->pids[0];
		ng_process_image_path(targets->pids[0], exe, sizeof(exe));
		options->exe = exe;
	}
	error = ng_trace_open(options, &run->trace, &run->diag);
	options->exe = NULL; /* the trace has its own copy */
	return error;
}

static void print_totals(const struct trace_run *run, const struct ng_report *report)
{
	FILE *file = run->targets.command || !run->trace_options.path ? stderr : stdout;
	const struct ng_trace_totals *totals = &run->totals;
	char number[32];

	fprintf(file, "%s calls in %.3f s", ng_grouped(totals->events, number),
		(double)report->elapsed_ns / 1e9);
	if (run->trace_options.path)
		fprintf(file, " written to %s", run->trace_options.path);
	fprintf(file, ": %.1f MB", (double)totals->bytes / 1e6);
	if (totals->segment_count > 1)
		fprintf(file, ", %" PRIu32 " files are left", totals->segment_count);
	if (totals->removed_events)
		fprintf(file, " without the oldest %s calls",
			ng_grouped(totals->removed_events, number));
	fprintf(file, "; %" PRIu32 " stacks\n", ng_named_stacks_count(run->stacks));
	for (size_t i = 0; i < totals->loss_count; i++)
		fprintf(file, "LOST: %" PRIu64 " calls: %s\n", totals->losses[i].events,
			totals->losses[i].cause);
}

/* Everything is disarmed: the rest is written, and what was lost is told. */
static int finish(struct trace_run *run, bool *ret_lost)
{
	struct ng_report report;
	int error = ng_session_report(run->run.session, &report);

	if (error)
		return error;
	ng_spool_collect(run->spool);
	write_collected(run);
	if (report.lost[NG_LOST_RECORDS_FULL])
		ng_trace_lose(run->trace, LOST_RING, report.lost[NG_LOST_RECORDS_FULL]);
	if (report.lost[NG_LOST_COUNTS_FULL])
		ng_trace_lose(run->trace, LOST_COUNTS, report.lost[NG_LOST_COUNTS_FULL]);
	error = ng_trace_close(run->trace, &run->totals, run->ended_by ? NULL : &run->diag);
	run->trace = NULL;
	if (run->totals.ended_by == -ENOSPC || run->totals.ended_by == -EDQUOT ||
		run->totals.ended_by == -EFBIG)
		fprintf(stderr, "nowgate trace: it ended early: %s. What was written can be read\n",
			run->diag.text);
	print_totals(run, &report);
	ng_report_release(&report);
	*ret_lost = run->totals.loss_count > 0;
	return error;
}

static int trace_all(struct trace_run *run)
{
	bool lost = false;
	int error = ng_run_open_signals(&run->run);

	if (!error)
		error = open_trace(run);
	if (!error)
		error = ng_run_open(&run->run, &run->diag);
	if (!error) {
		const struct ng_namer_source source = {.locate = ng_session_locate,
			.site = ng_session_site,
			.context = run->run.session};

		run->stacks = ng_named_stacks_new(&source, STACKS_MAX);
		error = run->stacks ? ng_run_start(&run->run, &run->diag) : -ENOMEM;
	}
	if (!error) {
		ng_run_say_started(&run->run, "every call is traced");
		error = ng_run_trace(&run->run);
	}
	if (run->run.started && !ng_run_has_exec_failed(&run->run)) {
		int end_error;

		ng_run_stop(&run->run);
		end_error = finish(run, &lost);
		if (!error || error == run->ended_by)
			error = end_error;
		ng_run_wait_for_command(&run->run);
	}
	return error ? ng_run_complain(&run->run, error, &run->diag)
		     : ng_run_exit_code(&run->run, lost);
}

static int take_arguments(struct trace_run *run)
{
	run->spool = ng_spool_new(SPOOL_CHUNKS);
	run->options = ng_targets_run_options(&run->targets, COMMAND);
	run->options.on_call = ng_spool_put;
	run->options.on_look = ng_spool_hand_over;
	run->options.call_context = run->spool;
	run->options.duration_ns = run->duration_ns;
	run->options.interval_ns = WRITE_NS;
	run->options.on_interval = on_interval;
	run->options.interval_context = run;
	run->run = (struct ng_run)NG_RUN_INIT(&run->options);
	return run->spool ? 0 : ng_complain(COMMAND, -ENOMEM, &run->diag);
}

int ng_cmd_trace(int argc, char **argv)
{
	struct trace_run run = {.diag = NG_DIAG_INIT};
	int code = read_arguments(&run, argc, argv);

	if (code)
		return code;
	if (run.help)
		return ng_print_help(help);
	code = take_arguments(&run);
	if (!code)
		code = trace_all(&run);
	ng_run_release(&run.run);
	if (run.trace)
		(void)ng_trace_close(run.trace, NULL, NULL);
	ng_named_stacks_free(run.stacks);
	ng_spool_free(run.spool);
	return code;
}
