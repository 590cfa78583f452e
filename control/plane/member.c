#include "control/plane/member_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"

/* A window that has not come back after this is one of a daemon that hangs, or was stopped. */
#define WINDOW_PATIENCE_NS (500 * NG_NS_PER_MS)

/* Windows after which a process that was hardly seen is taken to call hardly ever. */
#define GUESS_WINDOWS 10

/* How often the governor is told what windows say: that takes reading the time of each thread. */
#define TELL_NS (500 * NG_NS_PER_MS)

/* The rate "now" is of the last 10 to 20 seconds. */
#define RECENT_NS (10 * NG_NS_PER_S)

static bool same_function(const struct ng_site *a, const struct ng_site *b)
{
	return !strcmp(a->function, b->function) &&
	       (a->source == b->source ||
		       (a->source && b->source && !strcmp(a->source, b->source)));
}

static uint32_t function_of(
	struct ng_member *member, const struct ng_traced_image *image, const struct ng_site *site)
{
	size_t i = 0;

	while (i < member->function_count && !same_function(member->functions[i].site, site))
		i++;
	if (i == NG_MEMBER_FUNCTIONS_MAX)
		return NG_MEMBER_FUNCTIONS_MAX;
	if (i == member->function_count) {
		member->functions[i] = (struct member_function){.site = site, .missing = ""};
		member->function_count++;
	}
	for (size_t k = 0; k < image->sites.gap_count; k++) {
		const struct ng_gap *gap = &image->sites.gaps[k];

		if (!gap->function || !strcmp(gap->function, site->function))
			member->functions[i].missing = gap->text;
	}
	return (uint32_t)i;
}

static void mark_led(struct ng_member *member, uint32_t number)
{
	for (size_t i = 0; i < member->site_count; i++)
		member->sites[i].is_led |= member->sites[i].number == number;
}

static void take_leads(struct ng_member *member, const struct ng_traced_image *image)
{
	for (size_t i = 0; i < image->sites.count; i++) {
		const struct ng_site *lead = &image->sites.items[i];

		if (lead->kind != NG_SITE_LEAD || member->lead_count == NG_WINDOW_LEADS_MAX ||
			member->context.calibration->lead_ns <= 0)
			continue;
		mark_led(member, image->numbers[lead->leads_to]);
		member->tracepoints[member->site_count + member->lead_count++] =
			ng_uprobe_tracepoint(member->context.engine, image->numbers[i]);
	}
}

static int take_sites(struct ng_member *member, struct ng_traced_image *const *images, size_t count)
{
	const struct ng_member_context *context = &member->context;
	size_t total = 0;

	for (size_t i = 0; i < count; i++)
		total += images[i]->sites.count;
	member->sites = calloc(total, sizeof(*member->sites));
	member->tracepoints = calloc(total, sizeof(*member->tracepoints));
	member->numbers = calloc(total, sizeof(*member->numbers));
	if (!member->sites || !member->tracepoints || !member->numbers)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < images[i]->sites.count; k++) {
			const struct ng_site *site = &images[i]->sites.items[k];
			struct member_site *own = &member->sites[member->site_count];

			if (site->kind == NG_SITE_LEAD)
				continue;
			own->number = images[i]->numbers[k];
			own->image = images[i];
			own->function = function_of(member, images[i], site);
			own->hit_ns = ng_calibration_hit_ns(context->calibration, site->class);
			if (own->function < NG_MEMBER_FUNCTIONS_MAX &&
				!member->functions[own->function].hit_ns)
				member->functions[own->function].hit_ns = own->hit_ns;
			member->numbers[member->site_count] = own->number;
			member->tracepoints[member->site_count++] =
				ng_uprobe_tracepoint(context->engine, own->number);
		}
	}
	if (member->site_count > NG_WINDOW_SITES_MAX)
		return -E2BIG;
	for (size_t i = 0; i < count; i++)
		take_leads(member, images[i]);
	return 0;
}

static int watch(struct ng_member *member)
{
	const struct ng_target target = {.gate = member->gate_index};

	return ng_uprobe_watch(member->context.engine, member->process.pid, &target);
}

static int take_gate(struct ng_member *member)
{
	const int index = ng_gates_take(member->context.gates);

	if (index < 0)
		return index;
	member->gate_index = (uint32_t)index;
	member->gate = ng_gates_at(member->context.gates, member->gate_index);
	return 0;
}

