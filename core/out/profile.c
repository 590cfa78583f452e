#include "core/out/profile.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "core/base/clock.h"
#include "core/out/buffer.h"
#include "core/out/text.h"

/* Up to here a double holds each whole number; formats have 64 bits with a sign. */
#define CALLS_MAX 9007199254740992.0 /* 2^53: 28 years of 10 M/s */

static int check_stack(const struct ng_profile *profile, size_t index, struct ng_diag *diag)
{
	const struct ng_profile_stack *stack = &profile->stacks[index];

	if (!(stack->calls >= 0 && stack->calls <= CALLS_MAX))
		return ng_diag_set(diag, -EINVAL, "stack %zu of the profile: %g calls are no count",
			index, stack->calls);
	for (size_t i = 0; i < stack->frame_count; i++) {
		const uint32_t mapping = stack->frames[i].mapping;

		if (mapping != NG_FRAME_NO_MAPPING && mapping >= profile->mapping_count)
			return ng_diag_set(diag, -EINVAL,
				"stack %zu of the profile: mapping %" PRIu32 " of %zu", index,
				mapping, profile->mapping_count);
	}
	return 0;
}

int ng_profile_check(
	const struct ng_profile *profile, struct ng_profile_total *ret_total, struct ng_diag *diag)
{
	struct ng_profile_total total = {0};

	for (size_t i = 0; i < profile->stack_count; i++) {
		int error = check_stack(profile, i, diag);

		if (error)
			return error;
		total.hits += profile->stacks[i].hits;
		total.calls += profile->stacks[i].calls;
		total.cost_ns += profile->stacks[i].cost_ns;
	}
	if (total.calls > CALLS_MAX)
		return ng_diag_set(
			diag, -EINVAL, "%g calls are more than a profile can count", total.calls);
	if (profile->is_estimate &&
		!(profile->low_calls >= 0 && profile->low_calls <= profile->high_calls))
		return ng_diag_set(diag, -EINVAL, "%g to %g calls are no interval",
			profile->low_calls, profile->high_calls);
	*ret_total = total;
	return 0;
}

const struct ng_profile_frame *ng_profile_stack_frames(
	const struct ng_profile_stack *stack, size_t *ret_count)
{
	static const struct ng_profile_frame none = {
		.function = "[no stack]", .mapping = NG_FRAME_NO_MAPPING};

	*ret_count = stack->frame_count ? stack->frame_count : 1;
	return stack->frame_count ? stack->frames : &none;
}

const char *ng_profile_frame_name(
	const struct ng_profile_frame *frame, char room[NG_FRAME_NAME_SIZE])
{
	if (frame->function && frame->function[0])
		return frame->function;
	if (!frame->address)
		return "[unknown]";
	(void)snprintf(room, NG_FRAME_NAME_SIZE, "0x%" PRIx64, frame->address);
	return room;
}

static void put_field(struct ng_buffer *out, const char *key, const char *text)
{
	if (!text)
		return;
	ng_buffer_printf(out, "%s: ", key);
	ng_text_put_line(out, text);
	ng_buffer_puts(out, "\n");
}

static void put_calls(struct ng_buffer *out, const struct ng_profile *profile,
	const struct ng_profile_total *total)
{
	const uint64_t calls = (uint64_t)(total->calls + 0.5);

	if (!profile->is_estimate)
		ng_buffer_printf(out, "calls: %" PRIu64 ", counted", calls);
	else if (isinf(profile->high_calls))
		ng_buffer_printf(out, "calls: %" PRIu64 ", an estimate: %.0f or more (95 %%)",
			calls, floor(profile->low_calls));
	else
		ng_buffer_printf(out, "calls: %" PRIu64 ", an estimate: %.0f to %.0f (95 %%)",
			calls, floor(profile->low_calls), ceil(profile->high_calls));
	ng_buffer_printf(out, "; hits recorded: %" PRIu64 "\n", total->hits);
}

static void put_losses(struct ng_buffer *out, const struct ng_profile *profile)
{
	const char *separator = "";

	ng_buffer_puts(out, "lost: ");
	for (size_t i = 0; i < profile->loss_count; i++) {
		if (!profile->losses[i].count)
			continue;
		ng_buffer_printf(out, "%s%" PRIu64 " ", separator, profile->losses[i].count);
		ng_text_put_line(out, profile->losses[i].text);
		separator = "; ";
	}
	ng_buffer_puts(out, separator[0] ? "\n" : "none\n");
}

int ng_profile_notes(
	const struct ng_profile *profile, const struct ng_profile_total *total, char **ret_text)
{
	struct ng_buffer notes = {0};

	put_field(&notes, "function", profile->function);
	put_field(&notes, "executable", profile->exe);
	if (profile->pid)
		ng_buffer_printf(&notes, "pid: %" PRIu32 "\n", profile->pid);
	put_field(&notes, "mode", profile->mode);
	put_calls(&notes, profile, total);
	ng_buffer_printf(&notes, "cost: %.3f ms of CPU time, in %.3f s\n",
		(double)total->cost_ns / 1e6, (double)profile->duration_ns / NG_NS_PER_S);
	put_losses(&notes, profile);
	for (size_t i = 0; i < profile->comment_count; i++)
		put_field(&notes, "comment", profile->comments[i]);
	return ng_buffer_finish(&notes, ret_text);
}

uint64_t ng_rounder_next(struct ng_rounder *rounder, double calls)
{
	uint64_t whole;

	rounder->calls += calls;
	whole = (uint64_t)(rounder->calls + 0.5) - rounder->given;
	rounder->given += whole;
	return whole;
}
