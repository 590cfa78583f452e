/* The arguments of `nowgate stat`, and the help on them. */
#ifndef NG_CONTROL_CLI_STAT_ARGUMENTS_H
#define NG_CONTROL_CLI_STAT_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/cli/targets.h"
#include "control/engine/uprobe.h"
#include "core/image/site.h"

#define NG_STAT_COMMAND "stat"

struct ng_stat_arguments {
	struct ng_targets targets;
	uint64_t duration_ns; /* 0: no end */
	uint64_t interval_ns; /* 0: none */
	const char *output;
	bool json;
	bool clock;
	bool syscalls;
	bool help;
	bool at_symbol;
	enum ng_clock_set clock_set;
	enum ng_attach attach;
	bool sampled;
	double budget_ratio; /* 0: the default */
	double rate_ratio;   /* 0: by the budget */
};

/** What `--help` prints. */
extern const char ng_stat_help[];

/** Reads them; what is wrong with them is printed. @param arguments all 0 @return 0, or the exit
 * code */
int ng_stat_arguments_parse(int argc, char **argv, struct ng_stat_arguments *arguments);

#endif
