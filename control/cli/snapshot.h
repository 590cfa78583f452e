/* Writes what a daemon keeps of a process's calls as a trace. */
#ifndef NG_CONTROL_CLI_SNAPSHOT_H
#define NG_CONTROL_CLI_SNAPSHOT_H

#include <sys/types.h>

#include "core/out/trace.h"

struct ng_snapshot {
	const char *command; /* the subcommand's name */
	const char *socket_path;
	pid_t pid;
	struct ng_trace_options trace; /* by ng_trace_output(); the rest is filled here */
};

/** Asks for it, writes it, and prints what it is. What is wrong is printed. @return the exit code
 */
int ng_snapshot_write(struct ng_snapshot *snapshot);

#endif
