/* What a member is made of; for the files of the member alone. */
#ifndef NG_CONTROL_PLANE_MEMBER_INSIDE_H
#define NG_CONTROL_PLANE_MEMBER_INSIDE_H

#include "control/engine/gate_set.h"
#include "control/plane/member.h"
#include "control/plane/strata.h"

/** A stretch of time that windows speak for. */
struct ng_span {
	struct ng_estimate *estimates[NG_MEMBER_FUNCTIONS_MAX];
	uint64_t start_ns; /* 0: it has not begun */
	uint64_t start_cpu_ns;
	struct ng_thread_times start_times;
};

struct member_site {
	uint32_t number;
	uint32_t function; /* index; NG_MEMBER_FUNCTIONS_MAX: not told apart */
	const struct ng_traced_image *image;
	double hit_ns;
	bool is_led; /* one of the member's leads is its own */
};

/** What leads showed in one window. */
struct member_pairs {
	double count;
	double ns;
};

#define NG_MEMBER_PAIRS 64

/** What a hit costs in this very process: by its leads, as far as they tell. */
struct member_cost {
	struct member_pairs pairs[NG_MEMBER_PAIRS]; /* a ring: of the last windows with leads */
	size_t count;				    /* of those so far */
	struct ng_gate_tally seen; /* what of the gate's tally is in there, or paid */
	double scale;		   /* times what was calibrated … */
	double error_ratio;	   /* … and its standard error, relative */
	double telling_ns;	   /* that telling of a call takes on top, where calls are told */
};

struct member_function {
	const struct ng_site *site; /* the first one of it */
	const char *missing;
	double hit_ns;
	double calls;	     /* estimated and counted in what is over */
	double variance;     /* of that */
	uint64_t looked_ns;  /* when the steady rate was last worked out … */
	double looked_calls; /* … what was counted by then … */
	double steady_hz;    /* … and that rate */
	uint64_t in_windows; /* calls that windows delivered */
	struct ng_rate last; /* of the recent span before this one */
};

struct ng_member {
	struct ng_member_context context;
	struct ng_process process;
	struct ng_traced_image *main;
	struct member_site *sites;
	uint64_t *tracepoints; /* of the sites, and of lead_count leads behind them */
	uint32_t *numbers;
	size_t site_count;
	size_t lead_count;
	struct member_function functions[NG_MEMBER_FUNCTIONS_MAX];
	size_t function_count;
	uint32_t exec_from, exec_before; /* its image's life, in terms of ng_count_key.exec_id */
	uint32_t gate_index;
	struct ng_gate *gate;
	uint32_t stretch;	     /* as ng_gate.records */
	bool gate_is_stale;	     /* other settings than when it was last written */
	struct ng_settings settings; /* asked for … */
	struct ng_settings before;   /* … and what holds again after burst and full */
	uint64_t lease_until_ns;     /* 0: none */
	struct ng_governor governor;
	struct ng_armed *armed; /* steadily */
	bool leaving, ended;

	struct ng_job job; /* one at a time */
	bool is_busy;
	int job_error;
	struct ng_window_order order; /* of a window */
	struct ng_window_times times;
	struct ng_window_parts parts;
	bool window_is_led; /* the one under way, or the last: leads are armed in it */
	uint64_t unled;	    /* windows since the last one that was */
	struct member_cost cost;

	struct ng_strata strata;
	uint64_t window_end_ns; /* the one under way has to be over by then */

	struct ng_span all, recent;
	uint64_t since_ns;
	uint64_t since_cpu_ns;
	uint64_t cpu_ns; /* as last read */
	uint64_t ticked_ns;
	uint64_t paid_hits; /* of the tally */
	uint64_t told_ns;   /* when the governor was last told what windows say */
	uint64_t armed_ns;  /* for how long it was armed */
	uint64_t steady_since_ns;
	uint64_t windows;
};

/** @return 0; -ENOMEM */
int ng_span_init(struct ng_span *span, size_t function_count);
void ng_span_release(struct ng_span *span);

/** Begins anew: all that follows is of the process from now on. */
void ng_span_begin(struct ng_member *member, struct ng_span *span, uint64_t now_ns);

/** The rates of all functions over a span. @return 0; -ENOMEM */
int ng_span_rates(const struct ng_member *member, const struct ng_span *span, uint64_t now_ns,
	struct ng_rate rates[NG_MEMBER_FUNCTIONS_MAX]);

/** The site with this number at the engine; NULL where it is not the member's. */
const struct member_site *ng_member_site(const struct ng_member *member, uint32_t number);

/** Windows speak for the process from now on … */
void ng_member_begin_windows(struct ng_member *member, uint64_t now_ns);

/** … and until now: what they said goes into the sums. */
void ng_member_end_windows(struct ng_member *member, uint64_t now_ns);

/** Takes in what the last window showed. */
void ng_member_learn_window(struct ng_member *member);

/** Takes in how long telling of calls took so far. */
void ng_member_learn_telling(struct ng_member *member, const struct ng_gate_tally *tally);

/** What a delivered hit at a site costs: the function's own time, not that of a lead. */
double ng_member_hit_ns(const struct ng_member *member, double calibrated_ns);

/** Takes in what leads showed in the last window, if they were armed, and pays for their hits. */
void ng_member_learn_cost(struct ng_member *member, const struct ng_gate_tally *tally);

/** Brings the cost of a hit in line with what leads and the gauge say now. */
void ng_member_renew_cost(struct ng_member *member);

/** Are leads to be armed in the next window? */
bool ng_member_wants_leads(const struct ng_member *member);

/** The gate's tally; all 0 where it cannot be read. @return its hits */
uint64_t ng_member_tally(const struct ng_member *member, struct ng_gate_tally *ret_tally);

#endif
