#include "control/plane/fleet.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/engine/calibrate.h"
#include "control/engine/gauge.h"
#include "control/engine/stand.h"
#include "control/plane/inspect.h"
#include "control/plane/workers.h"
#include "control/target/process.h"
#include "core/base/cleanup.h"
#include "core/base/clock.h"

#define WINDOWS_SIDE_BY_SIDE 4
#define MEMBERS_MAX	     (NG_GATES_MAX - 1)

/* Members that have ended are told of for so long. */
#define ENDED_KEPT_NS (60 * NG_NS_PER_S)

/** Functions that are looked for, and the images that were read for them: shared by all attachments
 * that look for the same, and kept for the next one. */
struct catalog {
	struct ng_wanted wanted;
	char **functions; /* owned; wanted.functions points here */
	struct ng_images images;
};

struct attachment {
	uint32_t id;
	struct ng_selector selector;
	uint64_t
		start_ticks; /* selector.pid: its start, so that no other process is taken for it */
	struct ng_settings settings; /* for processes to come … */
	struct ng_settings before;   /* … and once their lease is over */
	uint64_t lease_until_ns;     /* 0: none */
	struct catalog *catalog;
};

struct entry {
	struct ng_member *member;
	uint32_t attachment;  /* id; 0: it has been detached */
	bool is_followed;     /* a child that its parent's attachment brought */
	bool is_wanted_again; /* attached anew before it was let go of */
	uint64_t looked_ns;   /* when its image was looked at: execs before that are in it */
	uint64_t due_ns;
	uint64_t ended_ns; /* 0: it lives */
};

/* The gauge's child takes a CPU for 10 to 20 ms a reading, maybe from a target: so while windows
 * run it is read often at first, and then rarely. So many readings are pooled. */
#define GAUGE_FIRST_NS (250 * NG_NS_PER_MS)
#define GAUGE_NS       (10 * NG_NS_PER_S)
#define GAUGE_READINGS 8

/* A reading whose mean is above this many medians was interrupted by something long. */
#define GAUGE_MEAN_MAX 1.5

/* What a hit costs in one program and in another, for the same reading of the gauge. */
#define COST_ERROR_RATIO 0.05

/** What hits cost now: read in a child of ours, by a worker. */
struct gauging {
	struct ng_job job;
	bool is_busy;
	struct ng_stand *stand;
	struct ng_gauge *gauge;
	double expected_ns; /* what the calibration says */
	int error;	    /* of the last reading */
	struct ng_gauge_reading reading;
	struct ng_gauge_reading readings[GAUGE_READINGS]; /* a ring */
	size_t reading_count;
	uint64_t due_ns;
	uint64_t windows; /* of all members, at the last reading */
	struct ng_cost_now cost;
};

struct ng_fleet {
	struct ng_fleet_options options;
	struct ng_uprobe *engine;
	struct ng_gates *gates;
	struct ng_workers *workers;
	struct ng_calibration calibration;
	struct gauging gauging;
	struct catalog **catalogs;
	size_t catalog_count;
	struct attachment *attachments;
	size_t attachment_count;
	uint32_t last_id;
	struct entry *entries;
	size_t entry_count;
	int epoll_fd;
	uint64_t tick_ns; /* when the next one is due */
};

