/* Command line options: no abbreviations, nothing unknown, nothing twice that may stand once. */
#ifndef NG_CONTROL_CLI_OPTIONS_H
#define NG_CONTROL_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum ng_option_value {
	NG_OPTION_FLAG,
	NG_OPTION_VALUE,    /* `-d 5s`, `-d5s`, `--duration 5s`, `--duration=5s` */
	NG_OPTION_OPTIONAL, /* `--clock`, `--clock=all` */
};

struct ng_option {
	char letter; /* 0 where it has none */
	const char *name;
	enum ng_option_value value;
	bool repeats;
};

#define NG_OPTIONS_MAX 32 /* entries in a table */

/** One pass over the arguments. */
struct ng_options {
	const char *command; /* for messages */
	const struct ng_option *table;
	size_t count;
	int argc;
	char **argv;
	int next; /* argument to read next; from 1 */
	bool seen[NG_OPTIONS_MAX];
	const char *value; /* of the option just read; NULL where it has none */
};

/** All arguments behind the subcommand's name. @param option_table an array */
#define NG_OPTIONS_INIT(name, option_table, argument_count, arguments)                             \
	{                                                                                          \
		.command = (name), .table = (option_table),                                        \
		.count = sizeof(option_table) / sizeof((option_table)[0]),                         \
		.argc = (argument_count), .argv = (arguments), .next = 1                           \
	}

#define NG_OPTIONS_END	 (-1) /* no further option: `next` is the first operand */
#define NG_OPTIONS_ERROR (-2) /* a message has been printed */

/**
 * Reads the next option. Options end at the first operand, and at "--", which is taken.
 *
 * @return its index in the table, NG_OPTIONS_END or NG_OPTIONS_ERROR
 */
int ng_options_next(struct ng_options *options);

/** Takes an option, by its index in the table. @param value NULL where it has none @return 0, or
 * the exit code */
typedef int (*ng_options_take)(int index, const char *value, void *context);

/** Hands all options over, as ng_options_next() reads them, until one is not taken. @return 0, or
 * the exit code; what is wrong has been printed */
int ng_options_each(struct ng_options *options, ng_options_take take, void *context);

/** Reads a pid; what is wrong with it is printed. @return 0, or the exit code */
int ng_option_pid(const char *command, const char *text, pid_t *ret_pid);

/** Reads how long something is to take, 10 ms to a year. @param name the option's @return 0, or the
 * exit code */
int ng_option_duration(const char *command, const char *name, const char *text, uint64_t *ret_ns);

#endif
