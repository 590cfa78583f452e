/*
 * A process with threads on cores, and windows in which each of its calls takes longer: what
 * core/stat's estimates are tried on. Virtual time; the same seed gives the same run.
 *
 * Threads have a clock of their own, their undisturbed CPU time, on which their program makes its
 * calls. A hit in a window stops that clock for what it costs while the wall's goes on; so sleeping
 * to an absolute time, losing the core or a program that reads the time see the delay as real ones
 * do.
 */
#ifndef NG_TESTS_STAT_SIMULATE_H
#define NG_TESTS_STAT_SIMULATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/stat/estimate.h"

#define SIM_STEPS_MAX	4
#define SIM_THREADS_MAX 64

enum sim_act {
	SIM_END,
	SIM_RUN_FOR,   /* CPU time */
	SIM_RUN_UNTIL, /* the wall's next multiple of every_ns, plus ns */
	SIM_SLEEP_UNTIL,
};

struct sim_step {
	enum sim_act act;
	double ns;
	double every_ns;
	double gap_ns; /* CPU time between calls; none if it is 0 */
	bool random;   /* gaps are exponential */
};

struct sim_thread {
	struct sim_step steps[SIM_STEPS_MAX]; /* for ever */
	double life_ns; /* mean, exponential; then another takes its place; 0: for ever */
	double vary;	/* gaps of each life are multiplied by vary^x, x uniform in -1 to 1 */
};

struct sim_process {
	struct sim_thread threads[SIM_THREADS_MAX];
	size_t thread_count;
	size_t cores;
};

struct sim_plan {
	double elapsed_ns;
	double window_ns;
	size_t windows;		 /* one at a random time in each stratum */
	double cost_ns;		 /* calibrated */
	double cost_error_ratio; /* the true one is drawn around it */
	uint32_t hits_max;	 /* of all threads: the hit after it ends the window; 0: no limit */
	bool shy;	/* strata are four times as long after a window in which it called */
	double seen_at; /* the part of a hit's cost that is past when it is counted */
};

struct sim_truth {
	double hz;
	double cpu_ratio;  /* CPU time by elapsed time */
	double dead_ratio; /* dead time by CPU time */
};

/**
 * Runs the process, feeding the estimate.
 *
 * @param ret_rate what the estimate makes of it
 * @return 0; what the estimate returned
 */
int sim_run(const struct sim_process *process, const struct sim_plan *plan, uint64_t seed,
	struct ng_estimate *estimate, struct sim_truth *ret_truth, struct ng_rate *ret_rate);

/**
 * Windows for a process whose rate is known: some hundred hits each, if that takes no more than 10
 * ms, and as many of them as the budget allows.
 *
 * @param window_ratio_max share of time armed, at most
 */
void sim_plan_windows(struct sim_plan *plan, const struct sim_truth *untraced, double budget,
	double window_ratio_max);

#endif
