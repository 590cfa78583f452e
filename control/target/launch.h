/*
 * Starts a command and holds it, and what it starts, for a moment at each exec: before the first
 * instruction of the new image, so that it can be armed there and every call counted.
 *
 * It is ptrace that holds them, and only as long as needed: a process that runs what is wanted is
 * let go for good at its exec. Wrappers (a shell, env, make) stay under ptrace, for they may start
 * what is wanted; their signals and stops are passed on as they come. If nowgate dies, the kernel
 * lets all of them go on.
 */
#ifndef NG_CONTROL_TARGET_LAUNCH_H
#define NG_CONTROL_TARGET_LAUNCH_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "core/base/diag.h"

struct ng_launch;

/** What to do with a held process. */
enum ng_hold {
	NG_HOLD_KEEP,	   /* let it run, and hold it again at its next exec */
	NG_HOLD_RELEASE,   /* let it go for good */
	NG_HOLD_LIBRARIES, /* ask again each time the dynamic loader has mapped code, and when it
			      has mapped all */
};

/**
 * Called with a process held: at its exec (loaded false), as long as it answers NG_HOLD_LIBRARIES
 * after each mapping of code, and then once with loaded true.
 */
typedef enum ng_hold (*ng_launch_on_held)(pid_t pid, bool loaded, void *context);

struct ng_launch_options {
	char *const *argv; /* ended by NULL; found by PATH. A file that the kernel does not run is
			      not handed to a shell, as execvp() does */
	const sigset_t *signals;	  /* the signal mask to start it with */
	const struct rlimit *descriptors; /* its RLIMIT_NOFILE */
	ng_launch_on_held on_held;
	void *context;
};

/** Forks; the command waits until ng_launch_release(). */
int ng_launch_start(const struct ng_launch_options *options, struct ng_launch **ret_launch,
	struct ng_diag *diag);

/** Lets the command exec. */
void ng_launch_release(struct ng_launch *launch);

pid_t ng_launch_pid(const struct ng_launch *launch);

/** Handles what the kernel reports of the held ones: call it at each SIGCHLD. */
void ng_launch_turn(struct ng_launch *launch);

/** Holds nobody any more: who is held now or stops next goes for good, unasked. Whoever runs is not
 * disturbed: an interruption would end some of its system calls with EINTR. */
void ng_launch_let_go(struct ng_launch *launch);

/** Has the command itself ended? Then its wait status. */
bool ng_launch_has_ended(const struct ng_launch *launch, int *ret_status);

/** Why the command, which has ended, could not exec: a negative errno; 0 where it could. */
int ng_launch_exec_error(const struct ng_launch *launch);

/** Lets all go that are still held. NULL does nothing. */
void ng_launch_free(struct ng_launch *launch);

#endif
