/*
 * When a target's windows are: one at a random time in each stratum of time, and strata of random
 * length, or they might lie along a period of the program's.
 *
 * What a stratum is to be is drawn before it begins, and from then on its window comes whatever the
 * program does. A window that is left out where too much has been spent, or put off until there is
 * credit again, is one left out where calls are many: estimates of programs that work and sleep in
 * turns were 7 % low.
 *
 * One thread uses strata at a time.
 */
#ifndef NG_CONTROL_PLANE_STRATA_H
#define NG_CONTROL_PLANE_STRATA_H

#include <stdbool.h>
#include <stdint.h>

struct ng_governor;

struct ng_strata {
	unsigned int random; /* what it draws from; seeded by the owner */
	uint64_t end_ns;     /* of the present one */
	uint64_t length_ns;  /* its length, and that of those before without a window */
	uint64_t due_ns;     /* when its window is; or its end */
	bool has_window;     /* none can be paid for within a second */
};

/** Begins anew, with a stratum from now on. */
void ng_strata_begin(struct ng_strata *strata, const struct ng_governor *governor, uint64_t now_ns);

/** Draws the next stratum: when the present one's window is paid for, or when it has none and is
 * over. */
void ng_strata_next(struct ng_strata *strata, const struct ng_governor *governor, uint64_t now_ns);

#endif
