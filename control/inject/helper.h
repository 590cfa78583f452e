/*
 * The process of ours that stops a target and changes it: forked for one job, then gone. What it
 * must know is in the job; all that can be prepared without stopping anything has been.
 */
#ifndef NG_CONTROL_INJECT_HELPER_H
#define NG_CONTROL_INJECT_HELPER_H

#include "control/inject/inject.h"

#define NG_HELPER_NAME "nowgate-inject" /* as it is shown among the processes */

enum ng_helper_what {
	NG_HELPER_INSTALL,
	NG_HELPER_REMOVE,
};

struct ng_helper_job {
	enum ng_helper_what what;
	pid_t pid;
	int mem_fd; /* /proc/PID/mem; borrowed */
	uint64_t syscall_address;
	uint64_t max_stop_ns;
	struct ng_area code;
	struct ng_area data;
	size_t patch_count;
	struct ng_patch patches[NG_INJECT_PATCHES_MAX];
};

struct ng_helper_result {
	struct ng_inject_report report;
	int data_fd; /* of an install; owned by who asked; else -1 */
};

/** Has a job done. @return as ng_inject_install() and ng_inject_remove(); -ECHILD the helper was
 * killed: what it changed is as ng_injected_find() tells */
int ng_helper_run(
	const struct ng_helper_job *job, struct ng_helper_result *ret_result, struct ng_diag *diag);

#endif
