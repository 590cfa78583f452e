/* The monotonic clock, the one that BPF's bpf_ktime_get_ns() reads too. */
#ifndef NG_CORE_BASE_CLOCK_H
#define NG_CORE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NG_NS_PER_S  1000000000ull
#define NG_NS_PER_MS 1000000ull
#define NG_NS_PER_US 1000ull

static inline uint64_t ng_clock_read(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now); /* cannot fail for the clocks that are used here */
	return (uint64_t)now.tv_sec * NG_NS_PER_S + (uint64_t)now.tv_nsec;
}

static inline uint64_t ng_clock_ns(void)
{
	return ng_clock_read(CLOCK_MONOTONIC);
}

/** CPU time that this thread has used. */
static inline uint64_t ng_clock_thread_ns(void)
{
	return ng_clock_read(CLOCK_THREAD_CPUTIME_ID);
}

#endif
