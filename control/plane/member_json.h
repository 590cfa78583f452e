/* A member's report as JSON: one object of "targets", the same in `stat --mode` and in the daemon's
 * status.
 */
#ifndef NG_CONTROL_PLANE_MEMBER_JSON_H
#define NG_CONTROL_PLANE_MEMBER_JSON_H

#include <stdbool.h>

#include <jansson.h>

#include "control/plane/member.h"

/** Was it armed all the time, so that nothing had to be estimated? */
bool ng_member_is_counted(const struct ng_member_report *report);

/** Which rate is told. */
enum ng_member_rate {
	NG_MEMBER_RATE_MEAN, /* since it was attached */
	NG_MEMBER_RATE_NOW,  /* null where nothing is armed */
};

/** @return a new object; NULL where memory is out */
json_t *ng_member_to_json(const struct ng_member_report *report, enum ng_member_rate which);

#endif
