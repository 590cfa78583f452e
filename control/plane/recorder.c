#include "control/plane/recorder.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct sum {
	struct ng_recorded_stack stack;
	uint64_t frames[];
};

struct ng_recorder {
	void *root; /* of struct sum, by compare_sums() */
	size_t stacks_max;
	struct ng_recorder_totals totals;
};

static int compare_sums(const void *a, const void *b)
{
	const struct ng_recorded_stack *first = a, *second = b;
	int order;

	if (first->depth != second->depth)
		return first->depth < second->depth ? -1 : 1;
	order = memcmp(first->frames, second->frames, first->depth * sizeof(*first->frames));
	return order ? order : memcmp(&first->key, &second->key, sizeof(first->key));
}

struct ng_recorder *ng_recorder_new(size_t stacks_max)
{
	struct ng_recorder *recorder = calloc(1, sizeof(*recorder));

	if (recorder)
		recorder->stacks_max = stacks_max;
	return recorder;
}

void ng_recorder_free(struct ng_recorder *recorder)
{
	if (!recorder)
		return;
	tdestroy(recorder->root, free);
	free(recorder);
}

/* @return the new stack's sum; NULL where there is no room */
static struct sum *add_stack(struct ng_recorder *recorder, const struct ng_recorded_stack *wanted)
{
	const size_t frame_bytes = wanted->depth * sizeof(*wanted->frames);
	struct sum *sum = NULL;

	if (recorder->totals.stacks < recorder->stacks_max)
		sum = malloc(sizeof(*sum) + frame_bytes);
	if (!sum)
		return NULL;
	sum->stack = *wanted;
	memcpy(sum->frames, wanted->frames, frame_bytes);
	sum->stack.frames = sum->frames;
	if (!tsearch(sum, &recorder->root, compare_sums)) {
		free(sum);
		return NULL;
	}
	recorder->totals.stacks++;
	return sum;
}

void ng_recorder_add(const struct ng_call *call, double calls, void *context)
{
	struct ng_recorder *recorder = context;
	const struct ng_recorded_stack wanted = {.key = {.start_ns = call->start_ns,
							 .tgid = call->tgid,
							 .exec_id = call->exec_id,
							 .site = call->site},
		.frames = call->frames,
		.depth = call->depth};
	struct sum **found = tfind(&wanted, &recorder->root, compare_sums);
	struct sum *sum = found ? *found : add_stack(recorder, &wanted);

	recorder->totals.hits++;
	if (!sum) {
		recorder->totals.overflow++;
		return;
	}
	sum->stack.hits++;
	sum->stack.calls += calls;
}

void ng_recorder_count(const struct ng_call *call, void *recorder)
{
	ng_recorder_add(call, 1, recorder);
}

struct ng_recorder_totals ng_recorder_totals(const struct ng_recorder *recorder)
{
	return recorder->totals;
}

struct walk {
	ng_recorder_on_stack on_stack;
	void *context;
};

static void on_node(const void *node, VISIT visit, void *context)
{
	const struct walk *walk = context;

	if (visit == postorder || visit == leaf)
		walk->on_stack(&(*(struct sum *const *)node)->stack, walk->context);
}

void ng_recorder_walk(
	const struct ng_recorder *recorder, ng_recorder_on_stack on_stack, void *context)
{
	struct walk walk = {.on_stack = on_stack, .context = context};

	twalk_r(recorder->root, on_node, &walk);
}
