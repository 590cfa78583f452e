#include <math.h>

#include "control/plane/costs.h"

/* What a hit costs in a program, for the same reading of the gauge: its loop is the best that can
 * happen to a processor's predictors and caches. Where a trap costs 0.8 us it was 1.0 to 1.16 times
 * that, in programs of 1 and 8 threads, at 1 M and 100 k calls/s. */
#define PROGRAM_RATIO 1.05
#define ERROR_RATIO   0.07

/*
 * The child runs beside the target. Where both share a core its hits are dearer by a quarter than
 * they were when the machine was calibrated, and the target's are somewhere in between. Nothing
 * makes them cheaper: then it was the calibration that fell into a bad minute.
 */
struct ng_cost_now ng_cost_gauged(double ratio, double own_ns)
{
	const double gauged = ratio > 1 ? (1 + ratio) / 2 : ratio;

	return (struct ng_cost_now){.scale = PROGRAM_RATIO * gauged,
		.error_ratio = hypot(ERROR_RATIO, (ratio - gauged) / (sqrt(3) * gauged)),
		.own_ns = own_ns};
}
