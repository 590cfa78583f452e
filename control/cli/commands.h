/* The subcommands, one file each, and what all of them share: exit codes, and how they speak. */
#ifndef NG_CONTROL_CLI_COMMANDS_H
#define NG_CONTROL_CLI_COMMANDS_H

#include "core/base/diag.h"

/** What nowgate exits with. With `-- COMMAND` it is the command's own status instead, 128 + signal
 * where one ended it, or one of the last three. */
enum ng_exit {
	NG_EXIT_DONE = 0,
	NG_EXIT_FAILED = 1,
	NG_EXIT_USAGE = 2,
	NG_EXIT_NO_DAEMON = 3,
	NG_EXIT_DENIED = 4,
	NG_EXIT_REFUSED = 5,
	NG_EXIT_NOT_FOUND = 6, /* no such target or function */
	NG_EXIT_LOST = 7,      /* done, but events were lost */
	NG_EXIT_OWN_FAILURE = 125,
	NG_EXIT_NOT_EXECUTABLE = 126,
	NG_EXIT_NO_COMMAND = 127,
};

/** The exit code that says a negative errno. */
int ng_exit_code(int error);

/** Prints "nowgate COMMAND: TEXT" on stderr and returns the exit code for the error. */
int ng_complain(const char *command, int error, const struct ng_diag *diag);

/** Prints what is wrong with the arguments, and where help is; returns NG_EXIT_USAGE. */
int ng_complain_usage(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* argv[0] is the subcommand's name. Each returns the exit code. */
int ng_cmd_doctor(int argc, char **argv);
int ng_cmd_site(int argc, char **argv);
int ng_cmd_stat(int argc, char **argv);

#endif