int ng_member_new(const struct ng_member_context *context, const struct ng_process *process,
	struct ng_traced_image *const *images, size_t image_count, struct ng_member **ret_member)
{
	struct ng_member *member = calloc(1, sizeof(*member));
	struct ng_governor_costs costs;
	int error;

	if (!member)
		return -ENOMEM;
	member->context = *context;
	member->process = *process;
	member->exec_before = UINT32_MAX;
	member->main = images[0];
	member->strata.random = (unsigned int)(process->pid ^ (pid_t)process->start_ticks);
	member->settings = (struct ng_settings){.budget_ratio = NG_BUDGET_DEFAULT};
	member->before = member->settings;
	error = take_sites(member, images, image_count);
	if (!error)
		error = ng_span_init(&member->all, member->function_count);
	if (!error)
		error = ng_span_init(&member->recent, member->function_count);
	if (!error)
		error = take_gate(member);
	if (!error)
		error = watch(member);
	if (error) {
		ng_member_free(member);
		return error;
	}
	ng_member_renew_cost(member);
	costs.hit_ns = ng_member_hit_ns(member, member->sites[0].hit_ns);
	costs.edge_ns = context->calibration->costs[NG_SITE_EMULATED].edge_ns.median;
	costs.own_ns = context->cost->own_ns;
	ng_governor_init(&member->governor, &costs);
	member->since_ns = member->ticked_ns = ng_clock_ns();
	(void)ng_process_cpu_time(process->pid, &member->since_cpu_ns); /* 0: it is gone */
	member->cpu_ns = member->since_cpu_ns;
	*ret_member = member;
	return 0;
}

const struct member_site *ng_member_site(const struct ng_member *member, uint32_t number)
{
	for (size_t i = 0; i < member->site_count; i++) {
		if (member->sites[i].number == number)
			return &member->sites[i];
	}
	return NULL;
}

bool ng_member_is_of(const struct ng_member *member, const struct ng_count_key *process)
{
	return (pid_t)process->tgid == member->process.pid &&
	       process->exec_id >= member->exec_from && process->exec_id < member->exec_before &&
	       ng_process_ticks(process->start_ns) == member->process.start_ticks;
}

bool ng_member_owns(const struct ng_member *member, const struct ng_count_key *key)
{
	return ng_member_is_of(member, key) && ng_member_site(member, key->site);
}

uint32_t ng_member_function_at(const struct ng_member *member, uint32_t number)
{
	const struct member_site *site = ng_member_site(member, number);

	return site ? site->function : NG_MEMBER_FUNCTIONS_MAX;
}

bool ng_member_is_idle(const struct ng_member *member)
{
	return !member->is_busy && !member->armed;
}

/* Or they would be found under the next member with this process. */
static void forget_counts(const struct ng_member *member)
{
	struct ng_tallies tallies = NG_TALLIES_INIT;

	if (ng_uprobe_read(member->context.engine, &tallies))
		return; /* out of memory: they take up room, no more */
	for (size_t i = 0; i < tallies.count; i++) {
		if (ng_member_owns(member, &tallies.items[i].key))
			ng_uprobe_forget(member->context.engine, &tallies.items[i].key);
	}
	ng_tallies_release(&tallies);
}

void ng_member_free(struct ng_member *member)
{
	if (!member)
		return;
	if (member->gate_index) {
		forget_counts(member);
		ng_uprobe_unwatch_gate(
			member->context.engine, member->process.pid, member->gate_index);
		ng_gates_give(member->context.gates, member->gate_index);
	}
	ng_span_release(&member->all);
	ng_span_release(&member->recent);
	free(member->sites);
	free(member->tracepoints);
	free(member->numbers);
	free(member);
}

bool ng_member_uses(const struct ng_member *member, const struct ng_traced_image *image)
{
	for (size_t i = 0; i < member->site_count; i++) {
		if (member->sites[i].image == image)
			return true;
	}
	return false;
}

pid_t ng_member_pid(const struct ng_member *member)
{
	return member->process.pid;
}

uint64_t ng_member_start_ticks(const struct ng_member *member)
{
	return member->process.start_ticks;
}

const struct ng_settings *ng_member_settings(const struct ng_member *member)
{
	return &member->settings;
}

uint64_t ng_member_lease(const struct ng_member *member)
{
	return member->lease_until_ns;
}

