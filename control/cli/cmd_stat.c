/* nowgate stat: counts calls of processes, files or a command. */
#include "control/cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/run.h"
#include "control/cli/stat_arguments.h"
#include "control/cli/stat_print.h"
#include "control/cli/stat_sampled.h"
#include "control/engine/calibrate.h"
#include "control/plane/session.h"
#include "core/base/clock.h"

/* One run of the command. */
struct stat_run {
	struct ng_stat_arguments arguments;
	struct ng_run_options options;
	struct ng_run run;
	struct ng_report before; /* at the last interval's end */
	struct ng_calibration calibration;
	struct ng_stat_print print;
	struct ng_diag diag;
};

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ns that a small system call takes: the best of some batches, so that an interruption does not
 * count. */
static double system_call_ns(void)
{
	const int batches = 20, calls = 1000;
	uint64_t best_ns = UINT64_MAX;

	for (int i = 0; i < batches; i++) {
		uint64_t begin_ns = ng_clock_ns();

		for (int k = 0; k < calls; k++)
			(void)getppid();
		best_ns = earlier(best_ns, ng_clock_ns() - begin_ns);
	}
	return (double)best_ns / calls;
}

static void note_system_calls(double before_ns)
{
	const double longer_ns = system_call_ns() - before_ns;

	fprintf(stderr,
		"nowgate stat: --clock=+syscalls: until this ends, each system call of every "
		"process of this machine takes about %.0f ns longer (%.0f ns before)\n",
		longer_ns > 0 ? longer_ns : 0, before_ns);
}

static int start(struct stat_run *run)
{
	const bool syscalls = run->arguments.syscalls;
	const double before_ns = syscalls ? system_call_ns() : 0;
	const int error = ng_run_open(&run->run, &run->diag);

	if (!error && syscalls)
		note_system_calls(before_ns);
	return error ? error : ng_run_start(&run->run, &run->diag);
}

/* Says that the result could not be written; returns the error. */
static int explain_output(struct stat_run *run, int error)
{
	const char *path = run->arguments.output;

	if (!path)
		path = run->arguments.targets.command ? "standard error" : "standard output";
	return ng_diag_set(
		&run->diag, error, "%s: the result cannot be written: %s", path, strerror(-error));
}

static int flush_output(struct stat_run *run)
{
	if (fflush(run->print.file))
		return -errno;
	return ferror(run->print.file) ? -EIO : 0; /* seen before, by whoever printed */
}

static int print_interval(void *context)
{
	struct stat_run *run = context;
	struct ng_report now;
	int error = ng_session_report(run->run.session, &now);

	if (error)
		return error;
	if (run->arguments.json)
		error = ng_stat_print_interval_json(&run->print, &run->before, &now);
	else
		ng_stat_print_interval(&run->print, &run->before, &now);
	if (!error)
		error = flush_output(run);
	ng_report_release(&run->before);
	run->before = now;
	return error ? explain_output(run, error) : 0;
}

static int print_result(struct stat_run *run, bool *ret_lost)
{
	struct ng_report report;
	int error = ng_session_report(run->run.session, &report);

	if (error)
		return error;
	if (run->arguments.interval_ns)
		error = print_interval(run); /* the last one, cut short */
	else if (run->arguments.json)
		error = ng_stat_print_json(&run->print, &report);
	if (!run->arguments.json)
		ng_stat_print_table(&run->print, &report);
	if (!error)
		error = flush_output(run);
	*ret_lost = report.lost[NG_LOST_COUNTS_FULL] != 0;
	ng_report_release(&report);
	return error ? explain_output(run, error) : 0;
}

/* What is in the file stays until there is something to count. */
static int open_output(struct stat_run *run)
{
	const char *path = run->arguments.output;
	int fd;

	run->print.file = run->arguments.targets.command ? stderr : stdout;
	if (!path)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	run->print.file = fd < 0 ? NULL : fdopen(fd, "w");
	return run->print.file ? 0 : explain_output(run, -errno);
}

