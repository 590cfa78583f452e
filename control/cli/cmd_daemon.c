/* nowgate daemon: holds any number of targets at bounded cost, in the foreground. */
#include "control/cli/commands.h"

#include <stdio.h>

#include "control/cli/options.h"
#include "control/daemon/config.h"
#include "control/daemon/daemon.h"
#include "control/daemon/server.h"

#define COMMAND "daemon"

static const char help[] =
	"Traces any number of processes, each within its budget, until it is told to end.\n"
	"\n"
	"Usage: nowgate daemon [OPTION...]\n"
	"\n"
	"  -c, --config FILE    default: " NG_CONFIG_PATH " and " NG_CONFIG_FOLDER "/*.conf\n"
	"      --socket PATH    default: the configuration's, " NG_SOCKET_PATH "\n"
	"      --state-dir DIR  default: the configuration's\n"
	"      --print-config   print every key with its default, and end\n"
	"  -h, --help\n"
	"\n"
	"It stays in the foreground, as a service manager's or a container's child. SIGHUP "
	"reloads\n"
	"the configuration; SIGTERM and SIGINT end it, and everything is disarmed. `nowgate "
	"attach`,\n"
	"`mode`, `status` and `detach` steer it.\n"
	"\n"
	"Exit status: 0 ended as told; 1 failed; 2 usage; 4 denied.\n";

enum option_index {
	OPTION_CONFIG,
	OPTION_SOCKET,
	OPTION_STATE_DIR,
	OPTION_PRINT_CONFIG,
	OPTION_HELP,
};

static const struct ng_option option_table[] = {
	[OPTION_CONFIG] = {'c', "config", NG_OPTION_VALUE, false},
	[OPTION_SOCKET] = {0, "socket", NG_OPTION_VALUE, false},
	[OPTION_STATE_DIR] = {0, "state-dir", NG_OPTION_VALUE, false},
	[OPTION_PRINT_CONFIG] = {0, "print-config", NG_OPTION_FLAG, false},
	[OPTION_HELP] = {'h', "help", NG_OPTION_FLAG, false},
};

int ng_cmd_daemon(int argc, char **argv)
{
	struct ng_options options = NG_OPTIONS_INIT(COMMAND, option_table, argc, argv);
	struct ng_daemon_options daemon = {.config_path = NULL};
	struct ng_diag diag = NG_DIAG_INIT;
	bool print_config = false;
	int index, error;

	while ((index = ng_options_next(&options)) >= 0) {
		if (index == OPTION_HELP)
			return ng_print_help(help);
		if (index == OPTION_CONFIG)
			daemon.config_path = options.value;
		else if (index == OPTION_SOCKET)
			daemon.socket_path = options.value;
		else if (index == OPTION_STATE_DIR)
			daemon.state_dir = options.value;
		else
			print_config = true;
	}
	if (index == NG_OPTIONS_ERROR)
		return NG_EXIT_USAGE;
	if (options.next < argc)
		return ng_complain_usage(COMMAND, "'%s' is no option", argv[options.next]);
	if (print_config) {
		ng_config_print(stdout);
		return fflush(stdout) ? NG_EXIT_FAILED : NG_EXIT_DONE;
	}
	error = ng_daemon_run(&daemon, &diag);
	return error ? ng_complain(COMMAND, error, &diag) : NG_EXIT_DONE;
}
