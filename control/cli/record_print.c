#include "control/cli/record_print.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/losses_print.h"
#include "control/cli/numbers.h"

#define CALLERS_MAX 20

/* A place that calls, and how often. */
struct caller {
	const struct ng_profile_frame *frame; /* NULL: the stack is not known */
	double calls;
};

/* The frame that called what was traced: the innermost one is in that itself. */
static const struct ng_profile_frame *caller_of(const struct ng_profile_stack *stack)
{
	return stack->frame_count > 1 ? &stack->frames[1] : NULL;
}

static int compare_places(const struct ng_profile_frame *a, const struct ng_profile_frame *b)
{
	int order;

	if (!a || !b)
		return (a != NULL) - (b != NULL);
	order = strcmp(a->function ? a->function : "", b->function ? b->function : "");
	if (!order)
		order = strcmp(a->file ? a->file : "", b->file ? b->file : "");
	if (!order)
		order = (a->line > b->line) - (a->line < b->line);
	if (!order && !a->function)
		order = (a->address > b->address) - (a->address < b->address);
	return order;
}

static int by_place(const void *a, const void *b)
{
	return compare_places(((const struct caller *)a)->frame, ((const struct caller *)b)->frame);
}

static int by_calls(const void *a, const void *b)
{
	const struct caller *first = a, *second = b;

	if (first->calls != second->calls)
		return first->calls > second->calls ? -1 : 1;
	return by_place(a, b);
}

/* @return how many there are, each once */
static size_t add_up(struct caller *callers, size_t count)
{
	size_t kept = 0;

	qsort(callers, count, sizeof(*callers), by_place);
	for (size_t i = 0; i < count; i++) {
		if (kept && !by_place(&callers[kept - 1], &callers[i]))
			callers[kept - 1].calls += callers[i].calls;
		else
			callers[kept++] = callers[i];
	}
	qsort(callers, kept, sizeof(*callers), by_calls);
	return kept;
}

static void print_caller(FILE *file, const struct caller *caller, double all)
{
	const struct ng_profile_frame *frame = caller->frame;
	char number[32], room[NG_FRAME_NAME_SIZE];

	fprintf(file, "%17s %6.2f %%  ", ng_grouped((uint64_t)(caller->calls + 0.5), number),
		100.0 * caller->calls / all);
	if (!frame) {
		fputs("(no caller known)\n", file);
		return;
	}
	fputs(ng_profile_frame_name(frame, room), file);
	if (frame->file)
		fprintf(file, "  %s:%" PRIu32, frame->file, frame->line);
	fputc('\n', file);
}

int ng_record_print(FILE *file, const struct ng_profile *profile, uint64_t reader_cpu_ns,
	const uint64_t lost[NG_LOSSES])
{
	struct caller *callers = calloc(profile->stack_count + 1, sizeof(*callers));
	char number[32];
	double all = 0;
	size_t count;

	if (!callers)
		return -ENOMEM;
	for (size_t i = 0; i < profile->stack_count; i++) {
		callers[i] = (struct caller){
			.frame = caller_of(&profile->stacks[i]), .calls = profile->stacks[i].calls};
		all += profile->stacks[i].calls;
	}
	count = add_up(callers, profile->stack_count);
	if (count)
		fprintf(file, "%17s %8s  called from\n", "calls", "");
	for (size_t i = 0; i < count && i < CALLERS_MAX; i++)
		print_caller(file, &callers[i], all);
	if (count > CALLERS_MAX)
		fprintf(file, "%17s %8s  and %zu more\n", "", "", count - CALLERS_MAX);
	fprintf(file, "\n%s calls in %.3f s, %zu stacks", ng_grouped((uint64_t)(all + 0.5), number),
		(double)profile->duration_ns / 1e9, profile->stack_count);
	fprintf(file, "; the reader took %.1f %% of a CPU\n",
		100.0 * (double)reader_cpu_ns / (double)profile->duration_ns);
	if (profile->is_estimate)
		fprintf(file, "An estimate: between %s and ",
			ng_grouped((uint64_t)profile->low_calls, number));
	if (profile->is_estimate && isfinite(profile->high_calls))
		fprintf(file, "%s calls (95 %%)\n",
			ng_grouped((uint64_t)profile->high_calls, number));
	else if (profile->is_estimate)
		fputs("who knows how many (95 %)\n", file);
	ng_losses_print(file, lost, NG_LOSSES);
	free(callers);
	return fflush(file) ? -errno : 0;
}
