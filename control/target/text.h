/* A process's text as it stands in memory, against its file. */
#ifndef NG_CONTROL_TARGET_TEXT_H
#define NG_CONTROL_TARGET_TEXT_H

#include <stdbool.h>
#include <sys/types.h>

#include "control/target/process.h"
#include "core/base/diag.h"
#include "core/image/site.h"

/** A site's file: by what stat() tells, and by its key (ng_file_key). Kernels differ in which of
 * the two a mapping is shown with. */
struct ng_text_file {
	dev_t device;
	ino_t inode;
	dev_t key_device;
	ino_t key_inode;
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

/** Where a process has a site. @return its address; 0: that part of the file is not mapped */
uint64_t ng_text_find(const struct ng_mappings *mappings, const struct ng_text_file *file,
	const struct ng_site *site);

/** Does one of the sites, all of them armed, hold its original byte? The kernel puts a breakpoint
 * back when a file is mapped, but not when a process drops or rewrites its own page. */
bool ng_text_is_bare(pid_t pid, const struct ng_mappings *mappings, const struct ng_text_file *file,
	const struct ng_sites *sites);

#endif
