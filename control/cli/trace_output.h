/* Where a trace is written, and in what format, as the arguments of several subcommands say it. */
#ifndef NG_CONTROL_CLI_TRACE_OUTPUT_H
#define NG_CONTROL_CLI_TRACE_OUTPUT_H

#include "core/out/trace.h"

/** The lines of a subcommand's help about it. */
#define NG_TRACE_OUTPUT_HELP                                                                       \
	"  -o, --output PATH    for CTF a directory that is new or empty, else a file; - is "      \
	"stdout\n"                                                                                 \
	"      --format FORMAT  ctf:      for babeltrace2 and Trace Compass\n"                     \
	"                       perfetto: for ui.perfetto.dev\n"                                   \
	"                       ndjson:   a JSON object a line\n"                                  \
	"                       Default: by PATH's ending (.pftrace, .perfetto-trace, .ndjson; - " \
	"is\n"                                                                                     \
	"                       ndjson), else ctf\n"

/**
 * Sets the format, the path or the descriptor of a trace's options. What is wrong is printed.
 *
 * @param command the subcommand's name
 * @param output as given; NULL: it was not
 * @param format likewise; NULL: by the output's name
 * @return 0, or the exit code
 */
int ng_trace_output(const char *command, const char *output, const char *format,
	struct ng_trace_options *options);

#endif
