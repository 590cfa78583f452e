/* How a gate's mode is changed while it is hit. */
#ifndef NG_CONTROL_ENGINE_GATE_SET_H
#define NG_CONTROL_ENGINE_GATE_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"

struct ng_gate_setting {
	enum ng_mode mode;
	uint64_t lease_until_ns; /* CLOCK_MONOTONIC; 0: no end */
	uint64_t events;	 /* burst: so many; 0: no limit */
	uint32_t records;	 /* as ng_gate.records */
	bool count_limited;	 /* count: running out of tokens is told … */
	int64_t tokens;		 /* … after so many */
};

/**
 * Has hits do something else from now on. A hit goes by what was set before or by what is set now,
 * never by parts of both.
 *
 * One thread sets a gate at a time; any number of CPUs decide by it meanwhile.
 */
void ng_gate_set(struct ng_gate *gate, const struct ng_gate_setting *setting);

#endif
