/*
 * Runs system calls in one thread of a process whose threads are all stopped (threads.h).
 *
 * The thread is put back exactly: registers, signal mask, what it was waiting for. From
 * ng_remote_begin() to ng_remote_end(), 10 us a call, our death would be the target's: it would
 * run on with the registers of the call. Nothing can be done about a SIGKILL in that time; so it is
 * short, and in a process of our own that nobody has a reason to kill.
 */
#ifndef NG_CONTROL_INJECT_REMOTE_H
#define NG_CONTROL_INJECT_REMOTE_H

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/user.h>

#include "control/inject/threads.h"
#include "core/base/diag.h"

#define NG_REMOTE_OWED_MAX 8

/** How a thread is scheduled: the kernel's struct sched_attr, as of Linux 4.17 and in later ones
 * its beginning. */
struct ng_schedule {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime;
	uint64_t deadline;
	uint64_t period;
};

struct ng_remote {
	struct ng_stopped *stopped;
	struct ng_tracee *thread; /* the one that makes the calls */
	int mem_fd;		  /* /proc/PID/mem, read and write; borrowed */
	uint64_t syscall_address; /* of a `syscall` instruction in the target */
	struct user_regs_struct saved;
	uint64_t saved_mask;
	bool has_moved;			    /* its registers are not its own */
	bool suspends_seccomp;		    /* of this thread only, for as long */
	bool is_first;			    /* it has a real-time priority, for as long */
	bool is_here;			    /* it has our CPU, and that one only, for as long */
	cpu_set_t cpus;			    /* its own */
	struct ng_schedule schedule;	    /* its own */
	siginfo_t owed[NG_REMOTE_OWED_MAX]; /* signals that came meanwhile */
	size_t owed_count;
};

/** A `syscall` instruction in some executable mapping: the vDSO's, or the text's. Reads the running
 * process; nothing has to be stopped. @return its address; 0 there is none */
uint64_t ng_remote_find_syscall(pid_t pid, int mem_fd);

/**
 * Chooses a thread and readies it.
 *
 * @param remote stopped, mem_fd and syscall_address are given, the rest is zero
 * @return 0; -ENOENT no thread is at a place where this is safe; -EACCES a seccomp filter that we
 * may not suspend; -ESRCH: with the text, and all threads as they were
 */
int ng_remote_begin(struct ng_remote *remote, struct ng_diag *diag);

/**
 * Makes a system call.
 *
 * @param ret_result what the kernel returned: -errno on its failure
 * @return 0; -ESRCH the target has been killed; -EACCES its own filter caught the call (seccomp,
 * system call user dispatch): with the text
 */
int ng_remote_call(struct ng_remote *remote, long number, const uint64_t arguments[6],
	int64_t *ret_result, struct ng_diag *diag);

/** As ng_remote_call(), with a text as its first argument: it stands below the thread's stack for
 * as long. At most 64 bytes, with its NUL. */
int ng_remote_call_with_text(struct ng_remote *remote, long number, const char *text,
	uint64_t second, int64_t *ret_result, struct ng_diag *diag);

/** Puts the thread back. @return 0; -ESRCH it has been killed */
int ng_remote_end(struct ng_remote *remote);

#endif
