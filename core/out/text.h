/* Names as they come, made fit for formats that want UTF-8. */
#ifndef NG_CORE_OUT_TEXT_H
#define NG_CORE_OUT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/out/buffer.h"

#define NG_TEXT_BAD	 0xfffd /* U+FFFD, stands for a byte that is no UTF-8 */
#define NG_TEXT_BAD_UTF8 "\xef\xbf\xbd"

/**
 * Decodes the next character, if there is one: shortest form, no surrogate, up to U+10FFFF.
 *
 * @param ret_code NG_TEXT_BAD for a byte that begins none
 * @return its length in bytes, 1 for such a byte; 0 at the end
 */
size_t ng_text_decode(const char *text, uint32_t *ret_code);

/** Is it one that would end or garble a line (C0, DEL, C1), or that XML does not allow? */
bool ng_text_is_control(uint32_t code);

/** Adds it as UTF-8 on one line: a control character becomes a space. */
void ng_text_put_line(struct ng_buffer *buffer, const char *text);

#endif
