#include "core/base/number.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"

int ng_number_parse(
	const char *text, struct ng_range range, uint64_t *ret_value, struct ng_diag *diag)
{
	uint64_t value;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return ng_diag_set(
			diag, -EINVAL, "'%s' is not a number: digits only, please", text);
	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end)
		return ng_diag_set(
			diag, -EINVAL, "'%s' is not a number: digits only, please", text);
	if (errno || value < range.min || value > range.max)
		return ng_diag_set(diag, -ERANGE,
			"%s is out of range: it can be %" PRIu64 " to %" PRIu64, text, range.min,
			range.max);
	*ret_value = value;
	return 0;
}

static const struct {
	const char *name;
	double ns;
} units[] = {
	{"", 1e9},
	{"ns", 1},
	{"us", 1e3},
	{"ms", 1e6},
	{"s", 1e9},
	{"m", 60e9},
	{"h", 3600e9},
};

/* In the largest unit of which there is one at least: "10ms", "8760h". */
static void say_duration(uint64_t ns, char *text, size_t text_bytes)
{
	size_t best = 1;

	for (size_t i = 2; i < sizeof(units) / sizeof(units[0]); i++) {
		if ((double)ns >= units[i].ns)
			best = i;
	}
	(void)snprintf(text, text_bytes, "%g%s", (double)ns / units[best].ns, units[best].name);
}

static int refuse_range(const char *text, struct ng_range range_ns, struct ng_diag *diag)
{
	char min[32], max[32];

	say_duration(range_ns.min, min, sizeof(min));
	say_duration(range_ns.max, max, sizeof(max));
	return ng_diag_set(diag, -ERANGE, "%s is out of range: it can be %s to %s", text, min, max);
}

/* Digits, perhaps with a fraction, from the text's start. @return what follows; NULL: no such
 * number
 */
static const char *parse_decimal(const char *text, double *ret_value)
{
	char digits[32];
	size_t length = strspn(text, "0123456789.");
	char *end;

	if (!isdigit((unsigned char)text[0]) || length >= sizeof(digits))
		return NULL;
	memcpy(digits, text, length);
	digits[length] = '\0';
	*ret_value = strtod(digits, &end);
	return *end ? NULL : text + length;
}

int ng_duration_parse(
	const char *text, struct ng_range range_ns, uint64_t *ret_ns, struct ng_diag *diag)
{
	double value;
	const char *unit = parse_decimal(text, &value);

	for (size_t i = 0; unit && i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(unit, units[i].name))
			continue;
		value *= units[i].ns;
		if (value < (double)range_ns.min || value > (double)range_ns.max)
			return refuse_range(text, range_ns, diag);
		*ret_ns = (uint64_t)value;
		return 0;
	}
	return ng_diag_set(diag, -EINVAL,
		"'%s' is not a time: write a number and ns, us, ms, s, m or h, like 10ms", text);
}

int ng_size_parse(
	const char *text, struct ng_range range_bytes, uint64_t *ret_bytes, struct ng_diag *diag)
{
	static const char prefixes[] = "KMG";
	uint64_t bytes;
	unsigned int shift = 0;
	char *end = NULL;

	errno = 0;
	bytes = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
	if (end && *end && strchr(prefixes, *end))
		shift = 10 * (unsigned int)(strchr(prefixes, *end++) - prefixes + 1);
	if (!end || *end)
		return ng_diag_set(diag, -EINVAL,
			"'%s' is not a size: write a whole number of bytes, or K, M or G behind it",
			text);
	if (errno || bytes > UINT64_MAX >> shift || bytes << shift < range_bytes.min ||
		bytes << shift > range_bytes.max)
		return ng_diag_set(diag, -ERANGE,
			"%s is out of range: it can be %" PRIu64 "K to %" PRIu64 "G", text,
			range_bytes.min >> 10, range_bytes.max >> 30);
	*ret_bytes = bytes << shift;
	return 0;
}

int ng_ratio_parse(const char *text, double *ret_ratio, struct ng_diag *diag)
{
	double value, divisor = 1;
	const char *rest = parse_decimal(text, &value);

	if (rest && *rest == '/') {
		rest = parse_decimal(rest + 1, &divisor);
	} else if (rest && *rest == '%') {
		divisor = 100;
		rest++;
	}
	if (!rest || *rest || divisor <= 0)
		return ng_diag_set(diag, -EINVAL,
			"'%s' is not a share: write it like 1%%, 1/100 or 0.01", text);
	*ret_ratio = value / divisor;
	return 0;
}
