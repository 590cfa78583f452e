/*
 * Bytes of a foreign process's text, replaced and put back while all of its threads are stopped
 * (threads.h).
 */
#ifndef NG_CONTROL_INJECT_PATCH_H
#define NG_CONTROL_INJECT_PATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/inject/threads.h"
#include "core/base/diag.h"

#define NG_PATCH_MAX 16 /* bytes */

/** One place. It may not cross a page's end: bytes within a page change at once, whatever happens
 * to us. */
struct ng_patch {
	uint64_t address;
	uint8_t length;
	uint8_t is_one; /* the bytes are (in) one instruction: nobody can be in their middle but in
			   it, and no return leads there */
	uint8_t padding[6];
	uint8_t before[NG_PATCH_MAX]; /* as the file has them */
	uint8_t after[NG_PATCH_MAX];
};

/** Can they be replaced as they are given? Pure. @return 0; -EINVAL; -ERANGE one crosses a page's
 * end: with the text */
int ng_patches_check(const struct ng_patch *patches, size_t count, struct ng_diag *diag);

/**
 * Compares the text with what has to be there.
 *
 * @param is_after whether with `after`, else with `before`
 * @return 0; -ESTALE it differs: the text says what was seen; -EIO it cannot be read; -ESRCH the
 * process is gone
 */
int ng_patches_match(int mem_fd, const struct ng_patch *patches, size_t count, bool is_after,
	struct ng_diag *diag);

/**
 * Proves that no thread is, or returns to, or goes on after a signal's handler, within the bytes to
 * be replaced beyond the first. What is not one instruction is looked for on the stacks too, word
 * by word.
 *
 * @return 0; -EAGAIN one is: with the text. Try again
 */
int ng_patches_clear(const struct ng_stopped *stopped, int mem_fd, const struct ng_patch *patches,
	size_t count, struct ng_diag *diag);

/**
 * Writes `after`, or `before`, and reads it back. On failure all are as they were, where that could
 * be written.
 *
 * @return 0; -EIO, -EACCES: with the text
 */
int ng_patches_write(const struct ng_stopped *stopped, int mem_fd, const struct ng_patch *patches,
	size_t count, bool after, struct ng_diag *diag);

/** An address range. */
struct ng_span {
	uint64_t start;
	uint64_t end; /* not included */
};

/**
 * Is a thread in a span of code: its program counter, or that of what a signal has interrupted
 * whose handler runs?
 *
 * @param with_returns whether to look for return addresses too: for code that calls other code. Any
 * word on a stack is taken for one, so one may be seen where there is none. Of each stack at most
 * 64 KiB are looked at
 * @return the thread; 0 none is
 */
pid_t ng_stopped_inside(const struct ng_stopped *stopped, int mem_fd, const struct ng_span *span,
	bool with_returns);

#endif
