/* A process's text as it stands in memory, against its file. */
#ifndef NG_CONTROL_TARGET_TEXT_H
#define NG_CONTROL_TARGET_TEXT_H

#include <sys/types.h>

#include "control/target/process.h"
#include "core/base/diag.h"
#include "core/image/site.h"

/** A site's file, by what stat() tells. */
struct ng_text_file {
	dev_t device;
	ino_t inode;
};

/**
 * Checks that a process's text at the sites is what the file holds, so that a breakpoint may be put
 * there and taken away again.
 *
 * A breakpoint that stands there already is the kernel's own (bpftrace, perf, another nowgate)
 * where nobody traces the process by ptrace: those share a byte in peace. Where somebody does, it
 * may be the debugger's, which the kernel would swallow and erase: refused.
 *
 * @return 0; -EBUSY refused, the text names the tracer; -ESRCH
 */
int ng_text_check(pid_t pid, const struct ng_mappings *mappings, const struct ng_text_file *file,
	const struct ng_sites *sites, struct ng_diag *diag);

#endif
