/*
 * Adds up recorded calls by process, site and stack.
 *
 * One thread adds; another may read once that has ended.
 */
#ifndef NG_CONTROL_PLANE_RECORDER_H
#define NG_CONTROL_PLANE_RECORDER_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "core/agg/call.h"

struct ng_recorder;

/** One of the sums. */
struct ng_recorded_stack {
	struct ng_count_key key; /* whose, and at which site */
	const uint64_t *frames;	 /* as ng_call */
	size_t depth;
	uint64_t hits;
	double calls; /* that they stand for */
};

/** @param stacks_max different ones; the hits of others are only counted @return NULL: no memory */
struct ng_recorder *ng_recorder_new(size_t stacks_max);
void ng_recorder_free(struct ng_recorder *recorder);

/** Takes a call in, with what it stands for. An ng_weigher_on_call. @param recorder a struct
 * ng_recorder */
void ng_recorder_add(const struct ng_call *call, double calls, void *recorder);

/** Takes in a call that stands for itself. An ng_records_on_call. @param recorder likewise */
void ng_recorder_count(const struct ng_call *call, void *recorder);

struct ng_recorder_totals {
	uint64_t hits;	   /* taken in, all of them */
	uint64_t overflow; /* of these, whose stack found no room */
	size_t stacks;	   /* different ones */
};

struct ng_recorder_totals ng_recorder_totals(const struct ng_recorder *recorder);

typedef void (*ng_recorder_on_stack)(const struct ng_recorded_stack *stack, void *context);

/** Shows all sums, in no order. */
void ng_recorder_walk(
	const struct ng_recorder *recorder, ng_recorder_on_stack on_stack, void *context);

#endif
