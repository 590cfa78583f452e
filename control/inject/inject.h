/*
 * Brings code and data of ours into a running process, with some of its text replaced so that it
 * gets there; and takes all of it out again. x86-64.
 *
 * All or nothing: where anything is not as expected, everything is put back, and the text says what
 * was seen. The stop and the changes are made by a short-lived process of ours ("nowgate-inject",
 * forked), for ptrace belongs to one thread, its waits must not take other children's, and a kill
 * of nowgate itself then falls on no half-made change.
 *
 * Blocks the calling thread for as long as it lasts: milliseconds, max_stop_ns and some at the
 * most.
 */
#ifndef NG_CONTROL_INJECT_INJECT_H
#define NG_CONTROL_INJECT_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/inject/pages.h"
#include "control/inject/patch.h"
#include "core/base/diag.h"

#define NG_INJECT_PATCHES_MAX 64

/** Where things come to lie in the target. */
struct ng_inject_places {
	uint64_t code; /* address of the code area */
	uint64_t data; /* address of the data area */
};

/** What to bring in. */
struct ng_inject_plan {
	pid_t pid;
	uint64_t code_bytes;	  /* of the code; not 0 */
	uint64_t data_bytes;	  /* of the data area; not 0 */
	size_t patch_count;	  /* 1 to NG_INJECT_PATCHES_MAX */
	struct ng_patch *patches; /* address, length, is_one and before are given */
	uint64_t max_stop_ns;	  /* gives up when threads do not stop within it; 0: 200 ms */

	/**
	 * Makes the code, and fills each patch's `after`; nothing is stopped yet, and it may be
	 * asked again for other places.
	 *
	 * The code is entered and left by jumps, and calls nothing outside of itself: so whoever
	 * is in it has its program counter there.
	 *
	 * @param code code_bytes of zeroes; data_head a page of zeroes, which the data area
	 * begins with
	 * @return 0; an error, which the call then ends with
	 */
	int (*build)(void *context, const struct ng_inject_places *places, uint8_t *code,
		uint8_t *data_head, struct ng_diag *diag);
	void *context;
};

/** What has been brought in. */
struct ng_injected {
	pid_t pid;
	uint64_t start_ticks; /* of the process: its pid alone may be another's by now */
	/* Who brought it in; where it was found, by ng_injected_find(). */
	pid_t owner_pid;
	uint64_t owner_start_ticks;
	struct ng_area code; /* its last page is the record of the patches, see inject.c */
	struct ng_area data;
	int data_fd; /* read and write; owned; -1 where it was found (ng_injected_find()) */
	size_t patch_count;
	struct ng_patch patches[NG_INJECT_PATCHES_MAX];
};

/** How it went. */
struct ng_inject_report {
	uint64_t stop_ns;    /* from the first thread met to the last let go */
	uint64_t stopped_ns; /* the part of it until all stood */
	uint32_t threads;
	uint32_t asleep; /* of them, in an uninterruptible call */
	pid_t inside;	 /* remove: the thread that is still in the code; 0 none */
};

/**
 * Brings it in.
 *
 * @param ret_injected filled on success
 * @param ret_report may be NULL; filled as far as it got
 * @return 0; -ESRCH the process is gone, or another program now; -EBUSY it is traced by somebody
 * else; -EINVAL it is nowgate itself, or the plan is none; -ENOTSUP it is no x86-64 process; -EPERM
 * -EACCES rights, or its seccomp filter; -ESTALE its text is not what was expected; -ENOSPC no
 * space in reach; -EMFILE it has no descriptor to spare; -EAGAIN -ETIMEDOUT -ENOENT it could not be
 * caught at a good moment: try again. All with the text
 */
int ng_inject_install(const struct ng_inject_plan *plan, struct ng_injected *ret_injected,
	struct ng_inject_report *ret_report, struct ng_diag *diag);

/**
 * Puts the text back, and unmaps the areas, when no thread can be in them.
 *
 * @return 0 it is out; -EAGAIN the text is put back, but a thread may be in the code still: both
 * areas stay mapped; call it again; -ESRCH it is gone with its process or program; -ESTALE the text
 * holds neither ours nor the file's bytes: nothing was changed; else as ng_inject_install()
 */
int ng_inject_remove(const struct ng_injected *injected, struct ng_inject_report *ret_report,
	struct ng_diag *diag);

/** Finds what some run of ours, dead or alive, has brought into a process. @return 0; -ENOENT
 * there is none; -EBADMSG it is damaged: with the text */
int ng_injected_find(pid_t pid, struct ng_injected *ret_injected, struct ng_diag *diag);

/** Does whoever brought in what was found live? */
bool ng_injected_has_owner(const struct ng_injected *injected);

/** Does the text lead through it still? false too where it cannot be read. */
bool ng_injected_is_there(const struct ng_injected *injected);

/** Closes what is ours of it. The process is left as it is. */
void ng_injected_release(struct ng_injected *injected);

#endif
