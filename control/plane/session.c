#include "control/plane/session_inside.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/plane/session_absence.h"
#include "control/plane/session_arm.h"
#include "control/plane/session_inline.h"
#include "control/plane/session_lives.h"
#include "control/plane/session_users.h"
#include "control/target/process.h"
#include "core/base/clock.h"

#define MANY_SITES 64 /* more take a while to go, which is told */
#define REMOVE_MS  80 /* a site's way out, as NG_SITES_MAX has it */

#define CHECK_NS NG_NS_PER_S /* between looks at the code; it is looked at when all ends, too */

void ng_session_note(struct ng_session *session, const char *format, ...)
{
	char text[NG_DIAG_SIZE];
	va_list args;

	if (!session->options.on_note)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* a long note is cut */
	va_end(args);
	session->options.on_note(text, session->options.context);
}

int ng_session_open(const struct ng_session_options *options, struct ng_session **ret_session,
	struct ng_diag *diag)
{
	struct ng_session *session = calloc(1, sizeof(*session));
	const struct ng_uprobe_options engine = {.attach = options->attach,
		.gating = NG_GATING_COMMON,
		.records_bytes = options->on_call && options->engine == NG_ENGINE_UPROBE
					 ? NG_RECORDS_BYTES
					 : 0};
	int error;

	if (!session)
		return -ENOMEM;
	session->options = *options;
	error = ng_uprobe_open(&engine, &session->engine, diag);
	if (error) {
		ng_session_free(session);
		return error;
	}
	if (ng_uprobe_attach(session->engine) == NG_ATTACH_LINK)
		ng_session_note(session,
			"counting by perf uprobe links, not by tracefs: arming takes longer, and "
			"children are not followed from their first instruction");
	if (options->wanted.syscalls)
		error = ng_images_prepare_kernel(
			&session->images, session->engine, &session->kernel, diag);
	if (error) {
		ng_session_free(session);
		return error;
	}
	*ret_session = session;
	return 0;
}

void ng_session_free(struct ng_session *session)
{
	if (!session)
		return;
	ng_session_inline_release(session);
	(void)ng_records_close(session->records); /* strangers are of no use any more */
	ng_tracked_list_release(&session->tracked);
	for (size_t i = 0; i < session->everyone_count; i++)
		ng_armed_free(session->everyone[i].armed);
	free(session->everyone);
	ng_uprobe_close(session->engine);
	ng_images_release(&session->images);
	free(session);
}

uint64_t ng_session_counted_from(const struct ng_session *session)
{
	return session->started_at_ns ? ng_clock_ns() : 0;
}

static void note_tracer(struct ng_session *session, pid_t pid)
{
	char comm[NG_COMM_MAX * 4];
	int tracer = ng_process_tracer(pid, comm);

	if (tracer > 0 && tracer != getpid())
		ng_session_note(session,
			"process %d is traced by %s (pid %d); it is counted all the same", pid,
			comm, tracer);
}

int ng_session_add_pid(struct ng_session *session, pid_t pid, struct ng_diag *diag)
{
	struct ng_tracked *tracked;
	struct ng_target target = {.flags = 0};
	struct ng_process process;
	int error = ng_process_find(pid, &process, diag);

	if (error)
		return error;
	if (process.pid == getpid())
		return ng_diag_set(diag, -EINVAL,
			"nowgate does not trace itself: process %d is this very run", pid);
	tracked = ng_tracked_add(&session->tracked, &process, NG_ORIGIN_PID);
	if (!tracked)
		return -ENOMEM;
	error = ng_session_prepare_main(session, tracked, diag);
	if (!error && tracked->main->error && !tracked->main->image)
		error = ng_diag_set(diag, tracked->main->error, "%s: %s", tracked->exe,
			tracked->main->diag.text);
	if (!error)
		error = ng_uprobe_watch(session->engine, pid, &target);
	if (!error)
		error = ng_session_arm_mappings(session, tracked, diag);
	if (!error)
		error = ng_session_check_found(session, tracked, diag);
	if (error) {
		ng_uprobe_unwatch(session->engine, pid);
		ng_tracked_drop(&session->tracked, tracked);
		return error;
	}
	tracked->armed_at_ns = ng_session_counted_from(session);
	note_tracer(session, pid);
	ng_session_note_incomplete(session, tracked);
	return 0;
}

