#include "control/engine/uprobe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "probe.skel.h"
#include "control/engine/tracefs.h"
#include "control/target/process.h"
#include "core/base/cleanup.h"

/* A process that starts threads faster than we list them ends the listing here; what its threads
 * start from then on inherits. */
#define LIST_ROUNDS 16

/* Descriptors that arm begin here. A site has two below, so there is room for NG_SITES_MAX. */
#define ARMING_FDS 4096

struct defined_site {
	char name[NG_TRACEFS_GROUP_MAX];
	uint64_t tracepoint_id;
	int image_fd; /* borrowed */
	uint64_t offset;
	bool is_syscall; /* an event of the kernel's own: name, image and offset are not used */
	struct bpf_link *holder; /* the BPF program on the holding perf event; NULL with links */
};

struct ng_uprobe {
	struct ng_probe *skeleton;
	int tracefs_fd;			  /* -1: by links */
	bool swaps;			  /* the kernel may swap inherited events between tasks */
	char group[NG_TRACEFS_GROUP_MAX]; /* of the process … */
	unsigned int number;		  /* … and which of its engines this is */
	struct defined_site *sites;
	size_t site_count;
	struct ring_buffer *events;
	struct ng_gate *gates;	     /* mapped; NULL: not yet */
	ng_uprobe_on_event on_event; /* of the drain under way */
	void *event_context;
};

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

/* libbpf's own messages would stand between the lines of a table. */
static int print_nothing(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

static int on_ring_record(void *context, void *data, size_t size)
{
	struct ng_uprobe *engine = context;
	struct ng_proc_event event;

	if (size < sizeof(event))
		return 0; /* not ours: the programs write whole events only */
	memcpy(&event, data, sizeof(event));
	if (engine->on_event)
		engine->on_event(&event, engine->event_context);
	return 0;
}

/* The array of gates is mapped: a mode change is a store, without a system call. */
static int map_gates(struct ng_uprobe *engine, struct ng_diag *diag)
{
	void *gates = mmap(NULL, NG_GATES_MAX * sizeof(struct ng_gate), PROT_READ | PROT_WRITE,
		MAP_SHARED, bpf_map__fd(engine->skeleton->maps.gates), 0);

	if (gates == MAP_FAILED)
		return ng_diag_set(diag, -errno, "the gates cannot be mapped: %s", strerror(errno));
	engine->gates = gates;
	return 0;
}

static int load_programs(struct ng_uprobe *engine, enum ng_gating gating, struct ng_diag *diag)
{
	int error;

	libbpf_set_print(print_nothing);
	engine->skeleton = ng_probe__open();
	if (!engine->skeleton)
		return ng_diag_set(
			diag, -errno, "the BPF programs cannot be opened: %s", strerror(errno));
	engine->skeleton->rodata->ng_has_gates = gating == NG_GATING_EACH;
	error = ng_probe__load(engine->skeleton);
	if (error == -EPERM || error == -EACCES)
		return ng_diag_set(diag, -EPERM,
			"the kernel does not let us load BPF programs: run as root; "
			"`nowgate doctor` says what is missing");
	if (error)
		return ng_diag_set(diag, error,
			"the BPF programs do not load here (%s): `nowgate doctor` says what is "
			"missing",
			strerror(-error));
	/* The process programs attach now; the counting program, once a site is there. */
	bpf_program__set_autoattach(engine->skeleton->progs.ng_hit, false);
	bpf_program__set_autoattach(engine->skeleton->progs.ng_syscall, false);
	bpf_program__set_autoattach(engine->skeleton->progs.ng_switch, false);
	error = ng_probe__attach(engine->skeleton);
	if (error)
		return ng_diag_set(diag, error,
			"the kernel's process tracepoints cannot be watched (%s): see `nowgate "
			"doctor`",
			strerror(-error));
	engine->events = ring_buffer__new(
		bpf_map__fd(engine->skeleton->maps.events), on_ring_record, engine, NULL);
	if (!engine->events)
		return ng_diag_set(diag, -errno, "no ring buffer: %s", strerror(errno));
	return map_gates(engine, diag);
}

/* An armed process takes a descriptor for each site and thread. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* running out is reported where it happens */
}

