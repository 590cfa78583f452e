/*
 * Stops all threads of a foreign process by ptrace, and lets them go as they were.
 *
 * For a process of our own that does nothing else (see inject.h): it waits for its tracees alone,
 * and a SIGALRM of its own ends waits that last. If it dies while the threads are stopped, the
 * kernel lets them go, and no signal is lost: a stop is only looked at (WNOWAIT), so a signal that
 * was to be delivered then still is.
 */
#ifndef NG_CONTROL_INJECT_THREADS_H
#define NG_CONTROL_INJECT_THREADS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/diag.h"

/** How a thread has been met. */
enum ng_stop {
	NG_STOP_NONE,	/* it may run */
	NG_STOP_EVENT,	/* interrupted by us, on its way to user mode */
	NG_STOP_GROUP,	/* by job control (SIGSTOP …): it stays so after we leave */
	NG_STOP_SIGNAL, /* about to be given a signal, which it is given when it goes on */
	NG_STOP_ASLEEP, /* in an uninterruptible call (vfork until the child's exec): it runs no
			   instruction of its own before it meets our interruption */
	NG_STOP_GONE,
};

struct ng_tracee {
	pid_t tid;
	enum ng_stop stop;
	int signal;	/* of NG_STOP_SIGNAL */
	bool in_call;	/* in a system call, that was interrupted */
	bool is_64_bit; /* runs 64-bit code */
	uint64_t pc;	/* 0: not known */
	uint64_t sp;
};

struct ng_stopped {
	pid_t pid;
	struct ng_tracee *items;
	size_t count;
	size_t room;
	bool execed; /* another program has taken its place */
	uint64_t began_ns;
	uint64_t deadline_ns; /* on the monotonic clock: then it gives up */
};

#define NG_STOPPED_INIT                                                                            \
	{                                                                                          \
		.pid = 0, .items = NULL, .count = 0, .room = 0, .execed = false, .began_ns = 0,    \
		.deadline_ns = 0                                                                   \
	}

/** Has the calling process SIGALRM end what lasts, a thousand times a second. Once, first. */
int ng_stopped_tick(void);

/**
 * Stops all threads, those too that appear meanwhile, and reads where they are.
 *
 * Threads in system calls that the stop ended with EINTR, though the kernel need not have
 * (epoll_wait …), are told to go on waiting. On failure all go on.
 *
 * @param stopped pid and deadline_ns are given, the rest is empty
 * @return 0; -ESRCH it is gone or is another program now; -EBUSY somebody else traces it; -EPERM;
 * -ETIMEDOUT a thread did not stop in time; -ENOMEM: all with the text
 */
int ng_stopped_seize(struct ng_stopped *stopped, struct ng_diag *diag);

/** Lets all go, with the signals that they were about to be given. @return ns since the first
 * was met */
uint64_t ng_stopped_let_go(struct ng_stopped *stopped);

/** Waits until a stopped thread that was told to go on has stopped again or is gone; the stop is
 * taken. @return the wait status's signal and event (event << 8 | signal); -ESRCH it is gone */
int ng_tracee_await(struct ng_tracee *tracee);

/** What kind of stop it is, by what waitid() calls its status. */
enum ng_stop ng_stop_of(int status);

/** The threads that are stopped or sleep: neither gone nor running. */
size_t ng_stopped_threads(const struct ng_stopped *stopped);

void ng_stopped_release(struct ng_stopped *stopped);

#endif
