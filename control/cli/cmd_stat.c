/* nowgate stat: counts calls of processes, files or a command. */
#include "control/cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/cli/stat_arguments.h"
#include "control/cli/stat_print.h"
#include "control/cli/stat_sampled.h"
#include "control/engine/calibrate.h"
#include "control/plane/session.h"
#include "control/target/launch.h"
#include "core/base/clock.h"

/* One run of the command. */
struct stat_run {
	struct ng_stat_arguments arguments;
	struct ng_session *session;
	struct ng_launch *launch; /* NULL: no command */
	struct ng_report before;  /* at the last interval's end */
	struct ng_calibration calibration;
	struct ng_stat_print print;
	sigset_t old_signals;
	struct rlimit old_descriptors; /* before the engine raised it */
	int signal_fd;
	bool started; /* all is armed, and the command runs */
	bool interrupted;
	struct ng_diag diag;
};

static void print_note(const char *text, void *context)
{
	(void)context;
	fprintf(stderr, "nowgate stat: %s\n", text);
}

/* A process of the command that stops while probes go stands still no longer than one takes. */
static void on_wait(void *context)
{
	const struct stat_run *run = context;

	if (run->launch)
		ng_launch_turn(run->launch);
}

static enum ng_hold on_held(pid_t pid, bool loaded, void *context)
{
	struct stat_run *run = context;
	struct ng_diag diag = NG_DIAG_INIT;
	bool wanted = false;
	int error;

	error = ng_session_arm_stopped(run->session, pid, loaded, &wanted, &diag);
	if (error && error != -ESRCH) {
		fprintf(stderr, "nowgate stat: process %d cannot be counted: %s\n", pid,
			diag.text[0] ? diag.text : strerror(-error));
		return NG_HOLD_RELEASE;
	}
	if (wanted)
		return NG_HOLD_RELEASE;
	return loaded ? NG_HOLD_KEEP : NG_HOLD_LIBRARIES;
}

/* Signals come by descriptor from here on; the command gets the mask and the limit that we were
 * given. */
static int open_signals(struct stat_run *run)
{
	static const int taken[] = {
		SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD, SIGIO};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		sigaddset(&set, taken[i]);
	if (getrlimit(RLIMIT_NOFILE, &run->old_descriptors))
		return -errno;
	run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signal_fd < 0)
		return -errno;
	/* A reader that has gone, or a full file, must not kill us: the error is told, and no event
	 * is left behind. */
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGXFSZ);
	return sigprocmask(SIG_BLOCK, &set, &run->old_signals) ? -errno : 0;
}

static void take_signals(struct stat_run *run)
{
	struct signalfd_siginfo info;

	while (read(run->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD || info.ssi_signo == SIGIO)
			continue; /* both are for whoever takes a turn next */
		if (!run->launch) {
			run->interrupted = true;
			continue;
		}
		/* What the terminal sends, it has sent to the command as well. */
		if (info.ssi_code != SI_KERNEL)
			(void)kill(ng_launch_pid(run->launch), (int)info.ssi_signo);
	}
}

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
	const struct ng_stat_arguments *arguments = &run->arguments;
	const struct ng_session_options options = {
		.wanted = {.functions = arguments->functions,
			.function_count = arguments->function_count,
			.clock = arguments->clock,
			.clock_set = arguments->clock_set,
			.syscalls = arguments->syscalls,
			.at_symbol = arguments->at_symbol},
		.attach = arguments->attach,
		.on_note = print_note,
		.on_wait = on_wait,
		.context = run,
	};
	const struct ng_launch_options launch = {.argv = arguments->command,
		.signals = &run->old_signals,
		.descriptors = &run->old_descriptors,
		.on_held = on_held,
		.context = run};
	const double before_ns = arguments->syscalls ? system_call_ns() : 0;
	int error = ng_session_open(&options, &run->session, &run->diag);

	if (!error && arguments->syscalls)
		note_system_calls(before_ns);
	for (size_t i = 0; !error && i < arguments->pid_count; i++)
		error = ng_session_add_pid(run->session, arguments->pids[i], &run->diag);
	for (size_t i = 0; !error && i < arguments->exe_count; i++)
		error = ng_session_add_image(run->session, arguments->exes[i], &run->diag);
	if (!error && arguments->command)
		error = ng_launch_start(&launch, &run->launch, &run->diag);
	if (!error && arguments->command)
		error = ng_session_add_command(run->session, ng_launch_pid(run->launch));
	if (error)
		return error;
	error = ng_session_start(run->session, &run->diag);
	if (error)
		return error;
	if (run->launch)
		ng_launch_release(run->launch);
	run->started = true;
	return 0;
}

static bool is_over(struct stat_run *run)
{
	int status;

	if (run->launch)
		return ng_launch_has_ended(run->launch, &status);
	return run->interrupted || ng_session_is_over(run->session);
}

/* Says that the result could not be written; returns the error. */
static int explain_output(struct stat_run *run, int error)
{
	const char *path = run->arguments.output;

	if (!path)
		path = run->arguments.command ? "standard error" : "standard output";
	return ng_diag_set(
		&run->diag, error, "%s: the result cannot be written: %s", path, strerror(-error));
}

static int flush_output(struct stat_run *run)
{
	if (fflush(run->print.file))
		return -errno;
	return ferror(run->print.file) ? -EIO : 0; /* seen before, by whoever printed */
}

