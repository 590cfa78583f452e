/*
 * What a short armed window cost the thread that ran through it, from the times of its iterations.
 *
 * Arming and disarming disturb the thread beside the hits themselves: a few iterations at either
 * edge take 8 to 60 us instead of 1 (interrupts from the CPU that arms; the wait for the page that
 * is being replaced). So a window costs its hits, and its edges once.
 */
#ifndef NG_CORE_STAT_WINDOW_H
#define NG_CORE_STAT_WINDOW_H

#include <stddef.h>
#include <stdint.h>

/** Iterations that took longer than an unarmed one can. */
struct ng_window_log {
	const uint32_t *ns;    /* each one's time */
	const uint32_t *index; /* its number, of all iterations; rising */
	size_t count;
	double unarmed_ns; /* what an iteration takes unarmed, the reading of the clock included */
};

struct ng_window {
	size_t hits;
	double hit_ns;	/* cost of a hit: the median */
	double edge_ns; /* what the edges took, over and above their hits' cost */
};

/**
 * Finds the armed window in a log and measures it: the first unbroken row of slow iterations.
 *
 * @return 0; -ENODATA where no row of at least 16 is in it: the thread hardly ran; -ENOMEM
 */
int ng_window_measure(const struct ng_window_log *log, struct ng_window *ret_window);

#endif
