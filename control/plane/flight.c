#include "control/plane/flight.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <xxhash.h>

#include "core/base/clock.h"
#include "core/base/rcu.h"

#include <urcu/rculfhash.h> /* after the flavour */

#define BUCKETS 1024 /* all at once: tables that grow need a thread of liburcu's for it */

#define WORDS (sizeof(struct ng_flight_call) / sizeof(uint64_t))

_Static_assert(sizeof(struct ng_flight_call) == 40, "ng_flight_call");

/* A process. All but `came` is written before it is in the table: release of `came` with acquire of
 * it by everybody who finds it, which says what liburcu does in C's own terms. */
struct process {
	struct cds_lfht_node node;
	struct process *next_removed; /* the looking thread's */
	struct ng_count_key key;      /* its site is 0 */
	uint32_t target;	      /* at the aggregator */
	/* A ring of `room` calls, NULL: it found no room. The writer puts a call at came % room,
	 * then `came` up; who reads looks at that before and after it copies, and keeps what
	 * cannot have been overwritten meanwhile. Words, so that none is ever torn. */
	uint64_t *words;
	uint64_t came;
};

struct ng_flight {
	struct ng_flight_options options;
	struct ng_agg *agg;
	struct cds_lfht *processes;
	uint64_t seed;
	size_t bytes;  /* of rings; atomic additions, relaxed */
	uint64_t lost; /* writer: the thread that takes calls in; relaxed */
	/* That thread's. */
	struct ng_agg_reader *reader; /* NULL: it has not begun */
	uint32_t last_target;
};

static size_t room_of(const struct ng_flight *flight)
{
	return flight->options.process_bytes / sizeof(struct ng_flight_call);
}

int ng_flight_new(const struct ng_flight_options *options, struct ng_flight **ret_flight)
{
	struct ng_flight *flight = calloc(1, sizeof(*flight));
	struct ng_agg_options agg = {.now_ns = ng_clock_ns(),
		.readers_max = 1,
		.stacks_max = options->stacks_max,
		.bytes_max = options->stack_bytes};
	int error;

	if (!flight)
		return -ENOMEM;
	flight->options = *options;
	/* Fails only where there is no random number yet: 0 is then as good as any. */
	(void)!getrandom(&agg.seed, sizeof(agg.seed), GRND_NONBLOCK);
	flight->seed = agg.seed;
	error = ng_agg_new(&agg, &flight->agg);
	if (!error) {
		flight->processes =
			cds_lfht_new_flavor(BUCKETS, BUCKETS, BUCKETS, 0, &urcu_memb_flavor, NULL);
		error = flight->processes ? 0 : -ENOMEM;
	}
	if (error) {
		ng_flight_free(flight);
		return error;
	}
	*ret_flight = flight;
	return 0;
}

static bool is_nobody(const struct ng_count_key *process, const void *context)
{
	(void)process;
	(void)context;
	return false;
}

void ng_flight_free(struct ng_flight *flight)
{
	if (!flight)
		return;
	assert(!flight->reader);
	if (flight->processes) {
		ng_flight_tidy(flight, is_nobody, NULL);
		(void)cds_lfht_destroy(flight->processes, NULL); /* it is empty */
	}
	ng_agg_free(flight->agg);
	free(flight);
}

/* --- taking in ---------------------------------------------------------------------------------
 */

static bool is_same(const struct ng_count_key *a, const struct ng_count_key *b)
{
	return a->start_ns == b->start_ns && a->tgid == b->tgid && a->exec_id == b->exec_id;
}

static int has_key(struct cds_lfht_node *node, const void *key)
{
	return is_same(&caa_container_of(node, struct process, node)->key, key);
}

static uint64_t hash(const struct ng_flight *flight, const struct ng_count_key *key)
{
	return XXH3_64bits_withSeed(key, sizeof(*key), flight->seed);
}

