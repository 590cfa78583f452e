/* What a recorder has added up, with names: a profile for core/out. */
#ifndef NG_CONTROL_PLANE_RECORDED_H
#define NG_CONTROL_PLANE_RECORDED_H

#include "control/plane/namer.h"
#include "control/plane/recorder.h"
#include "core/out/profile.h"

struct ng_recorded;

/** What a stack's hits come to. */
struct ng_recorded_value {
	double calls;
	double cost_ns;
};

/** What it is made from. Borrowed while it is made; what places point to until it is freed. */
struct ng_recorded_parts {
	const struct ng_recorder *recorder;
	struct ng_namer_source source;
	/* @return what a stack's hits come to */
	struct ng_recorded_value (*value)(const struct ng_recorded_stack *stack, void *context);
	void *context;
	struct ng_profile header; /* all but stacks and mappings; goes into the profile */
};

/** Names all frames. Addresses that nothing is known of, or whose image cannot be read any more,
 * stay addresses. @return 0; -ENOMEM */
int ng_recorded_make(const struct ng_recorded_parts *parts, struct ng_recorded **ret_recorded);
void ng_recorded_free(struct ng_recorded *recorded);

const struct ng_profile *ng_recorded_profile(const struct ng_recorded *recorded);

#endif
