#include "control/plane/estimated.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the hits of one function of one process come to: its estimate, shared out by weight. */
struct estimated_function {
	double weight; /* of all its stacks */
	double calls;  /* estimated */
	double cost_ns;
};

struct ng_estimated {
	const struct ng_fleet *fleet;
	struct estimated_function (*functions)[NG_MEMBER_FUNCTIONS_MAX + 1]; /* of each member */
	size_t count;
	struct ng_profile header;
};

static int take_report(const struct ng_member_report *report, void *context)
{
	struct ng_estimated *estimated = context;
	struct estimated_function(*grown)[NG_MEMBER_FUNCTIONS_MAX + 1] =
		reallocarray(estimated->functions, estimated->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	estimated->functions = grown;
	memset(&grown[estimated->count], 0, sizeof(*grown));
	for (size_t i = 0; i < report->function_count; i++) {
		const struct ng_member_function *function = &report->functions[i];

		grown[estimated->count][i].calls = function->calls;
		grown[estimated->count][i].cost_ns = function->cost_ns;
		estimated->header.low_calls += function->calls_low;
		estimated->header.high_calls += function->calls_high;
	}
	if (!estimated->count) {
		estimated->header.pid = (uint32_t)report->pid;
		estimated->header.exe = report->exe;
		if (report->function_count == 1)
			estimated->header.function = report->functions[0].name;
	}
	estimated->count++;
	return 0;
}

static struct estimated_function *function_of(
	const struct ng_estimated *estimated, const struct ng_count_key *key)
{
	uint32_t function;
	size_t member;

	if (!ng_fleet_find_function(estimated->fleet, key, &member, &function))
		return NULL;
	return &estimated->functions[member][function];
}

static void add_weight(const struct ng_recorded_stack *stack, void *context)
{
	struct estimated_function *function = function_of(context, &stack->key);

	if (function)
		function->weight += stack->calls;
}

static struct ng_recorded_value value_of(const struct ng_recorded_stack *stack, void *context)
{
	const struct estimated_function *function = function_of(context, &stack->key);
	struct ng_recorded_value value = {.calls = stack->calls};

	if (!function)
		return value;
	if (function->calls > 0 && function->weight > 0)
		value.calls *= function->calls / function->weight;
	value.cost_ns = function->cost_ns * (double)stack->hits;
	return value;
}

/* What holds of one target alone is not told of many. */
static void finish_header(struct ng_estimated *estimated)
{
	struct ng_profile *header = &estimated->header;

	header->mode = "sampled";
	header->is_estimate = true;
	if (estimated->count == 1)
		return;
	header->pid = 0;
	header->exe = NULL;
	header->function = NULL;
}

int ng_estimated_new(struct ng_fleet *fleet, const struct ng_recorder *recorder,
	struct ng_estimated **ret_estimated)
{
	struct ng_estimated *estimated = calloc(1, sizeof(*estimated));
	int error;

	if (!estimated)
		return -ENOMEM;
	estimated->fleet = fleet;
	error = ng_fleet_report(fleet, take_report, estimated);
	if (error) {
		ng_estimated_free(estimated);
		return error;
	}
	finish_header(estimated);
	ng_recorder_walk(recorder, add_weight, estimated);
	*ret_estimated = estimated;
	return 0;
}

struct ng_recorded_parts ng_estimated_parts(
	struct ng_estimated *estimated, const struct ng_recorder *recorder)
{
	return (struct ng_recorded_parts){.recorder = recorder,
		.source = {.locate = ng_fleet_locate,
			.site = ng_fleet_site,
			.context = estimated->fleet},
		.value = value_of,
		.context = estimated,
		.header = estimated->header};
}

void ng_estimated_free(struct ng_estimated *estimated)
{
	if (!estimated)
		return;
	free(estimated->functions);
	free(estimated);
}
