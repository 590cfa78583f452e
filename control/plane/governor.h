/*
 * The governor: keeps what tracing costs a target within its budget, and says why it does what it
 * does. Pure: no clock, no system call; its caller measures, tells it, and carries out its plan.
 *
 * What is lost is paid from a credit that grows with the target's CPU time: a budget of 1 % gives
 * 10 ms a second to a target that keeps one CPU busy, and never less than 0.1 ms (max(CPU time, 10
 * ms/s)). Each window and each armed stretch is planned to fit, and then charged with what it
 * really took.
 *
 * One thread uses a governor at a time.
 */
#ifndef NG_CONTROL_PLANE_GOVERNOR_H
#define NG_CONTROL_PLANE_GOVERNOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/plane/settings.h"

#define NG_GOVERNOR_TICK_NS    100000000ull /* 100 ms: how often it is told, see ng_tick */
#define NG_GOVERNOR_CALM_TICKS 10 /* at the most this much later, where nothing can happen */
#define NG_GOVERNOR_REASON_MAX 160
#define NG_GOVERNOR_TICKS_KEPT 600 /* a minute's */

/** How a target is armed. */
enum ng_arming {
	NG_ARMING_NONE,
	NG_ARMING_WINDOWS,
	NG_ARMING_STEADY, /* all the time */
};

/** What arming costs here: calibrated. */
struct ng_governor_costs {
	double hit_ns;	/* a hit, in windows */
	double edge_ns; /* a window's arming and disarming, for each thread that runs meanwhile */
	double own_ns;	/* what a window takes of a CPU that the target would have used; 0: none */
};

/** What is to be done until the next tick. */
struct ng_plan {
	enum ng_arming arming;
	uint64_t window_ns;  /* windows: how long each is */
	uint64_t stratum_ns; /* windows: one in each such stretch of time */
	int64_t tokens;	     /* windows: calls that one may take; steady: until the next tick */
};

/** A decision, with the numbers that led to it. */
struct ng_decision {
	uint64_t time_ns;
	enum ng_arming from;
	enum ng_arming to;
	double rate_hz;	    /* calls per second, as known then */
	double cpu_ratio;   /* CPUs that the target uses */
	double share_ratio; /* of its CPU time that is lost, in the last second */
	double budget_ratio;
	char reason[NG_GOVERNOR_REASON_MAX];
};

#define NG_DECISIONS_KEPT 16

struct ng_governor {
	struct ng_governor_costs costs;
	double budget_ratio;
	double rate_ratio; /* share of the time to be armed; 0: by the budget */
	bool may_be_steady;
	bool must_be_steady; /* on request, whatever it costs */
	struct ng_plan plan;
	double cpu_ratio;	  /* CPUs in use, smoothed */
	double rate_hz;		  /* as last told … */
	double rate_high_hz;	  /* … and at the most */
	double hits_per_s;	  /* of armed time: as seen in windows, smoothed */
	double credit_ns;	  /* may be negative: spent in advance */
	bool is_active;		  /* not off: credit grows … */
	uint64_t active_since_ns; /* … since then */
	uint64_t active_ns;	  /* for how long it grew since the last tick, before that */
	double lost_ns;		  /* in all */
	float lost[NG_GOVERNOR_TICKS_KEPT]; /* ns by tick, a ring */
	float used[NG_GOVERNOR_TICKS_KEPT]; /* CPU time of the target, likewise */
	size_t tick;
	uint64_t steady_not_before_ns; /* after it was too dear: not again at once */
	uint64_t backoff_ns;
	struct ng_decision decisions[NG_DECISIONS_KEPT]; /* a ring; newest at decision_count - 1 */
	size_t decision_count;
};

void ng_governor_init(struct ng_governor *governor, const struct ng_governor_costs *costs);

/** Takes a new wish. What was learnt of the target stays. */
void ng_governor_ask(
	struct ng_governor *governor, const struct ng_settings *settings, uint64_t now_ns);

/** What happened since the last tick. */
struct ng_tick {
	uint64_t now_ns;
	uint64_t elapsed_ns; /* since the tick before */
	uint64_t cpu_ns;     /* that the target used since then */
	double rate_hz;	     /* the best estimate of its rate; negative: none yet */
	double rate_high_hz; /* upper end of its interval; the rate itself where it was counted */
};

/** Each NG_GOVERNOR_TICK_NS, or NG_GOVERNOR_CALM_TICKS of them while it is calm: renews the plan.
 */
void ng_governor_tick(struct ng_governor *governor, const struct ng_tick *tick);

/** A window that was run. */
struct ng_window_cost {
	uint64_t armed_ns; /* from armed to disarmed */
	uint64_t hits;	   /* all of them, also those before it opened and after it closed */
};

/** Can nothing happen that it would have to see within NG_GOVERNOR_CALM_TICKS? A target that is not
 * armed; or armed steadily, with tokens that end that by themselves, and calls that are few. */
bool ng_governor_is_calm(const struct ng_governor *governor);

/** Charges hits outside of windows: those of a target that is armed steadily. */
void ng_governor_pay(struct ng_governor *governor, uint64_t hits);

/** Charges a window. */
void ng_governor_charge(struct ng_governor *governor, const struct ng_window_cost *window);

/** When there is credit for a window, if the target goes on as it does; 0 where it needs none. */
uint64_t ng_governor_paid_at(const struct ng_governor *governor);

/** The tokens of a steady stretch ran out: to windows at once. */
void ng_governor_trip(struct ng_governor *governor, uint64_t now_ns, uint64_t hits);

/** Share of the target's CPU time lost in the last so many ticks, up to NG_GOVERNOR_TICKS_KEPT. */
double ng_governor_share(const struct ng_governor *governor, size_t ticks);

#define NG_TICKS_SECOND 10
#define NG_TICKS_MINUTE NG_GOVERNOR_TICKS_KEPT

/** "windows", "always", "not". */
const char *ng_arming_name(enum ng_arming arming);

#endif
