/* The summary of a recording, for people. */
#ifndef NG_CONTROL_CLI_RECORD_PRINT_H
#define NG_CONTROL_CLI_RECORD_PRINT_H

#include <stdio.h>

#include "control/plane/session.h"
#include "core/out/profile.h"

/** Prints the callers that make most calls, and what was counted and lost. @return 0; -ENOMEM;
 * -errno */
int ng_record_print(FILE *file, const struct ng_profile *profile, const struct ng_report *report);

#endif
