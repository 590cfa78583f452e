#include "control/engine/gate_set.h"

/* Hits read the lease first, then the mode, then what belongs to the mode; they may be preempted in
 * between for as long as they like. Stores are seen in their order (x86). */
void ng_gate_set(struct ng_gate *gate, const struct ng_gate_setting *setting)
{
	/* Without its lease a mode would go on recording. */
	if (setting->mode == NG_MODE_OFF || setting->mode == NG_MODE_SAMPLED)
		__atomic_store_n(&gate->mode, NG_MODE_OFF, __ATOMIC_RELEASE);
	__atomic_store_n(&gate->lease_until_ns, setting->lease_until_ns, __ATOMIC_RELEASE);
	gate->fallback = NG_MODE_OFF;
	/* A burst that is over keeps its limit: without it, it would take one more. */
	if (setting->mode == NG_MODE_BURST) {
		__atomic_store_n(&gate->burst_left, (int64_t)setting->events, __ATOMIC_RELAXED);
		__atomic_store_n(&gate->burst_limited, setting->events > 0, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&gate->records, setting->records, __ATOMIC_RELAXED);
	gate->count_limited = setting->count_limited;
	if (setting->mode == NG_MODE_COUNT)
		__atomic_store_n(&gate->tokens, setting->tokens, __ATOMIC_RELAXED);
	/* Release: who sees the mode sees what belongs to it. */
	__atomic_store_n(&gate->mode, setting->mode, __ATOMIC_RELEASE);
}
