#include "control/engine/window.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "control/target/process.h"
#include "core/base/clock.h"

static int open_site(uint64_t tracepoint, pid_t tid)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = tracepoint,
		.disabled = 1, /* armed by being open; never scheduled in, so without cost at
				  switches */
	};
	int fd = (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static void sleep_until(uint64_t until_ns)
{
	const struct timespec until = {.tv_sec = (time_t)(until_ns / NG_NS_PER_S),
		.tv_nsec = (long)(until_ns % NG_NS_PER_S)};

	/* Cut short by a signal: then the window is shorter, by its own clock. */
	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

int ng_window_run(struct ng_gates *gates, const struct ng_window_order *order,
	struct ng_window_parts *ret_parts, struct ng_window_times *ret_times)
{
	const pid_t tid = ng_process_live_thread(order->pid);
	int fds[NG_WINDOW_SITES_MAX + NG_WINDOW_LEADS_MAX];
	size_t count = 0;
	int error = tid < 0 ? tid : 0;

	ret_times->asked_ns = ng_clock_ns();
	while (!error && count < order->count) {
		fds[count] = open_site(order->tracepoints[count], tid);
		if (fds[count] < 0)
			error = fds[count];
		else
			count++;
	}
	ret_times->armed_ns = ng_clock_ns();
	if (!error) {
		if (order->settle_ns)
			sleep_until(ret_times->armed_ns + order->settle_ns);
		error = ng_gates_open_window(gates, order->gate, order->length_ns, order->tokens);
	}
	if (error >= 0) {
		ng_gates_await_window(gates, order->gate);
		ng_gates_close_window(gates, order->gate, (uint32_t)order->pid, ret_parts);
		error = ng_process_has_memory(order->pid, tid) ? 0 : -ESRCH;
	}
	close_all(fds, count);
	ret_times->disarmed_ns = ng_clock_ns();
	return error;
}
