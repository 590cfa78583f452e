#include "core/agg/agg.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "core/agg/agg_inside.h"

#define NO_NUMBER UINT32_MAX

/* Between two readers' sums, so that they share no pair of lines. */
#define GAP_SUMS (NG_AGG_LINES_BYTES / sizeof(struct ng_agg_sum) + 1)

static size_t entry_bytes(size_t depth)
{
	return sizeof(struct ng_agg_entry) + depth * sizeof(uint64_t) + sizeof(struct ng_agg_marks);
}

/* The same with what malloc() needs beside it: a word, in steps of two. */
static size_t block_bytes(size_t depth)
{
	const size_t step = 2 * sizeof(size_t);

	return (entry_bytes(depth) + sizeof(size_t) + step - 1) / step * step;
}

/* @return NO_NUMBER where all are taken */
static uint32_t take_number(struct ng_agg_numbers *numbers)
{
	uint64_t top = __atomic_load_n(&numbers->top, __ATOMIC_ACQUIRE), below;

	do {
		if ((uint32_t)top == NO_NUMBER)
			return NO_NUMBER;
		below = __atomic_load_n(&numbers->next[(uint32_t)top], __ATOMIC_RELAXED);
		below |= ((top >> 32) + 1) << 32;
	} while (!__atomic_compare_exchange_n(
		&numbers->top, &top, below, true, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE));
	return (uint32_t)top;
}

