/*
 * A tracing session: which processes are armed, at which sites, from when to when; what became of
 * them; and the counts, per process and function.
 *
 * One thread uses a session at a time.
 */
#ifndef NG_CONTROL_PLANE_SESSION_H
#define NG_CONTROL_PLANE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/engine/records.h"
#include "control/engine/uprobe.h"
#include "control/plane/images.h"
#include "control/plane/places.h"
#include "core/base/diag.h"

struct ng_session;

/** How a process came to be traced. */
enum ng_origin {
	NG_ORIGIN_PID,	   /* asked for by its pid */
	NG_ORIGIN_COMMAND, /* the command that was started, and its descendants */
	NG_ORIGIN_IMAGE,   /* runs a file that was asked for */
	NG_ORIGIN_VFORK, /* shares a traced process's memory until it execs: hits in its own name */
};

/** Told of anything a person should know: one line, no newline. */
typedef void (*ng_session_on_note)(const char *note, void *context);

/** How calls are caught. */
enum ng_engine {
	NG_ENGINE_UPROBE,	   /* by the kernel's breakpoints */
	NG_ENGINE_INLINE,	   /* by code of ours in the process: by pid only */
	NG_ENGINE_INLINE_PROLOGUE, /* likewise, in place of the function's stack check */
};

struct ng_session_options {
	struct ng_wanted wanted;
	enum ng_engine engine;
	enum ng_attach attach;
	ng_session_on_note on_note; /* may be NULL */
	/* Called now and then while ng_session_stop() waits, which can take seconds; may be NULL.
	 */
	void (*on_wait)(void *context);
	void *context;		    /* for both of them */
	ng_records_on_call on_call; /* told of each call with its stack, on another thread; NULL:
				       they are only counted */
	ng_records_on_look on_look; /* on that thread too, after each look; may be NULL */
	void *call_context;	    /* for both of these */
};

/** @return 0; -ENOTSUP in a container; what ng_uprobe_open() gave: with the text */
int ng_session_open(const struct ng_session_options *options, struct ng_session **ret_session,
	struct ng_diag *diag);
void ng_session_free(struct ng_session *session);

/**
 * Arms a running process. Its children are not followed.
 *
 * @return 0; -ESRCH no such process; -ENOENT nothing wanted is in its images; -EBUSY its code is
 *         patched or a debugger's; -EPERM …: with the text
 */
int ng_session_add_pid(struct ng_session *session, pid_t pid, struct ng_diag *diag);

/** Arms every process that runs a file, now and later. */
int ng_session_add_image(struct ng_session *session, const char *path, struct ng_diag *diag);

/** Begins to follow a command that is about to exec, and what it forks. */
int ng_session_add_command(struct ng_session *session, pid_t pid);

/**
 * Arms a process of the command's that somebody holds stopped: at its exec, or when it has mapped
 * more files since.
 *
 * @param is_loaded all that its loader maps is mapped
 * @param ret_is_wanted its own executable has all that is wanted: no library need be waited for
 * @return 0, also where nothing wanted is in it; a negative errno where arming failed
 */
int ng_session_arm_stopped(struct ng_session *session, pid_t pid, bool is_loaded,
	bool *ret_is_wanted, struct ng_diag *diag);

/** Opens the gate: from now on hits count. @return 0; what ng_records_open() gave */
int ng_session_start(struct ng_session *session, struct ng_diag *diag);

/** Readable when ng_session_turn() has something to do. */
int ng_session_event_fd(const struct ng_session *session);

/** Takes in what happened: forks, execs, exits, newly mapped files. Call it when the descriptor is
 * readable, and every NG_SESSION_TURN_NS. */
void ng_session_turn(struct ng_session *session);

#define NG_SESSION_TURN_NS 20000000ull /* 20 ms: how long a newly loaded library can go unseen */

/** Every process that was asked for by its pid has ended. False where none was. */
bool ng_session_is_over(const struct ng_session *session);

/** Notes each wanted function that no process had so far, and why: for a command, whose programs
 * are known only when it has run them. */
void ng_session_note_missing(struct ng_session *session);

/** Closes the gate, disarms everything, and waits for the last hits. */
void ng_session_stop(struct ng_session *session);

struct ng_report_site {
	const struct ng_traced_image *image;
	const struct ng_site *site;
	uint64_t calls;
};

struct ng_report_function {
	const char *name;
	const char *source; /* for clock reads, else NULL */
	struct ng_report_site *sites;
	size_t site_count;
	uint64_t calls;
	bool exact;	     /* every call between armed_at and disarmed_at was counted */
	const char *missing; /* what was not, where not exact; "" */
};

struct ng_report_target {
	pid_t pid;
	pid_t parent; /* NG_ORIGIN_COMMAND, _VFORK: who forked it; 0 where that is not known */
	enum ng_origin origin;
	const char *exe;
	const char *go_version; /* "" where it is no Go program */
	uint64_t armed_at_ns;	/* CLOCK_MONOTONIC */
	uint64_t disarmed_at_ns;
	uint64_t cpu_ns; /* CPU time used in between; 0 where it is not known */
	bool ended;	 /* exited or replaced its image meanwhile */
	struct ng_report_function *functions;
	size_t function_count;
};

/** What was counted so far. Texts belong to the session. */
struct ng_report {
	uint64_t started_at_ns;
	uint64_t elapsed_ns;
	struct ng_report_target *targets;
	size_t target_count;
	uint64_t foreign_calls; /* hits of processes that are no targets: not counted above */
	uint64_t lost[NG_LOST_CAUSES];
	uint64_t reader_cpu_ns; /* CPU time that taking the records took, when it is over */
	uint64_t strangers;	/* records that were none: not delivered */
};

#define NG_REPORT_INIT                                                                             \
	{                                                                                          \
		.targets = NULL, .target_count = 0                                                 \
	}

/** Finds what a process that is or was traced has at an address; an ng_locate. @param session a
 * struct ng_session */
bool ng_session_locate(const struct ng_count_key *process, uint64_t address, const void *session,
	struct ng_place *ret_place);

/** The site with a number. @param session a struct ng_session @return NULL where it is no more, or
 * none */
const struct ng_site *ng_session_site(uint32_t number, const void *session);

/** Reads all counters. While the session runs, and after ng_session_stop(). */
int ng_session_report(struct ng_session *session, struct ng_report *ret_report);
void ng_report_release(struct ng_report *report);

#endif
