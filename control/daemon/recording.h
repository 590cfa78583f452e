/*
 * Recordings for others, each by a process of its own: `nowgate record --mode sampled`, which
 * writes its profile into memory. So the daemon never waits for names to be looked up, and a
 * recording that fails takes nothing with it. It ends by itself, and with the daemon.
 */
#ifndef NG_CONTROL_DAEMON_RECORDING_H
#define NG_CONTROL_DAEMON_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "core/base/diag.h"

struct ng_recording;

struct ng_recording_options {
	pid_t pid;
	unsigned int seconds;
	double budget_ratio; /* of its own, beside what traces the process already */
	const char *const *functions;
	size_t function_count; /* at most NG_RECORDING_FUNCTIONS_MAX are taken */
};

#define NG_RECORDING_FUNCTIONS_MAX 16

/** Starts one. @return 0; -ENOMEM; what memfd_create() or fork() gave: with the text */
int ng_recording_start(const struct ng_recording_options *options,
	struct ng_recording **ret_recording, struct ng_diag *diag);

/**
 * Takes what it has recorded, if it has ended. Never waits.
 *
 * @param ret_bytes as `record -o` or `record --json` writes it; to be freed
 * @return 0; -EAGAIN it goes on; else it failed, with its own words: -ESRCH no such process,
 *         -EIO, -ENOMEM
 */
int ng_recording_take(
	struct ng_recording *recording, char **ret_bytes, size_t *ret_length, struct ng_diag *diag);

/** Ends it, if it goes on: waits until it has disarmed what it armed. NULL does nothing. */
void ng_recording_free(struct ng_recording *recording);

#endif
