#include "control/plane/governor.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"

/* A target that is idle has the budget of one that uses 10 ms a second. */
#define CPU_RATIO_MIN 0.01

/* Plans aim at this part of the budget: costs are known to some 10 %, and a spent credit is not
 * given back. */
#define AIM 0.85

/* Windows: shorter ones are mostly edges; longer ones say little more, and disarming what was armed
 * for 20 ms takes the kernel longer. Where a hit costs 5.5 us a window has lost 10 us somewhere,
 * and in 300 us that was missed: estimates were 3 % low at 100 k/s. */
#define WINDOW_MIN_NS	(300.0 * NG_NS_PER_US)
#define WINDOW_MIN_HITS 100 /* it is at least as long as so many take */
#define WINDOW_MAX_NS	(10.0 * NG_NS_PER_MS)

/* A stratum longer than this makes estimates of what changes too late. */
#define STRATUM_MAX_NS (1.0 * NG_NS_PER_S)
#define STRATUM_MIN_NS (20.0 * NG_NS_PER_MS)

/* Steadily armed below the one, no more above the other: shares of the budget. */
#define STEADY_BELOW 0.5
#define STEADY_ABOVE 0.95

/* Armed steadily, it is calm below this: in NG_GOVERNOR_CALM_TICKS it takes half of one tick's
 * tokens. */
#define CALM_BELOW 0.05

/* After it was too dear: how long windows come before it is steady again; doubles each time. */
#define BACKOFF_MIN_NS (1 * NG_NS_PER_S)
#define BACKOFF_MAX_NS (60 * NG_NS_PER_S)

/* Credit that can be saved up, in seconds of the budget: no window is worth more. */
#define CREDIT_MAX_S 0.25
#define SMOOTH	     0.3 /* weight of the newest tick or window */

/* A window may take this many times what is expected; then it trips. */
#define TOKENS_FACTOR 4
#define TOKENS_MIN    32

const char *ng_arming_name(enum ng_arming arming)
{
	static const char *const names[] = {[NG_ARMING_NONE] = "not",
		[NG_ARMING_WINDOWS] = "windows",
		[NG_ARMING_STEADY] = "always"};

	return names[arming];
}

void ng_governor_init(struct ng_governor *governor, const struct ng_governor_costs *costs)
{
	*governor = (struct ng_governor){.costs = *costs,
		.budget_ratio = NG_BUDGET_DEFAULT,
		.cpu_ratio = 1,
		.rate_hz = -1,
		.hits_per_s = -1,
		.backoff_ns = BACKOFF_MIN_NS};
}

/* ns that may be lost in a second. */
static double allowance(const struct ng_governor *governor)
{
	return governor->budget_ratio * fmax(governor->cpu_ratio, CPU_RATIO_MIN) * NG_NS_PER_S;
}

/* Threads that run at a time, on average, and so are disturbed by an edge. */
static double running(const struct ng_governor *governor)
{
	return fmax(governor->cpu_ratio, CPU_RATIO_MIN);
}

double ng_governor_share(const struct ng_governor *governor, size_t ticks)
{
	double used = 0, lost = 0;
	size_t count = governor->tick < ticks ? governor->tick : ticks;

	for (size_t i = 0; i <= count && i < NG_GOVERNOR_TICKS_KEPT; i++) {
		const size_t at = (governor->tick - i) % NG_GOVERNOR_TICKS_KEPT;

		used += governor->used[at];
		lost += governor->lost[at];
	}
	used = fmax(used, CPU_RATIO_MIN * (double)NG_GOVERNOR_TICK_NS * (double)(count + 1));
	return lost / used;
}

