/*
 * How often a process calls a function, from short armed windows: an estimate with its interval.
 *
 * While armed, a call takes longer, so fewer are made (dead time, as of a Geiger counter). A thread
 * that made n calls in u seconds on a CPU, losing c seconds a call, makes n / (u - n c) calls per
 * second of its own undisturbed CPU time; times the CPU time it uses per second, that is its rate.
 * It is per thread: a hot one is held up more than a cool one, so threads are corrected before they
 * are added. What windows differ by among themselves, and what is not known of c, widen the
 * interval.
 *
 * One thread uses an estimate at a time.
 */
#ifndef NG_CORE_STAT_ESTIMATE_H
#define NG_CORE_STAT_ESTIMATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ng_estimate;

#define NG_ESTIMATE_THREADS_MAX 4096 /* told apart; further ones are pooled */

/** One thread in one window. */
struct ng_exposure {
	uint32_t tid;
	uint32_t calls; /* of the function in question */
	double ran_ns;	/* time on a CPU while the window was open */
	double dead_ns; /* of that, what its hits took: of all traced functions; by calibrated cost
			 */
};

/** CPU time that a thread has used since the estimate began: all of it, in windows or not. */
struct ng_thread_use {
	uint32_t tid;
	double cpu_ns;
};

/** What the process did since the estimate began. */
struct ng_process_use {
	double elapsed_ns;
	double cpu_ns;			     /* of all its threads, those that are gone too */
	const struct ng_thread_use *threads; /* those that live; by any order */
	size_t thread_count;
};

struct ng_rate {
	double hz;     /* calls per second of elapsed time, untraced */
	double low_hz; /* 95 % interval */
	double high_hz;
	size_t windows;
	uint64_t calls; /* seen in windows */
};

/** @return NULL where memory is out */
struct ng_estimate *ng_estimate_new(void);
void ng_estimate_free(struct ng_estimate *estimate);

/** Forgets all windows. */
void ng_estimate_reset(struct ng_estimate *estimate);

/**
 * Adds a window: every thread of the process that ran in it, those without calls too; none if none
 * ran.
 *
 * @return 0; -ENOMEM
 */
int ng_estimate_add(
	struct ng_estimate *estimate, const struct ng_exposure *exposures, size_t count);

/**
 * The rate, from all windows since the last reset.
 *
 * @param cost_error_ratio standard error of the calibrated cost, relative: 0.05 is 5 %
 * @param ret_rate with an interval that is never narrower than the data allow: without two windows
 *        it reaches from 0 to infinity
 * @return 0; -ENOMEM
 */
int ng_estimate_rate(const struct ng_estimate *estimate, const struct ng_process_use *use,
	double cost_error_ratio, struct ng_rate *ret_rate);

#endif
