/* What the daemon's status says, as JSON. */
#ifndef NG_CONTROL_DAEMON_ANSWERS_H
#define NG_CONTROL_DAEMON_ANSWERS_H

#include <jansson.h>

#include "control/daemon/daemon_inside.h"
#include "control/plane/selector.h"
#include "core/base/diag.h"

/**
 * "targets" that a selector matches, with what was lost. An empty selector stands for all.
 *
 * @param ret_body the caller's
 * @return 0; -ENOMEM; what reading the maps gave
 */
int ng_answer_status(struct ng_daemon *daemon, const struct ng_selector *select, json_t **ret_body);

#endif
