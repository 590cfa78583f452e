/* How numbers are written for people. */
#ifndef NG_CONTROL_CLI_NUMBERS_H
#define NG_CONTROL_CLI_NUMBERS_H

#include <stdint.h>

/** A number with its thousands set apart: "1,234,567". @return a place in text */
static inline const char *ng_grouped(uint64_t number, char text[32])
{
	char *at = text + 31;
	int digits = 0;

	*at = '\0';
	do {
		if (digits && digits % 3 == 0)
			*--at = ',';
		*--at = (char)('0' + number % 10);
		number /= 10;
		digits++;
	} while (number);
	return at;
}

#endif
