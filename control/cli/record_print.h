/* The summary of a recording, for people. */
#ifndef NG_CONTROL_CLI_RECORD_PRINT_H
#define NG_CONTROL_CLI_RECORD_PRINT_H

#include <stdio.h>

#include "control/plane/losses.h"
#include "core/out/profile.h"

/** Prints the callers that make most calls, and what was counted and lost. @param lost by cause
 * @return 0; -ENOMEM; -errno */
int ng_record_print(FILE *file, const struct ng_profile *profile, uint64_t reader_cpu_ns,
	const uint64_t lost[NG_LOSSES]);

#endif
