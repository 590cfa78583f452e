/* What a hit costs in a member's own process. */
#include <math.h>

#include "control/plane/member_inside.h"
#include "core/base/clock.h"

/* Leads say something once there were so many pairs in so many windows. */
#define PAIRS_MIN   24
#define WINDOWS_MIN 3

/* So many windows have leads at first; and then one of so many, by how much of a window is dead:
 * the more, the more an error in the cost matters. */
#define FIRST_LED    4
#define DEAD_MOSTLY  0.6
#define DEAD_RATHER  0.3
#define MOSTLY_UNLED 1
#define RATHER_UNLED 3
#define HARDLY_UNLED 7

/* A pair that took so many times what is expected was interrupted by something long. */
#define LONG_PAIR 3

/* The calibrated ratio of what a site's hit costs and what its lead's does: in a loop, and not in
 * the program. */
#define RATIO_ERROR 0.01

/* Leads and the gauge's loop differ by less than this where both tell what a hit costs. There are
 * processors where a lead's hit takes 530 ns in the loop and 780 in a program, and a site's 940 in
 * both: there leads said 1,550, and rates came out 5 % too high at 100 k/s. Twice what they differ
 * by above this is held to be the leads' error. */
#define APART_MAX 0.1

bool ng_member_wants_leads(const struct ng_member *member)
{
	const struct ng_governor *governor = &member->governor;
	const double dead = governor->hits_per_s * governor->costs.hit_ns / NG_NS_PER_S;
	const uint64_t unled = dead > DEAD_MOSTLY   ? MOSTLY_UNLED
			       : dead > DEAD_RATHER ? RATHER_UNLED
						    : HARDLY_UNLED;

	return member->lead_count && (member->cost.count < FIRST_LED || member->unled >= unled);
}

void ng_member_learn_telling(struct ng_member *member, const struct ng_gate_tally *tally)
{
	if (tally->told)
		member->cost.telling_ns = (double)tally->telling_ns / (double)tally->told;
}

double ng_member_hit_ns(const struct ng_member *member, double calibrated_ns)
{
	return calibrated_ns * member->cost.scale + member->cost.telling_ns;
}

void ng_member_learn_cost(struct ng_member *member, const struct ng_gate_tally *tally)
{
	struct member_cost *cost = &member->cost;
	const struct member_pairs pairs = {.count = (double)(tally->pairs - cost->seen.pairs),
		.ns = (double)(tally->pairs_ns - cost->seen.pairs_ns)};
	const double expected_ns = member->context.calibration->lead_ns * cost->scale;

	ng_governor_pay(&member->governor, tally->lead_hits - cost->seen.lead_hits);
	cost->seen = *tally;
	ng_member_learn_telling(member, tally);
	if (pairs.count <= 0 || pairs.ns > LONG_PAIR * expected_ns * pairs.count)
		return;
	cost->pairs[cost->count++ % NG_MEMBER_PAIRS] = pairs;
	ng_member_renew_cost(member);
}

/* The mean of all pairs, and its standard error, by what windows differ by: relative. */
static bool pooled(const struct member_cost *cost, double *ret_ns, double *ret_error)
{
	const size_t count = cost->count < NG_MEMBER_PAIRS ? cost->count : NG_MEMBER_PAIRS;
	struct member_pairs sum = {0};
	double squares = 0;

	for (size_t i = 0; i < count; i++) {
		sum.count += cost->pairs[i].count;
		sum.ns += cost->pairs[i].ns;
	}
	if (count < WINDOWS_MIN || sum.count < PAIRS_MIN)
		return false;
	*ret_ns = sum.ns / sum.count;
	for (size_t i = 0; i < count; i++) {
		const double off = cost->pairs[i].ns - *ret_ns * cost->pairs[i].count;

		squares += off * off;
	}
	*ret_error = sqrt(squares * (double)count / (double)(count - 1)) / sum.ns;
	return true;
}

void ng_member_renew_cost(struct ng_member *member)
{
	const struct ng_cost_now *gauged = member->context.cost;
	struct member_cost *cost = &member->cost;
	double ns, error, own_scale, own, apart, weight;

	cost->scale = gauged->scale;
	cost->error_ratio = gauged->error_ratio;
	if (!pooled(cost, &ns, &error))
		return;
	own_scale = ns / member->context.calibration->lead_ns;
	apart = fabs(own_scale / gauged->scale - 1);
	own = hypot(hypot(error, RATIO_ERROR), 2 * fmax(apart - APART_MAX, 0));
	/* Each by how well it is known. */
	weight = 1 / (own * own) /
		 (1 / (own * own) + 1 / (gauged->error_ratio * gauged->error_ratio));
	cost->scale = weight * own_scale + (1 - weight) * gauged->scale;
	cost->error_ratio = sqrt(weight) * own;
}
