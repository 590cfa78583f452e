/*
 * Bursts by rule: a target whose rate goes above or below a bound, or changes by a factor against
 * its last minute, is put into burst; with a cool-down, and so many times an hour at the most.
 * Pure.
 */
#ifndef NG_CONTROL_DAEMON_TRIGGERS_H
#define NG_CONTROL_DAEMON_TRIGGERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/daemon/config.h"

#define NG_TRIGGER_MINUTE_NS 60000000000ull

/** One target's rate, as it was told from second to second. */
struct ng_rate_memory {
	double minute_hz;  /* smoothed over about a minute; negative: nothing yet */
	uint64_t begun_ns; /* when it was first told */
	uint64_t updated_ns;
};

void ng_rate_memory_init(struct ng_rate_memory *memory);

/** Takes in a rate. After ng_trigger_fires(), so that a change is seen against what was before. */
void ng_rate_memory_add(struct ng_rate_memory *memory, double rate_hz, uint64_t now_ns);

/** What a trigger did to one target. */
struct ng_trigger_memory {
	uint64_t until_ns; /* the cool-down's end: the burst's length and the pause after it */
	uint64_t fired_ns[NG_TRIGGER_FIRINGS_MAX]; /* a ring */
	size_t fired_count;
};

/**
 * Does a trigger fire now? Notes it if so.
 *
 * The rate has to be sure: the whole interval above, or below, the bound. A change by a factor
 * needs a full minute to compare with.
 *
 * @param reason filled when it fires: one line for people
 */
bool ng_trigger_fires(const struct ng_config_trigger *trigger, struct ng_trigger_memory *memory,
	const struct ng_rate_memory *rates, double low_hz, double high_hz, uint64_t now_ns,
	char *reason, size_t reason_bytes);

#endif
