#include "control/plane/settings.h"

#include <errno.h>
#include <string.h>

static const char *const names[NG_MODES] = {
	[NG_MODE_OFF] = "off",
	[NG_MODE_COUNT] = "count",
	[NG_MODE_SAMPLED] = "sampled",
	[NG_MODE_BURST] = "burst",
	[NG_MODE_FULL] = "full",
};

const char *ng_mode_name(enum ng_mode mode)
{
	return (unsigned int)mode < NG_MODES ? names[mode] : "unknown";
}

int ng_mode_parse(const char *text, enum ng_mode *ret_mode)
{
	for (unsigned int mode = 0; mode < NG_MODES; mode++) {
		if (strcmp(text, names[mode]))
			continue;
		*ret_mode = (enum ng_mode)mode;
		return 0;
	}
	return -EINVAL;
}
