#include "control/daemon/daemon_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/target/process.h"
#include "core/base/clock.h"

#define TIDY_NS (10 * NG_NS_PER_S)

/* A change that could not be kept still holds until the daemon ends: it is said, and not undone. */
static void save_state(struct ng_daemon *daemon)
{
	struct ng_diag diag = NG_DIAG_INIT;

	if (ng_state_save(daemon->config.state_dir, &daemon->state, &diag))
		ng_daemon_log(daemon, NG_LOG_ERROR,
			"what was asked for would not survive a restart: %s", diag.text);
}

static bool is_same_process(const struct ng_state_entry *entry)
{
	struct ng_process process;

	if (!entry->select.pid)
		return true;
	return !ng_process_read(entry->select.pid, &process) &&
	       (!entry->start_ticks || entry->start_ticks == process.start_ticks);
}

/* Forgets what was asked for of processes that have ended. @return whether there were any */
static bool forget_ended(struct ng_daemon *daemon)
{
	const size_t count = daemon->state.count;

	for (size_t i = count; i > 0; i--) {
		if (!is_same_process(&daemon->state.entries[i - 1]))
			ng_state_remove(&daemon->state, i - 1);
	}
	return daemon->state.count < count;
}

void ng_daemon_tidy_state(struct ng_daemon *daemon, uint64_t now_ns)
{
	daemon->tidy_ns = now_ns + TIDY_NS;
	if (forget_ended(daemon))
		save_state(daemon);
}

/* Forgets what a request replaces. A mode with a lease leaves the one that it falls back to. */
static void forget_state(struct ng_daemon *daemon, const struct ng_request *request, bool is_leased)
{
	for (size_t i = daemon->state.count; i > 0; i--) {
		const struct ng_state_entry *entry = &daemon->state.entries[i - 1];
		const bool is_kept = request->op == NG_OP_MODE &&
				     (entry->op != NG_OP_MODE || (is_leased && !entry->has_lease));

		if (!is_kept && ng_selector_means(&request->select, &entry->select))
			ng_state_remove(&daemon->state, i - 1);
	}
}

static int remember(
	struct ng_daemon *daemon, const struct ng_request *request, const struct ng_peer *peer)
{
	struct ng_state_entry entry = {
		.op = request->op, .wish = request->wish, .owner = peer->uid};
	struct ng_state_clock clock;
	struct ng_process process;
	int error = ng_selector_copy(&request->select, &entry.select);

	if (!error)
		error = ng_names_copy(&request->functions, &entry.functions);
	if (!error)
		error = ng_state_clock_read(&clock);
	if (!error && entry.select.pid && !ng_process_read(entry.select.pid, &process))
		entry.start_ticks = process.start_ticks;
	if (!error && entry.wish.has_mode) {
		const struct ng_settings base = ng_daemon_default_settings(daemon);
		const struct ng_settings settings = ng_wish_apply(&entry.wish, &base);

		if (settings.lease_ns)
			ng_state_entry_set_lease(&entry, settings.lease_ns, &clock);
	}
	if (!error)
		error = ng_state_add(&daemon->state, &entry);
	if (error) {
		ng_selector_release(&entry.select);
		ng_names_release(&entry.functions);
	}
	return error;
}

void ng_daemon_keep(struct ng_daemon *daemon, const struct daemon_asked *asked)
{
	const struct ng_request *request = asked->request;
	const struct ng_settings base = ng_daemon_default_settings(daemon);
	int error = 0;

	forget_state(daemon, request, ng_wish_apply(&request->wish, &base).lease_ns > 0);
	if (request->op != NG_OP_DETACH)
		error = remember(daemon, request, asked->peer);
	if (error == -E2BIG && forget_ended(daemon))
		error = remember(daemon, request, asked->peer);
	if (error)
		ng_daemon_log(daemon, NG_LOG_ERROR,
			"what was asked for would not survive a restart: %s",
			error == -E2BIG ? "as much is remembered already as can be"
					: strerror(-error));
	save_state(daemon);
}

static int take_up(
	struct ng_daemon *daemon, const struct ng_state_entry *entry, struct ng_diag *diag)
{
	const struct ng_settings base = ng_daemon_default_settings(daemon);
	const struct ng_settings settings = ng_wish_apply(&entry->wish, &base);
	uint32_t id;
	size_t count;

	if (!is_same_process(entry))
		return ng_diag_set(
			diag, -ESRCH, "process %d has ended meanwhile", entry->select.pid);
	if (entry->op == NG_OP_ATTACH)
		return ng_daemon_attach(
			daemon, &entry->select, &entry->functions, &settings, &id, &count, diag);
	(void)ng_fleet_set(daemon->fleet, &entry->select, &entry->wish);
	return 0;
}

void ng_daemon_load_state(struct ng_daemon *daemon)
{
	struct ng_diag diag = NG_DIAG_INIT;

	if (ng_state_load(daemon->config.state_dir, &daemon->state, &diag))
		ng_daemon_log(daemon, NG_LOG_WARNING, "%s", diag.text);
	for (size_t i = 0; i < daemon->state.count;) {
		diag = (struct ng_diag)NG_DIAG_INIT;
		if (!take_up(daemon, &daemon->state.entries[i], &diag)) {
			i++;
			continue;
		}
		ng_daemon_log(daemon, NG_LOG_WARNING, "not taken up again: %s", diag.text);
		ng_state_remove(&daemon->state, i);
	}
}
