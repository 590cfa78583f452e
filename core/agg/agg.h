/*
 * Adds up traced calls by target, function and stack, while they come: a bounded table that any
 * number of views look at, without a reader of records ever waiting for them.
 *
 * A stack has one sum for each reader, among that reader's other sums. So adding needs no atomic
 * addition, and what is written stays in the reader's own cache. Of the past an entry keeps what
 * its sums were at some moments (marks): a window is what they are now less what they were then.
 *
 * Each may be called beside all others, ng_agg_free() excepted. By whom, and its progress:
 *
 *   ng_agg_add, known stack   reader's thread   lock-free: a look-up and six stores
 *   ng_agg_add, new stack     reader's thread   as malloc(), which may wait for an arena's lock
 *   ng_agg_reader_register    reader's thread   blocks: control lock
 *   ng_agg_reader_unregister  reader's thread   blocks: control lock
 *   ng_agg_rotate             any               -EBUSY where it would wait for the control lock
 *   ng_agg_snapshot           any               blocks: control lock
 *   ng_agg_totals             any               blocks: control lock
 *   ng_agg_remove_target      any               blocks: control lock, then a grace period
 *   ng_agg_free               any               last of all, alone
 *
 * Readers never hold the control lock while they add, so no add waits for a view or a removal.
 * None of them inside a read lock of RCU; each registers its thread by itself.
 *
 * Memory order. What pairs:
 *   - An entry's key, written before it is in the table: release of its depth (add) with acquire of
 *     it by everybody who finds it. liburcu orders as much; these two say it in C's own terms,
 *     which cost nothing on x86 and which ThreadSanitizer understands.
 *   - Sums: one writer each, relaxed stores; views read them relaxed. One sum's three values may be
 *     read between two stores of one call; no value is ever torn or lost.
 *   - A removed entry's last sums: the reader's release of what it took in, its last act inside of
 *     the read lock, with the remover's acquire of it after the grace period.
 *   - A number that is free again, its sums 0: the remover's release with the acquire of who takes
 *     it, and on to everybody who finds the new entry.
 *   - Marks, windows and the removed sums: the control lock.
 *
 * Reclamation: only removal takes entries away. It unlinks them, waits until every read lock that
 * was held is let go (synchronize_rcu), then reads their sums for the last time and frees them.
 */
#ifndef NG_CORE_AGG_AGG_H
#define NG_CORE_AGG_AGG_H

#include <stddef.h>
#include <stdint.h>

struct ng_agg;
struct ng_agg_reader;

#define NG_AGG_DEPTH_MAX   127 /* as NG_RECORD_FRAMES_MAX */
#define NG_AGG_ALL_TARGETS UINT32_MAX

/** What calls add up to. */
struct ng_agg_sum {
	uint64_t hits;
	uint64_t cost_ns;
	double weight; /* calls that the hits stand for; exact as long as it is whole, to 2^53 */
};

struct ng_agg_options {
	uint64_t seed;	    /* of the hash: random, for targets choose their stacks */
	uint64_t now_ns;    /* when all views begin, on any clock that never goes back */
	size_t readers_max; /* at least 1; each takes 24 bytes of each stack that there can be */
	size_t stacks_max;  /* at least 1 */
	size_t bytes_max;   /* of all that is allocated, but for snapshots */
};

/** @return 0; -EINVAL: the options leave no room for one stack; -ENOMEM */
int ng_agg_new(const struct ng_agg_options *options, struct ng_agg **ret_agg);

/** All readers are unregistered before. */
void ng_agg_free(struct ng_agg *agg);

/**
 * Makes the calling thread a reader: the one that calls ng_agg_add() with it and unregisters it.
 * What it added stays when it is gone.
 *
 * @return 0; -EBUSY: there are readers_max
 */
int ng_agg_reader_register(struct ng_agg *agg, struct ng_agg_reader **ret_reader);
void ng_agg_reader_unregister(struct ng_agg_reader *reader);

struct ng_agg_call {
	uint32_t target; /* below NG_AGG_ALL_TARGETS */
	uint32_t function;
	const uint64_t *frames;
	size_t depth;
	uint64_t cost_ns;
	double weight; /* finite, not negative */
};

/**
 * Adds a call to its stack's sum, or to the overflow where a new stack finds no room.
 *
 * A stack that several readers bring first at the same time holds room for each of them for a
 * moment, so right below the caps a call may overflow that would have found room a moment later.
 *
 * @param ret_stack the number of its stack, as in ng_agg_row, until its target is removed; where it
 * overflowed, one that no row has. May be NULL
 * @return 0; -EINVAL: deeper than NG_AGG_DEPTH_MAX, or of NG_AGG_ALL_TARGETS; then it is not taken
 * in
 */
int ng_agg_add(struct ng_agg_reader *reader, const struct ng_agg_call *call, uint32_t *ret_stack);

/**
 * Tells the time: windows move on where one of their slots is over. To be called about once a
 * second.
 *
 * Walks all stacks each 2.5 s: 40 ms for 100,000 of them.
 *
 * @return 0; -EBUSY: a view is being taken; the next call makes up for it
 */
int ng_agg_rotate(struct ng_agg *agg, uint64_t now_ns);

enum ng_agg_view {
	NG_AGG_SINCE_START,
	NG_AGG_TEN_SECONDS, /* 10 to 12.5 s, by rotations on time */
	NG_AGG_MINUTE,	    /* 60 to 75 s */
};

struct ng_agg_row {
	uint32_t target;
	uint32_t function;
	uint32_t stack;		/* as ng_agg_add() told it */
	const uint64_t *frames; /* the snapshot's */
	size_t depth;
	struct ng_agg_sum sum;
};

/** A view at one moment, its caller's own: rows may be sorted or changed. */
struct ng_agg_snapshot {
	struct ng_agg_row *rows; /* those with hits, in no order */
	size_t count;
	struct ng_agg_sum overflow; /* of all targets */
	uint64_t since_ns;	    /* where the view begins: rates need its true length */
	uint64_t *frames;
};

/**
 * Takes a snapshot of one target's stacks, or of NG_AGG_ALL_TARGETS'.
 *
 * Calls that are added meanwhile may be in it or not, each stack by itself; where none are, sums
 * are exact. To be given back by ng_agg_snapshot_release().
 *
 * @return 0; -ENOMEM
 */
int ng_agg_snapshot(struct ng_agg *agg, enum ng_agg_view view, uint32_t target,
	struct ng_agg_snapshot *ret_snapshot);
void ng_agg_snapshot_release(struct ng_agg_snapshot *snapshot);

/**
 * Forgets a target's stacks; what they added up to goes to the removed total, in all views. Calls
 * of it that are added later begin anew. Walks all stacks.
 */
void ng_agg_remove_target(struct ng_agg *agg, uint32_t target);

struct ng_agg_totals {
	struct ng_agg_sum taken;    /* all that was added: stacks, overflow and removed together */
	struct ng_agg_sum overflow; /* of these, what found no room */
	struct ng_agg_sum removed;  /* of these, of stacks that were removed */
	size_t stacks;		    /* different ones, now */
	size_t bytes;		    /* allocated, now */
};

/** Since start. Each figure is exact where nobody adds meanwhile. */
struct ng_agg_totals ng_agg_totals(struct ng_agg *agg);

#endif