static void note(struct ng_fleet *fleet, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void note(struct ng_fleet *fleet, const char *format, ...)
{
	char text[NG_DIAG_SIZE];
	va_list args;

	if (!fleet->options.on_note)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* a long note is cut */
	va_end(args);
	fleet->options.on_note(text, fleet->options.context);
}

/* --- opening and closing -------------------------------------------------------------------------
 */

static int watch_fd(struct ng_fleet *fleet, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(fleet->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static void read_gauge(struct ng_job *job)
{
	struct gauging *gauging = (struct gauging *)((char *)job - offsetof(struct gauging, job));

	gauging->error = ng_gauge_read(
		gauging->gauge, NG_LOOP_CALL, gauging->expected_ns, &gauging->reading, NULL);
}

static int open_gauge(struct ng_fleet *fleet, struct ng_diag *diag)
{
	struct gauging *gauging = &fleet->gauging;

	gauging->job = (struct ng_job){.kind = NG_JOB_WINDOW, .run = read_gauge};
	gauging->cost = (struct ng_cost_now){.scale = 1, .error_ratio = COST_ERROR_RATIO};
	gauging->expected_ns = ng_calibration_hit_ns(&fleet->calibration, NG_SITE_EMULATED);
	return ng_gauge_new(fleet->engine, fleet->gates, gauging->stand, &gauging->gauge, diag);
}

static int open_parts(struct ng_fleet *fleet, struct ng_diag *diag)
{
	int error = ng_calibration_get(&fleet->calibration, diag);

	if (!error) /* forks: before there are threads */
		error = ng_stand_new(&fleet->gauging.stand, diag);
	if (!error)
		error = ng_uprobe_open(NG_ATTACH_TRACEFS, NG_GATING_EACH, &fleet->engine, diag);
	if (!error)
		error = ng_gates_open(fleet->engine, &fleet->gates, diag);
	if (!error)
		error = open_gauge(fleet, diag);
	if (!error)
		error = ng_workers_start(WINDOWS_SIDE_BY_SIDE, &fleet->workers);
	if (error)
		return error;
	fleet->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	error = fleet->epoll_fd < 0 ? -errno : 0;
	if (!error)
		error = watch_fd(fleet, ng_uprobe_event_fd(fleet->engine));
	if (!error)
		error = watch_fd(fleet, ng_workers_event_fd(fleet->workers));
	return error;
}

int ng_fleet_open(
	const struct ng_fleet_options *options, struct ng_fleet **ret_fleet, struct ng_diag *diag)
{
	struct ng_fleet *fleet = calloc(1, sizeof(*fleet));
	int error;

	if (!fleet)
		return -ENOMEM;
	fleet->options = *options;
	fleet->epoll_fd = -1;
	error = open_parts(fleet, diag);
	if (error) {
		ng_fleet_free(fleet);
		return error;
	}
	fleet->tick_ns = ng_clock_ns() + NG_GOVERNOR_TICK_NS;
	*ret_fleet = fleet;
	return 0;
}

static void catalog_free(struct catalog *catalog)
{
	ng_images_release(&catalog->images);
	for (size_t i = 0; i < catalog->wanted.function_count; i++)
		free(catalog->functions[i]);
	free(catalog->functions);
	free(catalog);
}

void ng_fleet_free(struct ng_fleet *fleet)
{
	if (!fleet)
		return;
	for (size_t i = 0; i < fleet->entry_count; i++) {
		fleet->entries[i].attachment = 0;
		ng_member_leave(fleet->entries[i].member);
	}
	while (fleet->entry_count) {
		struct epoll_event event;

		(void)ng_fleet_turn(fleet); /* a member goes when its last job is back */
		if (fleet->entry_count)
			(void)epoll_wait(fleet->epoll_fd, &event, 1, 100);
	}
	ng_workers_stop(fleet->workers);
	ng_gauge_free(fleet->gauging.gauge);
	ng_stand_free(fleet->gauging.stand);
	ng_gates_close(fleet->gates);
	ng_uprobe_close(fleet->engine);
	for (size_t i = 0; i < fleet->attachment_count; i++)
		ng_selector_release(&fleet->attachments[i].selector);
	for (size_t i = 0; i < fleet->catalog_count; i++)
		catalog_free(fleet->catalogs[i]);
	free(fleet->attachments);
	free(fleet->catalogs);
	free(fleet->entries);
	if (fleet->epoll_fd >= 0)
		close(fleet->epoll_fd);
	free(fleet);
}

/* --- catalogs ------------------------------------------------------------------------------------
 */

static bool same_wanted(const struct ng_wanted *a, const struct ng_wanted *b)
{
	if (a->function_count != b->function_count || a->clock != b->clock ||
		a->clock_set != b->clock_set)
		return false;
	for (size_t i = 0; i < a->function_count; i++) {
		if (strcmp(a->functions[i], b->functions[i]) != 0)
			return false;
	}
	return true;
}

static struct catalog *catalog_new(const struct ng_wanted *wanted)
{
	struct catalog *catalog = calloc(1, sizeof(*catalog));

	if (!catalog)
		return NULL;
	catalog->functions = calloc(wanted->function_count + 1, sizeof(char *));
	for (size_t i = 0; catalog->functions && i < wanted->function_count; i++) {
		catalog->functions[i] = strdup(wanted->functions[i]);
		if (!catalog->functions[i])
			break;
		catalog->wanted.function_count++;
	}
	if (!catalog->functions || catalog->wanted.function_count < wanted->function_count) {
		catalog_free(catalog);
		return NULL;
	}
	catalog->wanted.functions = (const char *const *)catalog->functions;
	catalog->wanted.clock = wanted->clock;
	catalog->wanted.clock_set = wanted->clock_set;
	return catalog;
}

static struct catalog *catalog_of(struct ng_fleet *fleet, const struct ng_wanted *wanted)
{
	struct catalog **grown, *catalog;

	for (size_t i = 0; i < fleet->catalog_count; i++) {
		if (same_wanted(&fleet->catalogs[i]->wanted, wanted))
			return fleet->catalogs[i];
	}
	grown = reallocarray(fleet->catalogs, fleet->catalog_count + 1, sizeof(struct catalog *));
	if (!grown)
		return NULL;
	fleet->catalogs = grown;
	catalog = catalog_new(wanted);
	if (catalog)
		grown[fleet->catalog_count++] = catalog;
	return catalog;
}

/* --- members -------------------------------------------------------------------------------------
 */

static struct attachment *attachment_by_id(const struct ng_fleet *fleet, uint32_t id)
{
	for (size_t i = 0; id && i < fleet->attachment_count; i++) {
		if (fleet->attachments[i].id == id)
			return &fleet->attachments[i];
	}
	return NULL;
}

/* The entry of a process that lives; it may have been detached, and not be let go of yet. */
static struct entry *entry_of(const struct ng_fleet *fleet, pid_t pid)
{
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct entry *entry = &fleet->entries[i];

		if (ng_member_pid(entry->member) == pid && !entry->ended_ns)
			return entry;
	}
	return NULL;
}

/* What holds for a process that comes now. */
static void settle_member(
	struct ng_member *member, const struct attachment *attachment, uint64_t now_ns)
{
	struct ng_settings settings = attachment->settings;

	if (!attachment->lease_until_ns) {
		ng_member_set(member, &settings, now_ns);
		return;
	}
	ng_member_set(member, &attachment->before, now_ns);
	if (now_ns >= attachment->lease_until_ns)
		return;
	settings.lease_ns = attachment->lease_until_ns - now_ns;
	ng_member_set(member, &settings, now_ns);
}

/* Hits of a process's earlier images, of which is still told, are not this one's. */
static void tell_images_apart(
	const struct ng_fleet *fleet, const struct ng_process *process, struct ng_member *member)
{
	uint32_t from = 0;

	for (size_t i = 0; i < fleet->entry_count; i++) {
		const struct ng_member *other = fleet->entries[i].member;
		const uint32_t before = ng_member_exec_before(other);

		if (ng_member_pid(other) == process->pid &&
			ng_member_start_ticks(other) == process->start_ticks &&
			before != UINT32_MAX && before > from)
			from = before;
	}
	ng_member_set_execs(member, from, UINT32_MAX);
}

static int add_member(struct ng_fleet *fleet, const struct attachment *attachment,
	const struct ng_process *process, struct ng_diag *diag)
{
	const uint64_t now_ns = ng_clock_ns();
	const struct ng_member_context context = {.engine = fleet->engine,
		.gates = fleet->gates,
		.workers = fleet->workers,
		.calibration = &fleet->calibration,
		.cost = &fleet->gauging.cost};
	struct ng_inspected inspected = NG_INSPECTED_INIT;
	struct ng_member *member = NULL;
	struct entry *grown;
	int error;

	if (process->pid == getpid())
		return ng_diag_set(diag, -EINVAL, "nowgate does not trace itself");
	if (fleet->entry_count == MEMBERS_MAX)
		return ng_diag_set(
			diag, -EMFILE, "no more than %d processes at a time", MEMBERS_MAX);
	grown = reallocarray(fleet->entries, fleet->entry_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	fleet->entries = grown;
	error = ng_inspect(&attachment->catalog->images, fleet->engine,
		&attachment->catalog->wanted, process->pid, &inspected, diag);
	if (!error)
		error = ng_gates_follow_switches(fleet->gates, true, diag);
	if (!error)
		error = ng_member_new(
			&context, process, inspected.images, inspected.count, &member);
	ng_inspected_release(&inspected);
	if (error == -E2BIG)
		return ng_diag_set(diag, error,
			"process %d has more than %d places to probe: name fewer functions",
			process->pid, NG_WINDOW_SITES_MAX);
	if (error)
		return error;
	tell_images_apart(fleet, process, member);
	grown[fleet->entry_count++] =
		(struct entry){.member = member, .attachment = attachment->id, .looked_ns = now_ns};
	settle_member(member, attachment, now_ns);
	return 0;
}

static void drop_entry(struct ng_fleet *fleet, size_t index)
{
	ng_member_free(fleet->entries[index].member);
	fleet->entry_count--;
	memmove(&fleet->entries[index], &fleet->entries[index + 1],
		(fleet->entry_count - index) * sizeof(*fleet->entries));
}

/** A process as selectors ask for it, with room for its texts. */
struct described {
	struct ng_candidate candidate;
	char exe[PATH_MAX];
	char cgroup[PATH_MAX];
	struct ng_process process;
};

static void read_cgroup(pid_t pid, char *path, size_t path_bytes)
{
	char file[64], line[PATH_MAX + 64];
	NG_CLEANUP_FCLOSE FILE *lines = NULL;

	path[0] = '\0';
	(void)snprintf(file, sizeof(file), "/proc/%d/cgroup", pid);
	lines = fopen(file, "re");
	while (lines && fgets(line, sizeof(line), lines)) {
		if (strncmp(line, "0::", 3) != 0)
			continue; /* of version 1 */
		line[strcspn(line, "\n")] = '\0';
		(void)snprintf(path, path_bytes, "%.*s", (int)path_bytes - 1, line + 3);
	}
}

static int describe(pid_t pid, struct described *described)
{
	char path[32];
	struct stat status;
	int error = ng_process_read(pid, &described->process);

	(void)snprintf(path, sizeof(path), "/proc/%d", pid);
	if (error || stat(path, &status))
		return -ESRCH;
	ng_process_image_path(pid, described->exe, sizeof(described->exe));
	read_cgroup(pid, described->cgroup, sizeof(described->cgroup));
	described->candidate = (struct ng_candidate){.pid = pid,
		.uid = status.st_uid,
		.exe = described->exe,
		.comm = described->process.comm,
		.cgroup = described->cgroup};
	return 0;
}

/* One that was detached, and is not let go of yet, is attached when it is. @return is it one? */
static bool is_let_go_of(struct ng_fleet *fleet, pid_t pid)
{
	struct entry *entry = entry_of(fleet, pid);

	if (!entry || entry->attachment)
		return false;
	entry->is_wanted_again = true;
	return true;
}

static bool is_selected(const struct attachment *attachment, const struct described *described)
{
	return ng_selector_matches(&attachment->selector, &described->candidate) &&
	       (!attachment->selector.pid ||
		       attachment->start_ticks == described->process.start_ticks);
}

/* Attaches a process if any attachment selects it. One that has nothing wanted is passed over. */
static bool attach_if_selected(struct ng_fleet *fleet, pid_t pid)
{
	struct described described;

	if (pid == getpid() || describe(pid, &described))
		return false;
	for (size_t i = 0; i < fleet->attachment_count; i++) {
		const struct attachment *attachment = &fleet->attachments[i];
		struct ng_diag diag = NG_DIAG_INIT;
		int error;

		if (!is_selected(attachment, &described))
			continue;
		if (entry_of(fleet, pid))
			return is_let_go_of(fleet, pid);
		error = add_member(fleet, attachment, &described.process, &diag);
		if (error && error != -ESRCH && error != -ENOENT)
			note(fleet, "process %d is not attached: %s", pid,
				diag.text[0] ? diag.text : strerror(-error));
		return !error;
	}
	return false;
}

static size_t scan_processes(struct ng_fleet *fleet)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	size_t count = 0;

	while (proc && (entry = readdir(proc))) {
		const pid_t pid = atoi(entry->d_name);

		if (pid > 0)
			count += attach_if_selected(fleet, pid);
	}
	if (proc)
		closedir(proc);
	return count;
}

/* --- attachments ---------------------------------------------------------------------------------
 */

static void watch_execs(struct ng_fleet *fleet)
{
	bool any = false;

	for (size_t i = 0; i < fleet->attachment_count; i++)
		any |= !fleet->attachments[i].selector.pid;
	ng_uprobe_watch_execs(fleet->engine, any);
}

static void drop_attachment(struct ng_fleet *fleet, struct attachment *attachment)
{
	const size_t index = (size_t)(attachment - fleet->attachments);

	ng_selector_release(&attachment->selector);
	fleet->attachment_count--;
	memmove(attachment, attachment + 1,
		(fleet->attachment_count - index) * sizeof(*attachment));
	watch_execs(fleet);
}

/* Those by a pid whose process is gone. */
static void drop_dead_attachments(struct ng_fleet *fleet)
{
	for (size_t i = fleet->attachment_count; i > 0; i--) {
		struct attachment *attachment = &fleet->attachments[i - 1];
		struct ng_process process;
		bool is_held = false;

		if (!attachment->selector.pid ||
			(!ng_process_read(attachment->selector.pid, &process) &&
				process.start_ticks == attachment->start_ticks))
			continue;
		/* Its children may live. */
		for (size_t k = 0; k < fleet->entry_count; k++)
			is_held |= fleet->entries[k].attachment == attachment->id &&
				   !fleet->entries[k].ended_ns;
		if (!is_held)
			drop_attachment(fleet, attachment);
	}
}

static int attach_pid(struct ng_fleet *fleet, struct attachment *attachment, struct ng_diag *diag)
{
	const pid_t pid = attachment->selector.pid;
	struct described described;
	int error = ng_process_find(pid, &described.process, diag);

	if (error)
		return error;
	if (describe(pid, &described))
		return ng_diag_set(diag, -ESRCH, "there is no process %d", pid);
	if (!ng_selector_matches(&attachment->selector, &described.candidate))
		return ng_diag_set(diag, -ESRCH, "process %d is not one of those asked for", pid);
	attachment->start_ticks = described.process.start_ticks;
	if (is_let_go_of(fleet, pid))
		return 0;
	if (entry_of(fleet, pid))
		return ng_diag_set(diag, -EEXIST,
			"process %d is attached already: `nowgate mode` changes how, `nowgate "
			"detach` ends it",
			pid);
	return add_member(fleet, attachment, &described.process, diag);
}

/* Changes what holds for processes to come. A lease is the attachment's: whoever comes has what is
 * left of it. */
static void settle(
	struct attachment *attachment, const struct ng_settings *settings, uint64_t now_ns)
{
	if (!settings->lease_ns)
		attachment->before = *settings;
	else if (!attachment->lease_until_ns || now_ns >= attachment->lease_until_ns)
		attachment->before = attachment->settings;
	attachment->settings = *settings;
	attachment->lease_until_ns = settings->lease_ns ? now_ns + settings->lease_ns : 0;
}

/* What holds for processes to come, now. */
static const struct ng_settings *present_settings(
	const struct attachment *attachment, uint64_t now_ns)
{
	const bool is_over = attachment->lease_until_ns && now_ns >= attachment->lease_until_ns;

	return is_over ? &attachment->before : &attachment->settings;
}

int ng_fleet_attach(struct ng_fleet *fleet, const struct ng_attachment *attachment,
	uint32_t *ret_id, size_t *ret_count, struct ng_diag *diag)
{
	struct attachment *grown;
	struct attachment added = {.id = fleet->last_id + 1,
		/* What a burst or a full mode falls back to. */
		.settings = {.mode = NG_MODE_SAMPLED,
			.budget_ratio = attachment->settings.budget_ratio,
			.follow_forks = attachment->settings.follow_forks}};
	int error = 0;

	drop_dead_attachments(fleet);
	grown = reallocarray(fleet->attachments, fleet->attachment_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	settle(&added, &attachment->settings, ng_clock_ns());
	fleet->attachments = grown;
	added.catalog = catalog_of(fleet, &attachment->wanted);
	if (!added.catalog || ng_selector_copy(&attachment->selector, &added.selector))
		return -ENOMEM;
	fleet->last_id++;
	grown[fleet->attachment_count++] = added;
	watch_execs(fleet);
	*ret_count = 1;
	if (added.selector.pid)
		error = attach_pid(fleet, &grown[fleet->attachment_count - 1], diag);
	else
		*ret_count = scan_processes(fleet);
	if (error) {
		drop_attachment(fleet, &fleet->attachments[fleet->attachment_count - 1]);
		return error;
	}
	*ret_id = added.id;
	return 0;
}

int ng_fleet_detach(struct ng_fleet *fleet, uint32_t id, struct ng_diag *diag)
{
	struct attachment *attachment = attachment_by_id(fleet, id);

	if (!attachment)
		return ng_diag_set(diag, -ENOENT, "there is no attachment %u", id);
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct entry *entry = &fleet->entries[i];

		if (entry->attachment != id)
			continue;
		entry->attachment = 0;
		ng_member_leave(entry->member);
	}
	drop_attachment(fleet, attachment);
	return 0;
}

uint32_t ng_fleet_find(const struct ng_fleet *fleet, const struct ng_selector *selector)
{
	for (size_t i = 0; i < fleet->attachment_count; i++) {
		if (ng_selector_means(selector, &fleet->attachments[i].selector))
			return fleet->attachments[i].id;
	}
	return 0;
}

void ng_fleet_resettle(struct ng_fleet *fleet, uint32_t id, const struct ng_settings *settings)
{
	struct attachment *attachment = attachment_by_id(fleet, id);

	if (!attachment)
		return;
	settle(attachment, settings, ng_clock_ns());
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct entry *entry = &fleet->entries[i];

		if (entry->attachment != id || entry->ended_ns)
			continue;
		ng_member_set(entry->member, settings, ng_clock_ns());
		entry->due_ns = 0;
	}
}

bool ng_fleet_selects(const struct ng_selector *selector, pid_t pid)
{
	struct described described;

	return !describe(pid, &described) && ng_selector_matches(selector, &described.candidate);
}

size_t ng_fleet_set(
	struct ng_fleet *fleet, const struct ng_selector *selector, const struct ng_wish *wish)
{
	const uint64_t now_ns = ng_clock_ns();
	size_t count = 0;

	for (size_t i = 0; i < fleet->attachment_count; i++) {
		struct attachment *attachment = &fleet->attachments[i];

		if (ng_selector_means(selector, &attachment->selector)) {
			const struct ng_settings settings =
				ng_wish_apply(wish, present_settings(attachment, now_ns));

			settle(attachment, &settings, now_ns);
		}
	}
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct entry *entry = &fleet->entries[i];
		struct ng_settings settings;

		if (entry->ended_ns || !entry->attachment)
			continue;
		if (!ng_fleet_selects(selector, ng_member_pid(entry->member)))
			continue;
		settings = ng_wish_apply(wish, ng_member_settings(entry->member));
		ng_member_set(entry->member, &settings, now_ns);
		entry->due_ns = 0;
		count++;
	}
	return count;
}

