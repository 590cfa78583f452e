/*
 * What somebody asks for: settings, of which only some are given. Command line, socket and
 * configuration all make one, and it is checked here for all of them.
 */
#ifndef NG_CONTROL_PLANE_WISH_H
#define NG_CONTROL_PLANE_WISH_H

#include <stdbool.h>

#include "control/plane/settings.h"
#include "core/base/diag.h"

#define NG_RATE_MIN   0.00001 /* of the time: 10 us a second, less than the shortest window */
#define NG_EVENTS_MAX 1000000000000ull

struct ng_wish {
	struct ng_settings settings; /* those that are not given are 0 */
	bool has_mode;
	bool has_budget;
	bool has_lease;
	bool has_events;
	bool has_rate;
	bool has_exact;
	bool has_record;
	bool has_follow_forks;
};

/** A budget by itself: NG_BUDGET_MIN … NG_BUDGET_MAX, no NaN. @return 0; -ERANGE */
int ng_budget_check(double budget_ratio, struct ng_diag *diag);

/**
 * Is each thing that is given within its bounds, and do they go together? Pure.
 *
 * `events` goes with burst only, `rate` with sampled, `exact` and `record` with count; a lease of 0
 * means "until told otherwise", which burst and full cannot have.
 *
 * @return 0; -ERANGE out of bounds; -EINVAL they do not go together
 */
int ng_wish_check(const struct ng_wish *wish, struct ng_diag *diag);

/**
 * What holds when a checked wish is laid over settings. Pure.
 *
 * With a mode, everything that belongs to the mode before goes: lease, events, rate, exact, record.
 * burst and full get the default lease where none is given.
 */
struct ng_settings ng_wish_apply(const struct ng_wish *wish, const struct ng_settings *base);

#endif