static void return_number(struct ng_agg_numbers *numbers, uint32_t number)
{
	uint64_t top = __atomic_load_n(&numbers->top, __ATOMIC_RELAXED), own;

	do {
		__atomic_store_n(&numbers->next[number], (uint32_t)top, __ATOMIC_RELAXED);
		own = ((top >> 32) + 1) << 32 | number;
	} while (!__atomic_compare_exchange_n(
		&numbers->top, &top, own, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

/* Takes of the bytes, never above the bound. */
static bool reserve(struct ng_agg *agg, size_t bytes)
{
	size_t now = __atomic_load_n(&agg->bytes, __ATOMIC_RELAXED);

	do {
		if (bytes > agg->bytes_max || now > agg->bytes_max - bytes)
			return false;
	} while (!__atomic_compare_exchange_n(
		&agg->bytes, &now, now + bytes, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}

void ng_agg_entry_free(struct ng_agg *agg, struct ng_agg_entry *entry)
{
	return_number(&agg->numbers, entry->number);
	__atomic_fetch_sub(&agg->stacks, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&agg->bytes, block_bytes(entry->depth), __ATOMIC_RELAXED);
	free(entry);
}

/* @return NULL where there is no room for it */
static struct ng_agg_entry *new_entry(struct ng_agg *agg, const struct ng_agg_call *call)
{
	const size_t bytes = block_bytes(call->depth);
	const uint32_t number = take_number(&agg->numbers);
	struct ng_agg_entry *entry;

	if (number == NO_NUMBER)
		return NULL;
	if (!reserve(agg, bytes))
		goto no_bytes;
	entry = calloc(1, entry_bytes(call->depth));
	if (!entry)
		goto no_memory;
	__atomic_fetch_add(&agg->stacks, 1, __ATOMIC_RELAXED);
	entry->target = call->target;
	entry->function = call->function;
	entry->number = number;
	if (call->depth)
		memcpy(entry->frames, call->frames, call->depth * sizeof(*call->frames));
	__atomic_store_n(&entry->depth, (uint32_t)call->depth, __ATOMIC_RELEASE);
	return entry;

no_memory:
	__atomic_fetch_sub(&agg->bytes, bytes, __ATOMIC_RELAXED);
no_bytes:
	return_number(&agg->numbers, number);
	return NULL;
}

static int is_of_call(struct cds_lfht_node *node, const void *key)
{
	const struct ng_agg_entry *entry = ng_agg_entry_of(node);
	const struct ng_agg_call *call = key;

	return ng_agg_entry_depth(entry) == call->depth && entry->target == call->target &&
	       entry->function == call->function &&
	       (!call->depth ||
		       !memcmp(entry->frames, call->frames, call->depth * sizeof(*call->frames)));
}

static uint64_t hash_call(const struct ng_agg *agg, const struct ng_agg_call *call)
{
	const uint64_t ids = (uint64_t)call->target << 32 | call->function;

	/* The ids are ours, nobody can choose them to fit a seed. */
	return XXH3_64bits_withSeed(call->frames, call->depth * sizeof(*call->frames),
		agg->seed ^ ids * 0x9e3779b97f4a7c15 /* 2^64 / golden ratio: spreads low bits */);
}

/* Finds a call's entry, or makes one. Under the read lock. @return NULL where there is no room */
static struct ng_agg_entry *find_entry(struct ng_agg *agg, const struct ng_agg_call *call)
{
	const uint64_t hash = hash_call(agg, call);
	struct cds_lfht_iter found;
	struct cds_lfht_node *node;
	struct ng_agg_entry *entry;

	cds_lfht_lookup(agg->table, hash, is_of_call, call, &found);
	node = cds_lfht_iter_get_node(&found);
	if (node)
		return ng_agg_entry_of(node);
	entry = new_entry(agg, call);
	if (!entry)
		return NULL;
	node = cds_lfht_add_unique(agg->table, hash, is_of_call, call, &entry->node);
	if (node != &entry->node)
		ng_agg_entry_free(agg, entry); /* another was faster, nobody saw this one */
	return ng_agg_entry_of(node);
}

int ng_agg_add(struct ng_agg_reader *reader, const struct ng_agg_call *call, uint32_t *ret_stack)
{
	struct ng_agg *agg = reader->agg;
	struct ng_agg_entry *entry;

	if (call->depth > NG_AGG_DEPTH_MAX || call->target == NG_AGG_ALL_TARGETS)
		return -EINVAL;
	urcu_memb_read_lock();
	entry = find_entry(agg, call);
	if (!entry)
		entry = agg->overflow;
	ng_agg_sum_bump(&reader->sums[entry->number], call->cost_ns, call->weight);
	if (ret_stack)
		*ret_stack = entry->number;
	/* Last: who removes acquires it, and with it all that was done to entries here. */
	ng_agg_sum_bump(&reader->taken, call->cost_ns, call->weight);
	urcu_memb_read_unlock();
	return 0;
}

int ng_agg_reader_register(struct ng_agg *agg, struct ng_agg_reader **ret_reader)
{
	struct ng_agg_reader *reader = NULL;

	pthread_mutex_lock(&agg->control);
	for (size_t i = 0; i < agg->readers_max && !reader; i++) {
		if (!agg->readers[i].is_taken)
			reader = &agg->readers[i];
	}
	if (reader)
		reader->is_taken = true;
	pthread_mutex_unlock(&agg->control);
	if (!reader)
		return -EBUSY;
	ng_rcu_enter();
	*ret_reader = reader;
	return 0;
}

void ng_agg_reader_unregister(struct ng_agg_reader *reader)
{
	if (!reader)
		return;
	ng_rcu_leave();
	/* The next one with this number goes on with its sums: the lock orders the two. */
	pthread_mutex_lock(&reader->agg->control);
	reader->is_taken = false;
	pthread_mutex_unlock(&reader->agg->control);
}

/* How many stacks there can be, if there were none but of depth 0. */
static size_t capacity(const struct ng_agg *agg, size_t stacks_max)
{
	const size_t stack_bytes = block_bytes(0) + sizeof(*agg->numbers.next) +
				   agg->readers_max * sizeof(*agg->sums) +
				   sizeof(struct cds_lfht_node);
	const size_t room = agg->bytes_max / stack_bytes;
	const size_t most = stacks_max < room ? stacks_max : room;

	return most < NO_NUMBER - 1 ? most : NO_NUMBER - 1;
}

static int make_sums(struct ng_agg *agg, size_t count)
{
	const size_t row = count + GAP_SUMS;
	const size_t bytes =
		count * sizeof(*agg->numbers.next) + agg->readers_max * row * sizeof(*agg->sums);

	if (!reserve(agg, bytes))
		return -EINVAL;
	agg->numbers.next = calloc(count, sizeof(*agg->numbers.next));
	agg->sums = calloc(agg->readers_max, row * sizeof(*agg->sums));
	if (!agg->numbers.next || !agg->sums)
		return -ENOMEM;
	agg->numbers.top = NO_NUMBER;
	for (size_t i = count; i > 0; i--)
		return_number(&agg->numbers, (uint32_t)(i - 1));
	for (size_t i = 0; i < agg->readers_max; i++)
		agg->readers[i].sums = agg->sums + i * row;
	return 0;
}

/* @return -EINVAL where it leaves no room for one stack */
static int make_table(struct ng_agg *agg, size_t stacks_max)
{
	const struct ng_agg_call none = {.target = NG_AGG_ALL_TARGETS};
	const size_t most = capacity(agg, stacks_max);
	size_t buckets = 1;
	int error = make_sums(agg, most + 1); /* the overflow's is one */

	if (error)
		return error;
	while (buckets < most)
		buckets <<= 1;
	if (!reserve(agg, buckets * sizeof(struct cds_lfht_node)) ||
		agg->bytes_max - agg->bytes < 2 * block_bytes(0))
		return -EINVAL;
	agg->overflow = new_entry(agg, &none);
	if (!agg->overflow)
		return -ENOMEM;
	agg->stacks = 0;
	/* All buckets at once: tables that grow need a thread of liburcu's for it. */
	agg->table = cds_lfht_new_flavor(buckets, buckets, buckets, 0, &urcu_memb_flavor, NULL);
	return agg->table ? 0 : -ENOMEM;
}

int ng_agg_new(const struct ng_agg_options *options, struct ng_agg **ret_agg)
{
	struct ng_agg *agg;
	size_t bytes;
	void *memory;
	int error;

	if (!options->readers_max || !options->stacks_max || options->bytes_max < sizeof(*agg) ||
		options->readers_max > (options->bytes_max - sizeof(*agg)) / sizeof(*agg->readers))
		return -EINVAL;
	bytes = sizeof(*agg) + options->readers_max * sizeof(*agg->readers);
	if (posix_memalign(&memory, NG_AGG_LINES_BYTES, bytes))
		return -ENOMEM;
	agg = memset(memory, 0, bytes);
	agg->seed = options->seed;
	agg->start_ns = options->now_ns;
	agg->readers_max = options->readers_max;
	agg->bytes_max = options->bytes_max;
	agg->bytes = bytes;
	pthread_mutex_init(&agg->control, NULL);
	for (size_t i = 0; i < agg->readers_max; i++)
		agg->readers[i] = (struct ng_agg_reader){.agg = agg};
	ng_agg_windows_init(agg, options->now_ns);
	error = make_table(agg, options->stacks_max);
	if (error) {
		ng_agg_free(agg);
		return error;
	}
	*ret_agg = agg;
	return 0;
}

void ng_agg_free(struct ng_agg *agg)
{
	int busy = 0;

	if (!agg)
		return;
	for (size_t i = 0; i < agg->readers_max; i++)
		assert(!agg->readers[i].is_taken);
	if (agg->table) {
		ng_agg_remove_target(agg, NG_AGG_ALL_TARGETS);
		busy = cds_lfht_destroy(agg->table, NULL);
	}
	assert(!busy);
	free(agg->overflow);
	free(agg->sums);
	free(agg->numbers.next);
	pthread_mutex_destroy(&agg->control);
	free(agg);
}
