#include "control/cli/trace_output.h"

#include <string.h>
#include <unistd.h>

#include "control/cli/commands.h"

static const struct {
	const char *name;
	enum ng_trace_format format;
	const char *endings[2]; /* of names that mean it */
} formats[] = {
	{"ctf", NG_TRACE_CTF, {NULL, NULL}},
	{"perfetto", NG_TRACE_PERFETTO, {".pftrace", ".perfetto-trace"}},
	{"ndjson", NG_TRACE_NDJSON, {".ndjson", "-"}},
};

static bool ends_with(const char *text, const char *ending)
{
	const size_t length = strlen(text), ending_length = strlen(ending);

	return length >= ending_length && !strcmp(text + length - ending_length, ending);
}

/* By what the output is called. */
static enum ng_trace_format usual_format(const char *output)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		for (size_t k = 0; k < 2 && formats[i].endings[k]; k++) {
			if (ends_with(output, formats[i].endings[k]))
				return formats[i].format;
		}
	}
	return NG_TRACE_CTF;
}

static int named_format(const char *command, const char *name, enum ng_trace_format *ret_format)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strcmp(name, formats[i].name) != 0)
			continue;
		*ret_format = formats[i].format;
		return 0;
	}
	return ng_complain_usage(command, "--format %s: it can be ctf, perfetto or ndjson", name);
}

int ng_trace_output(const char *command, const char *output, const char *format,
	struct ng_trace_options *options)
{
	const bool is_stdout = output && !strcmp(output, "-");
	int code = 0;

	if (!output)
		return ng_complain_usage(
			command, "where is it to be written? Name a directory or file by --output");
	if (!*output)
		return ng_complain_usage(command, "--output needs a name");
	options->format = usual_format(output);
	if (format)
		code = named_format(command, format, &options->format);
	if (code)
		return code;
	if (is_stdout && options->format == NG_TRACE_CTF)
		return ng_complain_usage(
			command, "--output -: CTF needs a directory; stdout takes the others");
	options->path = is_stdout ? NULL : output;
	options->fd = STDOUT_FILENO;
	return 0;
}
