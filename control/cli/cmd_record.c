/* nowgate record: who calls a function, with stacks. */
#include "control/cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/options.h"
#include "control/cli/record_print.h"
#include "control/cli/run.h"
#include "control/cli/stat_sampled.h"
#include "control/cli/targets.h"
#include "control/engine/calibrate.h"
#include "control/plane/estimated.h"
#include "control/plane/losses.h"
#include "control/plane/recorded.h"
#include "control/plane/recorder.h"
#include "core/base/cleanup.h"
#include "core/base/clock.h"
#include "core/base/number.h"
#include "core/out/flame.h"
#include "core/out/folded.h"
#include "core/out/json.h"
#include "core/out/pprof.h"

#define COMMAND	   "record"
#define STACKS_MAX 100000

static const char help[] =
	"Says who calls a function: every call with its stack, added up by stack.\n"
	"\n"
	"Usage: nowgate record [OPTION...] -p PID... | --exe PATH... | -- COMMAND ARG...\n"
	"\n"
	"  -p, --pid PID        a running process. Again for more; its children are not followed\n"
	"      --exe PATH       every process that runs this file, now and started later\n"
	"  -- COMMAND ARG...    from its first instruction to its end, its children too\n"
	"  -f, --func FUNC      as `nowgate stat` has it; again for more. Default: "
	"time.Now\n" NG_TARGETS_ENGINE_HELP
	"  -d, --duration TIME  such as 10s; default: until the targets end, or ^C\n"
	"      --mode MODE      full: every call (the default); sampled: in short windows, within "
	"the\n"
	"                       budget, and counts are estimates\n"
	"      --budget SHARE   sampled: of the process's CPU time. Default: 1%\n"
	"Output (a summary goes to stdout, with a command to stderr)\n"
	"  -o, --output FILE    a profile for `go tool pprof`\n"
	"      --folded FILE    a line for each stack, with its count, for flame graph tools\n"
	"      --svg FILE       a flame graph for a browser: search, and zoom by a click\n"
	"      --json FILE      all of it as one JSON document\n"
	"  -h, --help\n"
	"\n"
	"While it runs, each call of the function takes as long as a trap: see `nowgate doctor`.\n"
	"Exit status: 0 done; 1 failed; 2 usage; 4 denied; 6 no such process or function; 7 done,\n"
	"but some stacks were lost. With a command its own, 128 + signal where one ended it, 125 "
	"where\n"
	"nowgate failed, 126 not executable, 127 not found.\n";

enum option_index {
	OPTION_PID,
	OPTION_EXE,
	OPTION_FUNC,
	OPTION_ENGINE,
	OPTION_DURATION,
	OPTION_MODE,
	OPTION_BUDGET,
	OPTION_OUTPUT,
	OPTION_FOLDED,
	OPTION_SVG,
	OPTION_JSON,
	OPTION_HELP,
};

static const struct ng_option option_table[] = {
	[OPTION_PID] = {'p', "pid", NG_OPTION_VALUE, true},
	[OPTION_EXE] = {0, "exe", NG_OPTION_VALUE, true},
	[OPTION_FUNC] = {'f', "func", NG_OPTION_VALUE, true},
	[OPTION_ENGINE] = {0, "engine", NG_OPTION_VALUE, false},
	[OPTION_DURATION] = {'d', "duration", NG_OPTION_VALUE, false},
	[OPTION_MODE] = {0, "mode", NG_OPTION_VALUE, false},
	[OPTION_BUDGET] = {0, "budget", NG_OPTION_VALUE, false},
	[OPTION_OUTPUT] = {'o', "output", NG_OPTION_VALUE, false},
	[OPTION_FOLDED] = {0, "folded", NG_OPTION_VALUE, false},
	[OPTION_SVG] = {0, "svg", NG_OPTION_VALUE, false},
	[OPTION_JSON] = {0, "json", NG_OPTION_VALUE, false},
	[OPTION_HELP] = {'h', "help", NG_OPTION_FLAG, false},
};

