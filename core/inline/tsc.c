#include "core/inline/tsc.h"

#include <stdbool.h>
#include <x86intrin.h>

#include "core/base/clock.h"

#define START_NS (2 * NG_NS_PER_MS)
#define TRIES	 8

/* Both at one moment: of some tries the one that took least time. */
static void read_both(uint64_t *ret_tsc, uint64_t *ret_ns)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		const uint64_t before = __rdtsc(), ns = ng_clock_ns(), after = __rdtsc();

		if (after - before >= least)
			continue;
		least = after - before;
		*ret_tsc = before + least / 2;
		*ret_ns = ns;
	}
}

void ng_tsc_start(struct ng_tsc *clock)
{
	*clock = (struct ng_tsc){.mult = 0};
	read_both(&clock->start_tsc, &clock->start_ns);
	do
		ng_tsc_update(clock);
	while (clock->ns - clock->start_ns < START_NS);
}

void ng_tsc_update(struct ng_tsc *clock)
{
	read_both(&clock->tsc, &clock->ns);
	if (clock->tsc > clock->start_tsc)
		clock->mult = (uint64_t)(((unsigned __int128)(clock->ns - clock->start_ns) << 32) /
					 (clock->tsc - clock->start_tsc));
}

uint64_t ng_tsc_to_ns(const struct ng_tsc *clock, uint64_t tsc)
{
	uint64_t ago;

	if (tsc >= clock->tsc)
		return clock->ns;
	ago = (uint64_t)((unsigned __int128)(clock->tsc - tsc) * clock->mult >> 32);
	return ago > clock->ns - clock->start_ns ? clock->start_ns : clock->ns - ago;
}

uint64_t ng_tsc_from_ns(const struct ng_tsc *clock, uint64_t ns)
{
	const bool later = ns >= clock->ns;
	const uint64_t apart_ns = later ? ns - clock->ns : clock->ns - ns;
	const unsigned __int128 ticks =
		((unsigned __int128)apart_ns << 32) / (clock->mult ? clock->mult : 1);

	if (later)
		return ticks > UINT64_MAX - clock->tsc ? UINT64_MAX : clock->tsc + (uint64_t)ticks;
	return ticks > clock->tsc ? 0 : clock->tsc - (uint64_t)ticks;
}
