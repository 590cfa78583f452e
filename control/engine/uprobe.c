#include "control/engine/uprobe_inside.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "probe.skel.h"
#include "control/engine/perf.h"
#include "control/target/process.h"
#include "core/base/cleanup.h"

/* Sites of all that an engine is ever given; memory is taken as they come. */
#define ENGINE_SITES_MAX NG_FACTS_MAX

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

static int load_programs(
	struct ng_uprobe *engine, const struct ng_uprobe_options *options, struct ng_diag *diag)
{
	int error = 0;

	libbpf_set_print(print_nothing);
	engine->skeleton = ng_probe__open();
	if (!engine->skeleton)
		return ng_diag_set(
			diag, -errno, "the BPF programs cannot be opened: %s", strerror(errno));
	engine->skeleton->rodata->ng_has_gates = options->gating == NG_GATING_EACH;
	engine->skeleton->rodata->ng_records_bytes = options->records_bytes;
	if (options->records_bytes)
		error = bpf_map__set_max_entries(
			engine->skeleton->maps.records, options->records_bytes);
	if (!error)
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

int ng_uprobe_open(const struct ng_uprobe_options *options, struct ng_uprobe **ret_engine,
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
	error = ng_process_has_kernels_view() ? load_programs(engine, options, diag)
					      : refuse_namespace(diag);
	if (!error)
		error = open_tracefs(engine, options->attach, diag);
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
	return engine->tracefs_fd >= 0 && !__atomic_load_n(&engine->swaps, __ATOMIC_RELAXED);
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

static int hold_site(struct ng_uprobe *engine, struct defined_site *site, uint64_t cookie)
{
	LIBBPF_OPTS(bpf_perf_event_opts, options, .bpf_cookie = cookie);
	const pid_t bystander = fork_bystander();
	const struct ng_perf_hold hold = {.tid = bystander, .cpu = -1};
	int fd;

	if (bystander < 0)
		return bystander;
	fd = ng_perf_open(site->tracepoint_id, &hold);
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

/* Room for one more site, which is taken only by take_site(). The table never moves: workers arm
 * the sites that are there while others are defined. */
static struct defined_site *next_site(struct ng_uprobe *engine, uint32_t *ret_number)
{
	size_t number = 0;

	if (!engine->sites)
		engine->sites = calloc(ENGINE_SITES_MAX, sizeof(*engine->sites));
	if (!engine->sites)
		return NULL;
	while (number < engine->site_count && !engine->sites[number].is_free)
		number++;
	if (number == ENGINE_SITES_MAX)
		return NULL;
	engine->sites[number] = (struct defined_site){.image_fd = -1, .is_free = true};
	*ret_number = (uint32_t)number;
	return &engine->sites[number];
}

static void take_site(struct ng_uprobe *engine, uint32_t number)
{
	engine->sites[number].is_free = false;
	if (number == engine->site_count)
		engine->site_count++;
}

static int define_and_hold(
	struct ng_uprobe *engine, struct defined_site *site, uint64_t cookie, struct ng_diag *diag)
{
	const struct ng_tracefs_uprobe uprobe = {.group = engine->group,
		.name = site->name,
		.image_fd = site->image_fd,
		.offset = site->offset};
	int error = ng_tracefs_define(engine->tracefs_fd, &uprobe, &site->tracepoint_id, diag);

	if (error)
		return error;
	error = hold_site(engine, site, cookie);
	if (!error)
		return 0;
	(void)ng_tracefs_remove(engine->tracefs_fd, engine->group, site->name);
	return ng_diag_set(diag, error,
		"the counting program cannot be put on the probe (%s): see `nowgate doctor`",
		strerror(-error));
}

/* @param leads_to the site that it is the lead of; NULL: it is a site itself */
static int add_site(struct ng_uprobe *engine, int image_fd, uint64_t offset,
	const uint32_t *leads_to, uint32_t *ret_site, struct ng_diag *diag)
{
	uint32_t number = 0;
	struct defined_site *site = next_site(engine, &number);
	int error = 0;

	if (!site)
		return -ENOMEM;
	site->image_fd = image_fd;
	site->offset = offset;
	(void)snprintf(site->name, sizeof(site->name), "engine%u_site%u", engine->number, number);
	if (engine->tracefs_fd >= 0)
		error = define_and_hold(
			engine, site, leads_to ? NG_LEAD_COOKIE(number, *leads_to) : number, diag);
	if (error)
		return error;
	take_site(engine, number);
	*ret_site = number;
	return 0;
}

int ng_uprobe_add_site(struct ng_uprobe *engine, int image_fd, uint64_t offset, uint32_t *ret_site,
	struct ng_diag *diag)
{
	return add_site(engine, image_fd, offset, NULL, ret_site, diag);
}

void ng_uprobe_describe_site(
	struct ng_uprobe *engine, uint32_t site, const struct ng_site_facts *facts)
{
	/* It cannot fail: the array has a place for each number. */
	(void)bpf_map_update_elem(
		bpf_map__fd(engine->skeleton->maps.site_facts), &site, facts, BPF_ANY);
}

int ng_uprobe_add_lead(struct ng_uprobe *engine, int image_fd, uint64_t offset, uint32_t leads_to,
	uint32_t *ret_lead, struct ng_diag *diag)
{
	if (engine->tracefs_fd < 0)
		return ng_diag_set(diag, -ENOTSUP, "leads need tracefs");
	return add_site(engine, image_fd, offset, &leads_to, ret_lead, diag);
}

void ng_uprobe_remove_sites(struct ng_uprobe *engine, struct ng_site_numbers sites)
{
	for (size_t i = 0; i < sites.count; i++) {
		struct defined_site *site = &engine->sites[sites.items[i]];

		bpf_link__destroy(site->holder);
		site->holder = NULL;
	}
	for (size_t i = 0; i < sites.count; i++) {
		struct defined_site *site = &engine->sites[sites.items[i]];

		site->is_removed = engine->tracefs_fd < 0 || !ng_tracefs_remove(engine->tracefs_fd,
								     engine->group, site->name);
	}
}

void ng_uprobe_reuse_sites(struct ng_uprobe *engine, struct ng_site_numbers sites)
{
	for (size_t i = 0; i < sites.count; i++)
		engine->sites[sites.items[i]].is_free = engine->sites[sites.items[i]].is_removed;
}

int ng_uprobe_add_syscall(
	struct ng_uprobe *engine, const char *name, uint32_t *ret_site, struct ng_diag *diag)
{
	/* One CPU's event opens the tracepoint; the program runs on all CPUs. */
	const struct ng_perf_hold everyone = {.tid = -1, .cpu = 0};
	uint32_t number = 0;
	struct defined_site *site = next_site(engine, &number);
	LIBBPF_OPTS(bpf_perf_event_opts, options, .bpf_cookie = number);
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
	fd = error ? error : ng_perf_open(site->tracepoint_id, &everyone);
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
	take_site(engine, number);
	*ret_site = number;
	return 0;
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

void ng_uprobe_settle(struct ng_uprobe *engine, void (*on_wait)(void *context), void *context)
{
	/* Taking the programs off their events waits for the grace periods that a running hit holds
	 * up; the map, which we hold by its own descriptor, keeps the counts. */
	for (size_t i = 0; i < engine->site_count; i++) {
		bpf_link__destroy(engine->sites[i].holder);
		engine->sites[i].holder = NULL;
		if (on_wait)
			on_wait(context);
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

int ng_uprobe_read(const struct ng_uprobe *engine, struct ng_tallies *ret_tallies)
{
	return ng_tallies_read(bpf_map__fd(engine->skeleton->maps.counts), ret_tallies);
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
