#include "core/stat/estimate.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"

/*
 * Windows come one from each stratum of time, so only what differs within a stratum is chance: a
 * program that was busy for a second and idle for the next was seen in both. Neighbours form a
 * group, of two halves that take turns, and groups' halves tell the variance. Once there are more,
 * neighbouring groups are merged: 16 to 32 groups.
 */
#define GROUPS_MAX 32

/* A thread seen in fewer windows is pooled: a rate of its own would be mostly noise. */
#define WINDOWS_MIN 5

/* With calls in fewer windows than these, and only in some, it is chance whether one had any. */
#define BUSY_WINDOWS_MIN 10

/* Below this many hits' costs of undisturbed time, a window's own rate is mostly noise, see
 * weight_of(). */
#define FREE_HITS_MIN 4

/* CPU time of a running thread is read late by up to a tick (4 ms): standard deviation of the
 * difference of two such readings, 4 ms / sqrt(6). */
#define CPU_READ_ERROR_NS 1.63e6

/* Where calls and other work take turns in less than a window, dead time shifts what a window sees
 * of either. In simulations of programs that work, call and sleep in turns the rate was off by up
 * to 8 % of the share of dead time: as a standard deviation. */
#define CROWDING_RATIO 0.06

/* A program that goes by the time makes up for what windows took from it, or not: it is held to
 * have lost calls for the time lost, and half of them may be wrong. */
#define MADE_UP_RATIO 0.5

#define NORMAL_95 1.96

/* So many events are to be expected where none is seen in one of 20 cases. */
#define NOTHING_SEEN 3

/* Weighted, see weight_of(). */
struct sums {
	double calls;
	double free_ns; /* undisturbed CPU time */
};

struct thread {
	uint32_t tid;
	uint32_t windows;
	double calls; /* not weighted, as the following two */
	double ran_ns;
	double dead_ns;
	struct sums cheap; /* of all groups, if hits cost as little as they may */
	struct sums dear;  /* … as much as they may */
	struct sums halves[GROUPS_MAX][2];
};

struct ng_estimate {
	size_t windows;
	size_t busy_windows;   /* with calls */
	size_t busy_exposures; /* threads with calls, in each window */
	uint64_t calls;

	size_t group_count;
	size_t group_windows[GROUPS_MAX][2]; /* in each half */
	size_t group_size;		     /* windows in a full one */

	struct thread *threads;
	size_t thread_count;
	size_t thread_room;
	uint32_t *index;   /* by hash of tid: place in threads + 1, 0 if free; open addressing */
	size_t index_size; /* a power of 2, at least twice thread_room */

	struct thread others; /* above NG_ESTIMATE_THREADS_MAX */
};

struct ng_estimate *ng_estimate_new(void)
{
	struct ng_estimate *estimate = calloc(1, sizeof(*estimate));

	if (estimate)
		estimate->group_size = 2;
	return estimate;
}

void ng_estimate_reset(struct ng_estimate *estimate)
{
	free(estimate->threads);
	free(estimate->index);
	*estimate = (struct ng_estimate){.group_size = 2};
}

void ng_estimate_free(struct ng_estimate *estimate)
{
	if (!estimate)
		return;
	ng_estimate_reset(estimate);
	free(estimate);
}

/* The tid's place in the index, or the free one where it belongs. */
static uint32_t *index_at(const struct ng_estimate *estimate, uint32_t tid)
{
	const size_t mask = estimate->index_size - 1;
	size_t i = (tid * 2654435761u) & mask; /* Knuth's multiplicative hash */

	while (estimate->index[i] && estimate->threads[estimate->index[i] - 1].tid != tid)
		i = (i + 1) & mask;
	return &estimate->index[i];
}

static struct thread *find_thread(const struct ng_estimate *estimate, uint32_t tid)
{
	uint32_t place = estimate->index_size ? *index_at(estimate, tid) : 0;

	return place ? &estimate->threads[place - 1] : NULL;
}

static int grow(struct ng_estimate *estimate)
{
	const size_t room = estimate->thread_room ? 2 * estimate->thread_room : 8;
	uint32_t *index = calloc(2 * room, sizeof(*index));
	struct thread *threads;

	if (!index)
		return -ENOMEM;
	free(estimate->index);
	estimate->index = index;
	estimate->index_size = 2 * room;
	assert(estimate->threads || !estimate->thread_count);
	for (uint32_t i = 0; i < estimate->thread_count; i++)
		*index_at(estimate, estimate->threads[i].tid) = i + 1;
	threads = realloc(estimate->threads, room * sizeof(*threads));
	if (!threads)
		return -ENOMEM;
	estimate->threads = threads;
	estimate->thread_room = room;
	return 0;
}