/* --- what happens
 * --------------------------------------------------------------------------------- */

static void follow(
	struct ng_fleet *fleet, const struct attachment *attachment, const struct ng_process *child)
{
	struct ng_diag diag = NG_DIAG_INIT;
	const int error = add_member(fleet, attachment, child, &diag);

	if (!error)
		fleet->entries[fleet->entry_count - 1].is_followed = true;
	else if (error != -ESRCH && error != -ENOENT)
		note(fleet, "process %d, a child, is not attached: %s", child->pid,
			diag.text[0] ? diag.text : strerror(-error));
}

static void end_entry(struct entry *entry, uint64_t now_ns)
{
	ng_member_end(entry->member, now_ns);
	entry->ended_ns = now_ns;
}

static void on_end(struct ng_fleet *fleet, const struct ng_proc_event *event)
{
	struct entry *entry = entry_of(fleet, (pid_t)event->tgid);

	if (entry)
		end_entry(entry, event->time_ns);
}

/* A child that was followed stays so. */
static void on_exec(struct ng_fleet *fleet, const struct ng_proc_event *event)
{
	const pid_t pid = (pid_t)event->tgid;
	struct entry *entry = entry_of(fleet, pid);
	const struct attachment *attachment = NULL;
	struct ng_process process;

	if (entry && event->time_ns < entry->looked_ns)
		return; /* it is the new image that was looked at */
	if (entry) {
		end_entry(entry, event->time_ns);
		ng_member_set_execs(
			entry->member, ng_member_exec_from(entry->member), event->exec_id);
		if (entry->is_followed)
			attachment = attachment_by_id(fleet, entry->attachment);
	}
	if (!attach_if_selected(fleet, pid) && attachment && !ng_process_read(pid, &process))
		follow(fleet, attachment, &process);
}