static int print_interval(struct stat_run *run)
{
	struct ng_report now;
	int error = ng_session_report(run->session, &now);

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

static int wait_for_something(struct stat_run *run, uint64_t until_ns)
{
	struct pollfd fds[] = {{.fd = run->signal_fd, .events = POLLIN},
		{.fd = ng_session_event_fd(run->session), .events = POLLIN}};
	const uint64_t now = ng_clock_ns();
	const uint64_t wait_ns = until_ns > now ? until_ns - now : 0;
	const struct timespec timeout = {.tv_sec = (time_t)(wait_ns / NG_NS_PER_S),
		.tv_nsec = (long)(wait_ns % NG_NS_PER_S)};

	return ppoll(fds, 2, &timeout, NULL) < 0 && errno != EINTR ? -errno : 0;
}

static int count(struct stat_run *run)
{
	const uint64_t start_ns = ng_clock_ns();
	const uint64_t end_ns =
		run->arguments.duration_ns ? start_ns + run->arguments.duration_ns : UINT64_MAX;
	const uint64_t interval_ns = run->arguments.interval_ns;
	uint64_t interval_end_ns = interval_ns ? start_ns + interval_ns : UINT64_MAX;
	uint64_t turn_ns = start_ns + NG_SESSION_TURN_NS;
	int error = 0;

	while (!error && !is_over(run) && ng_clock_ns() < end_ns) {
		error = wait_for_something(run, earlier(earlier(end_ns, interval_end_ns), turn_ns));
		take_signals(run);
		if (run->launch)
			ng_launch_turn(run->launch);
		ng_session_turn(run->session);
		turn_ns = ng_clock_ns() + NG_SESSION_TURN_NS;
		if (!error && ng_clock_ns() >= interval_end_ns) {
			error = print_interval(run);
			interval_end_ns += interval_ns;
		}
	}
	return error;
}

/* The time is up, but the command goes on, and its status is ours. */
static void wait_for_command(struct stat_run *run)
{
	while (run->launch && !is_over(run)) {
		(void)wait_for_something(run, ng_clock_ns() + NG_NS_PER_S);
		take_signals(run);
		ng_launch_turn(run->launch);
	}
}

static int print_result(struct stat_run *run, bool *ret_lost)
{
	struct ng_report report;
	int error = ng_session_report(run->session, &report);

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

	run->print.file = run->arguments.command ? stderr : stdout;
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

/* The command's own status, as a shell tells it. */
static int command_status(struct stat_run *run)
{
	int status = 0;

	if (!ng_launch_has_ended(run->launch, &status))
		return NG_EXIT_OWN_FAILURE;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool has_exec_failed(const struct stat_run *run)
{
	int status, error;

	if (!run->launch || !ng_launch_has_ended(run->launch, &status))
		return false;
	error = ng_launch_exec_error(run->launch);
	if (error)
		fprintf(stderr, "nowgate stat: the command '%s' cannot be run: %s\n",
			run->arguments.command[0],
			error != -ENOENT ? strerror(-error)
			: strchr(run->arguments.command[0], '/')
				? "not found, or the interpreter that it names is not"
				: "not found in PATH");
	return error;
}

static int complain(const struct stat_run *run, int error)
{
	const int code = ng_complain(NG_STAT_COMMAND, error, &run->diag);

	if (!run->arguments.command)
		return code;
	if (!run->started)
		fputs("nowgate stat: the command was not started\n", stderr);
	return NG_EXIT_OWN_FAILURE;
}

static int run_sampled(struct stat_run *run)
{
	const struct ng_stat_arguments *arguments = &run->arguments;
	struct ng_stat_sampled sampled = {
		.wanted = {.functions = arguments->functions,
			.function_count = arguments->function_count,
			.clock = arguments->clock,
			.clock_set = arguments->clock_set},
		.settings = {.mode = NG_MODE_SAMPLED,
			.budget_ratio = arguments->budget_ratio > 0 ? arguments->budget_ratio
								    : NG_BUDGET_DEFAULT,
			.rate_ratio = arguments->rate_ratio},
		.pids = arguments->pids,
		.pid_count = arguments->pid_count,
		.exes = arguments->exes,
		.exe_count = arguments->exe_count,
		.duration_ns = arguments->duration_ns,
		.interval_ns = arguments->interval_ns,
		.json = arguments->json,
	};
	bool lost = false;
	int error = open_output(run); /* ^C ends it while a FIFO has no reader */

	if (!error)
		error = open_signals(run);
	if (!error) {
		sampled.file = run->print.file;
		sampled.signal_fd = run->signal_fd;
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
		error = open_signals(run);
	if (!error && !ng_calibration_get(&run->calibration, NULL))
		run->print.calibration = &run->calibration; /* else counts without their cost */
	if (!error)
		error = start(run);
	if (!error) {
		empty_output(run);
		error = count(run);
	}
	if (run->started && !has_exec_failed(run)) {
		if (run->launch)
			ng_launch_let_go(run->launch);
		ng_session_stop(run->session);
		if (run->launch)
			ng_session_note_missing(run->session);
		if (!error)
			error = print_result(run, &lost);
		wait_for_command(run);
	}
	if (error)
		return complain(run, error);
	if (run->launch)
		return command_status(run);
	return lost ? NG_EXIT_LOST : NG_EXIT_DONE;
}

int ng_cmd_stat(int argc, char **argv)
{
	struct stat_run run = {.signal_fd = -1, .diag = NG_DIAG_INIT};
	int code = ng_stat_arguments_parse(argc, argv, &run.arguments);

	if (code)
		return code;
	if (run.arguments.help) {
		fputs(ng_stat_help, stdout);
		return NG_EXIT_DONE;
	}
	code = run.arguments.sampled ? run_sampled(&run) : run_all(&run);
	ng_report_release(&run.before);
	ng_launch_free(run.launch);
	ng_session_free(run.session);
	if (run.signal_fd >= 0)
		close(run.signal_fd);
	if (run.print.file && run.arguments.output && fclose(run.print.file) && !code)
		code = NG_EXIT_FAILED;
	return code;
}
