/* Values of the JSON that is written here. Each is NULL where memory is out, and so is what takes
 * it. */
#ifndef NG_CORE_OUT_JSON_PARTS_H
#define NG_CORE_OUT_JSON_PARTS_H

#include <stdint.h>

#include <jansson.h>

#include "core/out/profile.h"

/** One line of UTF-8 without control characters; null for NULL and "". */
json_t *ng_json_text_or_null(const char *text);

/** At most 2^63 - 1: what JSON's readers have for numbers. */
json_t *ng_json_number(uint64_t value);

/** null for 0, which stands for what is not known. */
json_t *ng_json_number_or_null(uint64_t value);

/** "0x…". */
json_t *ng_json_address(uint64_t value);

/** An object: "function", "file" and "line", each null where it is not known. */
json_t *ng_json_frame(const struct ng_profile_frame *frame);

#endif