/* The files, in the order of the options that name them. */
enum output {
	OUTPUT_PPROF,
	OUTPUT_FOLDED,
	OUTPUT_SVG,
	OUTPUT_JSON,
	OUTPUTS,
};

/* One run of the command. */
struct record_run {
	struct ng_targets targets;
	uint64_t duration_ns; /* 0: no end */
	bool sampled;
	double budget_ratio; /* 0: the default */
	uint64_t began_at_ns;
	const char *paths[OUTPUTS];
	int fds[OUTPUTS];
	bool help;
	struct ng_run_options options;
	struct ng_run run;
	struct ng_recorder *recorder;
	struct ng_calibration calibration;
	bool is_calibrated;
	uint64_t lost[NG_LOSSES];
	struct ng_profile_loss losses[NG_LOSSES]; /* the same, for the profile */
	struct ng_diag diag;
};

static int set_option(int index, const char *value, void *context)
{
	struct record_run *run = context;

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
	case OPTION_MODE:
		run->sampled = !strcmp(value, "sampled");
		if (!run->sampled && strcmp(value, "full"))
			return ng_complain_usage(
				COMMAND, "--mode %s: it can be sampled or full", value);
		return 0;
	case OPTION_BUDGET:
		if (ng_ratio_parse(value, &run->budget_ratio, &run->diag))
			return ng_complain_usage(COMMAND, "--budget: %s", run->diag.text);
		return 0;
	case OPTION_OUTPUT:
	case OPTION_FOLDED:
	case OPTION_SVG:
	case OPTION_JSON:
		if (!*value)
			return ng_complain_usage(
				COMMAND, "--%s needs a file's name", option_table[index].name);
		run->paths[OUTPUT_PPROF + (index - OPTION_OUTPUT)] = value;
		return 0;
	default:
		run->help = true;
		return 0;
	}
}

static int read_arguments(struct record_run *run, int argc, char **argv)
{
	struct ng_options options = NG_OPTIONS_INIT(COMMAND, option_table, argc, argv);
	int code = ng_options_each(&options, set_option, run);

	if (code || run->help)
		return code;
	code = ng_targets_finish(&run->targets, &options);
	if (!code && run->sampled && run->targets.command)
		return ng_complain_usage(COMMAND, "--mode sampled goes with --pid and --exe");
	if (!code && !run->sampled && run->budget_ratio > 0)
		return ng_complain_usage(COMMAND, "--budget goes with --mode sampled");
	if (!code && !run->targets.function_count)
		run->targets.functions[run->targets.function_count++] = "time.Now";
	return code;
}