struct ng_member *ng_member_of_job(struct ng_job *job)
{
	return (struct ng_member *)((char *)job - offsetof(struct ng_member, job));
}

static void run_arm(struct ng_job *job)
{
	struct ng_member *member = ng_member_of_job(job);
	const struct ng_site_numbers numbers = {
		.items = member->numbers, .count = member->site_count};

	member->job_error = ng_uprobe_arm(
		member->context.engine, member->process.pid, numbers, false, &member->armed, NULL);
}

static void run_disarm(struct ng_job *job)
{
	struct ng_member *member = ng_member_of_job(job);

	ng_armed_free(member->armed);
	member->armed = NULL;
	member->job_error = 0;
}

static void run_window(struct ng_job *job)
{
	struct ng_member *member = ng_member_of_job(job);

	member->job_error = ng_window_run(
		member->context.gates, &member->order, &member->parts, &member->times);
}

static void post(struct ng_member *member, enum ng_job_kind kind)
{
	static void (*const runs[])(struct ng_job *) = {
		[NG_JOB_ARM] = run_arm, [NG_JOB_DISARM] = run_disarm, [NG_JOB_WINDOW] = run_window};

	member->job = (struct ng_job){.kind = kind, .run = runs[kind]};
	member->is_busy = true;
	ng_workers_post(member->context.workers, &member->job);
}

/* What the gate is to do, by what was asked for and how it is armed. Sampled calls that are armed
 * steadily all count. */
static enum ng_mode gate_mode(const struct ng_member *member)
{
	if (member->leaving || member->ended)
		return NG_MODE_OFF;
	switch (member->governor.plan.arming) {
	case NG_ARMING_NONE:
		return NG_MODE_OFF;
	case NG_ARMING_WINDOWS:
		return NG_MODE_SAMPLED;
	default:
		return member->settings.mode == NG_MODE_SAMPLED ? NG_MODE_COUNT
								: member->settings.mode;
	}
}

/* Each setting begins a stretch of its own. Calls that are only to be counted are not told. */
static uint32_t next_stretch(struct ng_member *member)
{
	const struct ng_settings *settings = &member->settings;

	if (!member->context.weigher || (settings->mode == NG_MODE_COUNT && !settings->record))
		return 0;
	if (!++member->stretch)
		member->stretch = 1;
	return member->stretch;
}

static void set_gate(struct ng_member *member)
{
	struct ng_gate *gate = member->gate;
	const enum ng_mode mode = gate_mode(member);

	if (mode == gate->mode && !member->gate_is_stale)
		return;
	member->gate_is_stale = false;
	if (mode != NG_MODE_SAMPLED)
		ng_gates_end_window(member->context.gates, member->gate_index);
	ng_gate_set(gate, &(struct ng_gate_setting){.mode = mode,
				  .lease_until_ns = member->lease_until_ns,
				  .events = member->settings.events,
				  .records = next_stretch(member),
				  .count_limited = !member->governor.must_be_steady,
				  .tokens = member->governor.plan.tokens});
}

uint64_t ng_member_tally(const struct ng_member *member, struct ng_gate_tally *ret_tally)
{
	if (ng_gates_tally(member->context.gates, member->gate_index, ret_tally))
		*ret_tally = (struct ng_gate_tally){0};
	return ret_tally->hits;
}

static void end_steady(struct ng_member *member, uint64_t now_ns)
{
	if (member->steady_since_ns)
		member->armed_ns += now_ns - member->steady_since_ns;
	member->steady_since_ns = 0;
}

/* Brings what is armed in line with the plan. */
static void reconcile(struct ng_member *member, uint64_t now_ns)
{
	const enum ng_arming arming =
		member->leaving || member->ended ? NG_ARMING_NONE : member->governor.plan.arming;

	set_gate(member);
	if (arming != NG_ARMING_WINDOWS && member->all.start_ns)
		ng_member_end_windows(member, now_ns);
	if (member->is_busy)
		return;
	if (arming != NG_ARMING_STEADY && member->armed) {
		end_steady(member, now_ns);
		post(member, NG_JOB_DISARM);
	} else if (arming == NG_ARMING_STEADY && !member->armed) {
		post(member, NG_JOB_ARM);
	} else if (arming == NG_ARMING_WINDOWS && !member->all.start_ns) {
		ng_member_begin_windows(member, now_ns);
	}
}

