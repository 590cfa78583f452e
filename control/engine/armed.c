/* Arming: what holds breakpoints in one process, or in all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "probe.skel.h"
#include "control/engine/perf.h"
#include "control/engine/uprobe_inside.h"
#include "control/target/process.h"

/* A process that starts threads faster than we list them ends the listing here; what its threads
 * start from then on inherits. */
#define LIST_ROUNDS 16

/* One perf event that arms one site. */
struct handle {
	int fd;		       /* of the perf event */
	struct bpf_link *link; /* the program on it, which closes fd too; NULL by tracefs */
};

struct ng_armed {
	pid_t pid;
	pid_t link_tid; /* the thread that links hang on; 0 by tracefs, or for everyone */
	struct handle *handles;
	size_t count;
	size_t room;
};

/* Adds an empty handle; NULL where memory is out. */
static struct handle *armed_add(struct ng_armed *armed)
{
	if (armed->count == armed->room) {
		size_t room = armed->room ? 2 * armed->room : 8;
		struct handle *grown = reallocarray(armed->handles, room, sizeof(*grown));

		if (!grown)
			return NULL;
		armed->handles = grown;
		armed->room = room;
	}
	armed->handles[armed->count] = (struct handle){.fd = -1};
	return &armed->handles[armed->count++];
}

static int hold_thread(struct ng_uprobe *engine, struct ng_site_numbers sites,
	const struct ng_perf_hold *hold, struct ng_armed *armed)
{
	for (size_t i = 0; i < sites.count; i++) {
		struct handle *handle = armed_add(armed);

		if (!handle)
			return -ENOMEM;
		handle->fd = ng_perf_open_inherited(
			engine->sites[sites.items[i]].tracepoint_id, hold, &engine->swaps);
		if (handle->fd < 0) {
			armed->count--;
			return handle->fd;
		}
	}
	return 0;
}

static bool is_held(const struct ng_threads *held, pid_t tid)
{
	for (size_t i = 0; i < held->count; i++) {
		if (held->tids[i] == tid)
			return true;
	}
	return false;
}

/* Holds every thread, listing them until no new one turns up. */
static int hold_threads(struct ng_uprobe *engine, pid_t pid, struct ng_site_numbers sites,
	bool follow, struct ng_armed *armed)
{
	struct ng_threads held = NG_THREADS_INIT;
	int error = 0;

	for (int round = 0; !error && round < LIST_ROUNDS; round++) {
		struct ng_threads now = NG_THREADS_INIT;
		bool found = false;

		error = ng_process_threads(pid, &now);
		for (size_t i = 0; !error && i < now.count; i++) {
			const struct ng_perf_hold hold = {.tid = now.tids[i],
				.cpu = -1,
				.inherit = true,
				.inherit_forks = follow};

			if (is_held(&held, hold.tid))
				continue;
			found = true;
			error = hold_thread(engine, sites, &hold, armed);
			if (error == -ESRCH)
				error = 0; /* it has exited in between */
		}
		ng_threads_release(&held);
		held = now;
		if (!found)
			break;
	}
	ng_threads_release(&held);
	if (error == -ESRCH && armed->count)
		return 0; /* armed, and has exited since */
	return !error && !armed->count ? -ESRCH : error;
}

static int attach_links(const struct ng_uprobe *engine, pid_t tid, struct ng_site_numbers sites,
	struct ng_armed *armed)
{
	for (size_t i = 0; i < sites.count; i++) {
		LIBBPF_OPTS(bpf_perf_event_opts, options, .bpf_cookie = sites.items[i]);
		const struct defined_site *site = &engine->sites[sites.items[i]];
		struct handle *handle = armed_add(armed);
		int fd;

		if (!handle)
			return -ENOMEM;
		fd = ng_perf_open_uprobe(site->image_fd, site->offset, tid);
		if (fd < 0) {
			armed->count--;
			return fd;
		}
		handle->link = bpf_program__attach_perf_event_opts(
			engine->skeleton->progs.ng_hit, fd, &options);
		if (!handle->link) {
			int error = -errno;

			close(fd);
			armed->count--;
			return error;
		}
		handle->fd = fd;
	}
	return 0;
}

static int explain_arm(int error, pid_t pid, struct ng_diag *diag)
{
	switch (error) {
	case -ESRCH:
		return ng_diag_set(diag, error, "process %d has exited", pid);
	case -EMFILE:
		return ng_diag_set(diag, error,
			"too few file descriptors to hold every thread of process %d: raise the "
			"limit "
			"(ulimit -n)",
			pid);
	case -EPERM:
	case -EACCES:
		return ng_diag_set(diag, error,
			"the kernel does not let us probe process %d: run as root; `nowgate "
			"doctor` "
			"says what is missing",
			pid);
	default:
		return ng_diag_set(
			diag, error, "process %d cannot be armed: %s", pid, strerror(-error));
	}
}

int ng_uprobe_arm(struct ng_uprobe *engine, pid_t pid, struct ng_site_numbers sites, bool follow,
	struct ng_armed **ret_armed, struct ng_diag *diag)
{
	struct ng_armed *armed = calloc(1, sizeof(*armed));
	int error;

	if (!armed)
		return -ENOMEM;
	if (engine->tracefs_fd >= 0) {
		error = hold_threads(engine, pid, sites, follow, armed);
	} else {
		armed->pid = pid;
		armed->link_tid = ng_process_live_thread(pid);
		error = armed->link_tid < 0 ? armed->link_tid
					    : attach_links(engine, armed->link_tid, sites, armed);
	}
	if (error) {
		ng_armed_free(armed);
		return explain_arm(error, pid, diag);
	}
	*ret_armed = armed;
	return 0;
}

int ng_uprobe_arm_all(struct ng_uprobe *engine, struct ng_site_numbers sites,
	struct ng_armed **ret_armed, struct ng_diag *diag)
{
	/* One CPU's event arms the breakpoint in every process; the program runs on all CPUs. */
	const struct ng_perf_hold everyone = {.tid = -1, .cpu = 0};
	struct ng_armed *armed = calloc(1, sizeof(*armed));
	int error;

	if (!armed)
		return -ENOMEM;
	error = engine->tracefs_fd >= 0 ? hold_thread(engine, sites, &everyone, armed)
					: attach_links(engine, -1, sites, armed);
	if (error) {
		ng_armed_free(armed);
		return ng_diag_set(diag, error, "the kernel refuses to probe every process: %s",
			strerror(-error));
	}
	*ret_armed = armed;
	return 0;
}

bool ng_armed_is_dead(const struct ng_armed *armed)
{
	return armed->link_tid && !ng_process_has_memory(armed->pid, armed->link_tid);
}

void ng_armed_free(struct ng_armed *armed)
{
	if (!armed)
		return;
	for (size_t i = 0; i < armed->count; i++) {
		if (armed->handles[i].link)
			bpf_link__destroy(armed->handles[i].link);
		else
			close(armed->handles[i].fd);
	}
	free(armed->handles);
	free(armed);
}