static int open_tracefs(struct ng_uprobe *engine, enum ng_attach attach, struct ng_diag *diag)
{
	if (attach == NG_ATTACH_LINK)
		return 0;
	engine->tracefs_fd = ng_tracefs_open(attach == NG_ATTACH_TRACEFS ? diag : NULL);
	if (engine->tracefs_fd < 0) {
		int error = engine->tracefs_fd;

		engine->tracefs_fd = -1;
		return attach == NG_ATTACH_TRACEFS ? error : 0;
	}
	(void)ng_tracefs_sweep(engine->tracefs_fd); /* what cannot go now, goes at the next start */
	return ng_tracefs_group(engine->group);
}

static int refuse_namespace(struct ng_diag *diag)
{
	return ng_diag_set(diag, -ENOTSUP,
		"nowgate runs in a pid or time namespace of its own (a container), where pids are "
		"not those that the kernel's BPF tells: run it on the machine itself, or in a "
		"container with --privileged and --pid=host; its targets may be inside");
}

int ng_uprobe_open(enum ng_attach attach, enum ng_gating gating, struct ng_uprobe **ret_engine,
	struct ng_diag *diag)
{
	static unsigned int engines;
	struct ng_uprobe *engine = calloc(1, sizeof(*engine));
	int error;

	if (!engine)
		return -ENOMEM;
	engine->number = __atomic_fetch_add(&engines, 1, __ATOMIC_RELAXED);
	engine->tracefs_fd = -1;
	raise_descriptor_limit();
	/* No hit would be known as a target's, and living runs' events would be swept as dead
	 * ones'. */
	error = ng_process_has_kernels_view() ? load_programs(engine, gating, diag)
					      : refuse_namespace(diag);
	if (!error)
		error = open_tracefs(engine, attach, diag);
	if (error) {
		ng_uprobe_close(engine);
		return error;
	}
	*ret_engine = engine;
	return 0;
}

void ng_uprobe_close(struct ng_uprobe *engine)
{
	if (!engine)
		return;
	for (size_t i = 0; i < engine->site_count; i++)
		bpf_link__destroy(engine->sites[i].holder);
	if (engine->gates)
		(void)munmap(engine->gates, NG_GATES_MAX * sizeof(struct ng_gate));
	ring_buffer__free(engine->events);
	ng_probe__destroy(engine->skeleton);
	/* Defined events pin their file's mount: none may stay. They can go once all users are
	 * gone. */
	for (size_t i = 0; engine->tracefs_fd >= 0 && i < engine->site_count; i++) {
		if (!engine->sites[i].is_syscall)
			(void)ng_tracefs_remove(
				engine->tracefs_fd, engine->group, engine->sites[i].name);
	}
	if (engine->tracefs_fd >= 0)
		close(engine->tracefs_fd);
	free(engine->sites);
	free(engine);
}

enum ng_attach ng_uprobe_attach(const struct ng_uprobe *engine)
{
	return engine->tracefs_fd >= 0 ? NG_ATTACH_TRACEFS : NG_ATTACH_LINK;
}

bool ng_uprobe_is_firm(const struct ng_uprobe *engine)
{
	return engine->tracefs_fd >= 0 && !engine->swaps;
}

/* Whom a perf event hangs on, and what comes with it. */
struct hold {
	pid_t tid; /* -1: every process */
	int cpu;   /* -1: every CPU */
	bool inherit;
	bool inherit_forks; /* not only threads, child processes too */
};

/*
 * A perf event of a uprobe tracepoint arms the breakpoint by being open, also while it is disabled;
 * and disabled, it costs the target nothing at its context switches. The BPF program runs all the
 * same: it belongs to the tracepoint, not to one event.
 */
static int open_event(uint64_t tracepoint_id, const struct hold *hold, uint64_t sample_type)
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
static int open_inherited(struct ng_uprobe *engine, uint64_t tracepoint_id, const struct hold *hold)
{
	int fd = -EINVAL;

	if (!engine->swaps)
		fd = open_event(tracepoint_id, hold, PERF_SAMPLE_READ | PERF_SAMPLE_TID);
	if (fd != -EINVAL)
		return move_up(fd);
	engine->swaps = true;
	return move_up(open_event(tracepoint_id, hold, 0));
}