static int reserve_thread(struct ng_estimate *estimate, uint32_t tid)
{
	int error;

	if (find_thread(estimate, tid) || estimate->thread_count == NG_ESTIMATE_THREADS_MAX)
		return 0;
	if (estimate->thread_count == estimate->thread_room) {
		error = grow(estimate);
		if (error)
			return error;
	}
	assert(estimate->threads);
	estimate->threads[estimate->thread_count] = (struct thread){.tid = tid};
	*index_at(estimate, tid) = (uint32_t)++estimate->thread_count;
	return 0;
}

static void add_sums(struct sums *to, const struct sums *sums)
{
	to->calls += sums->calls;
	to->free_ns += sums->free_ns;
}

static void merge_groups_of(struct thread *thread)
{
	for (size_t i = 0; i < GROUPS_MAX / 2; i++)
		for (size_t half = 0; half < 2; half++) {
			struct sums merged = thread->halves[2 * i][half];

			add_sums(&merged, &thread->halves[2 * i + 1][half]);
			thread->halves[i][half] = merged;
		}
	memset(&thread->halves[GROUPS_MAX / 2], 0, sizeof(thread->halves) / 2);
}

static void merge_groups(struct ng_estimate *estimate)
{
	size_t(*windows)[2] = estimate->group_windows;

	for (size_t i = 0; i < estimate->thread_count; i++)
		merge_groups_of(&estimate->threads[i]);
	merge_groups_of(&estimate->others);
	for (size_t i = 0; i < GROUPS_MAX / 2; i++)
		for (size_t half = 0; half < 2; half++)
			windows[i][half] = windows[2 * i][half] + windows[2 * i + 1][half];
	memset(&windows[GROUPS_MAX / 2], 0, sizeof(estimate->group_windows) / 2);
	estimate->group_count = GROUPS_MAX / 2;
	estimate->group_size *= 2;
}

/* @return the group of the next window */
static size_t next_group(struct ng_estimate *estimate)
{
	if (estimate->group_count) {
		const size_t *last = estimate->group_windows[estimate->group_count - 1];

		if (last[0] + last[1] < estimate->group_size)
			return estimate->group_count - 1;
	}
	if (estimate->group_count == GROUPS_MAX)
		merge_groups(estimate);
	return estimate->group_count++;
}

/*
 * A window stands for CPU time in proportion to what its thread ran in it, but what it shows is
 * only what the dead time left. Summed as they are, windows in which a thread is hot would count
 * for too little: a thread that calls half of the time, at 1 M/s, would be given 0.71 of its rate
 * at 0.8 us a hit. So all that a window shows is scaled up to what it stands for. The scale comes
 * out of the window itself, and where a hit more or less changes it much (little time is left) it
 * is kept constant: such windows are pooled.
 */
static double weight_of(
	const struct ng_estimate_window *window, double ran_ns, double free_ns, double cost_ns)
{
	const double least_ns = fmax(free_ns, FREE_HITS_MIN * cost_ns);

	return least_ns > 0 ? ran_ns / least_ns * window->stratum_ns / window->open_ns : 0;
}

double ng_estimate_weight(
	const struct ng_estimate_window *window, const struct ng_exposure *exposure)
{
	return weight_of(
		window, exposure->ran_ns, exposure->ran_ns - exposure->dead_ns, window->cost_ns);
}

static void add_exposure(struct sums *sums, const struct ng_estimate_window *window,
	const struct ng_exposure *exposure, double cost_ratio)
{
	const double free_ns = exposure->ran_ns - cost_ratio * exposure->dead_ns;
	const double weight =
		weight_of(window, exposure->ran_ns, free_ns, cost_ratio * window->cost_ns);

	sums->calls += weight * exposure->calls;
	sums->free_ns += weight * free_ns;
}

