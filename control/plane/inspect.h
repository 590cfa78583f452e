/* What of a process can be traced: its executable's and its libraries' images that have the
 * functions wanted, checked against its memory. */
#ifndef NG_CONTROL_PLANE_INSPECT_H
#define NG_CONTROL_PLANE_INSPECT_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#include "control/plane/images.h"
#include "control/target/process.h"
#include "core/base/diag.h"

/** Images that a process maps, and that have something wanted; owned by the cache. */
struct ng_inspected {
	struct ng_traced_image **images;
	size_t count;
	struct ng_mappings mappings; /* executable ones, as they were then */
	char exe[PATH_MAX];
};

#define NG_INSPECTED_INIT                                                                          \
	{                                                                                          \
		.images = NULL, .count = 0                                                         \
	}

void ng_inspected_release(struct ng_inspected *inspected);

/**
 * Reads the images of a process, as far as the cache does not know them, and checks that its text
 * at their sites is what the files hold.
 *
 * @param ret_inspected at least one image; release it
 * @return 0; -ESRCH it has exited; -ENOENT it has nothing wanted; -EBUSY its code is patched or a
 *         debugger's; -ENOTSUP it has it in a form that cannot be probed …: with the text
 */
int ng_inspect(struct ng_images *images, struct ng_uprobe *engine, const struct ng_wanted *wanted,
	pid_t pid, struct ng_inspected *ret_inspected, struct ng_diag *diag);

#endif