/*
 * A process to open the holding event on: it must not be one that calls anything, or it would hit
 * its own breakpoint, as nowgate itself would in libc's clock_gettime. This one dies as soon as the
 * event is open; the event lives on, on a process without memory, and matches nobody.
 */
static pid_t fork_bystander(void)
{
	const pid_t parent = getpid();
	pid_t pid = fork();

	if (pid)
		return pid < 0 ? -errno : pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* fails for bad signals only */
	if (getppid() != parent)
		_exit(0);
	for (;;)
		(void)pause(); /* until it is killed */
}

static int hold_site(struct ng_uprobe *engine, struct defined_site *site, uint32_t number)
{
	LIBBPF_OPTS(bpf_perf_event_opts, options, .bpf_cookie = number);
	const pid_t bystander = fork_bystander();
	const struct hold hold = {.tid = bystander, .cpu = -1};
	int fd;

	if (bystander < 0)
		return bystander;
	fd = open_event(site->tracepoint_id, &hold, 0);
	(void)kill(bystander, SIGKILL); /* our own child, not yet waited for: it is there */
	(void)waitpid(bystander, NULL, 0);
	if (fd < 0)
		return fd;
	site->holder =
		bpf_program__attach_perf_event_opts(engine->skeleton->progs.ng_hit, fd, &options);
	if (site->holder)
		return 0;
	close(fd);
	return -errno;
}

/* Room for one more site, which counts only when the caller adds to site_count. */
static struct defined_site *next_site(struct ng_uprobe *engine)
{
	struct defined_site *grown =
		reallocarray(engine->sites, engine->site_count + 1, sizeof(*grown));

	if (!grown)
		return NULL;
	engine->sites = grown;
	grown += engine->site_count;
	*grown = (struct defined_site){.image_fd = -1};
	return grown;
}

static int define_and_hold(
	struct ng_uprobe *engine, struct defined_site *site, uint32_t number, struct ng_diag *diag)
{
	const struct ng_tracefs_uprobe uprobe = {.group = engine->group,
		.name = site->name,
		.image_fd = site->image_fd,
		.offset = site->offset};
	int error = ng_tracefs_define(engine->tracefs_fd, &uprobe, &site->tracepoint_id, diag);

	if (error)
		return error;
	error = hold_site(engine, site, number);
	if (!error)
		return 0;
	(void)ng_tracefs_remove(engine->tracefs_fd, engine->group, site->name);
	return ng_diag_set(diag, error,
		"the counting program cannot be put on the probe (%s): see `nowgate doctor`",
		strerror(-error));
}

int ng_uprobe_add_site(struct ng_uprobe *engine, int image_fd, uint64_t offset, uint32_t *ret_site,
	struct ng_diag *diag)
{
	struct defined_site *site = next_site(engine);
	uint32_t number = (uint32_t)engine->site_count;
	int error = 0;

	if (!site)
		return -ENOMEM;
	site->image_fd = image_fd;
	site->offset = offset;
	(void)snprintf(site->name, sizeof(site->name), "engine%u_site%u", engine->number, number);
	if (engine->tracefs_fd >= 0)
		error = define_and_hold(engine, site, number, diag);
	if (error)
		return error;
	engine->site_count++;
	*ret_site = number;
	return 0;
}

void ng_uprobe_remove_sites(struct ng_uprobe *engine, struct ng_site_numbers sites)
{
	for (size_t i = 0; i < sites.count; i++) {
		struct defined_site *site = &engine->sites[sites.items[i]];

		bpf_link__destroy(site->holder);
		site->holder = NULL;
	}
	for (size_t i = 0; engine->tracefs_fd >= 0 && i < sites.count; i++)
		(void)ng_tracefs_remove(
			engine->tracefs_fd, engine->group, engine->sites[sites.items[i]].name);
}

int ng_uprobe_add_syscall(
	struct ng_uprobe *engine, const char *name, uint32_t *ret_site, struct ng_diag *diag)
{
	/* One CPU's event opens the tracepoint; the program runs on all CPUs. */
	const struct hold everyone = {.tid = -1, .cpu = 0};
	struct defined_site *site = next_site(engine);
	LIBBPF_OPTS(bpf_perf_event_opts, options, .bpf_cookie = engine->site_count);
	char event[NG_TRACEFS_GROUP_MAX];
	int fd, error;

