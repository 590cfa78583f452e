/* Names as they come, made fit for formats that want UTF-8. */
#ifndef NG_CORE_OUT_TEXT_H
#define NG_CORE_OUT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

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

/** Writes it as UTF-8 on one line: a control character becomes a space. */
void ng_text_put_line(FILE *out, const char *text);

/**
 * Closes a stream of open_memstream() whose text was not looked after while it was written.
 *
 * @param text what the stream was opened with
 * @param ret_text all of it, to be freed
 * @return 0; -ENOMEM: something is missing, it was freed
 */
int ng_text_finish(FILE *out, char **text, char **ret_text);

/**
 * The same in memory as ng_text_put_line().
 *
 * @return to be freed; NULL where memory is out
 */
char *ng_text_to_line(const char *text);

#endif
