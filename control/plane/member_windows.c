/* When a member's windows are, and what it learns from them. */
#include <math.h>

#include "control/plane/member_inside.h"
#include "core/base/clock.h"

/* A hit that finds the kernel's path out of the caches takes longer. At 10 k calls/s rates were
 * 0.8 % too low, which would be 800 ns a hit, and at 100 k/s 100 ns: as a standard deviation. */
#define COLD_NS	    400.0
#define COLD_GAP_NS 50e3

struct exposures {
	struct ng_exposure items[NG_WINDOW_ROWS];
	size_t count;
};

static struct ng_exposure *exposure_of(struct exposures *exposures, uint32_t tid)
{
	for (size_t i = 0; i < exposures->count; i++) {
		if (exposures->items[i].tid == tid)
			return &exposures->items[i];
	}
	if (exposures->count == NG_WINDOW_ROWS)
		return NULL;
	exposures->items[exposures->count] = (struct ng_exposure){.tid = tid};
	return &exposures->items[exposures->count++];
}

/* What a hit took from its thread in the last window: where leads were armed, that of the lead too.
 */
static double hit_cost(const struct ng_member *member, const struct member_site *site)
{
	const double lead_ns =
		site->is_led && member->window_is_led ? member->context.calibration->lead_ns : 0;

	return ng_member_hit_ns(member, site->hit_ns + lead_ns);
}

/* The window's parts by thread: time, dead time, and the calls of one function. */
static void collect_exposures(
	const struct ng_member *member, uint32_t function, struct exposures *exposures)
{
	const struct ng_window_parts *parts = &member->parts;
	const double length_ns = (double)(parts->closed_ns - parts->opened_ns);

	exposures->count = 0;
	for (size_t i = 0; i < parts->count; i++) {
		const struct ng_window_part *part = &parts->items[i];
		struct ng_exposure *exposure = exposure_of(exposures, part->tid);
		const struct member_site *site;

		if (!exposure)
			continue;
		if (part->is_time) {
			exposure->ran_ns += (double)part->value;
			continue;
		}
		site = ng_member_site(member, part->site);
		if (!site)
			continue; /* cannot be: only our own sites are armed */
		exposure->dead_ns += (double)part->value * hit_cost(member, site);
		if (site->function == function)
			exposure->calls += (uint32_t)part->value;
	}
	/* Its CPU has not switched since switches are followed: it ran all the time. */
	for (size_t i = 0; i < exposures->count; i++) {
		if (exposures->items[i].ran_ns <= 0)
			exposures->items[i].ran_ns = length_ns;
	}
}

/* What is not known of a hit's cost: that of one that comes long after the last, above all. */
static double cost_error(const struct ng_member *member)
{
	const struct ng_governor *governor = &member->governor;
	/* Not known yet: none. */
	const double gap_ns =
		fmax(fmax(governor->cpu_ratio, 1) * NG_NS_PER_S / governor->hits_per_s, 0);
	const double cold_ns = COLD_NS * (1 - exp(-gap_ns / COLD_GAP_NS));

	return hypot(member->cost.error_ratio, cold_ns / governor->costs.hit_ns);
}

/* What each thread's calls in the window stand for, of whatever function. */
static void tell_weights(const struct ng_member *member, const struct ng_estimate_window *window,
	const struct exposures *exposures)
{
	struct ng_weight weights[NG_WINDOW_ROWS];

	for (size_t i = 0; i < exposures->count; i++)
		weights[i] = (struct ng_weight){.tid = exposures->items[i].tid,
			.calls = ng_estimate_weight(window, &exposures->items[i])};
	ng_weigher_window(member->context.weigher, member->parts.serial, weights, exposures->count);
}

void ng_member_learn_window(struct ng_member *member)
{
	const struct ng_estimate_window window = {.stratum_ns = (double)member->strata.length_ns,
		.open_ns = (double)(member->parts.closed_ns - member->parts.opened_ns),
		.cost_ns = member->governor.costs.hit_ns,
		.cost_error_ratio = cost_error(member)};
	struct exposures exposures;

	for (uint32_t i = 0; i < member->function_count; i++) {
		collect_exposures(member, i, &exposures);
		for (size_t k = 0; k < exposures.count; k++)
			member->functions[i].in_windows += exposures.items[k].calls;
		/* Out of memory: the window is missing from the estimate, which is wider then. */
		(void)ng_estimate_add(
			member->all.estimates[i], &window, exposures.items, exposures.count);
		(void)ng_estimate_add(
			member->recent.estimates[i], &window, exposures.items, exposures.count);
	}
	if (member->context.weigher)
		tell_weights(member, &window, &exposures);
}

void ng_member_begin_windows(struct ng_member *member, uint64_t now_ns)
{
	ng_span_begin(member, &member->all, now_ns);
	ng_span_begin(member, &member->recent, now_ns);
	for (size_t i = 0; i < member->function_count; i++)
		member->functions[i].last.windows = 0;
	ng_strata_begin(&member->strata, &member->governor, now_ns);
}

void ng_member_end_windows(struct ng_member *member, uint64_t now_ns)
{
	struct ng_rate rates[NG_MEMBER_FUNCTIONS_MAX];
	const double seconds = (double)(now_ns - member->all.start_ns) / NG_NS_PER_S;

	if (!member->all.start_ns)
		return;
	if (!ng_span_rates(member, &member->all, now_ns, rates)) {
		for (size_t i = 0; i < member->function_count; i++) {
			const double half =
				(rates[i].high_hz - rates[i].low_hz) / (2 * 1.96) * seconds;

			member->functions[i].calls += rates[i].hz * seconds;
			member->functions[i].variance += half * half;
		}
	}
	member->all.start_ns = member->recent.start_ns = 0;
}