void ng_member_set(struct ng_member *member, const struct ng_settings *settings, uint64_t now_ns)
{
	const bool is_leased = settings->lease_ns > 0;

	if (!is_leased || member->settings.mode == NG_MODE_OFF ||
		(member->settings.mode != NG_MODE_BURST && member->settings.mode != NG_MODE_FULL))
		member->before = is_leased ? member->settings : *settings;
	member->settings = *settings;
	member->gate_is_stale = true;
	member->lease_until_ns = is_leased ? now_ns + settings->lease_ns : 0;
	ng_governor_ask(&member->governor, settings, now_ns);
	reconcile(member, now_ns);
}

static void end_lease(struct ng_member *member, uint64_t now_ns)
{
	member->settings = member->before;
	member->gate_is_stale = true;
	member->lease_until_ns = 0;
	ng_governor_ask(&member->governor, &member->settings, now_ns);
	reconcile(member, now_ns);
}

void ng_member_leave(struct ng_member *member)
{
	member->leaving = true;
	reconcile(member, ng_clock_ns());
}

void ng_member_end(struct ng_member *member, uint64_t now_ns)
{
	member->ended = true;
	reconcile(member, now_ns);
}

void ng_member_set_execs(struct ng_member *member, uint32_t from, uint32_t before)
{
	member->exec_from = from;
	member->exec_before = before;
}

uint32_t ng_member_exec_from(const struct ng_member *member)
{
	return member->exec_from;
}

uint32_t ng_member_exec_before(const struct ng_member *member)
{
	return member->exec_before;
}

/* Pays what was hit since it was last paid, outside of windows. @return how many hits */
static uint64_t pay_hits(struct ng_member *member)
{
	struct ng_gate_tally tally;
	const uint64_t hits = ng_member_tally(member, &tally) - member->paid_hits;

	ng_member_learn_telling(member, &tally);
	ng_governor_pay(&member->governor, hits);
	member->paid_hits += hits;
	return hits;
}

/* Not of an earlier burst, whose end was told late. */
static bool is_burst_over(const struct ng_member *member)
{
	return member->settings.events &&
	       __atomic_load_n(&member->gate->burst_left, __ATOMIC_RELAXED) <= 0;
}

void ng_member_trip(struct ng_member *member, uint64_t now_ns)
{
	if (ng_member_window_end(member))
		ng_gates_end_window(member->context.gates, member->gate_index);
	else if (member->settings.mode != NG_MODE_BURST)
		ng_governor_trip(&member->governor, now_ns, pay_hits(member));
	else if (is_burst_over(member))
		end_lease(member, now_ns);
	reconcile(member, now_ns);
}

/* A window that shows nothing: its calls have no weight. */
static void void_window(const struct ng_member *member)
{
	if (member->context.weigher)
		ng_weigher_window(member->context.weigher, member->parts.serial, NULL, 0);
}

static void collect_window(struct ng_member *member, uint64_t now_ns)
{
	struct ng_gate_tally tally;
	const uint64_t armed_ns = member->times.disarmed_ns - member->times.armed_ns;
	const struct ng_window_cost cost = {
		/* With leads a window has fewer hits: it does not tell how many there are. */
		.armed_ns = member->window_is_led ? 0 : armed_ns,
		.hits = ng_member_tally(member, &tally) - member->paid_hits};

	member->paid_hits += cost.hits;
	ng_member_learn_cost(member, &tally);
	member->armed_ns += armed_ns;
	member->windows++;
	ng_governor_charge(&member->governor, &cost);
	if (!member->all.start_ns || member->job_error)
		void_window(member);
	if (!member->all.start_ns)
		return;
	if (!member->job_error)
		ng_member_learn_window(member);
	ng_strata_next(&member->strata, &member->governor, now_ns);
}

void ng_member_collect(struct ng_member *member, struct ng_job *job, uint64_t now_ns)
{
	member->is_busy = false;
	if (job->kind == NG_JOB_WINDOW)
		collect_window(member, now_ns);
	else if (job->kind == NG_JOB_ARM && !member->job_error)
		member->steady_since_ns = now_ns;
	if (member->job_error == -ESRCH)
		member->ended = true;
	reconcile(member, now_ns);
}

