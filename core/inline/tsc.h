/* The processor's time stamp counter in terms of CLOCK_MONOTONIC. */
#ifndef NG_CORE_INLINE_TSC_H
#define NG_CORE_INLINE_TSC_H

#include <stdint.h>

/** Both clocks at one moment, and how fast the one goes by the other. Belongs to one thread. */
struct ng_tsc {
	uint64_t start_tsc; /* when it was started */
	uint64_t start_ns;
	uint64_t tsc; /* when it was updated last */
	uint64_t ns;
	uint64_t mult; /* ns = ticks * mult >> 32 */
};

/** Starts; takes 2 ms, in which it finds out how fast the counter goes. */
void ng_tsc_start(struct ng_tsc *clock);

/** Reads both clocks once more: the longer it runs the better it knows. Some 0.1 us. */
void ng_tsc_update(struct ng_tsc *clock);

/** CLOCK_MONOTONIC at a count; not before the start, and not after the last update. */
uint64_t ng_tsc_to_ns(const struct ng_tsc *clock, uint64_t tsc);

/** The count at a time of CLOCK_MONOTONIC, in the past or to come; UINT64_MAX for UINT64_MAX. */
uint64_t ng_tsc_from_ns(const struct ng_tsc *clock, uint64_t ns);

#endif
