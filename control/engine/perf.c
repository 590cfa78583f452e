#include "control/engine/perf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cleanup.h"

/* Descriptors that arm begin here. A site has two below, so there is room for NG_SITES_MAX. */
#define ARMING_FDS 4096

/*
 * A perf event of a uprobe tracepoint arms the breakpoint by being open, also while it is disabled;
 * and disabled, it costs the target nothing at its context switches. The BPF program runs all the
 * same: it belongs to the tracepoint, not to one event.
 */
static int open_event(uint64_t tracepoint_id, const struct ng_perf_hold *hold, uint64_t sample_type)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = tracepoint_id,
		.sample_type = sample_type,
		.disabled = 1,
		.inherit = hold->inherit,
		.inherit_thread = hold->inherit && !hold->inherit_forks,
	};
	int fd = (int)syscall(
		SYS_perf_event_open, &attr, hold->tid, hold->cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int ng_perf_open(uint64_t tracepoint_id, const struct ng_perf_hold *hold)
{
	return open_event(tracepoint_id, hold, 0);
}

/*
 * What arms a process gets a descriptor above all others. The kernel closes those of a process that
 * was killed from the highest down: so each breakpoint goes at once, and the holding events, which
 * take a grace period each, after them. In a gap below a holding event one would wait for all of
 * those: 2 s with 88 sites.
 */
static int move_up(int fd)
{
	int high = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, ARMING_FDS);

	if (fd < 0 || high < 0)
		return fd; /* the limit is lower: then it stays where it is */
	close(fd);
	return high;
}

/*
 * At a switch between two tasks with the same inherited events the kernel may swap the tasks'
 * contexts instead of their events. Then a task holds the other's event, and takes it along when it
 * exits: the breakpoint of a living process goes (8 of 30 runs of a thread that execs). Events that
 * are inherited and sampled with PERF_SAMPLE_READ are never swapped; the kernel takes that pair
 * since 6.12.
 */
int ng_perf_open_inherited(uint64_t tracepoint_id, const struct ng_perf_hold *hold, bool *swaps)
{
	int fd = -EINVAL;

	if (!__atomic_load_n(swaps, __ATOMIC_RELAXED))
		fd = open_event(tracepoint_id, hold, PERF_SAMPLE_READ | PERF_SAMPLE_TID);
	if (fd != -EINVAL)
		return move_up(fd);
	__atomic_store_n(swaps, true, __ATOMIC_RELAXED);
	return move_up(open_event(tracepoint_id, hold, 0));
}

/* The perf unit of uprobes, by its name in sysfs; a negative errno where the kernel has none. */
static int uprobe_unit(void)
{
	NG_CLEANUP_FCLOSE FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	int type;

	if (!file)
		return -errno;
	return fscanf(file, "%d", &type) == 1 ? type : -ENOTSUP;
}

/* Never inherited: with inherit=1 on such an event the target's clone() fails with EFAULT. */
int ng_perf_open_uprobe(int image_fd, uint64_t offset, pid_t tid)
{
	char path[32];
	int unit = uprobe_unit();
	struct perf_event_attr attr = {
		.type = (__u32)unit,
		.size = sizeof(attr),
		.config1 = (__u64)(uintptr_t)path,
		.config2 = offset,
	};
	int fd;

	if (unit < 0)
		return unit;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", image_fd);
	fd = (int)syscall(
		SYS_perf_event_open, &attr, tid, tid < 0 ? 0 : -1, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
