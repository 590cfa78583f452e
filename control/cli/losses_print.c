#include "control/cli/losses_print.h"

#include <inttypes.h>
#include <stddef.h>

void ng_losses_print(FILE *file, const uint64_t lost[NG_LOST_CAUSES])
{
	static const char *const causes[NG_LOST_CAUSES] = {
		[NG_LOST_COUNTS_FULL] = "calls not counted: too many processes at one time",
		[NG_LOST_TARGETS_FULL] = "children not followed: too many processes at one time",
		[NG_LOST_EVENTS_FULL] = "process events missed: too many at one time",
		[NG_LOST_WINDOW_FULL] = "calls missing from windows: too many threads at one time",
		[NG_LOST_RECORDS_FULL] = "calls without their stack: the reader could not keep up",
	};

	for (size_t i = 0; i < NG_LOST_CAUSES; i++) {
		if (lost[i])
			fprintf(file, "\nLOST: %" PRIu64 " %s\n", lost[i], causes[i]);
	}
}
