/* What a recorder has added up, with names: a profile for core/out. */
#ifndef NG_CONTROL_PLANE_RECORDED_H
#define NG_CONTROL_PLANE_RECORDED_H

#include "control/engine/calibrate.h"
#include "control/plane/recorder.h"
#include "control/plane/session.h"
#include "core/out/profile.h"

struct ng_recorded;

/** What it is made from. */
struct ng_recorded_parts {
	const struct ng_recorder *recorder;
	const struct ng_session *session;	  /* stopped, and free only after the profile */
	const struct ng_report *report;		  /* of the session */
	const struct ng_calibration *calibration; /* NULL: costs are not known */
	uint64_t began_at_ns;			  /* since 1970 */
};

/** Names all frames. Addresses that nothing is known of stay addresses.
 * @return 0; -ENOMEM; -EIO an image cannot be read any more */
int ng_recorded_make(const struct ng_recorded_parts *parts, struct ng_recorded **ret_recorded);
void ng_recorded_free(struct ng_recorded *recorded);

const struct ng_profile *ng_recorded_profile(const struct ng_recorded *recorded);

#endif
