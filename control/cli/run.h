/*
 * A session at the command line: of processes, of files, or of a command that is started for it;
 * until the time is up, it is interrupted, or what is traced has ended.
 */
#ifndef NG_CONTROL_CLI_RUN_H
#define NG_CONTROL_CLI_RUN_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "control/plane/session.h"
#include "control/target/launch.h"
#include "core/base/diag.h"

struct ng_run_options {
	const char *name; /* of the subcommand, for messages */
	struct ng_wanted wanted;
	enum ng_attach attach;
	enum ng_engine engine;
	ng_records_on_call on_call; /* as in ng_session_options, like the next two */
	ng_records_on_look on_look;
	void *call_context;
	const pid_t *pids;
	size_t pid_count;
	const char *const *exes;
	size_t exe_count;
	char *const *command;		   /* NULL: none */
	uint64_t duration_ns;		   /* 0: no end */
	uint64_t interval_ns;		   /* 0: none; else on_interval is called so often */
	int (*on_interval)(void *context); /* @return 0; an error ends the run */
	void *interval_context;
};

/** One run; borrows its options. */
struct ng_run {
	const struct ng_run_options *options;
	struct ng_session *session;
	struct ng_launch *launch; /* NULL: no command */
	sigset_t old_signals;
	struct rlimit old_descriptors; /* before the engine raised it */
	int signal_fd;
	bool started; /* all is armed, and the command runs */
	bool interrupted;
};

#define NG_RUN_INIT(run_options)                                                                   \
	{                                                                                          \
		.options = (run_options), .signal_fd = -1                                          \
	}

/** After ng_run_stop(), if it was started. */
void ng_run_release(struct ng_run *run);

/** Takes signals by descriptor from here on, and SIGPIPE and SIGXFSZ as errors: nothing is to be
 * left behind. @return 0; what the kernel said */
int ng_run_open_signals(struct ng_run *run);

/** Opens the session; nothing is armed. @return 0; what the session gave: with the text */
int ng_run_open(struct ng_run *run, struct ng_diag *diag);

/** Arms what is there, and lets the command go. @return 0; what the session or the launch gave:
 * with the text */
int ng_run_start(struct ng_run *run, struct ng_diag *diag);

/** Says on stderr what is done from here on, and how it ends. */
void ng_run_say_started(const struct ng_run *run, const char *what);

/** Traces until the end. @return 0; what on_interval gave */
int ng_run_trace(struct ng_run *run);

/** Disarms everything; the counts stay. */
void ng_run_stop(struct ng_run *run);

/** Did the command never run? It is told why. */
bool ng_run_has_exec_failed(const struct ng_run *run);

/** The time is up, but the command goes on, and its status is ours. */
void ng_run_wait_for_command(struct ng_run *run);

/** The exit code: the command's own, as a shell tells it; without one, whether events were lost. */
int ng_run_exit_code(const struct ng_run *run, bool lost);

/** Prints what went wrong. @return the exit code */
int ng_run_complain(const struct ng_run *run, int error, const struct ng_diag *diag);

#endif
