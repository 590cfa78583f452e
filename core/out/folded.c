#include "core/out/folded.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/out/buffer.h"
#include "core/out/intern.h"
#include "core/out/sink.h"
#include "core/out/text.h"

static void put_name(struct ng_buffer *line, const struct ng_profile_frame *frame)
{
	char room[NG_FRAME_NAME_SIZE];
	const char *name = ng_profile_frame_name(frame, room);
	uint32_t code;
	size_t length;

	/* Bytes that are no UTF-8 are kept: nothing here depends on them. */
	for (; (length = ng_text_decode(name, &code)); name += length)
		if (code == ';')
			ng_buffer_puts(line, ":");
		else if (ng_text_is_control(code))
			ng_buffer_puts(line, " ");
		else
			ng_buffer_put(line, name, length);
}

/* A stack's line, without its calls. */
static void fold(const struct ng_profile_stack *stack, struct ng_buffer *line)
{
	size_t count;
	const struct ng_profile_frame *frames = ng_profile_stack_frames(stack, &count);

	for (size_t i = count; i-- > 0;) {
		put_name(line, &frames[i]);
		if (i)
			ng_buffer_puts(line, ";");
	}
}

/* Sums calls by line. */
static int fold_all(const struct ng_profile *profile, struct ng_intern *lines, double *calls)
{
	struct ng_buffer line = {0};
	int error = 0;

	for (size_t i = 0; i < profile->stack_count && !error; i++) {
		uint32_t number = 0;

		ng_buffer_clear(&line);
		fold(&profile->stacks[i], &line);
		error = line.error;
		if (!error)
			error = ng_intern_add(lines, line.text, line.length, &number);
		if (!error)
			calls[number] += profile->stacks[i].calls;
	}
	ng_buffer_release(&line);
	return error;
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
