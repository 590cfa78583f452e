/* The part of a session that counts by the inline engine: code of ours in the processes. */
#ifndef NG_CONTROL_PLANE_SESSION_INLINE_H
#define NG_CONTROL_PLANE_SESSION_INLINE_H

#include "control/plane/session_inside.h"

/** Brings an image's sites into a process. @return 0; as ng_inline_new(): with the text */
int ng_session_inline_arm(struct ng_session *session, struct ng_tracked *tracked,
	struct ng_traced_image *image, const struct ng_mappings *mappings, struct ng_diag *diag);

/** Calls count and are recorded from now on … */
void ng_session_inline_open(struct ng_session *session);

/** … and no more; then all is taken out. What cannot be is told. */
void ng_session_inline_close(struct ng_session *session);

/** Adds what was counted. @return 0; -ENOMEM */
int ng_session_inline_read(const struct ng_session *session, struct ng_tallies *tallies);

/** Adds what was lost, to ng_report.lost. */
void ng_session_inline_lost(const struct ng_session *session, uint64_t lost[NG_LOST_CAUSES]);

/** Frees what there is; taken out where it was not. */
void ng_session_inline_release(struct ng_session *session);

#endif
