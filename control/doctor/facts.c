#include "control/doctor/facts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ng_release_parse(const char *text, struct ng_release *ret_release)
{
	struct ng_release release;

	if (sscanf(text, "%4u.%4u", &release.major, &release.minor) != 2)
		return false;
	*ret_release = release;
	return true;
}

bool ng_release_is_before(struct ng_release release, unsigned int major, unsigned int minor)
{
	return release.major != major ? release.major < major : release.minor < minor;
}

enum ng_lockdown ng_lockdown_parse(const char *text)
{
	if (strstr(text, "[none]"))
		return NG_LOCKDOWN_NONE;
	if (strstr(text, "[integrity]"))
		return NG_LOCKDOWN_INTEGRITY;
	return strstr(text, "[confidentiality]") ? NG_LOCKDOWN_CONFIDENTIALITY
						 : NG_LOCKDOWN_UNKNOWN;
}

/* What follows a key at a line's start, or NULL. */
static const char *after_key(const char *text, const char *key, char separator)
{
	const size_t length = strlen(key);

	while (text) {
		if (!strncmp(text, key, length) && text[length] == separator)
			return text + length + 1;
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return NULL;
}

bool ng_status_parse(const char *status, const char *key, int base, uint64_t *ret_value)
{
	const char *text = after_key(status, key, ':');
	uint64_t value;
	char *end;

	if (!text)
		return false;
	text += strspn(text, " \t");
	if (!isxdigit((unsigned char)*text))
		return false;
	errno = 0;
	value = strtoull(text, &end, base);
	if (errno || end == text || (*end && *end != '\n'))
		return false;
	*ret_value = value;
	return true;
}

char ng_config_parse(const char *config, const char *option)
{
	const char *text = after_key(config, option, '=');

	return text && (*text == 'y' || *text == 'm') ? *text : 'n';
}