/* What the windows of the last seconds say to the governor. */
static void tell_windows(struct ng_member *member, uint64_t now_ns, struct ng_tick *tick)
{
	struct ng_rate rates[NG_MEMBER_FUNCTIONS_MAX];

	if (now_ns - member->told_ns < TELL_NS ||
		ng_span_rates(member, &member->recent, now_ns, rates))
		return;
	member->told_ns = now_ns;
	tick->rate_hz = tick->rate_high_hz = 0;
	for (size_t i = 0; i < member->function_count; i++) {
		tick->rate_hz += rates[i].hz;
		tick->rate_high_hz += rates[i].high_hz;
	}
	/* A process that hardly runs is hardly seen, and its rate has no upper end. After some
	 * windows a guess will do: should it be wrong, the tokens run out, within the budget. */
	if (rates[0].windows >= GUESS_WINDOWS && tick->rate_high_hz > 2 * tick->rate_hz)
		tick->rate_high_hz = 2 * tick->rate_hz;
	if (now_ns - member->recent.start_ns <= RECENT_NS)
		return;
	for (size_t i = 0; i < member->function_count; i++)
		member->functions[i].last = rates[i];
	ng_span_begin(member, &member->recent, now_ns);
}

bool ng_member_needs_tick(const struct ng_member *member, uint64_t now_ns)
{
	return !ng_governor_is_calm(&member->governor) ||
	       now_ns - member->ticked_ns >= NG_GOVERNOR_CALM_TICKS * NG_GOVERNOR_TICK_NS;
}

void ng_member_tick(struct ng_member *member, uint64_t now_ns)
{
	const uint64_t cpu_before = member->cpu_ns;
	/* A window under way is paid for when it is over. */
	const uint64_t hits = ng_member_window_end(member) ? 0 : pay_hits(member);
	struct ng_tick tick = {
		.now_ns = now_ns, .elapsed_ns = now_ns - member->ticked_ns, .rate_hz = -1};

	(void)ng_process_cpu_time(member->process.pid, &member->cpu_ns); /* gone: as last read */
	tick.cpu_ns = member->cpu_ns - cpu_before;
	if (member->steady_since_ns) {
		if (tick.elapsed_ns)
			tick.rate_hz = (double)hits / (double)tick.elapsed_ns * 1e9;
		tick.rate_high_hz = tick.rate_hz;
	} else if (member->all.start_ns) {
		tell_windows(member, now_ns, &tick);
	}
	member->ticked_ns = now_ns;
	ng_member_renew_cost(member);
	member->governor.costs.hit_ns = ng_member_hit_ns(member, member->sites[0].hit_ns);
	member->governor.costs.own_ns = member->context.cost->own_ns;
	ng_governor_tick(&member->governor, &tick);
	if (member->steady_since_ns)
		__atomic_store_n(
			&member->gate->tokens, member->governor.plan.tokens, __ATOMIC_RELAXED);
	reconcile(member, now_ns);
}

static void start_window(struct ng_member *member)
{
	member->window_is_led = ng_member_wants_leads(member);
	member->unled = member->window_is_led ? 0 : member->unled + 1;
	member->order = (struct ng_window_order){.pid = member->process.pid,
		.gate = member->gate_index,
		.tracepoints = member->tracepoints,
		.count = member->site_count + (member->window_is_led ? member->lead_count : 0),
		.settle_ns = NG_WINDOW_SETTLE_NS,
		.length_ns = member->governor.plan.window_ns,
		.tokens = member->governor.plan.tokens};
	(void)pay_hits(member); /* those of a steady stretch before it */
	member->window_end_ns = ng_clock_ns() + WINDOW_PATIENCE_NS;
	post(member, NG_JOB_WINDOW);
}

uint64_t ng_member_window_end(const struct ng_member *member)
{
	return member->is_busy && member->job.kind == NG_JOB_WINDOW ? member->window_end_ns : 0;
}

uint64_t ng_member_turn(struct ng_member *member, uint64_t now_ns)
{
	uint64_t due_ns;

	if (member->lease_until_ns && now_ns >= member->lease_until_ns)
		end_lease(member, now_ns);
	due_ns = member->lease_until_ns ? member->lease_until_ns : UINT64_MAX;
	if (member->is_busy || !member->all.start_ns)
		return due_ns;
	if (member->strata.due_ns <= now_ns && member->strata.has_window) {
		start_window(member);
		return due_ns; /* the next stratum is drawn when it has been paid for */
	}
	if (member->strata.due_ns <= now_ns)
		ng_strata_next(&member->strata, &member->governor, now_ns);
	return member->strata.due_ns < due_ns ? member->strata.due_ns : due_ns;
}
