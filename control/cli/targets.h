/* What is to be traced, and where, as the arguments of several subcommands name it. */
#ifndef NG_CONTROL_CLI_TARGETS_H
#define NG_CONTROL_CLI_TARGETS_H

#include <stddef.h>
#include <sys/types.h>

#include "control/cli/options.h"
#include "control/cli/run.h"

#define NG_TARGETS_LIST_MAX 256 /* of each of -f, -p, --exe */

/** The lines of a subcommand's help about it. */
#define NG_TARGETS_ENGINE_HELP                                                                     \
	"      --engine ENGINE  uprobe (default): by the kernel's breakpoints; or inline: by a "   \
	"few "                                                                                     \
	"of our\n"                                                                                 \
	"                       instructions in the process, 100 times as fast: changes its "      \
	"code. "                                                                                   \
	"With -p\n"                                                                                \
	"                       only; inline=prologue in place of the function's stack check\n"

/** All borrowed from the arguments. */
struct ng_targets {
	const char *functions[NG_TARGETS_LIST_MAX];
	size_t function_count;
	pid_t pids[NG_TARGETS_LIST_MAX];
	size_t pid_count;
	const char *exes[NG_TARGETS_LIST_MAX];
	size_t exe_count;
	char **command; /* NULL: none */
	enum ng_engine engine;
};

/* Each adds one, and prints what is wrong with it. @return 0, or the exit code */
int ng_targets_add_function(struct ng_targets *targets, const char *command, const char *text);
int ng_targets_add_pid(struct ng_targets *targets, const char *command, const char *text);
int ng_targets_add_exe(struct ng_targets *targets, const char *command, const char *text);

/** Sets how calls are caught; prints what is wrong with it. @return 0, or the exit code */
int ng_targets_set_engine(struct ng_targets *targets, const char *command, const char *text);

/** Takes the command behind the last option, if there is one, and checks that there are either
 * processes or a command. What is wrong is printed. @return 0, or the exit code */
int ng_targets_finish(struct ng_targets *targets, const struct ng_options *options);

/** The options of a session for them; the rest is the caller's. @param name of the subcommand */
struct ng_run_options ng_targets_run_options(const struct ng_targets *targets, const char *name);

#endif
