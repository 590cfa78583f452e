/*
 * What a recorder has added up of a fleet's windows, as an estimate of all calls: each function's
 * is what the fleet reports, shared out among its stacks by the weights of their calls.
 */
#ifndef NG_CONTROL_PLANE_ESTIMATED_H
#define NG_CONTROL_PLANE_ESTIMATED_H

#include "control/plane/fleet.h"
#include "control/plane/recorded.h"
#include "control/plane/recorder.h"

struct ng_estimated;

/** @param fleet stopped; it must outlive what is made of this @return 0; -ENOMEM; what
 * ng_fleet_report() gave */
int ng_estimated_new(struct ng_fleet *fleet, const struct ng_recorder *recorder,
	struct ng_estimated **ret_estimated);
void ng_estimated_free(struct ng_estimated *estimated);

/** What ng_recorded_make() needs; times and losses are the caller's to add to the header. */
struct ng_recorded_parts ng_estimated_parts(
	struct ng_estimated *estimated, const struct ng_recorder *recorder);

#endif
