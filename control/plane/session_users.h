/* Files that are armed in every process, and the processes that run or map them. */
#ifndef NG_CONTROL_PLANE_SESSION_USERS_H
#define NG_CONTROL_PLANE_SESSION_USERS_H

#include "control/plane/session_inside.h"

/** Tracks a process that runs an armed file, found running or by its exec. @return NULL where
 * memory is out */
struct ng_tracked *ng_session_track_user(struct ng_session *session,
	const struct ng_process *process, struct ng_traced_image *image, uint64_t since_ns);

/** Was the file asked for, and so is armed in every process? NULL was not. */
bool ng_session_is_everyones(const struct ng_session *session, const struct ng_traced_image *image);

/** Tracks processes that only map a file which was asked for (a library): they are known by their
 * first hit. */
void ng_session_adopt_users(struct ng_session *session, const struct ng_tallies *tallies);

#endif
