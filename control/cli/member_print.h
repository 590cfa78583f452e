/* What is told of the members of a fleet: a table, or JSON. `stat --mode` and `status` share it. */
#ifndef NG_CONTROL_CLI_MEMBER_PRINT_H
#define NG_CONTROL_CLI_MEMBER_PRINT_H

#include <stdint.h>
#include <stdio.h>

#include "control/plane/fleet.h"

struct ng_member_print {
	FILE *file;
	uint64_t elapsed_ns;
};

/** @return 0; -ENOMEM; what writing gave */
int ng_member_print_table(const struct ng_member_print *print, struct ng_fleet *fleet);
int ng_member_print_json(const struct ng_member_print *print, struct ng_fleet *fleet);

#endif
