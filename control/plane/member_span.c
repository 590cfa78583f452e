#include "control/plane/member_inside.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/cleanup.h"

/* Threads told apart; what further ones do is pooled. */
#define THREADS_MAX NG_ESTIMATE_THREADS_MAX

void ng_span_release(struct ng_span *span)
{
	for (size_t i = 0; i < NG_MEMBER_FUNCTIONS_MAX; i++)
		ng_estimate_free(span->estimates[i]);
	ng_thread_times_release(&span->start_times);
	*span = (struct ng_span){0};
}

int ng_span_init(struct ng_span *span, size_t function_count)
{
	for (size_t i = 0; i < function_count; i++) {
		span->estimates[i] = ng_estimate_new();
		if (!span->estimates[i])
			return -ENOMEM;
	}
	return 0;
}

void ng_span_begin(struct ng_member *member, struct ng_span *span, uint64_t now_ns)
{
	for (size_t i = 0; i < member->function_count; i++)
		ng_estimate_reset(span->estimates[i]);
	ng_thread_times_release(&span->start_times);
	span->start_ns = now_ns;
	/* Gone meanwhile: then nothing more is added either. */
	(void)ng_process_cpu_time(member->process.pid, &span->start_cpu_ns);
	(void)ng_process_thread_times(member->process.pid, THREADS_MAX, &span->start_times);
}

static uint64_t time_at_start(const struct ng_thread_times *times, pid_t tid)
{
	size_t low = 0, high = times->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (times->items[middle].tid < tid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < times->count && times->items[low].tid == tid ? times->items[low].cpu_ns : 0;
}

/* The rates of all functions over a span. */
int ng_span_rates(const struct ng_member *member, const struct ng_span *span, uint64_t now_ns,
	struct ng_rate rates[NG_MEMBER_FUNCTIONS_MAX])
{
	struct ng_thread_times now = NG_THREAD_TIMES_INIT;
	NG_CLEANUP_FREE struct ng_thread_use *uses = NULL;
	struct ng_process_use use = {.elapsed_ns = (double)(now_ns - span->start_ns),
		.cpu_ns = (double)(member->cpu_ns - span->start_cpu_ns)};
	int error = 0;

	/* It has exited: all of its CPU time is that of threads which are gone. */
	if (!ng_process_thread_times(member->process.pid, THREADS_MAX, &now)) {
		uses = calloc(now.count + 1, sizeof(*uses));
		error = uses ? 0 : -ENOMEM;
		for (size_t i = 0; !error && i < now.count; i++) {
			uint64_t before = time_at_start(&span->start_times, now.items[i].tid);

			uses[i].tid = (uint32_t)now.items[i].tid;
			uses[i].cpu_ns = (double)now.items[i].cpu_ns - (double)before;
			if (uses[i].cpu_ns < 0)
				uses[i].cpu_ns = (double)now.items[i].cpu_ns; /* a tid used anew */
		}
		use.threads = uses;
		use.thread_count = now.count;
		ng_thread_times_release(&now);
	}
	for (size_t i = 0; !error && i < member->function_count; i++)
		error = ng_estimate_rate(span->estimates[i], &use, &rates[i]);
	return error;
}