int ng_estimate_add(struct ng_estimate *estimate, const struct ng_estimate_window *window,
	const struct ng_exposure *exposures, size_t count)
{
	const double spread = NORMAL_95 * window->cost_error_ratio;
	const size_t half = estimate->windows % 2;
	uint64_t calls = 0;
	size_t group;

	assert(window->stratum_ns > 0 && window->open_ns > 0);
	for (size_t i = 0; i < count; i++) {
		int error = reserve_thread(estimate, exposures[i].tid);

		if (error)
			return error;
	}
	group = next_group(estimate);
	for (size_t i = 0; i < count; i++) {
		const struct ng_exposure *exposure = &exposures[i];
		struct thread *thread = find_thread(estimate, exposure->tid);

		if (!thread)
			thread = &estimate->others;
		thread->windows++;
		thread->calls += exposure->calls;
		thread->ran_ns += exposure->ran_ns;
		thread->dead_ns += exposure->dead_ns;
		add_exposure(&thread->halves[group][half], window, exposure, 1);
		add_exposure(&thread->cheap, window, exposure, fmax(1 - spread, 0));
		add_exposure(&thread->dear, window, exposure, 1 + spread);
		calls += exposure->calls;
		estimate->busy_exposures += exposure->calls > 0;
	}
	estimate->group_windows[group][half]++;
	estimate->windows++;
	estimate->busy_windows += calls > 0;
	estimate->calls += calls;
	return 0;
}

static void pool(struct thread *into, const struct thread *thread)
{
	into->windows += thread->windows;
	into->calls += thread->calls;
	into->ran_ns += thread->ran_ns;
	into->dead_ns += thread->dead_ns;
	add_sums(&into->cheap, &thread->cheap);
	add_sums(&into->dear, &thread->dear);
	for (size_t i = 0; i < GROUPS_MAX; i++)
		for (size_t half = 0; half < 2; half++)
			add_sums(&into->halves[i][half], &thread->halves[i][half]);
}

/* Is something left of it, whichever half of a group is left out? */
static bool is_spread(const struct thread *thread)
{
	size_t count = 0;

	for (size_t i = 0; i < GROUPS_MAX; i++)
		for (size_t half = 0; half < 2; half++)
			count += thread->halves[i][half].free_ns != 0;
	return count > 1;
}

static bool stands_alone(const struct thread *thread)
{
	return thread->windows >= WINDOWS_MIN && is_spread(thread);
}

/* Threads with a rate of their own, and the rest; what each calls, and in how much CPU time. */
struct part {
	const struct thread *seen;
	double cpu_ns;	   /* undisturbed */
	double lost_ratio; /* to windows, by cpu_ns */
	struct sums total;
};

struct parts {
	struct part *parts;
	size_t count;
	double elapsed_ns;
	struct thread rest;
};

static void add_part(struct parts *parts, const struct thread *seen, double cpu_ns, double dead_ns)
{
	struct part *part = &parts->parts[parts->count++];

	*part = (struct part){.seen = seen, .cpu_ns = fmax(cpu_ns - dead_ns, 0)};
	if (part->cpu_ns > 0)
		part->lost_ratio = dead_ns / part->cpu_ns;
	for (size_t i = 0; i < GROUPS_MAX; i++)
		for (size_t half = 0; half < 2; half++)
			add_sums(&part->total, &seen->halves[i][half]);
}

static int divide(
	const struct ng_estimate *estimate, const struct ng_process_use *use, struct parts *parts)
{
	NG_CLEANUP_FREE double *cpu_ns = calloc(estimate->thread_count + 1, sizeof(*cpu_ns));
	double own_ns = 0, scale, rest_dead_ns;

	if (!cpu_ns)
		return -ENOMEM;
	for (size_t i = 0; i < use->thread_count; i++) {
		const struct thread *thread = find_thread(estimate, use->threads[i].tid);

		if (thread && stands_alone(thread)) {
			cpu_ns[thread - estimate->threads] = use->threads[i].cpu_ns;
			own_ns += use->threads[i].cpu_ns;
		}
	}
	/* The sum of many readings is worth less than the one of all. */
	scale = own_ns > use->cpu_ns ? use->cpu_ns / own_ns : 1;
	pool(&parts->rest, &estimate->others);
	assert(estimate->threads || !estimate->thread_count);
	for (size_t i = 0; i < estimate->thread_count; i++) {
		const struct thread *thread = &estimate->threads[i];

		if (cpu_ns[i] > 0)
			add_part(parts, thread, scale * cpu_ns[i], thread->dead_ns);
		else
			pool(&parts->rest, thread);
	}
	rest_dead_ns = parts->rest.dead_ns;
	if (!stands_alone(&parts->rest))
		for (size_t i = 0, own = parts->count; i < own; i++)
			pool(&parts->rest, parts->parts[i].seen);
	add_part(parts, &parts->rest, use->cpu_ns - scale * own_ns, rest_dead_ns);
	return 0;
}