static void decide(struct ng_governor *governor, enum ng_arming to, uint64_t now_ns,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

static void decide(
	struct ng_governor *governor, enum ng_arming to, uint64_t now_ns, const char *format, ...)
{
	struct ng_decision *decision =
		&governor->decisions[governor->decision_count++ % NG_DECISIONS_KEPT];
	va_list args;

	*decision = (struct ng_decision){.time_ns = now_ns,
		.from = governor->plan.arming,
		.to = to,
		.rate_hz = governor->rate_hz,
		.cpu_ratio = governor->cpu_ratio,
		.share_ratio = ng_governor_share(governor, NG_TICKS_SECOND),
		.budget_ratio = governor->budget_ratio};
	va_start(args, format);
	(void)vsnprintf(decision->reason, sizeof(decision->reason), format, args); /* long: cut */
	va_end(args);
	governor->plan.arming = to;
}

/* Hits per second of armed time, of all threads: as seen; or at first as many as there can be. */
static double hit_rate(const struct ng_governor *governor)
{
	const double most = fmax(running(governor), 1) * NG_NS_PER_S / governor->costs.hit_ns;

	return governor->hits_per_s < 0 ? most : fmin(governor->hits_per_s, most);
}

/* What a window takes from the target, however short it is. */
static double fixed_cost(const struct ng_governor *governor)
{
	return governor->costs.edge_ns * running(governor) + governor->costs.own_ns;
}

/* What a window of this length is expected to take from the target. */
static double window_cost(const struct ng_governor *governor, double window_ns)
{
	return fixed_cost(governor) +
	       window_ns / NG_NS_PER_S * hit_rate(governor) * governor->costs.hit_ns;
}

/*
 * A window as dear as its edges: half of what is spent buys calls then, and half buys another look
 * at another time. Both count: the one against the noise of counting, the other against what
 * windows differ by.
 */
static void plan_windows(struct ng_governor *governor)
{
	const double fixed_ns = fixed_cost(governor);
	const double dead_ratio =
		fmax(hit_rate(governor) * governor->costs.hit_ns / NG_NS_PER_S, 1e-6);
	const double aim = AIM * allowance(governor) / NG_NS_PER_S; /* ns that may go in a ns */
	const double least_ns = fmax(WINDOW_MIN_NS, WINDOW_MIN_HITS * governor->costs.hit_ns);
	double window_ns = fmin(fmax(fixed_ns / dead_ratio, least_ns), WINDOW_MAX_NS);
	double stratum_ns = window_cost(governor, window_ns) / aim;

	/* No more windows than this: then longer ones, for what is left of the budget. */
	if (stratum_ns < STRATUM_MIN_NS) {
		stratum_ns = STRATUM_MIN_NS;
		window_ns = fmin(fmax((aim * stratum_ns - fixed_ns) / dead_ratio, window_ns),
			STRATUM_MIN_NS / 2);
	}
	if (governor->rate_ratio > 0) {
		stratum_ns = fmax(window_ns / governor->rate_ratio, STRATUM_MIN_NS);
		window_ns = governor->rate_ratio * stratum_ns;
	}
	stratum_ns = fmin(stratum_ns, STRATUM_MAX_NS);
	governor->plan.window_ns = (uint64_t)window_ns;
	governor->plan.stratum_ns = (uint64_t)stratum_ns;
	governor->plan.tokens =
		(int64_t)(TOKENS_FACTOR * window_ns / NG_NS_PER_S * hit_rate(governor)) +
		TOKENS_MIN;
}

/* What it would lose by being armed all the time, at the most, as a part of what it may. */
static double steady_part(const struct ng_governor *governor)
{
	return governor->rate_hz < 0
		       ? HUGE_VAL
		       : governor->rate_high_hz * governor->costs.hit_ns / allowance(governor);
}

bool ng_governor_is_calm(const struct ng_governor *governor)
{
	return governor->plan.arming == NG_ARMING_NONE ||
	       (governor->plan.arming == NG_ARMING_STEADY && !governor->must_be_steady &&
		       steady_part(governor) < CALM_BELOW);
}

static void plan_steady(struct ng_governor *governor)
{
	const double tick_s = (double)NG_GOVERNOR_TICK_NS / NG_NS_PER_S;
	const double spend_ns = fmax(governor->credit_ns, 0) + allowance(governor) * tick_s;

	governor->plan.tokens = governor->must_be_steady
					? INT64_MAX
					: (int64_t)(spend_ns / governor->costs.hit_ns) + TOKENS_MIN;
}

static void leave_steady(struct ng_governor *governor, uint64_t now_ns)
{
	governor->steady_not_before_ns = now_ns + governor->backoff_ns;
	governor->backoff_ns = governor->backoff_ns < BACKOFF_MAX_NS / 2 ? 2 * governor->backoff_ns
									 : BACKOFF_MAX_NS;
}

static void choose_arming(struct ng_governor *governor, uint64_t now_ns)
{
	const double part = steady_part(governor);

	if (governor->must_be_steady || governor->rate_ratio > 0)
		return;
	if (governor->plan.arming == NG_ARMING_WINDOWS && governor->may_be_steady &&
		part < STEADY_BELOW && now_ns >= governor->steady_not_before_ns &&
		governor->credit_ns >= 0) {
		decide(governor, NG_ARMING_STEADY, now_ns,
			"every call can be counted for %.0f %% of the budget", part * 100);
	} else if (governor->plan.arming == NG_ARMING_STEADY && part > STEADY_ABOVE) {
		leave_steady(governor, now_ns);
		decide(governor, NG_ARMING_WINDOWS, now_ns,
			"counting every call would take %.0f %% of the budget", part * 100);
	} else if (governor->plan.arming == NG_ARMING_STEADY &&
		   now_ns > governor->steady_not_before_ns + 2 * governor->backoff_ns) {
		governor->backoff_ns = BACKOFF_MIN_NS; /* it has been well for long enough */
	}
}

static void renew(struct ng_governor *governor)
{
	if (governor->plan.arming == NG_ARMING_WINDOWS)
		plan_windows(governor);
	else if (governor->plan.arming == NG_ARMING_STEADY)
		plan_steady(governor);
}

/* What is off for a while saves nothing up. */
static void set_active(struct ng_governor *governor, bool is_active, uint64_t now_ns)
{
	if (governor->is_active)
		governor->active_ns += now_ns - governor->active_since_ns;
	governor->is_active = is_active;
	governor->active_since_ns = now_ns;
}

/* How long it was on since the last tick, in seconds. */
static double take_active(struct ng_governor *governor, uint64_t now_ns)
{
	double active_s;

	set_active(governor, governor->is_active, now_ns);
	active_s = (double)governor->active_ns / NG_NS_PER_S;
	governor->active_ns = 0;
	return active_s;
}

void ng_governor_ask(
	struct ng_governor *governor, const struct ng_settings *settings, uint64_t now_ns)
{
	const char *mode = ng_mode_name(settings->mode);
	enum ng_arming to = NG_ARMING_STEADY;

	/* What burst and full took over the budget, on request, is not taken from what follows. */
	if (governor->must_be_steady)
		governor->credit_ns = 0;
	governor->budget_ratio = settings->budget_ratio;
	governor->rate_ratio = settings->mode == NG_MODE_SAMPLED ? settings->rate_ratio : 0;
	governor->must_be_steady = settings->mode == NG_MODE_BURST ||
				   settings->mode == NG_MODE_FULL ||
				   (settings->mode == NG_MODE_COUNT && settings->exact);
	governor->may_be_steady = governor->rate_ratio <= 0;
	if (settings->mode == NG_MODE_OFF)
		to = NG_ARMING_NONE;
	else if (settings->mode == NG_MODE_SAMPLED)
		to = NG_ARMING_WINDOWS;
	if (to != governor->plan.arming)
		decide(governor, to, now_ns, "mode %s was asked for", mode);
	set_active(governor, to != NG_ARMING_NONE, now_ns);
	renew(governor);
}

/* Time goes on by whole ticks; what happened in several is spread over them. */
static void advance(struct ng_governor *governor, size_t ticks, uint64_t cpu_ns)
{
	const float lost = governor->lost[governor->tick % NG_GOVERNOR_TICKS_KEPT];

	for (size_t i = 0; i < ticks; i++, governor->tick++) {
		const size_t at = governor->tick % NG_GOVERNOR_TICKS_KEPT;

		governor->lost[at] = lost / (float)ticks;
		governor->used[at] = (float)cpu_ns / (float)ticks;
	}
	governor->lost[governor->tick % NG_GOVERNOR_TICKS_KEPT] = 0;
	governor->used[governor->tick % NG_GOVERNOR_TICKS_KEPT] = 0;
}

static void pay(struct ng_governor *governor, double lost_ns)
{
	governor->credit_ns -= lost_ns;
	governor->lost_ns += lost_ns;
	governor->lost[governor->tick % NG_GOVERNOR_TICKS_KEPT] += (float)lost_ns;
}

void ng_governor_tick(struct ng_governor *governor, const struct ng_tick *tick)
{
	const double active_s = take_active(governor, tick->now_ns);
	const double cpu_ratio =
		tick->elapsed_ns ? (double)tick->cpu_ns / (double)tick->elapsed_ns : 0;
	const double passed =
		fmax(round((double)tick->elapsed_ns / (double)NG_GOVERNOR_TICK_NS), 1);

	governor->cpu_ratio += (governor->tick ? 1 - pow(1 - SMOOTH, passed) : 1) *
			       (cpu_ratio - governor->cpu_ratio);
	advance(governor, (size_t)fmin(passed, NG_GOVERNOR_TICKS_KEPT), tick->cpu_ns);
	if (tick->rate_hz >= 0) {
		governor->rate_hz = tick->rate_hz;
		governor->rate_high_hz = tick->rate_high_hz;
	}
	governor->credit_ns = fmin(governor->credit_ns + allowance(governor) * active_s,
		allowance(governor) * CREDIT_MAX_S);
	choose_arming(governor, tick->now_ns);
	renew(governor);
}

void ng_governor_pay(struct ng_governor *governor, uint64_t hits)
{
	pay(governor, (double)hits * governor->costs.hit_ns);
}

void ng_governor_charge(struct ng_governor *governor, const struct ng_window_cost *window)
{
	const double armed_s = (double)window->armed_ns / NG_NS_PER_S;

	pay(governor, fixed_cost(governor) + (double)window->hits * governor->costs.hit_ns);
	if (armed_s > 0) {
		const double seen = (double)window->hits / armed_s;

		governor->hits_per_s =
			governor->hits_per_s < 0
				? seen
				: governor->hits_per_s + SMOOTH * (seen - governor->hits_per_s);
	}
	renew(governor);
}

uint64_t ng_governor_paid_at(const struct ng_governor *governor)
{
	const double a_second_ns = allowance(governor);
	const double missing_ns = fmin(window_cost(governor, (double)governor->plan.window_ns),
					  a_second_ns * CREDIT_MAX_S) -
				  governor->credit_ns;
	const double saved_until_ns =
		(double)governor->active_since_ns - (double)governor->active_ns;

	if (governor->rate_ratio > 0)
		return 0;
	return (uint64_t)fmax(saved_until_ns + missing_ns / a_second_ns * NG_NS_PER_S, 0);
}

void ng_governor_trip(struct ng_governor *governor, uint64_t now_ns, uint64_t hits)
{
	if (governor->must_be_steady || governor->plan.arming != NG_ARMING_STEADY)
		return;
	leave_steady(governor, now_ns);
	governor->hits_per_s = -1; /* as many as there can be, until a window knows better */
	decide(governor, NG_ARMING_WINDOWS, now_ns,
		"%llu calls came within a tick, more than the budget pays for",
		(unsigned long long)hits);
	renew(governor);
}
