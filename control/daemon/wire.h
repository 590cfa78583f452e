/*
 * Selectors, functions and settings as JSON: the parts that the socket's lines and the state file
 * are made of.
 *
 *     {"pid":7,"exe":"/opt/caddy-?","comm":"caddy","cgroup":"/system.slice","uid":1000,"all":true}
 *     ["time.Now"]
 *     {"mode":"burst","budget_ratio":0.01,"lease_ns":1000000000,"events":1000,"rate_ratio":0.01,
 *      "exact":true,"record":true,"follow_forks":true}
 *
 * Strict: an unknown key, a wrong type or a number out of range is an error that names the key.
 */
#ifndef NG_CONTROL_DAEMON_WIRE_H
#define NG_CONTROL_DAEMON_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "control/plane/selector.h"
#include "control/plane/wish.h"
#include "core/base/diag.h"
#include "core/base/number.h"

#define NG_NAMES_MAX	 64
#define NG_WIRE_TEXT_MAX 4096 /* of a path, a glob, a function's name */

/** Names of functions, its own. */
struct ng_names {
	char **items;
	size_t count;
};

void ng_names_release(struct ng_names *names);

/** Adds a copy of a name. @return 0; -E2BIG there are NG_NAMES_MAX; -ENOMEM */
int ng_names_add(struct ng_names *names, const char *name);

int ng_names_copy(const struct ng_names *names, struct ng_names *ret_names);

bool ng_names_equal(const struct ng_names *a, const struct ng_names *b);

/** Is it a text that may be one: not empty, within NG_WIRE_TEXT_MAX, UTF-8 (it goes into
 * JSON), no control characters (and into logs)? @param key for the message. @return 0; -EINVAL */
int ng_wire_check_text(const char *key, const char *text, struct ng_diag *diag);

/** Refuses an object with other keys than these, or something that is no object. @param keys ends
 * with NULL. @param name for the message. @return 0; -EINVAL */
int ng_wire_check_keys(
	json_t *object, const char *name, const char *const *keys, struct ng_diag *diag);

/** Reads a member that may be missing: ret_value stays what it was then. @return 0; -EINVAL of
 * another type; -ERANGE */
int ng_wire_get_integer(json_t *object, const char *key, struct ng_range range, uint64_t *ret_value,
	bool *ret_is_given, struct ng_diag *diag);

/** Each reads a whole value. `ret_x` is filled on success only. @return 0; -EINVAL; -ERANGE;
 * -ENOMEM
 */
int ng_wire_get_selector(json_t *value, struct ng_selector *ret_selector, struct ng_diag *diag);
int ng_wire_get_functions(json_t *value, struct ng_names *ret_names, struct ng_diag *diag);
/** Checks it by ng_wish_check(), too. */
int ng_wire_get_wish(json_t *value, struct ng_wish *ret_wish, struct ng_diag *diag);

/** Each gives a new value; NULL where memory is out or a text is not UTF-8. */
json_t *ng_wire_selector(const struct ng_selector *selector);
json_t *ng_wire_functions(const struct ng_names *names);
json_t *ng_wire_wish(const struct ng_wish *wish);

#endif
