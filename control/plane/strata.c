#include "control/plane/strata.h"

#include <stdlib.h>

#include "control/plane/governor.h"
#include "core/base/clock.h"

/* So long a stratum waits for its window's credit; else what the program will do is seen too late.
 */
#define SAVE_MAX_NS NG_NS_PER_S

static double random_part(struct ng_strata *strata)
{
	return (double)rand_r(&strata->random) / ((double)RAND_MAX + 1);
}

static void draw(struct ng_strata *strata, const struct ng_governor *governor, uint64_t start_ns,
	uint64_t owed_ns)
{
	const struct ng_plan *plan = &governor->plan;
	const uint64_t paid_ns = ng_governor_paid_at(governor);
	uint64_t length_ns = (uint64_t)((double)plan->stratum_ns * (0.5 + random_part(strata)));
	uint64_t room_ns;

	strata->has_window = paid_ns <= start_ns + SAVE_MAX_NS;
	if (strata->has_window && paid_ns > start_ns + length_ns)
		length_ns = paid_ns - start_ns;
	room_ns = length_ns > plan->window_ns ? length_ns - plan->window_ns : 1;
	strata->end_ns = start_ns + length_ns;
	strata->length_ns = length_ns + owed_ns;
	strata->due_ns = strata->has_window
				 ? start_ns + (uint64_t)(random_part(strata) * (double)room_ns)
				 : strata->end_ns;
}

void ng_strata_begin(struct ng_strata *strata, const struct ng_governor *governor, uint64_t now_ns)
{
	draw(strata, governor, now_ns, 0);
}

void ng_strata_next(struct ng_strata *strata, const struct ng_governor *governor, uint64_t now_ns)
{
	draw(strata, governor, strata->end_ns > now_ns ? strata->end_ns : now_ns,
		strata->has_window ? 0 : strata->length_ns);
}
