/* The monotonic clock, the one that BPF's bpf_ktime_get_ns() reads too. */
#ifndef NG_CORE_BASE_CLOCK_H
#define NG_CORE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NG_NS_PER_S  1000000000ull
#define NG_NS_PER_MS 1000000ull
#define NG_NS_PER_US 1000ull

static inline uint64_t ng_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
	return (uint64_t)now.tv_sec * NG_NS_PER_S + (uint64_t)now.tv_nsec;
}

#endif