static void on_fork(struct ng_fleet *fleet, const struct ng_proc_event *event)
{
	const struct entry *parent = entry_of(fleet, (pid_t)event->parent);
	const struct attachment *attachment =
		parent ? attachment_by_id(fleet, parent->attachment) : NULL;
	struct ng_process child;

	/* It runs what its parent runs, so whatever selected that may select it too. */
	if (attach_if_selected(fleet, (pid_t)event->tgid) || !attachment ||
		!ng_member_settings(parent->member)->follow_forks)
		return;
	if (!ng_process_read((pid_t)event->tgid, &child))
		follow(fleet, attachment, &child);
}

static void on_event(const struct ng_proc_event *event, void *context)
{
	struct ng_fleet *fleet = context;
	struct entry *entry;

	switch (event->kind) {
	case NG_PROC_FORK:
		on_fork(fleet, event);
		break;
	case NG_PROC_EXEC:
		on_exec(fleet, event);
		break;
	case NG_PROC_EXIT:
		on_end(fleet, event);
		break;
	case NG_PROC_TRIP:
		entry = entry_of(fleet, (pid_t)event->tgid);
		if (entry) {
			ng_member_trip(entry->member, ng_clock_ns());
			entry->due_ns = 0;
		}
		break;
	default:
		break;
	}
}