static void empty_output(struct stat_run *run)
{
	if (run->arguments.output)
		(void)!ftruncate(fileno(run->print.file), 0); /* a pipe or device has no length */
}

static int run_sampled(struct stat_run *run)
{
	const struct ng_stat_arguments *arguments = &run->arguments;
	struct ng_stat_sampled sampled = {
		.name = NG_STAT_COMMAND,
		.wanted = run->options.wanted,
		.settings = {.mode = NG_MODE_SAMPLED,
			.budget_ratio = arguments->budget_ratio > 0 ? arguments->budget_ratio
								    : NG_BUDGET_DEFAULT,
			.rate_ratio = arguments->rate_ratio},
		.pids = arguments->targets.pids,
		.pid_count = arguments->targets.pid_count,
		.exes = arguments->targets.exes,
		.exe_count = arguments->targets.exe_count,
		.duration_ns = arguments->duration_ns,
		.interval_ns = arguments->interval_ns,
		.json = arguments->json,
	};
	bool lost = false;
	int error = open_output(run); /* ^C ends it while a FIFO has no reader */

	if (!error)
		error = ng_run_open_signals(&run->run);
	if (!error) {
		sampled.file = run->print.file;
		sampled.signal_fd = run->run.signal_fd;
		empty_output(run);
		error = ng_stat_sampled_run(&sampled, &lost, &run->diag);
	}
	if (error)
		return ng_complain(NG_STAT_COMMAND, error, &run->diag);
	return lost ? NG_EXIT_LOST : NG_EXIT_DONE;
}

static int run_all(struct stat_run *run)
{
	bool lost = false;
	int error = open_output(run); /* ^C ends it while a FIFO has no reader */

	if (!error)
		error = ng_run_open_signals(&run->run);
	if (!error && run->options.engine == NG_ENGINE_UPROBE &&
		!ng_calibration_get(&run->calibration, NULL))
		run->print.calibration = &run->calibration; /* else counts without their cost */
	if (!error)
		error = start(run);
	if (!error) {
		empty_output(run);
		error = ng_run_trace(&run->run);
	}
	if (run->run.started && !ng_run_has_exec_failed(&run->run)) {
		ng_run_stop(&run->run);
		if (!error)
			error = print_result(run, &lost);
		ng_run_wait_for_command(&run->run);
	}
	return error ? ng_run_complain(&run->run, error, &run->diag)
		     : ng_run_exit_code(&run->run, lost);
}

static void take_arguments(struct stat_run *run)
{
	const struct ng_stat_arguments *arguments = &run->arguments;
	const struct ng_targets *targets = &arguments->targets;

	run->options = (struct ng_run_options){.name = NG_STAT_COMMAND,
		.wanted = {.functions = targets->functions,
			.function_count = targets->function_count,
			.clock = arguments->clock,
			.clock_set = arguments->clock_set,
			.syscalls = arguments->syscalls,
			.at_symbol = arguments->at_symbol},
		.attach = arguments->attach,
		.engine = arguments->targets.engine,
		.pids = targets->pids,
		.pid_count = targets->pid_count,
		.exes = targets->exes,
		.exe_count = targets->exe_count,
		.command = targets->command,
		.duration_ns = arguments->duration_ns,
		.interval_ns = arguments->interval_ns,
		.on_interval = print_interval,
		.interval_context = run};
	run->run = (struct ng_run)NG_RUN_INIT(&run->options);
}

int ng_cmd_stat(int argc, char **argv)
{
	struct stat_run run = {.diag = NG_DIAG_INIT};
	int code = ng_stat_arguments_parse(argc, argv, &run.arguments);

	if (code)
		return code;
	if (run.arguments.help)
		return ng_print_help(ng_stat_help);
	take_arguments(&run);
	code = run.arguments.sampled ? run_sampled(&run) : run_all(&run);
	ng_report_release(&run.before);
	ng_run_release(&run.run);
	if (run.print.file && run.arguments.output && fclose(run.print.file) && !code)
		code = NG_EXIT_FAILED;
	return code;
}