/* Its ring, where there is room for one. */
static uint64_t *new_words(struct ng_flight *flight)
{
	const size_t bytes = room_of(flight) * sizeof(struct ng_flight_call);
	uint64_t *words = NULL;

	if (__atomic_add_fetch(&flight->bytes, bytes, __ATOMIC_RELAXED) <=
		flight->options.all_bytes)
		words = malloc(bytes);
	if (!words)
		(void)__atomic_sub_fetch(&flight->bytes, bytes, __ATOMIC_RELAXED);
	return words;
}

static struct process *new_process(struct ng_flight *flight, const struct ng_count_key *key)
{
	struct process *process = calloc(1, sizeof(*process));

	if (!process)
		return NULL;
	process->key = *key;
	process->target = flight->last_target++;
	process->words = new_words(flight);
	__atomic_store_n(&process->came, 0, __ATOMIC_RELEASE);
	cds_lfht_add(flight->processes, hash(flight, key), &process->node);
	return process;
}

/* Under the read lock. @return NULL: no memory */
static struct process *process_of(struct ng_flight *flight, const struct ng_call *call)
{
	const struct ng_count_key key = {
		.start_ns = call->start_ns, .tgid = call->tgid, .exec_id = call->exec_id};
	struct cds_lfht_iter found;
	struct cds_lfht_node *node;

	cds_lfht_lookup(flight->processes, hash(flight, &key), has_key, &key, &found);
	node = cds_lfht_iter_get_node(&found);
	return node ? caa_container_of(node, struct process, node) : new_process(flight, &key);
}

/* Keeps a call, in place of the oldest one. */
static void keep(
	const struct ng_flight *flight, struct process *process, const struct ng_flight_call *call)
{
	const size_t place = (size_t)(process->came % room_of(flight)) * WORDS;
	uint64_t words[WORDS];

	memcpy(words, call, sizeof(words));
	/* Each a release: who finds it by an acquire sees `came` where it was before, or later. */
	for (size_t i = 0; process->words && i < WORDS; i++)
		__atomic_store_n(&process->words[place + i], words[i], __ATOMIC_RELEASE);
	__atomic_store_n(&process->came, process->came + 1, __ATOMIC_RELEASE);
}

void ng_flight_call(const struct ng_call *call, double weight, void *context)
{
	struct ng_flight *flight = context;
	struct ng_flight_call kept = {.time_ns = call->time_ns,
		.goroutine = call->goroutine,
		.weight = weight,
		.tid = call->tid,
		.window = call->window,
		.stretch = call->stretch};
	struct ng_agg_call added = {.function = call->site,
		.frames = call->frames,
		.depth = call->depth,
		.weight = weight};
	struct process *process;

	if (!flight->reader && ng_agg_reader_register(flight->agg, &flight->reader))
		return; /* cannot be: there is one reader */
	urcu_memb_read_lock();
	process = process_of(flight, call);
	if (process) {
		added.target = process->target;
		(void)ng_agg_add(flight->reader, &added, &kept.stack); /* depth is within bounds */
		keep(flight, process, &kept);
	} else {
		__atomic_store_n(&flight->lost, flight->lost + 1, __ATOMIC_RELAXED);
	}
	urcu_memb_read_unlock();
}

void ng_flight_last_call(void *context)
{
	struct ng_flight *flight = context;

	ng_agg_reader_unregister(flight->reader);
	flight->reader = NULL;
}

static uint64_t came(const struct process *process)
{
	return __atomic_load_n(&process->came, __ATOMIC_ACQUIRE);
}

/* --- looking -----------------------------------------------------------------------------------
 */

/* It stays: only the calling thread removes any. @return NULL: there is none */
static const struct process *find(
	struct ng_flight *flight, ng_flight_is_meant is_meant, const void *context)
{
	const struct process *found = NULL;
	struct cds_lfht_iter at;
	struct process *process;

	ng_rcu_enter();
	urcu_memb_read_lock();
	cds_lfht_for_each_entry(flight->processes, &at, process, node)
	{
		(void)came(process); /* acquires its key */
		if (!found && is_meant(&process->key, context))
			found = process;
	}
	urcu_memb_read_unlock();
	ng_rcu_leave();
	return found;
}

