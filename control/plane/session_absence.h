/* What is wanted of a session's processes and is not in them, and why: in words for people. */
#ifndef NG_CONTROL_PLANE_SESSION_ABSENCE_H
#define NG_CONTROL_PLANE_SESSION_ABSENCE_H

#include "control/plane/session_inside.h"

/** Is each wanted function in one of the images? @return 0; why not: with the text */
int ng_session_check_found(
	struct ng_session *session, const struct ng_tracked *tracked, struct ng_diag *diag);

/** Notes where an armed process's calls are not all seen. */
void ng_session_note_incomplete(struct ng_session *session, const struct ng_tracked *tracked);

#endif
