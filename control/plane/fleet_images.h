/* The files that a fleet's processes run: given up where somebody writes to them, and forgotten
 * when no process can run them any more, or they would be kept open, and on disk, for good. */
#ifndef NG_CONTROL_PLANE_FLEET_IMAGES_H
#define NG_CONTROL_PLANE_FLEET_IMAGES_H

#include "control/plane/fleet_inside.h"

/** Lets whoever waits to write to a file do so, once no process of it is armed. */
void ng_fleet_yield_files(struct ng_fleet *fleet);

/** Forgets what is stale, an image at a time: its sites are removed by a worker. */
void ng_fleet_prune_images(struct ng_fleet *fleet, uint64_t now_ns);

/** Takes that job back. @return false: the job is somebody else's */
bool ng_fleet_collect_image(struct ng_fleet *fleet, const struct ng_job *job);

#endif
