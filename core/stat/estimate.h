/*
 * How often a process calls a function, from short armed windows: an estimate with its interval.
 *
 * While armed, a call takes longer, so fewer are made (dead time, as of a Geiger counter). A thread
 * that made n calls in u seconds on a CPU, losing c seconds a call, makes n / (u - n c) calls per
 * second of its own undisturbed CPU time; times the CPU time it uses per second, that is its rate.
 * It is per thread and per window: hot ones are held up more than cool ones, so each counts by the
 * CPU time that it stands for, not by the little that the dead time left of it. What windows differ
 * by among themselves, and what is not known of c, widen the interval.
 *
 * One thread uses an estimate at a time.
 */
#ifndef NG_CORE_STAT_ESTIMATE_H
#define NG_CORE_STAT_ESTIMATE_H

#include <stddef.h>
#include <stdint.h>

struct ng_estimate;

#define NG_ESTIMATE_THREADS_MAX 1024 /* told apart, 1.1 KiB each; further ones are pooled */

/** A window, and what a hit in it took from the thread that made it, as calibrated. */
struct ng_estimate_window {
	double stratum_ns; /* the time that it stands for: in which its moment was drawn */
	double open_ns;
	double cost_ns;		 /* where sites differ: about their mean */
	double cost_error_ratio; /* its standard error: 0.05 is 5 % */
};

/** One thread in one window. */
struct ng_exposure {
	uint32_t tid;
	uint32_t calls; /* of the function in question; not the one that ended the window, if any */
	double ran_ns;	/* time on a CPU while the window was open */
	double dead_ns; /* of that, what its hits took: of all traced functions; by calibrated cost
			 */
};

/** How many calls each call of a thread in a window stands for: those that the thread makes in the
 * window's stratum, by what it would make without dead time. */
double ng_estimate_weight(
	const struct ng_estimate_window *window, const struct ng_exposure *exposure);

/** CPU time that a thread has used since the estimate began: all of it, in windows or not. */
struct ng_thread_use {
	uint32_t tid;
	double cpu_ns;
};

/** What the process did since the estimate began. */
struct ng_process_use {
	double elapsed_ns;
	double cpu_ns;			     /* of all its threads, those that are gone too */
	const struct ng_thread_use *threads; /* those that live; in any order, each once */
	size_t thread_count;
};

struct ng_rate {
	/* Calls per second of elapsed time, as the process made them, windows and all. (Untraced,
	 * it would have made more by no more than the share of its time that tracing took.) */
	double hz;
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
 * Adds a window: every thread of the process that ran in it, each once, those without calls too;
 * none if none ran.
 *
 * @return 0; -ENOMEM: the window was not added
 */
int ng_estimate_add(struct ng_estimate *estimate, const struct ng_estimate_window *window,
	const struct ng_exposure *exposures, size_t count);

/**
 * The rate, from all windows since the last reset.
 *
 * @param ret_rate with an interval that is never narrower than the data allow: without two windows
 *        in which the process ran it reaches from 0 to infinity. Where the calibrated cost leaves
 *        no time at all it was over-estimated: then hz is low_hz, and high_hz infinite. Where no
 *        call was seen, high_hz is what would have shown three.
 * @return 0; -ENOMEM
 */
int ng_estimate_rate(const struct ng_estimate *estimate, const struct ng_process_use *use,
	struct ng_rate *ret_rate);

#endif
