/* The middle of a set of measurements, and how far they spread: not moved by a few wild ones. */
#ifndef NG_CORE_STAT_QUARTILES_H
#define NG_CORE_STAT_QUARTILES_H

#include <stddef.h>

struct ng_quartiles {
	double low; /* a quarter of the values is smaller */
	double median;
	double high; /* a quarter of the values is larger */
};

/**
 * Computes the quartiles, between two values by linear interpolation.
 *
 * @param values sorted in place; no NaN among them
 * @param count where it is 0, all quartiles are 0
 */
struct ng_quartiles ng_quartiles_of(double *values, size_t count);

#endif
