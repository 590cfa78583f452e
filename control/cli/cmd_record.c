/* nowgate record: who calls a function, with stacks. */
#include "control/cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "control/cli/options.h"
#include "control/cli/record_print.h"
#include "control/engine/calibrate.h"
#include "control/plane/recorded.h"
#include "control/plane/recorder.h"
#include "control/plane/session.h"
#include "core/base/cleanup.h"
#include "core/base/clock.h"
#include "core/out/flame.h"
#include "core/out/folded.h"
#include "core/out/json.h"
#include "core/out/pprof.h"

#define COMMAND	   "record"
#define LIST_MAX   64
#define STACKS_MAX 100000

static const char help[] =
	"Says who calls a function: every call with its stack, added up by stack.\n"
	"\n"
	"Usage: nowgate record [OPTION...] -p PID\n"
	"\n"
	"  -p, --pid PID        the process; its children are not followed\n"
	"  -f, --func FUNC      as `nowgate stat` has it; again for more. Default: time.Now\n"
	"  -d, --duration TIME  such as 10s; default: until the process ends, or ^C\n"
	"Output (a summary goes to stdout)\n"
	"  -o, --output FILE    a profile for `go tool pprof`\n"
	"      --folded FILE    a line for each stack, with its count, for flame graph tools\n"
	"      --svg FILE       a flame graph for a browser: search, and zoom by a click\n"
	"      --json FILE      all of it as one JSON document\n"
	"  -h, --help\n"
	"\n"
	"While it runs, each call of the function takes as long as a trap: see `nowgate doctor`.\n"
	"Exit status: 0 done; 1 failed; 2 usage; 4 denied; 6 no such process or function; 7 done,\n"
	"but some stacks were lost.\n";

enum option_index {
	OPTION_PID,
	OPTION_FUNC,
	OPTION_DURATION,
	OPTION_OUTPUT,
	OPTION_FOLDED,
	OPTION_SVG,
	OPTION_JSON,
	OPTION_HELP,
};

static const struct ng_option option_table[] = {
	[OPTION_PID] = {'p', "pid", NG_OPTION_VALUE, false},
	[OPTION_FUNC] = {'f', "func", NG_OPTION_VALUE, true},
	[OPTION_DURATION] = {'d', "duration", NG_OPTION_VALUE, false},
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
	pid_t pid;
	const char *functions[LIST_MAX];
	size_t function_count;
	uint64_t duration_ns; /* 0: no end */
	const char *paths[OUTPUTS];
	int fds[OUTPUTS];
	bool help;
	struct ng_session *session;
	struct ng_recorder *recorder;
	struct ng_calibration calibration;
	bool is_calibrated;
	int signal_fd;
	struct ng_diag diag;
};

static int add_function(struct record_run *run, const char *text)
{
	if (!*text)
		return ng_complain_usage(COMMAND, "--func needs a value that is not empty");
	if (run->function_count == LIST_MAX)
		return ng_complain_usage(COMMAND, "--func stands more than %d times", LIST_MAX);
	run->functions[run->function_count++] = text;
	return 0;
}

static int set_option(struct record_run *run, int index, const char *value)
{
	switch (index) {
	case OPTION_PID:
		return ng_option_pid(COMMAND, value, &run->pid);
	case OPTION_FUNC:
		return add_function(run, value);
	case OPTION_DURATION:
		return ng_option_duration(COMMAND, "duration", value, &run->duration_ns);
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
	struct ng_options options = {.command = COMMAND,
		.table = option_table,
		.count = sizeof(option_table) / sizeof(option_table[0]),
		.argc = argc,
		.argv = argv,
		.next = 1};
	int index;

	while ((index = ng_options_next(&options)) >= 0) {
		const int code = set_option(run, index, options.value);

		if (code)
			return code;
	}
	if (index == NG_OPTIONS_ERROR)
		return NG_EXIT_USAGE;
	if (run->help)
		return 0;
	if (options.next < argc)
		return ng_complain_usage(COMMAND, "'%s' is no option", argv[options.next]);
	if (!run->pid)
		return ng_complain_usage(COMMAND, "which process? Give -p PID");
	if (!run->function_count)
		run->functions[run->function_count++] = "time.Now";
	return 0;
}

static void print_note(const char *text, void *context)
{
	(void)context;
	fprintf(stderr, "nowgate record: %s\n", text);
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

/* ^C ends the recording, and what was recorded is written; a reader that has gone is an error. */
static int open_signals(struct record_run *run)
{
	static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		sigaddset(&set, taken[i]);
	run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signal_fd < 0)
		return -errno;
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGXFSZ);
	sigaddset(&set, SIGIO); /* by which the kernel tells that a file is to be written to */
	return sigprocmask(SIG_BLOCK, &set, NULL) ? -errno : 0;
}