static struct entry *entry_of_member(struct ng_fleet *fleet, const struct ng_member *member)
{
	size_t i = 0;

	while (fleet->entries[i].member != member)
		i++;
	return &fleet->entries[i];
}

/* What a hit cost in a reading, interruptions and all. */
static double mean_cost(const struct ng_gauge_reading *reading)
{
	return reading->ran_ns / (double)reading->calls - reading->unarmed_ns;
}

/*
 * Takes a reading in. What counts is the mean, not the median of the hits, which differ by 1 %: on
 * a virtual machine the host interrupts whoever runs (1,200 times a second for 45 us, where this
 * was measured), armed or not, and so a target's hits are dearer by that part as well. A reading
 * that something long fell into says nothing.
 */
static void take_reading(struct gauging *gauging)
{
	const struct ng_gauge_reading *reading = &gauging->reading;
	double costs[GAUGE_READINGS], mean = 0, squares = 0;
	size_t count;

	gauging->is_busy = false;
	if (gauging->error || !reading->calls ||
		mean_cost(reading) > GAUGE_MEAN_MAX * reading->window.hit_ns)
		return; /* what was read before holds on */
	gauging->readings[gauging->reading_count++ % GAUGE_READINGS] = *reading;
	count = gauging->reading_count < GAUGE_READINGS ? gauging->reading_count : GAUGE_READINGS;
	for (size_t i = 0; i < count; i++) {
		costs[i] = mean_cost(&gauging->readings[i]);
		mean += costs[i] / (double)count;
	}
	for (size_t i = 0; i < count; i++)
		squares += (costs[i] - mean) * (costs[i] - mean);
	/* The child runs beside the target. Where both share a core its hits are dearer by a
	 * quarter than they were when the machine was calibrated, and the target's are somewhere in
	 * between. */
	gauging->cost.scale = (1 + mean / gauging->expected_ns) / 2;
	gauging->cost.error_ratio = hypot(COST_ERROR_RATIO,
		fabs(mean / gauging->expected_ns - 1) / (2 * sqrt(3) * gauging->cost.scale));
	if (count > 1)
		gauging->cost.error_ratio = hypot(gauging->cost.error_ratio,
			sqrt(squares / (double)(count * (count - 1))) / mean);
}

