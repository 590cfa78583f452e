/* Members of JSON objects that somebody else has written: what is missing has a value, too. */
#ifndef NG_CONTROL_CLI_JSON_GET_H
#define NG_CONTROL_CLI_JSON_GET_H

#include <jansson.h>

/** @return 0 where there is no number */
static inline double ng_json_real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

/** @return "?" where there is no text; the object's */
static inline const char *ng_json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "?";
}

#endif
