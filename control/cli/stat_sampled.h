/* `nowgate stat --mode sampled`: estimates within a budget, without a daemon. */
#ifndef NG_CONTROL_CLI_STAT_SAMPLED_H
#define NG_CONTROL_CLI_STAT_SAMPLED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "control/plane/fleet.h"
#include "control/plane/settings.h"
#include "core/base/diag.h"

struct ng_stat_sampled {
	const char *name;    /* of the subcommand, for messages */
	const char *started; /* said when all is attached; NULL: nothing is */
	/* With these it is stopped at the end, and on_done says what came of it; else that is
	 * printed. */
	ng_weigher_on_call on_call;
	int (*on_done)(struct ng_fleet *fleet, uint64_t elapsed_ns, void *context);
	void *call_context;
	void *context; /* of on_done */
	struct ng_wanted wanted;
	struct ng_settings settings;
	const pid_t *pids;
	size_t pid_count;
	const char *const *exes; /* paths or globs */
	size_t exe_count;
	uint64_t duration_ns; /* 0: until the targets end, or a signal */
	uint64_t interval_ns; /* 0: none */
	int signal_fd;	      /* readable: end */
	bool json;
	FILE *file;
};

/**
 * Runs it to its end, and prints.
 *
 * @param ret_lost were calls lost, for want of room?
 * @return 0, or a negative errno with the text
 */
int ng_stat_sampled_run(const struct ng_stat_sampled *run, bool *ret_lost, struct ng_diag *diag);

#endif