static double rate_of(const struct part *part, const struct sums *sums)
{
	if (part->cpu_ns <= 0 || sums->calls <= 0)
		return 0;
	return sums->free_ns > 0 ? sums->calls / sums->free_ns * part->cpu_ns : INFINITY;
}

enum whole { WHOLE, WHOLE_CHEAP, WHOLE_DEAR, WHOLE_ARMED };

static double whole_hz(const struct parts *parts, enum whole which)
{
	double calls = 0;

	for (size_t i = 0; i < parts->count; i++) {
		const struct part *part = &parts->parts[i];
		const struct thread *seen = part->seen;
		const struct sums armed = {.calls = seen->calls, .free_ns = seen->ran_ns};

		calls += rate_of(part, which == WHOLE_CHEAP   ? &seen->cheap
				       : which == WHOLE_DEAR  ? &seen->dear
				       : which == WHOLE_ARMED ? &armed
							      : &part->total);
	}
	return calls / parts->elapsed_ns * 1e9;
}

/* As if the group's other half had been seen in its place too. */
static double without_half_hz(
	const struct parts *parts, size_t group, size_t half, double other_ratio)
{
	double calls = 0;

	for (size_t i = 0; i < parts->count; i++) {
		const struct part *part = &parts->parts[i];
		const struct sums *out = &part->seen->halves[group][half];
		const struct sums *in = &part->seen->halves[group][!half];
		/* Never below 0 by rounding, where the half held all. */
		const struct sums left = {
			.calls = fmax(part->total.calls - out->calls + other_ratio * in->calls, 0),
			.free_ns = part->total.free_ns - out->free_ns + other_ratio * in->free_ns};

		calls += rate_of(part, &left);
	}
	return calls / parts->elapsed_ns * 1e9;
}

/* Stratified jackknife, two units a stratum; not finite where one half is all that makes sense. */
static double window_variance(
	const struct ng_estimate *estimate, const struct parts *parts, double hz)
{
	double variance = 0, windows = 0;

	for (size_t i = 0; i < estimate->group_count; i++) {
		const size_t *halves = estimate->group_windows[i];

		if (!halves[0] || !halves[1]) /* the last, without a neighbour yet */
			continue;
		windows += (double)(halves[0] + halves[1]);
		for (size_t half = 0; half < 2; half++) {
			const double off = without_half_hz(parts, i, half,
						   (double)halves[half] / (double)halves[!half]) -
					   hz;

			variance += off * off / 2;
		}
	}
	return variance * (double)estimate->windows / windows;
}

/* What cannot be told from windows, see CROWDING_RATIO and MADE_UP_RATIO: as a part of the rate. */
static double unknown_ratio(const struct parts *parts, double hz)
{
	double crowded_hz = 0, lost_hz = 0;

	for (size_t i = 0; i < parts->count; i++) {
		const struct part *part = &parts->parts[i];
		const double part_hz = rate_of(part, &part->total) / parts->elapsed_ns * 1e9;

		if (part_hz <= 0)
			continue;
		crowded_hz += part_hz * part->seen->dead_ns / part->seen->ran_ns;
		lost_hz += part_hz * part->lost_ratio;
	}
	return hypot(CROWDING_RATIO * crowded_hz, MADE_UP_RATIO * lost_hz) / hz;
}

static double cpu_variance(const struct parts *parts)
{
	double variance = 0;

	for (size_t i = 0; i < parts->count; i++) {
		const struct part *part = &parts->parts[i];
		const double hz = rate_of(part, &part->total) / parts->elapsed_ns * 1e9;

		if (hz > 0) {
			const double ratio = fmin(CPU_READ_ERROR_NS / part->cpu_ns, 1);

			variance += hz * ratio * hz * ratio;
		}
	}
	return variance;
}

/* Student's t, 97.5 %; above the table by Cornish and Fisher's expansion, within 0.2 %. */
static double t_quantile(size_t freedom)
{
	static const double table[] = {
		12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262};
	const double z = NORMAL_95, v = (double)freedom;

	assert(freedom > 0);
	if (freedom <= sizeof(table) / sizeof(*table))
		return table[freedom - 1];
	return z + (z * z * z + z) / (4 * v) +
	       (5 * pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * v * v);
}

