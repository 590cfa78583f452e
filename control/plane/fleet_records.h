/* The calls that a fleet tells of; for the files of the fleet alone. */
#ifndef NG_CONTROL_PLANE_FLEET_RECORDS_H
#define NG_CONTROL_PLANE_FLEET_RECORDS_H

#include "control/plane/fleet_inside.h"

/** Begins to read the calls that gates tell of. @return 0; -ENOMEM; what ng_records_open() gave */
int ng_fleet_open_records(struct ng_fleet *fleet, struct ng_diag *diag);

/** Takes what is left, and ends that. */
void ng_fleet_close_records(struct ng_fleet *fleet);

#endif
