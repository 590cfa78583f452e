/* nowgate: the command line. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/commands.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{"site", ng_cmd_site, "show where a function would be probed, and why"},
	{"stat", ng_cmd_stat, "count calls, exactly"},
	{"record", ng_cmd_record, "who calls a function, with stacks"},
	{"trace", ng_cmd_trace, "each call by itself, into a file for trace viewers"},
	{"repair", ng_cmd_repair, "take out what a killed run of the inline engine left"},
	{"doctor", ng_cmd_doctor, "can tracing work here, and what does it cost"},
	{"daemon", ng_cmd_daemon, "trace any number of processes, each within its budget"},
	{"attach", ng_cmd_attach, "have the daemon trace processes, now and to come"},
	{"detach", ng_cmd_detach, "end that"},
	{"mode", ng_cmd_mode, "change how attached processes are traced"},
	{"snapshot", ng_cmd_snapshot, "the newest calls that the daemon keeps of a process"},
	{"status", ng_cmd_status, "what the daemon traces, how, and what it costs"},
	{"top", ng_cmd_top, "the same live, and who calls in one of them"},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

int ng_complain(const char *command, int error, const struct ng_diag *diag)
{
	fprintf(stderr, "nowgate %s: %s\n", command, diag->text[0] ? diag->text : strerror(-error));
	return ng_exit_code(error);
}

int ng_complain_usage(const char *command, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "nowgate %s: ", command);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nSee `nowgate %s --help`.\n", command);
	return NG_EXIT_USAGE;
}

int ng_print_help(const char *help)
{
	fputs(help, stdout);
	return NG_EXIT_DONE;
}

static void print_help(FILE *file)
{
	fprintf(file,
		"nowgate: traces hot functions, first of all Go's time.Now, at a bounded cost\n\n"
		"Usage: nowgate COMMAND [OPTION...]\n\nCommands:\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(file, "  %-8s %s\n", commands[i].name, commands[i].what);
	fprintf(file,
		"\n`nowgate COMMAND --help` says more; `nowgate --version` prints the version.\n"
		"Try: nowgate stat -p PID -d 5s\n");
}

/*
 * What we open must not take the place of a stream that we were started without, or the report
 * would be written into it. A place is taken so that its use fails, and a command that we start
 * finds it closed.
 */
static void guard_streams(void)
{
	static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		/* The lowest free descriptor is this very one. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd] | O_CLOEXEC) != fd)
			_exit(NG_EXIT_FAILED);
	}
}

static int run(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return NG_EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return NG_EXIT_DONE;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("nowgate " NG_VERSION);
		return NG_EXIT_DONE;
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "nowgate: there is no command '%s'. See `nowgate --help`.\n", argv[1]);
	return NG_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	int code;

	guard_streams();
	code = run(argc, argv);
	if (code == NG_EXIT_DONE && fflush(stdout)) {
		fprintf(stderr, "nowgate: standard output cannot be written: %s\n",
			strerror(errno));
		return NG_EXIT_FAILED;
	}
	return code;
}
