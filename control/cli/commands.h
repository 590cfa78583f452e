/* The subcommands, one file each, and what all of them share: exit codes, and how they speak. */
#ifndef NG_CONTROL_CLI_COMMANDS_H
#define NG_CONTROL_CLI_COMMANDS_H

#include "control/exit.h"
#include "core/base/diag.h"

/** Prints "nowgate COMMAND: TEXT" on stderr and returns the exit code for the error. */
int ng_complain(const char *command, int error, const struct ng_diag *diag);

/** Prints what is wrong with the arguments, and where help is; returns NG_EXIT_USAGE. */
int ng_complain_usage(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** Prints a subcommand's help on stdout. @return NG_EXIT_DONE: whether that could be written is
 * seen when the program ends */
int ng_print_help(const char *help);

/* argv[0] is the subcommand's name. Each returns the exit code. */
int ng_cmd_attach(int argc, char **argv);
int ng_cmd_daemon(int argc, char **argv);
int ng_cmd_detach(int argc, char **argv);
int ng_cmd_doctor(int argc, char **argv);
int ng_cmd_mode(int argc, char **argv);
int ng_cmd_record(int argc, char **argv);
int ng_cmd_repair(int argc, char **argv);
int ng_cmd_site(int argc, char **argv);
int ng_cmd_snapshot(int argc, char **argv);
int ng_cmd_stat(int argc, char **argv);
int ng_cmd_status(int argc, char **argv);
int ng_cmd_top(int argc, char **argv);
int ng_cmd_trace(int argc, char **argv);

#endif
