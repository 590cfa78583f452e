#include "control/plane/prompt.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/clock.h"

#define RESET_ON_FORK 1 /* SCHED_FLAG_RESET_ON_FORK */

/* The kernel's struct sched_attr, which older C libraries do not have. */
struct scheduling {
	uint32_t size_bytes, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t slice_ns, deadline_ns, period_ns;
};

void ng_prompt_thread(int nice)
{
	const struct scheduling prompt = {.size_bytes = sizeof(prompt),
		.policy = SCHED_OTHER,
		.flags = RESET_ON_FORK,
		.nice = nice,
		.slice_ns = 100 * NG_NS_PER_US};

	(void)syscall(SYS_sched_setattr, 0, &prompt, 0);
}
