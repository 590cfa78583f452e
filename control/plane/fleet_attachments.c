/* What a fleet is asked for: attachments, and changes of what holds for them. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/plane/described.h"
#include "control/plane/fleet_entries.h"
#include "core/base/clock.h"

static size_t scan_processes(struct ng_fleet *fleet)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	size_t count = 0;

	while (proc && (entry = readdir(proc))) {
		const pid_t pid = atoi(entry->d_name);

		if (pid > 0)
			count += !ng_fleet_add_if_selected(fleet, pid);
	}
	if (proc)
		closedir(proc);
	return count;
}

static void watch_execs(struct ng_fleet *fleet)
{
	bool any = false;

	for (size_t i = 0; i < fleet->attachment_count; i++)
		any |= !fleet->attachments[i].selector.pid;
	ng_uprobe_watch_execs(fleet->engine, any);
}

static void drop_attachment(struct ng_fleet *fleet, struct fleet_attachment *attachment)
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
		struct fleet_attachment *attachment = &fleet->attachments[i - 1];
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

static int attach_pid(
	struct ng_fleet *fleet, struct fleet_attachment *attachment, struct ng_diag *diag)
{
	const pid_t pid = attachment->selector.pid;
	struct ng_described described;
	int error = ng_process_find(pid, &described.process, diag);

	if (error)
		return error;
	if (ng_describe(pid, &described))
		return ng_diag_set(diag, -ESRCH, "there is no process %d", pid);
	if (!ng_selector_matches(&attachment->selector, &described.candidate))
		return ng_diag_set(diag, -ESRCH, "process %d is not one of those asked for", pid);
	attachment->start_ticks = described.process.start_ticks;
	if (ng_fleet_lets_go_of(fleet, pid))
		return 0;
	if (ng_fleet_entry(fleet, pid))
		return ng_diag_set(diag, -EEXIST,
			"process %d is attached already: `nowgate mode` changes how, `nowgate "
			"detach` ends it",
			pid);
	return ng_fleet_add(fleet, attachment, &described.process, diag);
}

/* Changes what holds for processes to come. A lease is the attachment's: whoever comes has what is
 * left of it. */
static void settle(
	struct fleet_attachment *attachment, const struct ng_settings *settings, uint64_t now_ns)
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
	const struct fleet_attachment *attachment, uint64_t now_ns)
{
	const bool is_over = attachment->lease_until_ns && now_ns >= attachment->lease_until_ns;

	return is_over ? &attachment->before : &attachment->settings;
}

int ng_fleet_attach(struct ng_fleet *fleet, const struct ng_attachment *attachment,
	uint32_t *ret_id, size_t *ret_count, struct ng_diag *diag)
{
	struct fleet_attachment *grown;
	struct fleet_attachment added = {.id = fleet->last_id + 1,
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
	added.catalog = ng_catalogs_get(&fleet->catalogs, &attachment->wanted);
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
	struct fleet_attachment *attachment = ng_fleet_attachment(fleet, id);

	if (!attachment)
		return ng_diag_set(diag, -ENOENT, "there is no attachment %u", id);
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct fleet_entry *entry = &fleet->entries[i];

		if (entry->attachment != id)
			continue;
		entry->attachment = 0;
		ng_member_leave(entry->member);
	}
	drop_attachment(fleet, attachment);
	return 0;
}

size_t ng_fleet_attachment_count(const struct ng_fleet *fleet)
{
	return fleet->attachment_count;
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
	struct fleet_attachment *attachment = ng_fleet_attachment(fleet, id);

	if (!attachment)
		return;
	settle(attachment, settings, ng_clock_ns());
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct fleet_entry *entry = &fleet->entries[i];

		if (entry->attachment != id || entry->ended_ns)
			continue;
		ng_member_set(entry->member, settings, ng_clock_ns());
		entry->due_ns = 0;
	}
}

bool ng_fleet_selects(const struct ng_selector *selector, pid_t pid)
{
	struct ng_described described;

	if (selector->pid && selector->pid != pid)
		return false; /* without a look at what else it is: 0.1 ms */
	return !ng_describe(pid, &described) && ng_selector_matches(selector, &described.candidate);
}

size_t ng_fleet_set(
	struct ng_fleet *fleet, const struct ng_selector *selector, const struct ng_wish *wish)
{
	const uint64_t now_ns = ng_clock_ns();
	size_t count = 0;

	for (size_t i = 0; i < fleet->attachment_count; i++) {
		struct fleet_attachment *attachment = &fleet->attachments[i];

		if (ng_selector_means(selector, &attachment->selector)) {
			const struct ng_settings settings =
				ng_wish_apply(wish, present_settings(attachment, now_ns));

			settle(attachment, &settings, now_ns);
		}
	}
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct fleet_entry *entry = &fleet->entries[i];
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
