#include "control/cli/run.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/cli/commands.h"
#include "core/base/clock.h"

static void print_note(const char *text, void *context)
{
	const struct ng_run *run = context;

	fprintf(stderr, "nowgate %s: %s\n", run->options->name, text);
}

/* A process of the command that stops while probes go stands still no longer than one takes. */
static void on_wait(void *context)
{
	const struct ng_run *run = context;

	if (run->launch)
		ng_launch_turn(run->launch);
}

static enum ng_hold on_held(pid_t pid, bool loaded, void *context)
{
	struct ng_run *run = context;
	struct ng_diag diag = NG_DIAG_INIT;
	bool wanted = false;
	int error;

	error = ng_session_arm_stopped(run->session, pid, loaded, &wanted, &diag);
	if (error && error != -ESRCH) {
		fprintf(stderr, "nowgate %s: process %d cannot be traced: %s\n", run->options->name,
			pid, diag.text[0] ? diag.text : strerror(-error));
		return NG_HOLD_RELEASE;
	}
	if (wanted)
		return NG_HOLD_RELEASE;
	return loaded ? NG_HOLD_KEEP : NG_HOLD_LIBRARIES;
}

void ng_run_release(struct ng_run *run)
{
	ng_launch_free(run->launch);
	ng_session_free(run->session);
	if (run->signal_fd >= 0)
		close(run->signal_fd);
}

/* The command gets the mask and the limit that we were given. SIGIO is how the kernel tells that a
 * file is to be written to. */
int ng_run_open_signals(struct ng_run *run)
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

static void take_signals(struct ng_run *run)
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

static int add_targets(struct ng_run *run, struct ng_diag *diag)
{
	const struct ng_run_options *options = run->options;
	const struct ng_launch_options launch = {.argv = options->command,
		.signals = &run->old_signals,
		.descriptors = &run->old_descriptors,
		.on_held = on_held,
		.context = run};
	int error = 0;

	for (size_t i = 0; !error && i < options->pid_count; i++)
		error = ng_session_add_pid(run->session, options->pids[i], diag);
	for (size_t i = 0; !error && i < options->exe_count; i++)
		error = ng_session_add_image(run->session, options->exes[i], diag);
	if (!error && options->command)
		error = ng_launch_start(&launch, &run->launch, diag);
	if (!error && options->command)
		error = ng_session_add_command(run->session, ng_launch_pid(run->launch));
	return error;
}

int ng_run_open(struct ng_run *run, struct ng_diag *diag)
{
	const struct ng_session_options options = {
		.wanted = run->options->wanted,
		.attach = run->options->attach,
		.engine = run->options->engine,
		.on_note = print_note,
		.on_wait = on_wait,
		.context = run,
		.on_call = run->options->on_call,
		.on_look = run->options->on_look,
		.call_context = run->options->call_context,
	};

	return ng_session_open(&options, &run->session, diag);
}

int ng_run_start(struct ng_run *run, struct ng_diag *diag)
{
	int error = add_targets(run, diag);

	if (!error)
		error = ng_session_start(run->session, diag);
	if (error)
		return error;
	if (run->launch)
		ng_launch_release(run->launch);
	run->started = true;
	return 0;
}

void ng_run_say_started(const struct ng_run *run, const char *what)
{
	const struct ng_run_options *options = run->options;

	fprintf(stderr, "nowgate %s: %s%s\n", options->name, what,
		options->duration_ns || options->command ? "" : "; ^C ends it");
}

static bool is_over(struct ng_run *run)
{
	int status;

	if (run->launch)
		return ng_launch_has_ended(run->launch, &status);
	return run->interrupted || ng_session_is_over(run->session);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int wait_for_something(struct ng_run *run, uint64_t until_ns)
{
	struct pollfd fds[] = {{.fd = run->signal_fd, .events = POLLIN},
		{.fd = ng_session_event_fd(run->session), .events = POLLIN}};
	const uint64_t now = ng_clock_ns();
	const uint64_t wait_ns = until_ns > now ? until_ns - now : 0;
	const struct timespec timeout = {.tv_sec = (time_t)(wait_ns / NG_NS_PER_S),
		.tv_nsec = (long)(wait_ns % NG_NS_PER_S)};

	return ppoll(fds, 2, &timeout, NULL) < 0 && errno != EINTR ? -errno : 0;
}

int ng_run_trace(struct ng_run *run)
{
	const struct ng_run_options *options = run->options;
	const uint64_t start_ns = ng_clock_ns();
	const uint64_t end_ns = options->duration_ns ? start_ns + options->duration_ns : UINT64_MAX;
	uint64_t interval_end_ns =
		options->interval_ns ? start_ns + options->interval_ns : UINT64_MAX;
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
			error = options->on_interval(options->interval_context);
			interval_end_ns += options->interval_ns;
		}
	}
	return error;
}

void ng_run_stop(struct ng_run *run)
{
	if (run->launch)
		ng_launch_let_go(run->launch);
	ng_session_stop(run->session);
	if (run->launch)
		ng_session_note_missing(run->session);
}

void ng_run_wait_for_command(struct ng_run *run)
{
	while (run->launch && !is_over(run)) {
		(void)wait_for_something(run, ng_clock_ns() + NG_NS_PER_S);
		take_signals(run);
		ng_launch_turn(run->launch);
	}
}

bool ng_run_has_exec_failed(const struct ng_run *run)
{
	int status, error;

	if (!run->launch || !ng_launch_has_ended(run->launch, &status))
		return false;
	error = ng_launch_exec_error(run->launch);
	if (error)
		fprintf(stderr, "nowgate %s: the command '%s' cannot be run: %s\n",
			run->options->name, run->options->command[0],
			error != -ENOENT ? strerror(-error)
			: strchr(run->options->command[0], '/')
				? "not found, or the interpreter that it names is not"
				: "not found in PATH");
	return error;
}

int ng_run_exit_code(const struct ng_run *run, bool lost)
{
	int status = 0;

	if (!run->launch)
		return lost ? NG_EXIT_LOST : NG_EXIT_DONE;
	if (!ng_launch_has_ended(run->launch, &status))
		return NG_EXIT_OWN_FAILURE;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int ng_run_complain(const struct ng_run *run, int error, const struct ng_diag *diag)
{
	const int code = ng_complain(run->options->name, error, diag);

	if (!run->options->command)
		return code;
	if (!run->started)
		fprintf(stderr, "nowgate %s: the command was not started\n", run->options->name);
	return NG_EXIT_OWN_FAILURE;
}
