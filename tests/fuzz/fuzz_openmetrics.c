/*
 * Any bytes as a label and as a header Accept: a sample is one line that a reader of the format
 * takes for one label, and an answer is one of the formats.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/out/openmetrics.h"
#include "core/out/text.h"
#include "tests/fuzz/must.h"

#define BEFORE "a{b=\""
#define AFTER  "\"} 0\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads a label's value as the format says, from behind its quote. @return the closing one */
static const char *read_value(const char *at)
{
	uint32_t code;
	size_t length;

	for (; *at != '"'; at += length) {
		length = ng_text_decode(at, &code);
		MUST(length && !ng_text_is_control(code));
		MUST(code != NG_TEXT_BAD || !strncmp(at, NG_TEXT_BAD_UTF8, 3));
		if (code == '\\') {
			MUST(at[1] == '\\' || at[1] == '"' || at[1] == 'n');
			length = 2;
		}
	}
	return at;
}

static void check_label(const char *value)
{
	static const struct ng_metric_family family = {"a", NG_METRIC_GAUGE, NULL, "b"};
	const struct ng_metric_label label = {"b", value};
	struct ng_buffer buffer = {0};
	struct ng_openmetrics writer = {.buffer = &buffer, .family = &family, .has_begun = true};
	char *text;

	ng_openmetrics_put(&writer, &(struct ng_metric_labels){&label, 1}, 0);
	MUST(!ng_buffer_finish(&buffer, &text));
	MUST(!strncmp(text, BEFORE, strlen(BEFORE)));
	MUST(!strcmp(read_value(text + strlen(BEFORE)), AFTER));
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1); /* of that size exactly, for ASan */
	enum ng_openmetrics_format format;

	MUST(text);
	memcpy(text, data, size);
	text[size] = '\0';
	check_label(text);
	format = ng_openmetrics_choose(text);
	MUST(format == NG_OPENMETRICS_TEXT ||
		(format == NG_OPENMETRICS_1 && strcasestr(text, "application/openmetrics-text")));
	free(text);
	return 0;
}