	if (!site)
		return -ENOMEM;
	if (engine->tracefs_fd < 0)
		return ng_diag_set(
			diag, -ENOTSUP, "system calls cannot be counted without tracefs");
	site->is_syscall = true;
	(void)snprintf(event, sizeof(event), "sys_enter_%s", name);
	error = ng_tracefs_event_id(engine->tracefs_fd, "syscalls", event, &site->tracepoint_id);
	fd = error ? error : open_event(site->tracepoint_id, &everyone, 0);
	if (fd < 0)
		return ng_diag_set(
			diag, fd, "the system call %s cannot be counted (%s)", name, strerror(-fd));
	site->holder = bpf_program__attach_perf_event_opts(
		engine->skeleton->progs.ng_syscall, fd, &options);
	if (!site->holder) {
		error = -errno;
		close(fd);
		return ng_diag_set(diag, error, "the system call %s cannot be counted (%s)", name,
			strerror(-error));
	}
	*ret_site = (uint32_t)engine->site_count++;
	return 0;
}

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
	const struct hold *hold, struct ng_armed *armed)
{
	for (size_t i = 0; i < sites.count; i++) {
		struct handle *handle = armed_add(armed);

		if (!handle)
			return -ENOMEM;
		handle->fd =
			open_inherited(engine, engine->sites[sites.items[i]].tracepoint_id, hold);
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
			const struct hold hold = {.tid = now.tids[i],
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
static int open_uprobe(const struct defined_site *site, pid_t tid)
{
	char path[32];
	int unit = uprobe_unit();
	struct perf_event_attr attr = {
		.type = (__u32)unit,
		.size = sizeof(attr),
		.config1 = (__u64)(uintptr_t)path,
		.config2 = site->offset,
	};
	int fd;

	if (unit < 0)
		return unit;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", site->image_fd);
	fd = (int)syscall(
		SYS_perf_event_open, &attr, tid, tid < 0 ? 0 : -1, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int attach_links(const struct ng_uprobe *engine, pid_t tid, struct ng_site_numbers sites,
	struct ng_armed *armed)
{
	for (size_t i = 0; i < sites.count; i++) {
		LIBBPF_OPTS(bpf_perf_event_opts, options, .bpf_cookie = sites.items[i]);
		struct handle *handle = armed_add(armed);
		int fd;

		if (!handle)
			return -ENOMEM;
		fd = open_uprobe(&engine->sites[sites.items[i]], tid);
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
	const struct hold everyone = {.tid = -1, .cpu = 0};
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

struct ng_probe *ng_uprobe_skeleton(struct ng_uprobe *engine)
{
	return engine->skeleton;
}

uint64_t ng_uprobe_tracepoint(const struct ng_uprobe *engine, uint32_t site)
{
	return engine->sites[site].tracepoint_id;
}

void ng_uprobe_gate(struct ng_uprobe *engine, bool open)
{
	/* Release: what was armed before is seen armed by whoever sees the gate open. */
	__atomic_store_n(
		&engine->gates[0].mode, open ? NG_MODE_COUNT : NG_MODE_OFF, __ATOMIC_RELEASE);
}

void ng_uprobe_settle(struct ng_uprobe *engine)
{
	/* Taking the programs off their events waits for the grace periods that a running hit holds
	 * up; the map, which we hold by its own descriptor, keeps the counts. */
	for (size_t i = 0; i < engine->site_count; i++) {
		bpf_link__destroy(engine->sites[i].holder);
		engine->sites[i].holder = NULL;
	}
}

int ng_uprobe_watch(struct ng_uprobe *engine, pid_t pid, const struct ng_target *target)
{
	const __u32 tgid = (__u32)pid;
	int fd = bpf_map__fd(engine->skeleton->maps.targets);

	return bpf_map_update_elem(fd, &tgid, target, BPF_ANY) ? -errno : 0;
}

void ng_uprobe_unwatch(struct ng_uprobe *engine, pid_t pid)
{
	const __u32 tgid = (__u32)pid;

	/* It may be gone already. */
	(void)bpf_map_delete_elem(bpf_map__fd(engine->skeleton->maps.targets), &tgid);
}

void ng_uprobe_unwatch_gate(struct ng_uprobe *engine, pid_t pid, uint32_t gate)
{
	const __u32 tgid = (__u32)pid;
	struct ng_target target;

	if (!bpf_map_lookup_elem(bpf_map__fd(engine->skeleton->maps.targets), &tgid, &target) &&
		target.gate == gate)
		ng_uprobe_unwatch(engine, pid);
}

int ng_uprobe_watch_image(struct ng_uprobe *engine, const struct ng_image_key *image)
{
	const __u32 watched = 1;
	int fd = bpf_map__fd(engine->skeleton->maps.images);

	return bpf_map_update_elem(fd, image, &watched, BPF_ANY) ? -errno : 0;
}

void ng_uprobe_watch_execs(struct ng_uprobe *engine, bool all)
{
	engine->skeleton->bss->ng_tell_execs = all;
}

int ng_uprobe_drain(struct ng_uprobe *engine, ng_uprobe_on_event on_event, void *context)
{
	int count;

	engine->on_event = on_event;
	engine->event_context = context;
	count = ring_buffer__consume(engine->events);
	engine->on_event = NULL;
	return count;
}

int ng_uprobe_event_fd(const struct ng_uprobe *engine)
{
	return ring_buffer__epoll_fd(engine->events);
}

void ng_tallies_release(struct ng_tallies *tallies)
{
	free(tallies->items);
	*tallies = (struct ng_tallies)NG_TALLIES_INIT;
}

static int tallies_add(struct ng_tallies *tallies, const struct ng_tally *tally)
{
	/* Doubles at each power of two, so that the count alone tells the room. */
	if (!(tallies->count & (tallies->count - 1))) {
		size_t room = tallies->count ? 2 * tallies->count : 1;
		struct ng_tally *grown = reallocarray(tallies->items, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		tallies->items = grown;
	}
	tallies->items[tallies->count++] = *tally;
	return 0;
}

int ng_uprobe_read(const struct ng_uprobe *engine, struct ng_tallies *ret_tallies)
{
	int fd = bpf_map__fd(engine->skeleton->maps.counts);
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	NG_CLEANUP_FREE struct ng_count *shares = calloc(cpus, sizeof(*shares));
	struct ng_tallies tallies = NG_TALLIES_INIT;
	struct ng_count_key key, *previous = NULL;
	int error = 0;

	if (!shares)
		return -ENOMEM;
	/* Entries go only by ng_uprobe_forget(), in this thread: the walk never starts again. */
	while (!error && !bpf_map_get_next_key(fd, previous, &key)) {
		struct ng_tally tally = {.key = key};

		previous = &key;
		if (bpf_map_lookup_elem(fd, &key, shares))
			continue;
		for (size_t cpu = 0; cpu < cpus; cpu++)
			tally.calls += shares[cpu].calls;
		error = tallies_add(&tallies, &tally);
	}
	if (error) {
		ng_tallies_release(&tallies);
		return error;
	}
	*ret_tallies = tallies;
	return 0;
}

void ng_uprobe_forget(struct ng_uprobe *engine, const struct ng_count_key *key)
{
	/* It may be gone already. */
	(void)bpf_map_delete_elem(bpf_map__fd(engine->skeleton->maps.counts), key);
}

int ng_uprobe_lost(const struct ng_uprobe *engine, uint64_t ret_lost[NG_LOST_CAUSES])
{
	int fd = bpf_map__fd(engine->skeleton->maps.lost);
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	NG_CLEANUP_FREE uint64_t *shares = calloc(cpus, sizeof(*shares));

	if (!shares)
		return -ENOMEM;
	for (uint32_t cause = 0; cause < NG_LOST_CAUSES; cause++) {
		ret_lost[cause] = 0;
		if (bpf_map_lookup_elem(fd, &cause, shares))
			return -errno;
		for (size_t cpu = 0; cpu < cpus; cpu++)
			ret_lost[cause] += shares[cpu];
	}
	return 0;
}
