/* The keys of the configuration, in one table: what they are called, take, default to, and mean. */
#ifndef NG_CONTROL_DAEMON_CONFIG_KEYS_H
#define NG_CONTROL_DAEMON_CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "control/daemon/config.h"

enum ng_config_section {
	NG_SECTION_NONE = 0, /* before the first */
	NG_SECTION_DAEMON = 1,
	NG_SECTION_ATTACH = 2,
	NG_SECTION_TRIGGER = 3,
};

struct ng_config_key;

/** Sets a value. @param section the struct that it goes into. @return 0; -EINVAL; -ERANGE; -ENOMEM
 */
typedef int (*ng_config_take)(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag);

struct ng_config_key {
	enum ng_config_section section;
	const char *name;
	const char *value; /* [daemon], [trigger]: the default, if has_default; else an example */
	bool has_default;
	bool repeats;
	ng_config_take take;
	size_t offset; /* of the member, where `take` serves several */
	const char *help;
};

#define NG_CONFIG_KEYS_MAX 32

/** The table; it ends with a name of NULL. */
extern const struct ng_config_key ng_config_keys[];

/** Sets every default of a kind of section. @return 0; -ENOMEM */
int ng_config_set_defaults(enum ng_config_section section, void *ret_section);

#endif
