/*
 * What a recording found, in memory: stacks with what they counted, and what has to be said with
 * them. The writers beside this file (pprof, folded, flame, json) take it, and nothing else.
 *
 * All strings and arrays are borrowed, for as long as a writer runs; writers keep nothing. A string
 * may be any bytes: what is no UTF-8 is written as U+FFFD where a format asks for UTF-8.
 *
 * Writers do not handle SIGPIPE: the caller ignores or blocks it, and a pipe that nobody reads is
 * -EPIPE.
 */
#ifndef NG_CORE_OUT_PROFILE_H
#define NG_CORE_OUT_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/diag.h"

#define NG_FRAME_NO_MAPPING UINT32_MAX

#define NG_FRAME_NAME_SIZE 24 /* bytes; for ng_profile_frame_name() */

struct ng_profile_frame {
	const char *function; /* NULL or "": not known, the address stands for it */
	const char *file;     /* NULL or "": not known */
	uint32_t line;	      /* 0: not known */
	uint32_t start_line;  /* of the function, 0: not known */
	uint64_t address;     /* in the target's memory; a caller's: within its call instruction */
	uint32_t mapping;     /* index, or NG_FRAME_NO_MAPPING */
	bool is_inlined;      /* into the next outer frame, whose address and mapping it has */
};

struct ng_profile_stack {
	const struct ng_profile_frame *frames; /* innermost first */
	size_t frame_count;		       /* 0: the hit had no stack */
	uint64_t hits;			       /* records that there are */
	double calls;			       /* that they stand for: finite, not negative */
	uint64_t cost_ns;		       /* dead time of the hits, as calibrated */
};

/** A file in the target's memory; the first one is the executable, if there is any. */
struct ng_profile_mapping {
	uint64_t start;
	uint64_t limit; /* first address behind it */
	uint64_t offset;
	const char *file;
	const char *build_id; /* in hex; NULL or "": it has none */
};

struct ng_profile_loss {
	const char *cause; /* its key: stable, for machines */
	const char *text;  /* for people, behind the number */
	uint64_t count;
};

struct ng_profile {
	const struct ng_profile_stack
		*stacks; /* in any order; the same one may come more than once */
	size_t stack_count;
	const struct ng_profile_mapping *mappings;
	size_t mapping_count;

	uint64_t began_at_ns; /* since 1970, UTC; 0: not known */
	uint64_t duration_ns;
	uint32_t pid;	      /* 0: more than one target */
	const char *exe;      /* NULL: not known, or more than one */
	const char *function; /* that was traced; NULL: more than one */
	const char *mode;     /* NULL: not known */

	/* Are the calls estimates? Then all of them together are within this 95 % interval;
	 * high_calls may be infinite. */
	bool is_estimate;
	double low_calls;
	double high_calls;

	const struct ng_profile_loss *losses; /* each cause once */
	size_t loss_count;
	const char *const *comments; /* a line each */
	size_t comment_count;
};

/** Sums over all stacks. */
struct ng_profile_total {
	uint64_t hits;
	double calls;
	uint64_t cost_ns;
};

/**
 * Is it one that can be written? Writers ask this first.
 *
 * @param ret_total set on success
 * @return 0; -EINVAL with the text: a mapping that there is not, calls that are no count
 */
int ng_profile_check(
	const struct ng_profile *profile, struct ng_profile_total *ret_total, struct ng_diag *diag);

/** The stack's frames; one that says so where it has none. Never empty. */
const struct ng_profile_frame *ng_profile_stack_frames(
	const struct ng_profile_stack *stack, size_t *ret_count);

/** The function's name or, in the room that the caller lends, what stands for it. */
const char *ng_profile_frame_name(
	const struct ng_profile_frame *frame, char room[NG_FRAME_NAME_SIZE]);

/**
 * What has to be said beside the stacks, for people: target, mode, what is an estimate and within
 * what interval, what was lost, comments. Lines of "key: text", UTF-8 without control characters.
 *
 * @param ret_text to be freed; each line ends with a newline
 * @return 0; -ENOMEM
 */
int ng_profile_notes(
	const struct ng_profile *profile, const struct ng_profile_total *total, char **ret_text);

/**
 * Whole numbers of calls. What one loses by rounding the next one gets, so their sum is that of the
 * calls, rounded once: a thousand stacks of 0.3 calls are 300, not none. Whole ones stay as they
 * are.
 */
struct ng_rounder {
	double calls;	/* so far */
	uint64_t given; /* in whole ones */
};

uint64_t ng_rounder_next(struct ng_rounder *rounder, double calls);

#endif
