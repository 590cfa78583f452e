#include "control/doctor/checks.h"

#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/cleanup.h"

struct ng_check *ng_checks_add(struct ng_checks *checks, const char *name)
{
	struct ng_check *check;

	assert(checks->count < NG_CHECKS_MAX);
	check = &checks->items[checks->count++];
	*check = (struct ng_check){.name = name};
	return check;
}

void ng_check_say(struct ng_check *check, enum ng_check_status status, const char *format, ...)
{
	va_list args;

	check->status = status;
	va_start(args, format);
	(void)vsnprintf(check->seen, sizeof(check->seen), format, args); /* cut where longer */
	va_end(args);
}

void ng_check_advise(struct ng_check *check, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(check->advice, sizeof(check->advice), format, args);
	va_end(args);
}

enum ng_check_status ng_checks_worst(const struct ng_checks *checks)
{
	enum ng_check_status worst = NG_CHECK_OK;

	for (size_t i = 0; i < checks->count; i++) {
		if (checks->items[i].status > worst)
			worst = checks->items[i].status;
	}
	return worst;
}

bool ng_checks_read(const char *path, char *text, size_t text_bytes)
{
	NG_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, text_bytes - 1);

	text[length < 0 ? 0 : length] = '\0';
	return length >= 0;
}