/* While windows run: what a hit costs on a busy host changes by a third from one minute to the
 * next. */
static void gauge_if_due(struct ng_fleet *fleet, uint64_t now_ns)
{
	struct gauging *gauging = &fleet->gauging;
	uint64_t windows = 0;

	if (gauging->is_busy || now_ns < gauging->due_ns)
		return;
	gauging->due_ns =
		now_ns + (gauging->reading_count < GAUGE_READINGS ? GAUGE_FIRST_NS : GAUGE_NS);
	for (size_t i = 0; i < fleet->entry_count; i++)
		windows += ng_member_windows(fleet->entries[i].member);
	if (windows == gauging->windows)
		return;
	gauging->windows = windows;
	gauging->is_busy = true;
	ng_workers_post(fleet->workers, &gauging->job);
}

static void collect_jobs(struct ng_fleet *fleet)
{
	struct ng_job *job;

	while ((job = ng_workers_collect(fleet->workers))) {
		struct ng_member *member;

		if (job == &fleet->gauging.job) {
			take_reading(&fleet->gauging);
			continue;
		}
		member = ng_member_of_job(job);
		ng_member_collect(member, job, ng_clock_ns());
		entry_of_member(fleet, member)->due_ns = 0;
	}
}

/* Somebody waits to write to a file: its processes are let go, and then the file. */
static void yield_file(struct ng_fleet *fleet, struct ng_traced_image *image)
{
	bool is_used = false;

	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct entry *entry = &fleet->entries[i];

		if (!ng_member_uses(entry->member, image))
			continue;
		entry->is_wanted_again = false;
		if (entry->attachment)
			note(fleet, "process %d is detached: somebody writes to %s",
				ng_member_pid(entry->member), image->path);
		entry->attachment = 0;
		ng_member_leave(entry->member);
		is_used |= !ng_member_is_idle(entry->member);
	}
	if (!is_used)
		ng_traced_image_let_go(image);
}

