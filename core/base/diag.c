#include "core/base/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A long name would cut off what is said of it: so the middle goes. */
static void cut_middle(struct ng_diag *diag, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

static void cut_middle(struct ng_diag *diag, const char *format, va_list args)
{
	static const char gap[] = " ... ";
	const size_t gap_length = sizeof(gap) - 1;
	const size_t end_bytes = sizeof(diag->text) / 2; /* with the NUL */
	char *whole = NULL;
	int length = vasprintf(&whole, format, args);

	if (length < 0)
		return; /* out of memory: then it is cut at its end */
	memcpy(diag->text + sizeof(diag->text) - end_bytes - gap_length, gap, gap_length);
	memcpy(diag->text + sizeof(diag->text) - end_bytes, whole + (size_t)length + 1 - end_bytes,
		end_bytes);
	free(whole);
}

int ng_diag_set(struct ng_diag *diag, int error, const char *format, ...)
{
	va_list args;
	int length;

	if (!diag || diag->text[0])
		return error;
	va_start(args, format);
	length = vsnprintf(diag->text, sizeof(diag->text), format, args);
	va_end(args);
	if (length >= (int)sizeof(diag->text)) {
		va_start(args, format);
		cut_middle(diag, format, args);
		va_end(args);
	}
	return error;
}