int ng_session_add_command(struct ng_session *session, pid_t pid)
{
	const struct ng_target target = {.flags = NG_TARGET_FOLLOW};
	struct ng_process process;
	int error = ng_process_read(pid, &process);

	if (error)
		return error;
	if (!ng_tracked_add(&session->tracked, &process, NG_ORIGIN_COMMAND))
		return -ENOMEM;
	return ng_uprobe_watch(session->engine, pid, &target);
}

/* Clocks are read in libraries too, and stacks have frames there. */
static bool needs_libraries(const struct ng_session *session)
{
	return session->options.wanted.clock || session->options.on_call;
}

int ng_session_arm_stopped(struct ng_session *session, pid_t pid, bool is_loaded,
	bool *ret_is_wanted, struct ng_diag *diag)
{
	struct ng_process process;
	struct ng_tracked *tracked;
	int error = ng_process_read(pid, &process);

	if (error)
		return error;
	/* Its fork and exec are told before: they begin its life, which is armed there. */
	(void)ng_uprobe_drain(session->engine, ng_session_on_event, session);
	tracked = ng_tracked_find(&session->tracked, pid, process.start_ticks);
	if (!tracked || !tracked->main)
		return -ESRCH;
	error = ng_session_arm_mappings(session, tracked, diag);
	*ret_is_wanted = ng_tracked_has_image(tracked, tracked->main) &&
			 (is_loaded || !needs_libraries(session));
	tracked->is_loading = !is_loaded && !*ret_is_wanted;
	return error;
}

int ng_session_start(struct ng_session *session, struct ng_diag *diag)
{
	uint64_t now;
	int error;

	if (session->options.on_call && session->options.engine == NG_ENGINE_UPROBE) {
		const struct ng_records_options options = {.on_call = session->options.on_call,
			.on_look = session->options.on_look,
			.context = session->options.call_context};

		error = ng_records_open(session->engine, &options, &session->records, diag);
		if (error)
			return error;
	}
	ng_session_inline_open(session);
	ng_uprobe_gate(session->engine, true);
	now = ng_clock_ns(); /* after the gate: every call from here on counts */
	session->started_at_ns = now;
	for (size_t i = 0; i < session->tracked.count; i++) {
		struct ng_tracked *tracked = session->tracked.items[i];

		if (!tracked->armed_at_ns)
			tracked->armed_at_ns = now;
		if (tracked->disarmed_at_ns)
			tracked->disarmed_at_ns = now; /* it has ended before this */
		/* 0 where it has just exited. */
		(void)ng_process_cpu_time(tracked->pid, &tracked->cpu_start_ns);
	}
	return 0;
}

int ng_session_event_fd(const struct ng_session *session)
{
	return ng_uprobe_event_fd(session->engine);
}

/*
 * Somebody is about to write to the file, and waits for us to let go of it. A breakpoint kept there
 * would strike the new code in the middle of an instruction: the kernel keeps to the place, and
 * never looks at the code again.
 */
static void give_up(struct ng_session *session, struct ng_traced_image *image)
{
	for (size_t i = 0; i < session->everyone_count; i++) {
		if (session->everyone[i].image != image)
			continue;
		ng_armed_free(session->everyone[i].armed);
		session->everyone[i].armed = NULL;
	}
	for (size_t i = 0; i < session->tracked.count; i++)
		ng_tracked_give_up(session->tracked.items[i], image);
	ng_uprobe_remove_sites(session->engine, ng_traced_image_numbers(image));
	ng_traced_image_let_go(image);
	ng_session_note(session,
		"%s is being overwritten: what was counted of it so far stands, but no more",
		image->path);
}

