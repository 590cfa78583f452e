/* What becomes of a session's processes: forks, execs and exits, code that is loaded later, and
 * breakpoints that went with their thread. */
#ifndef NG_CONTROL_PLANE_SESSION_LIVES_H
#define NG_CONTROL_PLANE_SESSION_LIVES_H

#include "control/plane/session_inside.h"

/** Takes in an event of a process's life; for ng_uprobe_drain(). @param context the session */
void ng_session_on_event(const struct ng_proc_event *event, void *context);

/** Arms in a living process what was loaded, or lost its breakpoint, since the last look. */
void ng_session_look_after(struct ng_session *session, struct ng_tracked *tracked);

#endif
