#include "core/out/text.h"

static bool is_continued(const unsigned char *bytes, size_t length)
{
	for (size_t i = 1; i < length; i++)
		if ((bytes[i] & 0xc0) != 0x80) /* a NUL is none either */
			return false;
	return true;
}

static size_t length_of(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first < 0xe0)
		return 2;
	if (first >= 0xe0 && first < 0xf0)
		return 3;
	return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

size_t ng_text_decode(const char *text, uint32_t *ret_code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *bytes = (const unsigned char *)text;
	const size_t length = length_of(bytes[0]);
	uint32_t code;

	if (!bytes[0])
		return 0;
	*ret_code = length == 1 ? bytes[0] : NG_TEXT_BAD;
	if (length < 2 || !is_continued(bytes, length))
		return 1;
	code = bytes[0] & (0x7f >> length);
	for (size_t i = 1; i < length; i++)
		code = code << 6 | (bytes[i] & 0x3f);
	if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 1;
	*ret_code = code;
	return length;
}

bool ng_text_is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
	       code == 0xfffe || code == 0xffff;
}

void ng_text_put_line(struct ng_buffer *buffer, const char *text)
{
	uint32_t code;
	size_t length;

	for (; (length = ng_text_decode(text, &code)); text += length)
		if (ng_text_is_control(code))
			ng_buffer_puts(buffer, " ");
		else if (code == NG_TEXT_BAD)
			ng_buffer_puts(buffer, NG_TEXT_BAD_UTF8);
		else
			ng_buffer_put(buffer, text, length);
}