/* Copies the calls from a number on to another, those that are still there. */
static void copy_calls(const struct process *process, size_t room, uint64_t from, uint64_t to,
	struct ng_flight_view *view)
{
	uint64_t now, first;

	for (uint64_t i = from; i < to; i++) {
		const size_t place = (size_t)(i % room) * WORDS;
		uint64_t words[WORDS];

		for (size_t k = 0; k < WORDS; k++)
			words[k] = __atomic_load_n(&process->words[place + k], __ATOMIC_ACQUIRE);
		memcpy(&view->calls[i - from], words, sizeof(words));
	}
	/* The one after those that came may be under way: it takes one place more. */
	now = came(process);
	first = now + 1 > room ? now + 1 - room : 0;
	if (first > to)
		first = to;
	if (first > from) {
		memmove(view->calls, view->calls + (first - from),
			(size_t)(to - first) * sizeof(*view->calls));
		from = first;
	}
	view->count = (size_t)(to - from);
	view->overwritten = from;
}

static int take_calls(
	const struct ng_flight *flight, const struct process *process, struct ng_flight_view *view)
{
	const uint64_t to = came(process);
	const size_t room = room_of(flight);
	const uint64_t from = to > room ? to - room : 0;

	view->overwritten = to;
	view->has_no_room = !process->words;
	if (!process->words || from == to)
		return 0;
	view->calls = calloc((size_t)(to - from), sizeof(*view->calls));
	if (!view->calls)
		return -ENOMEM;
	copy_calls(process, room, from, to, view);
	return 0;
}

int ng_flight_look(struct ng_flight *flight, ng_flight_is_meant is_meant, const void *context,
	enum ng_agg_view view, bool with_calls, struct ng_flight_view *ret_view)
{
	const struct process *process = find(flight, is_meant, context);
	struct ng_flight_view looked = {.count = 0};
	int error;

	if (!process)
		return -ENOENT;
	looked.process = process->key;
	error = with_calls ? take_calls(flight, process, &looked) : 0;
	/* After the calls: it has the stacks of all of them. */
	if (!error)
		error = ng_agg_snapshot(flight->agg, view, process->target, &looked.stacks);
	if (error) {
		free(looked.calls);
		return error;
	}
	*ret_view = looked;
	return 0;
}

void ng_flight_view_release(struct ng_flight_view *view)
{
	free(view->calls);
	ng_agg_snapshot_release(&view->stacks);
}

void ng_flight_turn(struct ng_flight *flight, uint64_t now_ns)
{
	(void)ng_agg_rotate(flight->agg, now_ns); /* busy cannot be: views are this thread's */
}

static struct process *unlink_unmeant(
	struct ng_flight *flight, ng_flight_is_meant is_meant, const void *context)
{
	struct process *process, *removed = NULL;
	struct cds_lfht_iter at;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry(flight->processes, &at, process, node)
	{
		(void)came(process); /* acquires its key */
		if (is_meant(&process->key, context) ||
			cds_lfht_del(flight->processes, &process->node))
			continue;
		process->next_removed = removed;
		removed = process;
	}
	urcu_memb_read_unlock();
	return removed;
}

void ng_flight_tidy(struct ng_flight *flight, ng_flight_is_meant is_meant, const void *context)
{
	const size_t bytes = room_of(flight) * sizeof(struct ng_flight_call);
	struct process *removed;

	ng_rcu_enter();
	removed = unlink_unmeant(flight, is_meant, context);
	if (removed)
		urcu_memb_synchronize_rcu(); /* nobody adds for them any more */
	ng_rcu_leave();
	while (removed) {
		struct process *next = removed->next_removed;

		ng_agg_remove_target(flight->agg, removed->target);
		if (removed->words)
			(void)__atomic_sub_fetch(&flight->bytes, bytes, __ATOMIC_RELAXED);
		free(removed->words);
		free(removed);
		removed = next;
	}
}

uint64_t ng_flight_lost(struct ng_flight *flight)
{
	return __atomic_load_n(&flight->lost, __ATOMIC_RELAXED) +
	       ng_agg_totals(flight->agg).overflow.hits;
}