/* What cannot be written is told before anything is traced. */
static int open_outputs(struct record_run *run)
{
	for (size_t i = 0; i < OUTPUTS; i++) {
		if (!run->paths[i])
			continue;
		run->fds[i] = open(run->paths[i], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (run->fds[i] < 0)
			return ng_diag_set(&run->diag, -errno, "%s: it cannot be written: %s",
				run->paths[i], strerror(errno));
	}
	return 0;
}

static int write_text(const struct ng_profile *profile, int fd, struct ng_diag *diag)
{
	NG_CLEANUP_FREE char *text = NULL;
	NG_CLEANUP_FCLOSE FILE *file = fdopen(dup(fd), "w");
	int error = file ? ng_profile_json(profile, &text, diag) : -errno;

	if (error)
		return error;
	return fputs(text, file) < 0 || fputc('\n', file) < 0 || fflush(file) ? -errno : 0;
}

static int write_outputs(struct record_run *run, const struct ng_profile *profile)
{
	static int (*const writers[OUTPUTS])(
		const struct ng_profile *profile, int fd, struct ng_diag *diag) = {
		[OUTPUT_PPROF] = ng_pprof_write,
		[OUTPUT_FOLDED] = ng_folded_write,
		[OUTPUT_SVG] = ng_flame_write,
		[OUTPUT_JSON] = write_text,
	};
	int first_error = 0;

	for (size_t i = 0; i < OUTPUTS; i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		int error = run->paths[i] ? writers[i](profile, run->fds[i], &diag) : 0;

		if (!error || first_error)
			continue;
		first_error = ng_diag_set(&run->diag, error, "%s: %s", run->paths[i],
			diag.text[0] ? diag.text : strerror(-error));
	}
	return first_error;
}

/* Each hit is a call, and costs what its site's class does. */
static struct ng_recorded_value value_of(const struct ng_recorded_stack *stack, void *context)
{
	const struct record_run *run = context;
	const struct ng_site *site = ng_session_site(stack->key.site, run->run.session);
	struct ng_recorded_value value = {.calls = stack->calls};

	if (run->is_calibrated && site && site->class != NG_SITE_SYSCALL)
		value.cost_ns = run->calibration.costs[site->class].median_ns * (double)stack->hits;
	return value;
}

/* run->lost is complete but for the recorder's own. */
static void tell_losses(struct record_run *run, struct ng_profile *header)
{
	run->lost[NG_LOSS_STACKS_FULL] = ng_recorder_totals(run->recorder).overflow;
	for (size_t i = 0; i < NG_LOSSES; i++)
		run->losses[i] = (struct ng_profile_loss){
			.cause = ng_loss_key(i), .text = ng_loss_text(i), .count = run->lost[i]};
	header->losses = run->losses;
	header->loss_count = NG_LOSSES;
}

static bool has_lost(const struct record_run *run)
{
	bool any = false;

	for (size_t i = 0; i < NG_LOSSES; i++)
		any |= run->lost[i] != 0;
	return any;
}

static struct ng_profile header_of(const struct ng_report *report, uint64_t began_at_ns)
{
	struct ng_profile header = {
		.began_at_ns = began_at_ns, .duration_ns = report->elapsed_ns, .mode = "full"};

	if (report->target_count != 1)
		return header;
	header.pid = (uint32_t)report->targets[0].pid;
	header.exe = report->targets[0].exe;
	if (report->targets[0].function_count == 1)
		header.function = report->targets[0].functions[0].name;
	return header;
}

static int finish(struct record_run *run)
{
	FILE *file = run->targets.command ? stderr : stdout;
	struct ng_report report;
	struct ng_recorded *recorded = NULL;
	int error = ng_session_report(run->run.session, &report);

	if (error)
		return error;
	struct ng_recorded_parts parts = {.recorder = run->recorder,
		.source = {.locate = ng_session_locate,
			.site = ng_session_site,
			.context = run->run.session},
		.value = value_of,
		.context = run,
		.header = header_of(&report, run->began_at_ns)};

	memcpy(run->lost, report.lost, sizeof(report.lost));
	tell_losses(run, &parts.header);
	error = ng_recorded_make(&parts, &recorded);
	if (!error)
		error = write_outputs(run, ng_recorded_profile(recorded));
	if (!error)
		error = ng_record_print(
			file, ng_recorded_profile(recorded), report.reader_cpu_ns, run->lost);
	ng_recorded_free(recorded);
	ng_report_release(&report);
	return error;
}

static int finish_sampled(struct ng_fleet *fleet, uint64_t elapsed_ns, void *context)
{
	struct record_run *run = context;
	struct ng_estimated *estimated = NULL;
	struct ng_recorded *recorded = NULL;
	struct ng_recorded_parts parts;
	int error = ng_fleet_lost(fleet, run->lost);

	if (!error)
		error = ng_estimated_new(fleet, run->recorder, &estimated);
	if (error)
		return error;
	parts = ng_estimated_parts(estimated, run->recorder);
	parts.header.began_at_ns = run->began_at_ns;
	parts.header.duration_ns = elapsed_ns;
	tell_losses(run, &parts.header);
	error = ng_recorded_make(&parts, &recorded);
	if (!error)
		error = write_outputs(run, ng_recorded_profile(recorded));
	if (!error)
		error = ng_record_print(stdout, ng_recorded_profile(recorded),
			ng_fleet_reader_cpu_ns(fleet), run->lost);
	ng_recorded_free(recorded);
	ng_estimated_free(estimated);
	return error;
}

/* Before anything is traced. */
static int prepare(struct record_run *run)
{
	int error = open_outputs(run);

	if (!error)
		error = ng_run_open_signals(&run->run);
	run->recorder = ng_recorder_new(STACKS_MAX);
	if (!error && !run->recorder)
		error = -ENOMEM;
	run->began_at_ns = ng_clock_read(CLOCK_REALTIME);
	return error;
}

static int run_sampled(struct record_run *run)
{
	struct ng_stat_sampled sampled = {
		.name = COMMAND,
		.started = run->duration_ns ? "calls are recorded in short windows"
					    : "calls are recorded in short windows; ^C ends it",
		.on_call = ng_recorder_add,
		.on_done = finish_sampled,
		.wanted = run->options.wanted,
		.settings = {.mode = NG_MODE_SAMPLED,
			.budget_ratio =
				run->budget_ratio > 0 ? run->budget_ratio : NG_BUDGET_DEFAULT},
		.pids = run->targets.pids,
		.pid_count = run->targets.pid_count,
		.exes = run->targets.exes,
		.exe_count = run->targets.exe_count,
		.duration_ns = run->duration_ns,
	};
	bool lost; /* run->lost has more causes */
	int error = prepare(run);

	sampled.signal_fd = run->run.signal_fd;
	sampled.call_context = run->recorder;
	sampled.context = run;
	if (!error)
		error = ng_stat_sampled_run(&sampled, &lost, &run->diag);
	if (error)
		return ng_complain(COMMAND, error, &run->diag);
	return has_lost(run) ? NG_EXIT_LOST : NG_EXIT_DONE;
}

static int run_all(struct record_run *run)
{
	int error = prepare(run);

	if (!error && run->options.engine == NG_ENGINE_UPROBE)
		run->is_calibrated = !ng_calibration_get(&run->calibration, NULL);
	run->options.call_context = run->recorder;
	if (!error)
		error = ng_run_open(&run->run, &run->diag);
	if (!error)
		error = ng_run_start(&run->run, &run->diag);
	if (!error) {
		ng_run_say_started(&run->run, "every call is recorded");
		error = ng_run_trace(&run->run);
	}
	if (run->run.started && !ng_run_has_exec_failed(&run->run)) {
		ng_run_stop(&run->run);
		if (!error)
			error = finish(run);
		ng_run_wait_for_command(&run->run);
	}
	return error ? ng_run_complain(&run->run, error, &run->diag)
		     : ng_run_exit_code(&run->run, has_lost(run));
}

static void take_arguments(struct record_run *run)
{
	run->options = ng_targets_run_options(&run->targets, COMMAND);
	run->options.on_call = ng_recorder_count;
	run->options.duration_ns = run->duration_ns;
	run->run = (struct ng_run)NG_RUN_INIT(&run->options);
}

int ng_cmd_record(int argc, char **argv)
{
	struct record_run run = {.fds = {-1, -1, -1, -1}, .diag = NG_DIAG_INIT};
	int code = read_arguments(&run, argc, argv);

	if (code)
		return code;
	if (run.help)
		return ng_print_help(help);
	take_arguments(&run);
	code = run.sampled ? run_sampled(&run) : run_all(&run);
	ng_run_release(&run.run);
	ng_recorder_free(run.recorder);
	for (size_t i = 0; i < OUTPUTS; i++) {
		if (run.fds[i] >= 0 && close(run.fds[i]) && !code)
			code = NG_EXIT_FAILED;
	}
	return code;
}
