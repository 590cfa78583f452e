/* The aggregator's insides, for its own files. */
#ifndef NG_CORE_AGG_AGG_INSIDE_H
#define NG_CORE_AGG_AGG_INSIDE_H

#include <pthread.h>
#include <stdbool.h>

#include "core/agg/agg.h"
#include "core/base/rcu.h"

#include <urcu/rculfhash.h> /* after the flavour */

/* A pair of lines of the cache: prefetchers fetch a line's neighbour along. With sums on lines of
 * their own beside each other two readers took in 1.1 times what one does, of 1.7 possible. */
#define NG_AGG_LINES_BYTES 128
#define NG_AGG_LINES	   __attribute__((aligned(NG_AGG_LINES_BYTES)))

#define NG_AGG_WINDOWS 2
#define NG_AGG_SLOTS   4
#define NG_AGG_MARKS   (NG_AGG_SLOTS + 1) /* a window reaches from one mark back by as many slots */

/* The sums at NG_AGG_MARKS moments, for each window. By the control lock. */
struct ng_agg_marks {
	struct ng_agg_sum at[NG_AGG_WINDOWS][NG_AGG_MARKS];
};

/* A stack: this with its frames, none of which ever changes, then its struct ng_agg_marks. */
struct ng_agg_entry {
	struct cds_lfht_node node;
	struct ng_agg_entry *next_removed; /* by the control lock */
	uint32_t target;
	uint32_t function;
	uint32_t number; /* where its sums are, with each reader */
	uint32_t depth;	 /* written last, by a release: ng_agg_entry_depth() acquires */
	uint64_t frames[];
};

/* By the control lock. */
struct ng_agg_window {
	uint64_t slot_ns;
	uint64_t at_ns[NG_AGG_MARKS]; /* when the marks were made; a ring */
	unsigned int last;	      /* the newest mark */
	unsigned int from;	      /* the one that the view begins at */
};

struct ng_agg_reader {
	struct ng_agg_sum taken; /* writer: the reader; hits is released by each add */
	struct ng_agg_sum *sums; /* by number; writer: the reader, but for a free number's */
	struct ng_agg *agg;
	bool is_taken; /* by the control lock */
} NG_AGG_LINES;

/* A lock-free stack of the numbers that no entry has. */
struct ng_agg_numbers {
	uint64_t top;	/* changes so far << 32 | number: one that left and came back differs */
	uint32_t *next; /* the one below, for each */
};

struct ng_agg {
	struct cds_lfht *table;
	struct ng_agg_entry *overflow; /* not in the table */
	struct ng_agg_sum *sums;       /* all readers' */
	uint64_t seed;
	uint64_t start_ns;
	size_t readers_max;
	size_t bytes_max;

	/* By readers and by the control lock's holder; relaxed, for they publish nothing. */
	NG_AGG_LINES size_t stacks;
	size_t bytes;
	struct ng_agg_numbers numbers; /* these do: a free number's sums are 0 */

	/* Nests outside of RCU's read lock. */
	NG_AGG_LINES pthread_mutex_t control;
	struct ng_agg_window windows[NG_AGG_WINDOWS];
	struct ng_agg_sum removed;

	struct ng_agg_reader readers[];
};

/* Frees an entry that nobody can find, and gives its room back. */
void ng_agg_entry_free(struct ng_agg *agg, struct ng_agg_entry *entry);

void ng_agg_windows_init(struct ng_agg *agg, uint64_t now_ns);

static inline struct ng_agg_marks *ng_agg_marks(struct ng_agg_entry *entry)
{
	return (struct ng_agg_marks *)(entry->frames + entry->depth);
}

static inline size_t ng_agg_entry_depth(const struct ng_agg_entry *entry)
{
	return __atomic_load_n(&entry->depth, __ATOMIC_ACQUIRE);
}

static inline struct ng_agg_entry *ng_agg_entry_of(struct cds_lfht_node *node)
{
	return caa_container_of(node, struct ng_agg_entry, node);
}

/* Adds to a sum that only the caller writes. */
static inline void ng_agg_sum_bump(struct ng_agg_sum *own, uint64_t cost_ns, double weight)
{
	const uint64_t hits = own->hits + 1, cost = own->cost_ns + cost_ns;

	weight += own->weight;
	__atomic_store(&own->weight, &weight, __ATOMIC_RELAXED);
	__atomic_store_n(&own->cost_ns, cost, __ATOMIC_RELAXED);
	__atomic_store_n(&own->hits, hits, __ATOMIC_RELEASE);
}

/* Adds one that a reader may be writing to one's own. */
static inline void ng_agg_sum_gather(struct ng_agg_sum *own, const struct ng_agg_sum *of_reader)
{
	double weight;

	own->hits += __atomic_load_n(&of_reader->hits, __ATOMIC_ACQUIRE);
	own->cost_ns += __atomic_load_n(&of_reader->cost_ns, __ATOMIC_RELAXED);
	__atomic_load(&of_reader->weight, &weight, __ATOMIC_RELAXED);
	own->weight += weight;
}

/* What all readers added to a stack. */
static inline struct ng_agg_sum ng_agg_entry_sum(
	const struct ng_agg *agg, const struct ng_agg_entry *entry)
{
	struct ng_agg_sum sum = {.hits = 0};

	(void)ng_agg_entry_depth(entry); /* acquires its number */
	for (size_t i = 0; i < agg->readers_max; i++)
		ng_agg_sum_gather(&sum, &agg->readers[i].sums[entry->number]);
	return sum;
}

#endif
