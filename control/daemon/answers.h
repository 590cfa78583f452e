/* What the daemon's status says, as JSON. */
#ifndef NG_CONTROL_DAEMON_ANSWERS_H
#define NG_CONTROL_DAEMON_ANSWERS_H

#include <stdint.h>

#include <jansson.h>

#include "control/plane/fleet.h"
#include "control/plane/selector.h"
#include "core/base/diag.h"

/**
 * "targets" that a selector matches, with what was lost. An empty selector stands for all.
 *
 * @param ret_body the caller's
 * @return 0; -ENOMEM; what reading the maps gave
 */
int ng_answer_status(struct ng_fleet *fleet, const struct ng_selector *select, uint64_t started_ns,
	json_t **ret_body);

#endif
