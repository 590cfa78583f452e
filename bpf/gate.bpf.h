/*
 * The gate: what an armed hit of a process does. A mode change is a write to its gate, never a
 * reload. The decision builds on the host too, where its unit test goes through all modes and
 * edges.
 */
#ifndef NG_BPF_GATE_BPF_H
#define NG_BPF_GATE_BPF_H

#include <linux/types.h>

#include "bpf/abi.h"

/* What ng_gate_decide() says, or-ed. */
#define NG_VERDICT_DELIVER 1u /* count it; else it is sampled out */
#define NG_VERDICT_TRIP	   2u /* the last that the window or the burst may take: disarm now */

/** Of what ng_gate_decide() says: the serial number of the window that a delivered hit is in; 0: it
 * is in none. */
#define NG_VERDICT_WINDOW(verdict) ((__u32)((verdict) >> 32))

/** The mode at a time: when the lease is over, what it falls back to. */
static inline __attribute__((always_inline)) __u32 ng_gate_mode(
	const volatile struct ng_gate *gate, __u64 now_ns)
{
	const __u64 until_ns = gate->lease_until_ns;

	return until_ns && now_ns >= until_ns ? gate->fallback : gate->mode;
}

/* Takes one of a number that many CPUs take from: the last one trips. */
static inline __attribute__((always_inline)) __u32 ng_gate_take(__s64 *left)
{
	const __s64 before = __sync_fetch_and_add(left, -1);

	if (before <= 0)
		return 0;
	return before == 1 ? NG_VERDICT_DELIVER | NG_VERDICT_TRIP : NG_VERDICT_DELIVER;
}

/*
 * Takes one of a window's tokens. CPUs take some at a time: with one at each hit they would pass the
 * gate's cache line around, and a hit would cost more the more threads there are. Who takes the last
 * ones trips. Two threads that take turns on a CPU in the midst of this may use a token twice.
 */
static inline __attribute__((always_inline)) __u32 ng_gate_take_share(
	struct ng_gate *gate, __u32 window, struct ng_gate_share *share)
{
	__s64 before;

	if (share->window == window && share->left) {
		share->left--;
		return NG_VERDICT_DELIVER;
	}
	before = __sync_fetch_and_add(&gate->tokens, -NG_GATE_SHARE);
	if (before <= 0)
		return 0;
	share->window = window;
	share->left = before > NG_GATE_SHARE ? NG_GATE_SHARE - 1 : 0;
	return before > NG_GATE_SHARE ? NG_VERDICT_DELIVER : NG_VERDICT_DELIVER | NG_VERDICT_TRIP;
}

/**
 * Decides over one hit. Any number of CPUs may decide over the same gate together.
 *
 * @param share this CPU's, at this gate
 * @param now_ns CLOCK_MONOTONIC
 * @param random 32 random bits
 * @return NG_VERDICT_*, and NG_VERDICT_WINDOW()
 */
static inline __attribute__((always_inline)) __u64 ng_gate_decide(
	struct ng_gate *gate, struct ng_gate_share *share, __u64 now_ns, __u32 random)
{
	const volatile struct ng_gate *seen = gate;
	__u32 window, verdict;

	switch (ng_gate_mode(seen, now_ns)) {
	case NG_MODE_COUNT:
		/* It goes on counting exactly until it is disarmed. */
		return NG_VERDICT_DELIVER | (seen->count_limited ? ng_gate_take(&gate->tokens) : 0);
	case NG_MODE_FULL:
		return NG_VERDICT_DELIVER;
	case NG_MODE_SAMPLED:
		window = seen->window_open;
		if (!window || now_ns >= seen->window_until_ns ||
			random > seen->probability)
			return 0;
		verdict = ng_gate_take_share(gate, window, share);
		return verdict ? (__u64)window << 32 | verdict : 0;
	case NG_MODE_BURST:
		return seen->burst_limited ? ng_gate_take(&gate->burst_left) : NG_VERDICT_DELIVER;
	default:
		return 0;
	}
}

#endif