void ng_session_turn(struct ng_session *session)
{
	const uint64_t now = ng_clock_ns();
	const bool is_check_due = now >= session->check_at_ns;

	if (is_check_due)
		session->check_at_ns = now + CHECK_NS;
	for (size_t i = 0; i < session->images.count; i++) {
		if (ng_traced_image_is_contested(session->images.items[i]))
			give_up(session, session->images.items[i]);
	}
	(void)ng_uprobe_drain(session->engine, ng_session_on_event, session);
	/* The list can grow while we look. */
	for (size_t i = 0; i < session->tracked.count; i++) {
		struct ng_tracked *tracked = session->tracked.items[i];

		if (tracked->disarmed_at_ns)
			continue;
		(void)ng_process_cpu_time(tracked->pid, &tracked->cpu_end_ns);
		ng_session_look_after(session, tracked);
		if (is_check_due)
			ng_tracked_check_text(tracked);
	}
}

bool ng_session_is_over(const struct ng_session *session)
{
	bool any = false;

	for (size_t i = 0; i < session->tracked.count; i++) {
		const struct ng_tracked *tracked = session->tracked.items[i];

		if (tracked->origin != NG_ORIGIN_PID)
			continue;
		if (!tracked->disarmed_at_ns)
			return false;
		any = true;
	}
	return any;
}

void ng_session_stop(struct ng_session *session)
{
	const size_t sites = ng_images_site_count(&session->images);
	uint64_t now;

	(void)ng_uprobe_drain(
		session->engine, ng_session_on_event, session); /* execs, before the look */
	for (size_t i = 0; i < session->tracked.count; i++) {
		if (!session->tracked.items[i]->disarmed_at_ns)
			ng_tracked_check_text(session->tracked.items[i]);
	}
	now = ng_clock_ns(); /* before the gate closes: every call until here counts */
	ng_uprobe_gate(session->engine, false);
	ng_session_inline_close(session);
	session->stopped_at_ns = now;
	for (size_t i = 0; i < session->tracked.count; i++) {
		struct ng_tracked *tracked = session->tracked.items[i];

		if (!tracked->disarmed_at_ns)
			(void)ng_process_cpu_time(tracked->pid, &tracked->cpu_end_ns);
	}
	for (size_t i = 0; i < session->tracked.count; i++)
		ng_tracked_disarm(session->tracked.items[i]);
	for (size_t i = 0; i < session->everyone_count; i++) {
		ng_armed_free(session->everyone[i].armed);
		session->everyone[i].armed = NULL;
	}
	if (sites > MANY_SITES)
		ng_session_note(session, "taking %zu probes away, which takes about %zu s", sites,
			sites * REMOVE_MS / 1000 + 1);
	ng_uprobe_settle(session->engine, session->options.on_wait, session->options.context);
	if (session->records) {
		session->reader_cpu_ns += ng_records_cpu_ns(session->records);
		session->strangers = ng_records_close(session->records);
		session->records = NULL;
	}
	for (size_t i = 0; i < session->images.count; i++)
		ng_traced_image_let_go(session->images.items[i]);
	(void)ng_uprobe_drain(session->engine, ng_session_on_event, session); /* exits up to now */
	for (size_t i = 0; i < session->tracked.count; i++) {
		if (!session->tracked.items[i]->disarmed_at_ns)
			session->tracked.items[i]->disarmed_at_ns = now;
	}
}

int ng_session_report(struct ng_session *session, struct ng_report *ret_report)
{
	struct ng_report report = NG_REPORT_INIT;
	struct ng_tallies tallies = NG_TALLIES_INIT;
	uint64_t end_ns = session->stopped_at_ns ? session->stopped_at_ns : ng_clock_ns();
	int error = ng_uprobe_read(session->engine, &tallies);

	report.started_at_ns = session->started_at_ns;
	report.elapsed_ns = end_ns - session->started_at_ns;
	report.reader_cpu_ns = session->reader_cpu_ns;
	report.strangers = session->strangers;
	if (!error)
		error = ng_session_inline_read(session, &tallies);
	if (!error)
		ng_session_adopt_users(session, &tallies);
	if (!error)
		error = ng_uprobe_lost(session->engine, report.lost);
	ng_session_inline_lost(session, report.lost);
	if (!error)
		error = ng_tracked_report(&session->tracked, &tallies, end_ns, &report);
	ng_tallies_release(&tallies);
	if (error) {
		ng_report_release(&report);
		return error;
	}
	*ret_report = report;
	return 0;
}