static void yield_files(struct ng_fleet *fleet)
{
	for (size_t i = 0; i < fleet->catalog_count; i++) {
		const struct ng_images *images = &fleet->catalogs[i]->images;

		for (size_t k = 0; k < images->count; k++) {
			if (ng_traced_image_is_contested(images->items[k]))
				yield_file(fleet, images->items[k]);
		}
	}
}

static void tick(struct ng_fleet *fleet, uint64_t now_ns)
{
	yield_files(fleet);
	gauge_if_due(fleet, now_ns);
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct entry *entry = &fleet->entries[i];

		if (entry->ended_ns || !ng_member_needs_tick(entry->member, now_ns))
			continue;
		ng_member_tick(entry->member, now_ns);
		entry->due_ns = 0;
	}
	fleet->tick_ns = now_ns + NG_GOVERNOR_TICK_NS;
}

static void forget_ended(struct ng_fleet *fleet, uint64_t now_ns)
{
	for (size_t i = fleet->entry_count; i > 0; i--) {
		const struct entry entry = fleet->entries[i - 1];
		const pid_t pid = ng_member_pid(entry.member);

		if (!ng_member_is_idle(entry.member) ||
			(entry.attachment &&
				(!entry.ended_ns || now_ns - entry.ended_ns <= ENDED_KEPT_NS)))
			continue;
		drop_entry(fleet, i - 1);
		if (entry.is_wanted_again)
			(void)attach_if_selected(fleet, pid);
	}
}

