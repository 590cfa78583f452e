#include "core/out/json_parts.h"

#include <inttypes.h>

#include "core/out/text.h"

json_t *ng_json_text_or_null(const char *text)
{
	struct ng_buffer line = {0};
	json_t *string = NULL;

	if (!text || !text[0])
		return json_null();
	ng_text_put_line(&line, text);
	if (!line.error)
		string = json_stringn(line.text, line.length);
	ng_buffer_release(&line);
	return string;
}

json_t *ng_json_number(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

json_t *ng_json_number_or_null(uint64_t value)
{
	return value ? ng_json_number(value) : json_null();
}

json_t *ng_json_address(uint64_t value)
{
	return json_sprintf("0x%" PRIx64, value);
}

json_t *ng_json_frame(const struct ng_profile_frame *frame)
{
	return json_pack("{s:o, s:o, s:o}", "function", ng_json_text_or_null(frame->function),
		"file", ng_json_text_or_null(frame->file), "line",
		ng_json_number_or_null(frame->line));
}
