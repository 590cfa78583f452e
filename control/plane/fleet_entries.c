#include "control/plane/fleet_entries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/plane/described.h"
#include "control/plane/inspect.h"
#include "core/base/clock.h"

#define MEMBERS_MAX (NG_GATES_MAX - 1)

struct fleet_attachment *ng_fleet_attachment(const struct ng_fleet *fleet, uint32_t id)
{
	for (size_t i = 0; id && i < fleet->attachment_count; i++) {
		if (fleet->attachments[i].id == id)
			return &fleet->attachments[i];
	}
	return NULL;
}

struct fleet_entry *ng_fleet_entry(const struct ng_fleet *fleet, pid_t pid)
{
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct fleet_entry *entry = &fleet->entries[i];

		if (ng_member_pid(entry->member) == pid && !entry->ended_ns)
			return entry;
	}
	return NULL;
}

/* What holds for a process that comes now. */
static void settle_member(
	struct ng_member *member, const struct fleet_attachment *attachment, uint64_t now_ns)
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

int ng_fleet_add(struct ng_fleet *fleet, const struct fleet_attachment *attachment,
	const struct ng_process *process, struct ng_diag *diag)
{
	const uint64_t now_ns = ng_clock_ns();
	const struct ng_member_context context = {.engine = fleet->engine,
		.gates = fleet->gates,
		.workers = fleet->workers,
		.calibration = &fleet->calibration,
		.cost = ng_costs_now(fleet->costs),
		.weigher = fleet->weigher};
	struct ng_inspected inspected = NG_INSPECTED_INIT;
	struct ng_member *member = NULL;
	struct fleet_entry *grown;
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
	if (error)
		ng_inspected_release(&inspected);
	if (error == -E2BIG)
		return ng_diag_set(diag, error,
			"process %d has more than %d places to probe: name fewer functions",
			process->pid, NG_WINDOW_SITES_MAX);
	if (error)
		return error;
	tell_images_apart(fleet, process, member);
	grown[fleet->entry_count++] = (struct fleet_entry){.member = member,
		.mappings = inspected.mappings,
		.attachment = attachment->id,
		.looked_ns = now_ns};
	inspected.mappings = (struct ng_mappings)NG_MAPPINGS_INIT;
	ng_inspected_release(&inspected);
	settle_member(member, attachment, now_ns);
	return 0;
}

void ng_fleet_drop(struct ng_fleet *fleet, size_t index)
{
	ng_member_free(fleet->entries[index].member);
	ng_mappings_release(&fleet->entries[index].mappings);
	fleet->entry_count--;
	memmove(&fleet->entries[index], &fleet->entries[index + 1],
		(fleet->entry_count - index) * sizeof(*fleet->entries));
}

bool ng_fleet_lets_go_of(struct ng_fleet *fleet, pid_t pid)
{
	struct fleet_entry *entry = ng_fleet_entry(fleet, pid);

	if (!entry || entry->attachment)
		return false;
	entry->is_wanted_again = true;
	return true;
}

static bool is_selected(
	const struct fleet_attachment *attachment, const struct ng_described *described)
{
	return ng_selector_matches(&attachment->selector, &described->candidate) &&
	       (!attachment->selector.pid ||
		       attachment->start_ticks == described->process.start_ticks);
}

int ng_fleet_add_if_selected(struct ng_fleet *fleet, pid_t pid)
{
	struct ng_described described;
	int error = -ESRCH;

	if (pid == getpid() || ng_describe(pid, &described))
		return error;
	for (size_t i = 0; i < fleet->attachment_count; i++) {
		const struct fleet_attachment *attachment = &fleet->attachments[i];
		struct ng_diag diag = NG_DIAG_INIT;

		if (!is_selected(attachment, &described))
			continue;
		if (ng_fleet_entry(fleet, pid))
			return ng_fleet_lets_go_of(fleet, pid) ? 0 : -EEXIST;
		error = ng_fleet_add(fleet, attachment, &described.process, &diag);
		if (error == -ENOENT)
			continue;
		if (error && error != -ESRCH)
			ng_fleet_note(fleet, "process %d is not attached: %s", pid,
				diag.text[0] ? diag.text : strerror(-error));
		break;
	}
	return error;
}
