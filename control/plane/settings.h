/* How a target is to be traced: mode, budget and lease. */
#ifndef NG_CONTROL_PLANE_SETTINGS_H
#define NG_CONTROL_PLANE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"

#define NG_BUDGET_DEFAULT   0.01   /* of the target's CPU time */
#define NG_BUDGET_MIN	    0.0001 /* below it no window fits into a second */
#define NG_BUDGET_MAX	    1.0
#define NG_LEASE_DEFAULT_NS (30 * 1000000000ull) /* of burst and full, unless told */
#define NG_LEASE_MAX_NS	    (24 * 3600 * 1000000000ull)

struct ng_settings {
	enum ng_mode mode;
	double budget_ratio; /* NG_BUDGET_MIN … NG_BUDGET_MAX */
	uint64_t lease_ns;   /* how long the mode holds; 0: until told otherwise (never for burst,
				full) */
	uint64_t events;     /* burst: calls after which it ends; 0: no such end */
	double rate_ratio;   /* sampled: share of the time to be armed; 0: by the budget */
	bool exact;	     /* count: over the budget, report it and go on counting */
	bool record;	     /* count: keep the newest calls with their stacks, too */
	bool follow_forks;   /* children become targets too */
};

/** The name of a mode as people write it: "off", "count", "sampled", "burst", "full". */
const char *ng_mode_name(enum ng_mode mode);

/** @return 0; -EINVAL */
int ng_mode_parse(const char *text, enum ng_mode *ret_mode);

#endif