int ng_fleet_event_fd(const struct ng_fleet *fleet)
{
	return fleet->epoll_fd;
}

uint64_t ng_fleet_turn(struct ng_fleet *fleet)
{
	uint64_t now_ns, next_ns;

	(void)ng_uprobe_drain(fleet->engine, on_event, fleet);
	collect_jobs(fleet);
	now_ns = ng_clock_ns();
	if (now_ns >= fleet->tick_ns)
		tick(fleet, now_ns);
	next_ns = fleet->tick_ns;
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct entry *entry = &fleet->entries[i];

		if (entry->due_ns <= now_ns)
			entry->due_ns = ng_member_turn(entry->member, now_ns);
		if (entry->due_ns < next_ns)
			next_ns = entry->due_ns;
	}
	forget_ended(fleet, now_ns);
	return next_ns;
}

bool ng_fleet_is_alive(const struct ng_fleet *fleet)
{
	for (size_t i = 0; i < fleet->entry_count; i++) {
		if (!fleet->entries[i].ended_ns)
			return true;
	}
	return false;
}

/* Of two times, 0 standing for none. */
static uint64_t earlier_of(uint64_t a, uint64_t b)
{
	if (!a || !b)
		return a ? a : b;
	return a < b ? a : b;
}

uint64_t ng_fleet_deadline(const struct ng_fleet *fleet)
{
	uint64_t next_ns = 0;

	for (size_t i = 0; i < fleet->entry_count; i++) {
		const struct ng_member *member = fleet->entries[i].member;

		next_ns = earlier_of(next_ns, ng_member_lease(member));
		next_ns = earlier_of(next_ns, ng_member_window_end(member));
	}
	return next_ns;
}

int ng_fleet_report(struct ng_fleet *fleet, ng_fleet_on_report on_report, void *context)
{
	struct ng_tallies tallies = NG_TALLIES_INIT;
	const uint64_t now_ns = ng_clock_ns();
	int error = ng_uprobe_read(fleet->engine, &tallies);

	for (size_t i = 0; !error && i < fleet->entry_count; i++) {
		const struct entry *entry = &fleet->entries[i];
		struct ng_member_report report;

		error = ng_member_report(entry->member, &tallies,
			entry->ended_ns ? entry->ended_ns : now_ns, &report);
		report.attachment = entry->attachment;
		if (!error)
			error = on_report(&report, context);
	}
	ng_tallies_release(&tallies);
	return error;
}

int ng_fleet_lost(const struct ng_fleet *fleet, uint64_t ret_lost[NG_LOST_CAUSES])
{
	return ng_uprobe_lost(fleet->engine, ret_lost);
}
