#include "control/cli/losses_print.h"

#include <inttypes.h>

#include "control/plane/losses.h"

void ng_losses_print(FILE *file, const uint64_t *lost, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (lost[i])
			fprintf(file, "\nLOST: %" PRIu64 " %s\n", lost[i], ng_loss_text(i));
	}
}
