/* The simplest gates, for tests: each counts in the data area and goes on. */
#ifndef NG_TESTS_INJECT_GATE_H
#define NG_TESTS_INJECT_GATE_H

#include "control/inject/inject.h"

#define GATE_COUNT_AT 64 /* bytes from the data area's beginning */

struct gate {
	struct ng_inject_plan plan;
	struct ng_patch patch;
	bool is_clock;
	uint64_t target; /* of the call that is led astray */
};

/** Finds the place in a running process. @param kind "call", or "clock" for time.now's mov
 * $0,%edi @return 0, or says why not on stderr */
int gate_find(struct gate *gate, pid_t pid, const char *function, const char *kind);

#endif
