/* Numbers from command lines and files: whole strings, with a range and a unit. */
#ifndef NG_CORE_BASE_NUMBER_H
#define NG_CORE_BASE_NUMBER_H

#include <stdint.h>

#include "core/base/diag.h"

/** The smallest and largest value that is taken, both included. */
struct ng_range {
	uint64_t min;
	uint64_t max;
};

/**
 * Reads a whole decimal number: digits only, no sign, no space, no rest.
 *
 * @return 0; -EINVAL where the text is no such number; -ERANGE outside the range
 */
int ng_number_parse(
	const char *text, struct ng_range range, uint64_t *ret_value, struct ng_diag *diag);

/**
 * Reads a time: a decimal number, perhaps with a fraction, and one of the units ns, us, ms, s, m, h
 * ("10ms", "1.5s"); without a unit it is seconds.
 *
 * @param range in ns
 * @return 0; -EINVAL, -ERANGE as ng_number_parse()
 */
int ng_duration_parse(
	const char *text, struct ng_range range_ns, uint64_t *ret_ns, struct ng_diag *diag);

/**
 * Reads an amount of memory or disk: a whole number of bytes, or of one of the units K, M, G
 * ("64M"), which are powers of 1024.
 *
 * @param range_bytes its ends are whole K, and whole G
 * @return 0; -EINVAL, -ERANGE as ng_number_parse()
 */
int ng_size_parse(
	const char *text, struct ng_range range_bytes, uint64_t *ret_bytes, struct ng_diag *diag);

/**
 * Reads a share of a whole: a percentage ("1.5%"), a fraction ("1/100") or a plain decimal number
 * ("0.01"). Ranges are the caller's business, but it is never negative, infinite or no number.
 *
 * @return 0; -EINVAL where the text is no such share
 */
int ng_ratio_parse(const char *text, double *ret_ratio, struct ng_diag *diag);

#endif
