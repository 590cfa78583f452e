#include "core/stat/quartiles.h"

#include <stdlib.h>

static int compare(const void *left, const void *right)
{
	const double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

static double at(const double *sorted, size_t count, double fraction)
{
	const double place = fraction * (double)(count - 1);
	const size_t below = (size_t)place;

	if (below + 1 >= count)
		return sorted[count - 1];
	return sorted[below] + (place - (double)below) * (sorted[below + 1] - sorted[below]);
}

struct ng_quartiles ng_quartiles_of(double *values, size_t count)
{
	if (!count)
		return (struct ng_quartiles){0};
	qsort(values, count, sizeof(*values), compare);
	return (struct ng_quartiles){
		.low = at(values, count, 0.25),
		.median = at(values, count, 0.5),
		.high = at(values, count, 0.75),
	};
}
