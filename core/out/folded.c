#include "core/out/folded.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/out/intern.h"
#include "core/out/sink.h"
#include "core/out/text.h"

static void put_name(FILE *out, const struct ng_profile_frame *frame)
{
	char room[NG_FRAME_NAME_SIZE];
	const char *name = ng_profile_frame_name(frame, room);
	uint32_t code;
	size_t length;

	/* Bytes that are no UTF-8 are kept: nothing here depends on them. */
	for (; (length = ng_text_decode(name, &code)); name += length)
		if (code == ';')
			(void)fputc(':', out);
		else if (ng_text_is_control(code))
			(void)fputc(' ', out);
		else
			(void)fwrite(name, 1, length, out);
}

/* @return a stack's line, without its calls; to be freed; NULL where memory is out */
static char *fold(const struct ng_profile_stack *stack)
{
	char *text = NULL, *line = NULL;
	size_t size, count;
	const struct ng_profile_frame *frames = ng_profile_stack_frames(stack, &count);
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (size_t i = count; i-- > 0;) {
		put_name(out, &frames[i]);
		if (i)
			(void)fputc(';', out);
	}
	(void)ng_text_finish(out, &text, &line); /* NULL says it */
	return line;
}

/* Sums calls by line. */
static int fold_all(const struct ng_profile *profile, struct ng_intern *lines, double *calls)
{
	for (size_t i = 0; i < profile->stack_count; i++) {
		NG_CLEANUP_FREE char *line = fold(&profile->stacks[i]);
		uint32_t number = 0;
		int error = line ? ng_intern_add_text(lines, line, &number) : -ENOMEM;

		if (error)
			return error;
		calls[number] += profile->stacks[i].calls;
	}
	return 0;
}

int ng_folded_write(const struct ng_profile *profile, int fd, struct ng_diag *diag)
{
	NG_CLEANUP_FREE double *calls = calloc(profile->stack_count + 1, sizeof(*calls));
	struct ng_intern lines = {0};
	struct ng_rounder rounder = {0};
	struct ng_profile_total total;
	struct ng_sink *sink;
	int error = ng_profile_check(profile, &total, diag);

	if (error)
		return error;
	sink = calls ? ng_sink_open(fd, false) : NULL;
	if (!sink)
		return ng_diag_set(diag, -ENOMEM, "no memory for folded stacks");
	ng_sink_fail(sink, fold_all(profile, &lines, calls));
	for (uint32_t i = 0; i < lines.count; i++) {
		ng_sink_put(sink, lines.entries[i].bytes, lines.entries[i].length);
		ng_sink_printf(sink, " %" PRIu64 "\n", ng_rounder_next(&rounder, calls[i]));
	}
	ng_intern_release(&lines);
	return ng_sink_close(sink, "folded stacks", diag);
}
