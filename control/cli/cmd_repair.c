/* nowgate repair: takes out of processes what a run of the inline engine left that was killed. */
#include "control/cli/commands.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/cli/options.h"
#include "control/inject/inject.h"
#include "core/base/number.h"

#define COMMAND "repair"

static const char help[] =
	"Takes out of processes what a run of the inline engine has left that was killed.\n"
	"\n"
	"Usage: nowgate repair [-p PID]\n"
	"\n"
	"  -p, --pid PID  only this process; default: all\n"
	"  -h, --help\n"
	"\n"
	"What is left goes on counting, harmlessly; it costs some ns a call. A process that "
	"nowgate "
	"is\n"
	"at work in is left alone.\n"
	"Exit status: 0 done, also where there was nothing; 1 something is left; 2 usage; 4 "
	"denied.\n";

enum option_index {
	OPTION_PID,
	OPTION_HELP,
};

static const struct ng_option option_table[] = {
	[OPTION_PID] = {'p', "pid", NG_OPTION_VALUE, false},
	[OPTION_HELP] = {'h', "help", NG_OPTION_FLAG, false},
};

struct repair_run {
	pid_t pid; /* 0: all */
	bool help;
	size_t found;
	int code;
};

static int set_option(int index, const char *value, void *context)
{
	struct repair_run *run = context;

	if (index == OPTION_PID)
		return ng_option_pid(COMMAND, value, &run->pid);
	run->help = true;
	return 0;
}

/* Takes out what one process holds, which may be of several images. */
static void repair(struct repair_run *run, pid_t pid)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_injected injected;
	int error = ng_injected_find(pid, &injected, &diag);

	while (!error) {
		run->found++;
		if (ng_injected_has_owner(&injected)) {
			printf("process %d: nowgate is at work there (pid %d), and takes it out "
			       "itself\n",
				pid, injected.owner_pid);
			return;
		}
		error = ng_inject_remove(&injected, NULL, &diag);
		ng_injected_release(&injected);
		if (error)
			break;
		printf("process %d: taken out\n", pid);
		error = ng_injected_find(pid, &injected, &diag);
	}
	if (error == -ENOENT || error == -ESRCH)
		return; /* there is no more of it, or no process */
	run->code = ng_complain(COMMAND, error, &diag);
}

static int repair_all(struct repair_run *run)
{
	DIR *directory = opendir("/proc");
	struct ng_diag diag = NG_DIAG_INIT;
	const struct dirent *entry;

	if (!directory)
		return ng_complain(COMMAND, -errno, &diag);
	while ((entry = readdir(directory))) {
		uint64_t pid;

		if (!ng_number_parse(entry->d_name, (struct ng_range){1, INT32_MAX}, &pid, NULL))
			repair(run, (pid_t)pid);
	}
	(void)closedir(directory); /* nothing was written */
	return run->code;
}

int ng_cmd_repair(int argc, char **argv)
{
	struct repair_run run = {.pid = 0};
	struct ng_options options = NG_OPTIONS_INIT(COMMAND, option_table, argc, argv);
	int code = ng_options_each(&options, set_option, &run);

	if (code)
		return code;
	if (run.help)
		return ng_print_help(help);
	if (options.next < argc)
		return ng_complain_usage(COMMAND, "'%s' is no option", argv[options.next]);
	if (run.pid)
		repair(&run, run.pid);
	else
		run.code = repair_all(&run);
	if (!run.found)
		puts("there is nothing of nowgate to be taken out");
	return run.code;
}
