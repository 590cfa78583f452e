/* nowgate snapshot: the newest calls that the daemon keeps of a process, into a file. */
#include "control/cli/commands.h"

#include <string.h>

#include "control/cli/options.h"
#include "control/cli/snapshot.h"
#include "control/cli/trace_output.h"
#include "control/daemon/server.h"

#define COMMAND "snapshot"

static const char help[] =
	"Writes the newest calls of a process that the daemon traces: what came before now.\n"
	"\n"
	"Usage: nowgate snapshot -p PID -o PATH [OPTION...]\n"
	"\n"
	"  -p, --pid PID        as `nowgate status` shows it; it may have ended a minute "
	"ago\n" NG_TRACE_OUTPUT_HELP "      --socket PATH    the daemon's, default " NG_SOCKET_PATH
	"\n"
	"  -h, --help\n"
	"\n"
	"In modes burst and full, and with `nowgate mode count --record`, these are all calls. In "
	"mode\n"
	"sampled they are those of windows: between two windows there is a gap, and it is marked. "
	"How\n"
	"many are kept is the configuration's `flight`.\n"
	"Exit status: 0 done; 1 failed; 2 usage; 3 no daemon; 4 denied; 6 no such target, or "
	"nothing\n"
	"is kept of it; 7 done, but some calls were lost.\n";

enum option_index {
	OPTION_PID,
	OPTION_OUTPUT,
	OPTION_FORMAT,
	OPTION_SOCKET,
	OPTION_HELP,
};

static const struct ng_option option_table[] = {
	[OPTION_PID] = {'p', "pid", NG_OPTION_VALUE, false},
	[OPTION_OUTPUT] = {'o', "output", NG_OPTION_VALUE, false},
	[OPTION_FORMAT] = {0, "format", NG_OPTION_VALUE, false},
	[OPTION_SOCKET] = {0, "socket", NG_OPTION_VALUE, false},
	[OPTION_HELP] = {'h', "help", NG_OPTION_FLAG, false},
};

struct snapshot_run {
	struct ng_snapshot snapshot;
	const char *output, *format;
	bool help;
};

static int set_option(int index, const char *value, void *context)
{
	struct snapshot_run *run = context;

	switch (index) {
	case OPTION_PID:
		return ng_option_pid(COMMAND, value, &run->snapshot.pid);
	case OPTION_OUTPUT:
		run->output = value;
		return 0;
	case OPTION_FORMAT:
		run->format = value;
		return 0;
	case OPTION_SOCKET:
		run->snapshot.socket_path = value;
		return 0;
	default:
		run->help = true;
		return 0;
	}
}

int ng_cmd_snapshot(int argc, char **argv)
{
	struct snapshot_run run = {.snapshot = {.command = COMMAND, .socket_path = NG_SOCKET_PATH}};
	struct ng_options options = NG_OPTIONS_INIT(COMMAND, option_table, argc, argv);
	int code = ng_options_each(&options, set_option, &run);

	if (code)
		return code;
	if (run.help)
		return ng_print_help(help);
	if (options.next < argc)
		return ng_complain_usage(COMMAND, "'%s' is no option", argv[options.next]);
	if (!run.snapshot.pid)
		return ng_complain_usage(COMMAND, "of which process? Name it by --pid");
	code = ng_trace_output(COMMAND, run.output, run.format, &run.snapshot.trace);
	return code ? code : ng_snapshot_write(&run.snapshot);
}
