#include "control/plane/fleet.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control/plane/fleet_entries.h"
#include "control/plane/fleet_images.h"
#include "control/plane/fleet_records.h"
#include "control/plane/prompt.h"
#include "core/base/clock.h"

#define WINDOWS_SIDE_BY_SIDE 4

/* Of the ring of records: windows are short. It is resident, and twice so: it is mapped behind
 * itself once more. */
#define RECORDS_BYTES (4u << 20)

/* Members that have ended are told of for so long. */
#define ENDED_KEPT_NS (60 * NG_NS_PER_S)

/* When a process that is being loaded is looked at: so long after its exec, and then after pauses
 * that grow. */
#define LOADING_PAUSE_NS     (5 * NG_NS_PER_MS)
#define LOADING_PAUSE_GROWTH 5
#define LOADING_PAUSE_MAX_NS NG_NS_PER_S

void ng_fleet_note(struct ng_fleet *fleet, const char *format, ...)
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

static int watch_fd(struct ng_fleet *fleet, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(fleet->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_parts(struct ng_fleet *fleet, struct ng_diag *diag)
{
	const struct ng_uprobe_options options = {.attach = NG_ATTACH_TRACEFS,
		.gating = NG_GATING_EACH,
		.records_bytes = fleet->options.on_call ? RECORDS_BYTES : 0};
	int error = ng_calibration_get(&fleet->calibration, diag);

	if (!error) /* forks: before there are threads */
		error = ng_costs_new(&fleet->costs, diag);
	if (!error)
		error = ng_uprobe_open(&options, &fleet->engine, diag);
	if (!error)
		error = ng_gates_open(fleet->engine, &fleet->gates, diag);
	if (!error)
		error = ng_costs_open(
			fleet->costs, &fleet->calibration, fleet->engine, fleet->gates, diag);
	if (!error)
		error = ng_workers_start(WINDOWS_SIDE_BY_SIDE, &fleet->workers);
	if (!error && fleet->options.on_call)
		error = ng_fleet_open_records(fleet, diag);
	if (!error)
		ng_prompt_thread(getpriority(PRIO_PROCESS, 0));
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

void ng_fleet_free(struct ng_fleet *fleet)
{
	if (!fleet)
		return;
	/* First: what begins from here on is nobody's. */
	for (size_t i = 0; i < fleet->attachment_count; i++)
		ng_selector_release(&fleet->attachments[i].selector);
	fleet->attachment_count = 0;
	for (size_t i = 0; i < fleet->entry_count; i++) {
		fleet->entries[i].attachment = 0;
		fleet->entries[i].is_wanted_again = false;
		ng_member_leave(fleet->entries[i].member);
	}
	while (fleet->entry_count) {
		struct epoll_event event;

		(void)ng_fleet_turn(fleet); /* a member goes when its last job is back */
		if (fleet->entry_count)
			(void)epoll_wait(fleet->epoll_fd, &event, 1, 100);
	}
	ng_workers_stop(fleet->workers);
	ng_traced_image_free(fleet->pruning.image); /* its job has run */
	ng_fleet_close_records(fleet);
	ng_weigher_free(fleet->weigher);
	ng_costs_free(fleet->costs);
	ng_gates_close(fleet->gates);
	ng_uprobe_close(fleet->engine);
	ng_catalogs_release(&fleet->catalogs);
	free(fleet->attachments);
	free(fleet->entries);
	free(fleet->loading);
	if (fleet->epoll_fd >= 0)
		close(fleet->epoll_fd);
	free(fleet);
}

/* Takes in a child that its parent's attachment has followed. As ng_fleet_add_if_selected(). */
static int follow(struct ng_fleet *fleet, uint32_t followed_by, pid_t pid)
{
	const struct fleet_attachment *attachment = ng_fleet_attachment(fleet, followed_by);
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_process child;
	int error;

	if (!attachment || ng_process_read(pid, &child))
		return -ESRCH;
	error = ng_fleet_add(fleet, attachment, &child, &diag);
	if (!error)
		fleet->entries[fleet->entry_count - 1].is_followed = true;
	else if (error != -ESRCH && error != -ENOENT)
		ng_fleet_note(fleet, "process %d, a child, is not attached: %s", pid,
			diag.text[0] ? diag.text : strerror(-error));
	return error;
}

/* Whatever selects a process comes before its being followed. */
static int add_or_follow(struct ng_fleet *fleet, uint32_t followed_by, pid_t pid)
{
	const int error = ng_fleet_add_if_selected(fleet, pid);

	if (followed_by && (error == -ESRCH || error == -ENOENT))
		return follow(fleet, followed_by, pid);
	return error;
}

static void look_again(struct ng_fleet *fleet, const struct fleet_loading *loading)
{
	struct fleet_loading *grown =
		reallocarray(fleet->loading, fleet->loading_count + 1, sizeof(*grown));

	if (!grown)
		return; /* it is passed over */
	fleet->loading = grown;
	grown[fleet->loading_count++] = *loading;
}

/* @return when the next one is due */
static uint64_t look_at_loading(struct ng_fleet *fleet, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (size_t i = fleet->loading_count; i > 0; i--) {
		struct fleet_loading *loading = &fleet->loading[i - 1];

		if (loading->due_ns <= now_ns) {
			const int error = add_or_follow(fleet, loading->followed_by, loading->pid);

			loading->pause_ns *= LOADING_PAUSE_GROWTH;
			loading->due_ns = now_ns + loading->pause_ns;
			if (error != -ENOENT || loading->pause_ns > LOADING_PAUSE_MAX_NS) {
				*loading = fleet->loading[--fleet->loading_count];
				continue;
			}
		}
		if (loading->due_ns < next_ns)
			next_ns = loading->due_ns;
	}
	return next_ns;
}

static void end_entry(struct fleet_entry *entry, uint64_t now_ns)
{
	ng_member_end(entry->member, now_ns);
	entry->ended_ns = now_ns;
}

static void on_end(struct ng_fleet *fleet, const struct ng_proc_event *event)
{
	struct fleet_entry *entry = ng_fleet_entry(fleet, (pid_t)event->tgid);

	if (entry)
		end_entry(entry, event->time_ns);
}

/* A child that was followed stays so. */
static void on_exec(struct ng_fleet *fleet, const struct ng_proc_event *event)
{
	const pid_t pid = (pid_t)event->tgid;
	struct fleet_entry *entry = ng_fleet_entry(fleet, pid);
	uint32_t followed_by = 0;

	if (entry && event->time_ns < entry->looked_ns)
		return; /* it is the new image that was looked at */
	if (entry) {
		end_entry(entry, event->time_ns);
		ng_member_set_execs(
			entry->member, ng_member_exec_from(entry->member), event->exec_id);
		if (entry->is_followed)
			followed_by = entry->attachment;
	}
	if (add_or_follow(fleet, followed_by, pid) == -ENOENT)
		look_again(fleet, &(struct fleet_loading){.pid = pid,
					  .followed_by = followed_by,
					  .due_ns = ng_clock_ns() + LOADING_PAUSE_NS,
					  .pause_ns = LOADING_PAUSE_NS});
}

static void on_fork(struct ng_fleet *fleet, const struct ng_proc_event *event)
{
	const struct fleet_entry *parent = ng_fleet_entry(fleet, (pid_t)event->parent);
	const bool is_followed = parent && ng_member_settings(parent->member)->follow_forks;

	/* It runs what its parent runs, so whatever selected that may select it too. */
	(void)add_or_follow(fleet, is_followed ? parent->attachment : 0, (pid_t)event->tgid);
}

static void on_event(const struct ng_proc_event *event, void *context)
{
	struct ng_fleet *fleet = context;
	struct fleet_entry *entry;

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
		entry = ng_fleet_entry(fleet, (pid_t)event->tgid);
		if (entry) {
			ng_member_trip(entry->member, ng_clock_ns());
			entry->due_ns = 0;
		}
		break;
	default:
		break;
	}
}

static struct fleet_entry *entry_of_member(struct ng_fleet *fleet, const struct ng_member *member)
{
	size_t i = 0;

	while (fleet->entries[i].member != member)
		i++;
	return &fleet->entries[i];
}

static void collect_jobs(struct ng_fleet *fleet)
{
	struct ng_job *job;

	while ((job = ng_workers_collect(fleet->workers))) {
		struct ng_member *member;

		if (ng_costs_collect(fleet->costs, job) || ng_fleet_collect_image(fleet, job))
			continue;
		fleet->windows += job->kind == NG_JOB_WINDOW;
		member = ng_member_of_job(job);
		ng_member_collect(member, job, ng_clock_ns());
		entry_of_member(fleet, member)->due_ns = 0;
	}
}

static void tick(struct ng_fleet *fleet, uint64_t now_ns)
{
	ng_fleet_yield_files(fleet);
	ng_fleet_prune_images(fleet, now_ns);
	ng_costs_tick(fleet->costs, fleet->workers, fleet->windows, fleet->cpu_ns, now_ns);
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct fleet_entry *entry = &fleet->entries[i];

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
		const struct fleet_entry entry = fleet->entries[i - 1];
		const pid_t pid = ng_member_pid(entry.member);

		if (!ng_member_is_idle(entry.member) ||
			(entry.attachment &&
				(!entry.ended_ns || now_ns - entry.ended_ns <= ENDED_KEPT_NS)))
			continue;
		ng_fleet_drop(fleet, i - 1);
		if (entry.is_wanted_again)
			(void)ng_fleet_add_if_selected(fleet, pid);
	}
}

int ng_fleet_event_fd(const struct ng_fleet *fleet)
{
	return fleet->epoll_fd;
}

uint64_t ng_fleet_turn(struct ng_fleet *fleet)
{
	const uint64_t began_ns = ng_clock_thread_ns();
	uint64_t now_ns, next_ns;

	(void)ng_uprobe_drain(fleet->engine, on_event, fleet);
	collect_jobs(fleet);
	now_ns = ng_clock_ns();
	if (now_ns >= fleet->tick_ns)
		tick(fleet, now_ns);
	next_ns = look_at_loading(fleet, now_ns);
	if (fleet->tick_ns < next_ns)
		next_ns = fleet->tick_ns;
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct fleet_entry *entry = &fleet->entries[i];

		if (entry->due_ns <= now_ns)
			entry->due_ns = ng_member_turn(entry->member, now_ns);
		if (entry->due_ns < next_ns)
			next_ns = entry->due_ns;
	}
	forget_ended(fleet, now_ns);
	fleet->cpu_ns += ng_clock_thread_ns() - began_ns;
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
		const struct fleet_entry *entry = &fleet->entries[i];
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

int ng_fleet_lost(const struct ng_fleet *fleet, uint64_t ret_lost[NG_LOSSES])
{
	struct ng_weigher_losses untold = {0};

	if (fleet->weigher)
		untold = ng_weigher_losses(fleet->weigher);
	ret_lost[NG_LOSS_STACKS_FULL] = 0;
	ret_lost[NG_LOSS_WINDOW_WAITING_FULL] = untold.full;
	ret_lost[NG_LOSS_WINDOW_UNWEIGHED] = untold.unweighed;
	return ng_uprobe_lost(fleet->engine, ret_lost);
}
