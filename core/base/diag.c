#include "core/base/diag.h"

#include <stdarg.h>
#include <stdio.h>

int ng_diag_set(struct ng_diag *diag, int error, const char *format, ...)
{
	va_list args;

	if (!diag || diag->text[0])
		return error;
	va_start(args, format);
	(void)vsnprintf(diag->text, sizeof(diag->text), format, args); /* cut where it is longer */
	va_end(args);
	return error;
}
