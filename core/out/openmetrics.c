#include "core/out/openmetrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/out/text.h"

#define SPACE " \t"

static const char *suffix_of(const struct ng_metric_family *family)
{
	static const char *const suffixes[] = {
		[NG_METRIC_GAUGE] = "", [NG_METRIC_COUNTER] = "_total", [NG_METRIC_INFO] = "_info"};

	return suffixes[family->kind];
}

static const char *type_of(const struct ng_metric_family *family, enum ng_openmetrics_format format)
{
	if (family->kind == NG_METRIC_COUNTER)
		return "counter";
	return family->kind == NG_METRIC_INFO && format == NG_OPENMETRICS_1 ? "info" : "gauge";
}

static void put_help(struct ng_openmetrics *writer, const char *text)
{
	for (; *text; text++)
		if (*text == '\n')
			ng_buffer_puts(writer->buffer, "\\n");
		else if (*text == '\\' || (*text == '"' && writer->format == NG_OPENMETRICS_1))
			ng_buffer_printf(writer->buffer, "\\%c", *text);
		else
			ng_buffer_put(writer->buffer, text, 1);
}

/* The text format names what stands below: NAME_total. OpenMetrics names the family. */
static void put_name_of_family(struct ng_openmetrics *writer, const char *word)
{
	ng_buffer_printf(writer->buffer, "# %s %s%s ", word, writer->family->name,
		writer->format == NG_OPENMETRICS_TEXT ? suffix_of(writer->family) : "");
}

static void begin_family(struct ng_openmetrics *writer)
{
	const struct ng_metric_family *family = writer->family;

	writer->has_begun = true;
	put_name_of_family(writer, "HELP");
	put_help(writer, family->help);
	ng_buffer_puts(writer->buffer, "\n");
	put_name_of_family(writer, "TYPE");
	ng_buffer_printf(writer->buffer, "%s\n", type_of(family, writer->format));
	if (!family->unit || writer->format == NG_OPENMETRICS_TEXT)
		return;
	put_name_of_family(writer, "UNIT");
	ng_buffer_printf(writer->buffer, "%s\n", family->unit);
}

static void put_label_value(struct ng_buffer *buffer, const char *text)
{
	uint32_t code;
	size_t length;

	for (; (length = ng_text_decode(text, &code)); text += length)
		if (code == '\n')
			ng_buffer_puts(buffer, "\\n");
		else if (code == '\\' || code == '"')
			ng_buffer_printf(buffer, "\\%c", (char)code);
		else if (ng_text_is_control(code))
			ng_buffer_puts(buffer, " ");
		else if (code == NG_TEXT_BAD)
			ng_buffer_puts(buffer, NG_TEXT_BAD_UTF8);
		else
			ng_buffer_put(buffer, text, length);
}

static void put_series(struct ng_openmetrics *writer, const struct ng_metric_labels *labels)
{
	struct ng_buffer *buffer = writer->buffer;

	if (!writer->has_begun)
		begin_family(writer);
	ng_buffer_printf(buffer, "%s%s", writer->family->name, suffix_of(writer->family));
	for (size_t i = 0; i < labels->count; i++) {
		ng_buffer_printf(buffer, "%s%s=\"", i ? "," : "{", labels->items[i].name);
		put_label_value(buffer, labels->items[i].value);
		ng_buffer_puts(buffer, "\"");
	}
	ng_buffer_puts(buffer, labels->count ? "} " : " ");
}

/* As few digits as tell it from every other number. */
static void put_value(struct ng_buffer *buffer, double value)
{
	char text[32];

	if (!isfinite(value)) {
		ng_buffer_puts(buffer, isnan(value) ? "NaN\n" : value > 0 ? "+Inf\n" : "-Inf\n");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		(void)snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	ng_buffer_printf(buffer, "%s\n", text);
}

void ng_openmetrics_family(struct ng_openmetrics *writer, const struct ng_metric_family *family)
{
	writer->family = family;
	writer->has_begun = false;
}

void ng_openmetrics_put(
	struct ng_openmetrics *writer, const struct ng_metric_labels *labels, double value)
{
	put_series(writer, labels);
	put_value(writer->buffer, value);
}

void ng_openmetrics_end(struct ng_openmetrics *writer)
{
	if (writer->format == NG_OPENMETRICS_1)
		ng_buffer_puts(writer->buffer, "# EOF\n");
}

const char *ng_openmetrics_type(enum ng_openmetrics_format format)
{
	return format == NG_OPENMETRICS_1
		       ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
		       : "text/plain; version=0.0.4; charset=utf-8";
}

/* --- what is asked for -------------------------------------------------------------------------
 */

/* A part of a header: from its first character that is no space to its last. */
struct part {
	const char *text;
	size_t length;
};

/* The next part up to a separator, which is passed over. */
static struct part next_part(const char **at, const char *separator, const char *end)
{
	const char *from = *at + strspn(*at, SPACE);
	const char *to;

	from = from < end ? from : end;
	to = from;
	while (to < end && !strchr(separator, *to))
		to++;
	*at = to < end ? to + 1 : end;
	while (to > from && strchr(SPACE, to[-1]))
		to--;
	return (struct part){.text = from, .length = (size_t)(to - from)};
}

static bool is_text(struct part part, const char *text)
{
	return part.length == strlen(text) && !strncasecmp(part.text, text, part.length);
}

/* The value of "NAME=VALUE"; NULL where it is another parameter. */
static const char *value_of(struct part part, const char *name, size_t *ret_length)
{
	const size_t length = strlen(name);

	if (part.length <= length || strncasecmp(part.text, name, length) ||
		part.text[length] != '=')
		return NULL;
	*ret_length = part.length - length - 1;
	return part.text + length + 1;
}

/* How much a range is liked, 0 to 1; 0 also for another version than ours. */
static double quality_of(const char *at, const char *end, const char *version)
{
	double quality = 1;
	size_t length;
	const char *value;

	while (at < end) {
		const struct part part = next_part(&at, ";", end);

		value = value_of(part, "q", &length);
		if (value)
			quality = strtod(value, NULL); /* stops at the ';' */
		value = value_of(part, "version", &length);
		if (value && (length != strlen(version) || strncmp(value, version, length)))
			return 0;
	}
	return quality >= 0 && quality <= 1 ? quality : 0;
}

enum ng_openmetrics_format ng_openmetrics_choose(const char *accept)
{
	const char *const end = accept ? accept + strlen(accept) : NULL;
	double open = 0, text = 0;

	while (accept < end) {
		const struct part range = next_part(&accept, ",", end);
		const char *at = range.text, *const range_end = range.text + range.length;
		const struct part type = next_part(&at, ";", range_end);

		if (is_text(type, "application/openmetrics-text"))
			open = fmax(open, quality_of(at, range_end, "1.0.0"));
		else if (is_text(type, "text/plain"))
			text = fmax(text, quality_of(at, range_end, "0.0.4"));
	}
	return open > 0 && open >= text ? NG_OPENMETRICS_1 : NG_OPENMETRICS_TEXT;
}
