#include "control/plane/recorded.h"

#include <errno.h>
#include <stdlib.h>

struct ng_recorded {
	struct ng_profile profile;
	const struct ng_recorded_parts *parts; /* while it is made */
	struct ng_namer *namer;
	struct ng_profile_stack *stacks;
	size_t stack_count;
	int error;
};

static void add_stack(const struct ng_recorded_stack *stack, void *context)
{
	struct ng_recorded *recorded = context;
	const struct ng_recorded_value value =
		recorded->parts->value(stack, recorded->parts->context);
	struct ng_named named;

	if (!recorded->error)
		recorded->error = ng_namer_add(
			recorded->namer, &stack->key, stack->frames, stack->depth, &named);
	if (recorded->error)
		return;
	recorded->stacks[recorded->stack_count++] =
		(struct ng_profile_stack){.frame_count = named.count,
			.hits = stack->hits,
			.calls = value.calls,
			.cost_ns = (uint64_t)value.cost_ns};
}

/* The frames moved while there came more; now they stay. */
static void place_frames(struct ng_recorded *recorded)
{
	const struct ng_profile_frame *frames = ng_namer_frames(recorded->namer);

	for (size_t i = 0; i < recorded->stack_count; i++) {
		recorded->stacks[i].frames = frames;
		frames += recorded->stacks[i].frame_count;
	}
}

int ng_recorded_make(const struct ng_recorded_parts *parts, struct ng_recorded **ret_recorded)
{
	struct ng_recorded *recorded = calloc(1, sizeof(*recorded));
	int error;

	if (!recorded)
		return -ENOMEM;
	recorded->parts = parts;
	recorded->namer = ng_namer_new(&parts->source);
	recorded->stacks =
		calloc(ng_recorder_totals(parts->recorder).stacks + 1, sizeof(*recorded->stacks));
	if (!recorded->namer || !recorded->stacks)
		recorded->error = -ENOMEM;
	else
		ng_recorder_walk(parts->recorder, add_stack, recorded);
	error = recorded->error;
	if (error) {
		ng_recorded_free(recorded);
		return error;
	}
	place_frames(recorded);
	recorded->profile = parts->header;
	recorded->profile.stacks = recorded->stacks;
	recorded->profile.stack_count = recorded->stack_count;
	recorded->profile.mappings =
		ng_namer_mappings(recorded->namer, &recorded->profile.mapping_count);
	*ret_recorded = recorded;
	return 0;
}

void ng_recorded_free(struct ng_recorded *recorded)
{
	if (!recorded)
		return;
	ng_namer_free(recorded->namer);
	free(recorded->stacks);
	free(recorded);
}

const struct ng_profile *ng_recorded_profile(const struct ng_recorded *recorded)
{
	return &recorded->profile;
}