static int start(struct record_run *run)
{
	const struct ng_session_options options = {
		.wanted = {.functions = run->functions, .function_count = run->function_count},
		.on_note = print_note,
		.on_call = ng_recorder_add,
		.context = run->recorder,
	};
	int error = ng_session_open(&options, &run->session, &run->diag);

	if (!error)
		error = ng_session_add_pid(run->session, run->pid, &run->diag);
	if (!error)
		error = ng_session_start(run->session, &run->diag);
	return error;
}

static bool is_interrupted(const struct record_run *run)
{
	struct signalfd_siginfo info;

	return read(run->signal_fd, &info, sizeof(info)) == sizeof(info);
}

static void record(struct record_run *run)
{
	const uint64_t start_ns = ng_clock_ns();
	const uint64_t end_ns = run->duration_ns ? start_ns + run->duration_ns : UINT64_MAX;

	while (!ng_session_is_over(run->session) && !is_interrupted(run)) {
		struct pollfd fds[] = {{.fd = run->signal_fd, .events = POLLIN},
			{.fd = ng_session_event_fd(run->session), .events = POLLIN}};
		const uint64_t now_ns = ng_clock_ns();
		uint64_t wait_ns = NG_SESSION_TURN_NS;

		if (now_ns >= end_ns)
			break;
		if (end_ns - now_ns < wait_ns)
			wait_ns = end_ns - now_ns;
		const struct timespec timeout = {.tv_nsec = (long)wait_ns};

		(void)ppoll(fds, 2, &timeout, NULL); /* whatever it says, we look */
		ng_session_turn(run->session);
	}
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

static int finish(struct record_run *run, uint64_t began_at_ns, bool *ret_lost)
{
	struct ng_report report;
	struct ng_recorded *recorded = NULL;
	int error = ng_session_report(run->session, &report);

	if (error)
		return error;
	const struct ng_recorded_parts parts = {.recorder = run->recorder,
		.session = run->session,
		.report = &report,
		.calibration = run->is_calibrated ? &run->calibration : NULL,
		.began_at_ns = began_at_ns};

	error = ng_recorded_make(&parts, &recorded);
	if (!error)
		error = write_outputs(run, ng_recorded_profile(recorded));
	if (!error)
		error = ng_record_print(stdout, ng_recorded_profile(recorded), &report);
	*ret_lost = report.lost[NG_LOST_RECORDS_FULL] || report.lost[NG_LOST_COUNTS_FULL] ||
		    ng_recorder_totals(run->recorder).overflow;
	ng_recorded_free(recorded);
	ng_report_release(&report);
	return error;
}

static int run_all(struct record_run *run)
{
	uint64_t began_at_ns;
	bool lost = false;
	int error = open_outputs(run);

	if (!error)
		error = open_signals(run);
	run->recorder = ng_recorder_new(STACKS_MAX);
	if (!error && !run->recorder)
		error = -ENOMEM;
	if (!error)
		run->is_calibrated = !ng_calibration_get(&run->calibration, NULL);
	began_at_ns = ng_clock_read(CLOCK_REALTIME);
	if (!error)
		error = start(run);
	if (!error) {
		fprintf(stderr, "nowgate record: every call in process %d is recorded%s\n",
			run->pid, run->duration_ns ? "" : "; ^C ends it");
		record(run);
		ng_session_stop(run->session);
		error = finish(run, began_at_ns, &lost);
	}
	if (error)
		return ng_complain(COMMAND, error, &run->diag);
	return lost ? NG_EXIT_LOST : NG_EXIT_DONE;
}

int ng_cmd_record(int argc, char **argv)
{
	struct record_run run = {.fds = {-1, -1, -1, -1}, .signal_fd = -1, .diag = NG_DIAG_INIT};
	int code = read_arguments(&run, argc, argv);

	if (code)
		return code;
	if (run.help)
		return ng_print_help(help);
	code = run_all(&run);
	ng_session_free(run.session);
	ng_recorder_free(run.recorder);
	if (run.signal_fd >= 0)
		close(run.signal_fd);
	for (size_t i = 0; i < OUTPUTS; i++) {
		if (run.fds[i] >= 0 && close(run.fds[i]) && !code)
			code = NG_EXIT_FAILED;
	}
	return code;
}
