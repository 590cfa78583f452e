/* Arming a process of a session: its images are read, and what is wanted in each is armed. */
#ifndef NG_CONTROL_PLANE_SESSION_ARM_H
#define NG_CONTROL_PLANE_SESSION_ARM_H

#include "control/plane/session_inside.h"

/** Reads the running image of a process and makes it the tracked one's. @return 0; -ENOMEM; what
 * ng_process_open_image() and ng_images_prepare() gave: with the text */
int ng_session_prepare_main(
	struct ng_session *session, struct ng_tracked *tracked, struct ng_diag *diag);

/** Arms what is wanted in the main image and in every file mapped so far, unless it is armed
 * already. @return 0; -ENOMEM; what ng_text_check() and ng_uprobe_arm() gave: with the text */
int ng_session_arm_mappings(
	struct ng_session *session, struct ng_tracked *tracked, struct ng_diag *diag);

#endif
