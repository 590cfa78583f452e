/* What went wrong, in words for the person at the keyboard. */
#ifndef NG_CORE_BASE_DIAG_H
#define NG_CORE_BASE_DIAG_H

#include <stddef.h>

#define NG_DIAG_SIZE 1024 /* bytes; longer texts are cut, in their middle */

/**
 * The first cause of a failure, as text: what, why, and what to do next.
 *
 * The caller hands one in, zeroed by NG_DIAG_INIT; whoever notices the failure fills it with
 * ng_diag_set(). It belongs to one thread.
 */
struct ng_diag {
	char text[NG_DIAG_SIZE];
};

#define NG_DIAG_INIT                                                                               \
	{                                                                                          \
		.text = ""                                                                         \
	}

/**
 * Notes the cause of a failure, unless one was noted before: the first cause is kept.
 *
 * @param diag may be NULL; then only the error is passed on
 * @param error a negative errno
 * @param format printf-like; no newline at its end
 * @return error, so that `return ng_diag_set(diag, -EINVAL, "…")` reads as one thought
 */
int ng_diag_set(struct ng_diag *diag, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
