#include "core/out/buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MIN 128 /* bytes: most names fit */

/* Room for as many more, and a NUL. @return false where memory is out */
static bool reserve(struct ng_buffer *buffer, size_t length)
{
	size_t room = buffer->room ? buffer->room : ROOM_MIN;
	char *text;

	if (buffer->error)
		return false;
	while (room - buffer->length <= length)
		room *= 2;
	if (room == buffer->room)
		return true;
	text = realloc(buffer->text, room);
	if (!text) {
		buffer->error = -ENOMEM;
		return false;
	}
	buffer->text = text;
	buffer->room = room;
	return true;
}

void ng_buffer_put(struct ng_buffer *buffer, const void *bytes, size_t length)
{
	if (!reserve(buffer, length))
		return;
	memcpy(buffer->text + buffer->length, bytes, length);
	buffer->length += length;
	buffer->text[buffer->length] = '\0';
}

void ng_buffer_puts(struct ng_buffer *buffer, const char *text)
{
	ng_buffer_put(buffer, text, strlen(text));
}

void ng_buffer_printf(struct ng_buffer *buffer, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0) {
		buffer->error = buffer->error ? buffer->error : -ENOMEM;
		return;
	}
	if (!reserve(buffer, (size_t)length))
		return;
	va_start(args, format);
	(void)vsnprintf(buffer->text + buffer->length, (size_t)length + 1, format, args);
	va_end(args);
	buffer->length += (size_t)length;
}

void ng_buffer_clear(struct ng_buffer *buffer)
{
	buffer->length = 0;
	buffer->error = 0;
	if (buffer->text)
		buffer->text[0] = '\0';
}

void ng_buffer_release(struct ng_buffer *buffer)
{
	free(buffer->text);
	*buffer = (struct ng_buffer){0};
}

int ng_buffer_finish(struct ng_buffer *buffer, char **ret_text)
{
	int error;

	ng_buffer_put(buffer, "", 0); /* there is a text then */
	error = buffer->error;
	if (error) {
		ng_buffer_release(buffer);
		return error;
	}
	*ret_text = buffer->text;
	*buffer = (struct ng_buffer){0};
	return 0;
}
