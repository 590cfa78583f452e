/*
 * The stacks of calls, each with a number and named once, when its first call comes.
 *
 * One thread uses it at a time.
 */
#ifndef NG_CONTROL_PLANE_NAMED_STACKS_H
#define NG_CONTROL_PLANE_NAMED_STACKS_H

#include <stddef.h>
#include <stdint.h>

#include "control/plane/namer.h"
#include "core/agg/call.h"

struct ng_named_stacks;

/** @param count_max different ones @return NULL: no memory */
struct ng_named_stacks *ng_named_stacks_new(
	const struct ng_namer_source *source, uint32_t count_max);
void ng_named_stacks_free(struct ng_named_stacks *stacks);

struct ng_named_stack {
	uint32_t number; /* from 0; of one process, site and stack always the same */
	const struct ng_profile_frame *frames; /* until another one is added */
	size_t frame_count;		       /* 0 too where memory was out when it was named */
};

/** @return 0; -ENOMEM; -E2BIG: it is new, and there are count_max */
int ng_named_stacks_of(struct ng_named_stacks *stacks, const struct ng_call *call,
	struct ng_named_stack *ret_stack);

uint32_t ng_named_stacks_count(const struct ng_named_stacks *stacks);

#endif
