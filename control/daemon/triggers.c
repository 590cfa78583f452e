#include "control/daemon/triggers.h"

#include <math.h>
#include <stdio.h>

#include "core/base/clock.h"

#define HOUR_NS (3600 * NG_NS_PER_S)

void ng_rate_memory_init(struct ng_rate_memory *memory)
{
	*memory = (struct ng_rate_memory){.minute_hz = -1};
}

void ng_rate_memory_add(struct ng_rate_memory *memory, double rate_hz, uint64_t now_ns)
{
	if (memory->minute_hz < 0) {
		memory->minute_hz = rate_hz;
		memory->begun_ns = now_ns;
	} else {
		const double elapsed = (double)(now_ns - memory->updated_ns);
		const double weight = 1 - exp(-elapsed / (double)NG_TRIGGER_MINUTE_NS);

		memory->minute_hz += weight * (rate_hz - memory->minute_hz);
	}
	memory->updated_ns = now_ns;
}

static size_t fired_within(const struct ng_trigger_memory *memory, uint64_t now_ns)
{
	size_t count = 0;

	for (size_t i = 0; i < NG_TRIGGER_FIRINGS_MAX && i < memory->fired_count; i++)
		count += now_ns - memory->fired_ns[i] < HOUR_NS;
	return count;
}

static bool is_met(const struct ng_config_trigger *trigger, const struct ng_rate_memory *rates,
	double low_hz, double high_hz, uint64_t now_ns, char *reason, size_t reason_bytes)
{
	const double before_hz = rates->minute_hz;

	if (trigger->above_hz > 0 && low_hz > trigger->above_hz) {
		(void)snprintf(reason, reason_bytes, "at least %.0f calls/s, above %.0f", low_hz,
			trigger->above_hz);
		return true;
	}
	if (trigger->below_hz > 0 && high_hz < trigger->below_hz) {
		(void)snprintf(reason, reason_bytes, "at most %.0f calls/s, below %.0f", high_hz,
			trigger->below_hz);
		return true;
	}
	if (trigger->factor <= 0 || before_hz <= 0 ||
		now_ns - rates->begun_ns < NG_TRIGGER_MINUTE_NS)
		return false;
	if (low_hz < before_hz * trigger->factor && high_hz > before_hz / trigger->factor)
		return false;
	(void)snprintf(reason, reason_bytes,
		"%.0f to %.0f calls/s, by a factor of %.1f off the last minute's %.0f", low_hz,
		high_hz, trigger->factor, before_hz);
	return true;
}

bool ng_trigger_fires(const struct ng_config_trigger *trigger, struct ng_trigger_memory *memory,
	const struct ng_rate_memory *rates, double low_hz, double high_hz, uint64_t now_ns,
	char *reason, size_t reason_bytes)
{
	if (now_ns < memory->until_ns || fired_within(memory, now_ns) >= trigger->max_per_hour ||
		!is_met(trigger, rates, low_hz, high_hz, now_ns, reason, reason_bytes))
		return false;
	memory->until_ns = now_ns + trigger->lease_ns + trigger->cool_down_ns;
	memory->fired_ns[memory->fired_count++ % NG_TRIGGER_FIRINGS_MAX] = now_ns;
	return true;
}
