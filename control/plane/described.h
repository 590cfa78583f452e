/* A process as selectors ask for it, read from /proc. */
#ifndef NG_CONTROL_PLANE_DESCRIBED_H
#define NG_CONTROL_PLANE_DESCRIBED_H

#include <limits.h>

#include "control/plane/selector.h"
#include "control/target/process.h"

struct ng_described {
	struct ng_candidate candidate; /* its texts are those below: not to be copied */
	char exe[PATH_MAX];
	char cgroup[PATH_MAX];
	struct ng_process process;
};

/** @return 0; -ESRCH there is no such process */
int ng_describe(pid_t pid, struct ng_described *ret_described);

#endif