/* Quantile of chi squared, halved, with 2 a degrees of freedom (Wilson and Hilferty). */
static double gamma_quantile(double a, double z)
{
	return a * pow(fmax(1 - 1 / (9 * a) + z / (3 * sqrt(a)), 0), 3);
}

/* A handful of events: what their number says of their mean, for Poisson's law. */
static void widen_by_chance(size_t events, struct ng_rate *rate)
{
	const double n = (double)events;

	rate->low_hz = fmin(rate->low_hz, rate->hz * gamma_quantile(n, -NORMAL_95) / n);
	rate->high_hz = fmax(rate->high_hz, rate->hz * gamma_quantile(n + 1, NORMAL_95) / n);
}

static void find_interval(
	const struct ng_estimate *estimate, const struct parts *parts, struct ng_rate *rate)
{
	const double cheap_hz = whole_hz(parts, WHOLE_CHEAP), dear_hz = whole_hz(parts, WHOLE_DEAR);
	const double armed_hz = whole_hz(parts, WHOLE_ARMED);
	const double calls = (double)estimate->calls, busy = (double)estimate->busy_exposures;
	double variance, spread;

	if (!isfinite(rate->hz)) {
		/* What was seen while armed was made in any case. */
		rate->low_hz = isfinite(cheap_hz) ? cheap_hz : isfinite(armed_hz) ? armed_hz : 0;
		rate->hz = rate->low_hz;
		rate->high_hz = INFINITY;
		return;
	}
	variance = (window_variance(estimate, parts, rate->hz) + cpu_variance(parts)) /
			   (rate->hz * rate->hz) +
		   pow(unknown_ratio(parts, rate->hz), 2);
	if (!isfinite(variance)) {
		rate->low_hz = fmin(armed_hz, rate->hz);
		rate->high_hz = INFINITY;
		return;
	}
	/* A window's count is a whole number: mean of f (1 - f) for what is cut off. */
	variance += busy / 6 / (calls * calls);
	spread = t_quantile(estimate->windows / 2 < estimate->group_count ? estimate->windows / 2
									  : estimate->group_count) *
		 sqrt(variance);
	rate->low_hz = rate->hz * exp(-hypot(spread, log(rate->hz / cheap_hz)));
	rate->high_hz = isfinite(dear_hz) ? rate->hz * exp(hypot(spread, log(dear_hz / rate->hz)))
					  : INFINITY;
	if (estimate->busy_windows < BUSY_WINDOWS_MIN &&
		2 * estimate->busy_windows < estimate->windows)
		widen_by_chance(estimate->busy_windows, rate);
}

static int estimate_rate(const struct ng_estimate *estimate, const struct ng_process_use *use,
	struct part *storage, struct ng_rate *rate)
{
	struct parts parts = {.parts = storage, .elapsed_ns = use->elapsed_ns};
	struct thread all = {0};
	const int error = divide(estimate, use, &parts);

	if (error)
		return error;
	pool(&all, &estimate->others);
	for (size_t i = 0; i < estimate->thread_count; i++)
		pool(&all, &estimate->threads[i]);
	if (use->elapsed_ns <= 0 || use->cpu_ns <= 0 || all.ran_ns <= 0)
		return 0;
	rate->hz = whole_hz(&parts, WHOLE);
	if (!is_spread(&all))
		rate->hz = isfinite(rate->hz) ? rate->hz : 0;
	else if (rate->hz > 0)
		find_interval(estimate, &parts, rate);
	else if (!rate->calls)
		rate->high_hz = NOTHING_SEEN / all.ran_ns * use->cpu_ns / use->elapsed_ns * 1e9;
	return 0;
}

int ng_estimate_rate(const struct ng_estimate *estimate, const struct ng_process_use *use,
	struct ng_rate *ret_rate)
{
	/* A part for each thread, and one for the rest. */
	NG_CLEANUP_FREE struct part *storage = calloc(estimate->thread_count + 1, sizeof(*storage));
	struct ng_rate rate = {
		.high_hz = INFINITY, .windows = estimate->windows, .calls = estimate->calls};
	int error;

	if (!storage)
		return -ENOMEM;
	error = estimate_rate(estimate, use, storage, &rate);
	if (!error)
		*ret_rate = rate;
	return error;
}
