#include "control/plane/session_lives.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "control/plane/session_arm.h"
#include "control/plane/session_users.h"
#include "control/target/process.h"
#include "core/base/cleanup.h"
#include "core/base/clock.h"

/* Links hang on one thread, the main one while it lives. */
static const char thread_gone[] =
	"the thread that held the breakpoint exited: calls until it was armed "
	"again were not counted";

/* When a life begins that an event tells of: no hit counts before the gate opens. */
static uint64_t counted_from(const struct ng_session *session, const struct ng_proc_event *event)
{
	if (!session->started_at_ns || event->time_ns > session->started_at_ns)
		return session->started_at_ns ? event->time_ns : 0;
	return session->started_at_ns;
}

static void on_fork(struct ng_session *session, const struct ng_proc_event *event)
{
	struct ng_tracked *parent = ng_tracked_by_event(&session->tracked, event, event->parent);
	struct ng_tracked *child;
	struct ng_process process = {.pid = (pid_t)event->tgid,
		.parent = (pid_t)event->parent,
		.start_ticks = ng_process_ticks(event->start_ns)};

	if (!parent)
		return;
	if (parent->origin == NG_ORIGIN_PID) {
		ng_tracked_note_child(&session->tracked, parent, event);
		return;
	}
	child = ng_tracked_add(&session->tracked, &process, parent->origin);
	if (!child || ng_tracked_inherit(child, parent)) {
		ng_session_note(session, "out of memory: process %u is not followed", event->tgid);
		return;
	}
	child->exec_id = event->exec_id;
	child->start_ns = event->start_ns;
	child->armed_at_ns = counted_from(session, event);
	if (!ng_uprobe_is_firm(session->engine))
		ng_tracked_gap(child,
			"children are not followed for sure by links, nor before Linux 6.12");
}

/* Is it one of the command's wrappers, which stop at an exec until we let them go on? */
static bool is_held_at_exec(pid_t pid)
{
	char comm[NG_COMM_MAX * 4];

	return ng_process_tracer(pid, comm) == getpid();
}

static int arm_new_life(struct ng_session *session, struct ng_tracked *tracked,
	const struct ng_tracked *old, struct ng_diag *diag)
{
	struct ng_traced_image *image = tracked->main;
	size_t covered;
	int error = 0;

	/* The events of the old life hold this thread still, and cover the image anew. */
	if (ng_tracked_has_image(old, image) && ng_uprobe_is_firm(session->engine))
		error = ng_tracked_inherit(tracked, old);
	covered = tracked->image_count;
	if (session->stopped_at_ns) { /* counting has ended: nothing is armed any more */
		if (error || covered)
			return error;
		ng_tracked_gap(tracked, "counting ended before it could be armed");
		return ng_tracked_add_image(tracked, image, NULL);
	}
	if (!error)
		error = ng_session_arm_mappings(session, tracked, diag);
	if (!error && covered)
		ng_tracked_check_text(tracked);
	if (error == -ESRCH) { /* it has ended, or runs yet another image, by now */
		error = 0;
		if (image->sites.count && !ng_tracked_has_image(tracked, image)) {
			ng_tracked_gap(tracked, "the process ended before it could be armed");
			error = ng_tracked_add_image(tracked, image, NULL);
		}
	} else if (!error && tracked->image_count > covered && !is_held_at_exec(tracked->pid)) {
		tracked->armed_at_ns = ng_clock_ns();
		ng_tracked_gap(tracked,
			"the image was new: its calls before it was armed were not counted");
	}
	return error;
}

/* A tracked process runs another image now: the old life ends, and a new one begins. */
static void begin_new_life(struct ng_session *session, struct ng_tracked *old,
	struct ng_traced_image *image, const struct ng_proc_event *event)
{
	struct ng_process process = {
		.pid = old->pid, .parent = old->parent, .start_ticks = old->start_ticks};
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_tracked *tracked = ng_tracked_add(&session->tracked, &process, old->origin);
	int error = 0;

	if (!tracked)
		return;
	ng_tracked_end(old, event->time_ns, 0);
	tracked->start_ns = event->start_ns;
	tracked->exec_id = event->exec_id;
	tracked->armed_at_ns = counted_from(session, event);
	tracked->main = image;
	if (image)
		error = ng_tracked_set_exe(tracked, image->path);
	else if (!session->stopped_at_ns)
		error = ng_session_prepare_main(session, tracked, &diag);
	if (!error && tracked->main)
		error = arm_new_life(session, tracked, old, &diag);
	(void)ng_process_cpu_time(tracked->pid, &tracked->cpu_start_ns); /* 0: it has ended */
	if (error)
		ng_session_note(session, "process %d runs a new image, which cannot be counted: %s",
			tracked->pid, diag.text[0] ? diag.text : strerror(-error));
}

static void on_exec(struct ng_session *session, const struct ng_proc_event *event)
{
	struct ng_tracked *tracked = ng_tracked_by_event(&session->tracked, event, event->tgid);
	struct ng_traced_image *image = ng_images_by_key(&session->images,
		makedev(event->image_device >> 20, event->image_device & 0xfffff),
		event->image_inode);
	struct ng_process process = {
		.pid = (pid_t)event->tgid, .start_ticks = ng_process_ticks(event->start_ns)};

	if (!tracked) {
		if (ng_session_is_everyones(session, image))
			tracked = ng_session_track_user(
				session, &process, image, counted_from(session, event));
		if (tracked) {
			tracked->start_ns = event->start_ns;
			tracked->exec_id = event->exec_id;
		}
		return;
	}
	if (!tracked->exec_id)
		tracked->exec_id = event->exec_id - 1;
	if (tracked->origin != NG_ORIGIN_IMAGE) {
		begin_new_life(session, tracked, image, event);
		return;
	}
	ng_tracked_end(tracked, event->time_ns, 0);
	if (!ng_session_is_everyones(session, image))
		return;
	tracked = ng_session_track_user(session, &process, image, counted_from(session, event));
	if (tracked) {
		tracked->start_ns = event->start_ns;
		tracked->exec_id = event->exec_id;
	}
}

void ng_session_on_event(const struct ng_proc_event *event, void *context)
{
	struct ng_session *session = context;
	struct ng_tracked *tracked;

	if (session->stopped_at_ns && event->time_ns >= session->stopped_at_ns)
		return; /* after the end: of no life that is told of */
	switch (event->kind) {
	case NG_PROC_FORK:
		on_fork(session, event);
		break;
	case NG_PROC_EXEC:
		on_exec(session, event);
		break;
	case NG_PROC_EXIT:
		tracked = ng_tracked_by_event(&session->tracked, event, event->tgid);
		if (tracked)
			ng_tracked_end(tracked, event->time_ns, event->cpu_ns);
		break;
	case NG_PROC_MAIN_EXIT:
		tracked = ng_tracked_by_event(&session->tracked, event, event->tgid);
		if (tracked && !ng_uprobe_is_firm(session->engine))
			ng_tracked_gap(tracked, thread_gone);
		break;
	default:
		break; /* of a newer program: not ours to judge */
	}
}

static bool runs_its_image(const struct ng_tracked *tracked)
{
	NG_CLEANUP_CLOSE int fd = ng_process_open_image(tracked->pid, NULL);
	struct stat file;

	return fd >= 0 && !fstat(fd, &file) && file.st_ino == tracked->main->inode &&
	       file.st_dev == tracked->main->device;
}

/* A library loaded meanwhile has copies of its own of what is wanted. */
static void look_for_new_mappings(struct ng_session *session, struct ng_tracked *tracked)
{
	struct ng_mappings mappings = NG_MAPPINGS_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	size_t images_before = tracked->image_count;

	if (ng_process_mappings(tracked->pid, &mappings))
		return;
	/* By another image, if its exec is still to be told: then that event deals with it. */
	if (mappings.count == tracked->mapping_count || !runs_its_image(tracked)) {
		ng_mappings_release(&mappings);
		return;
	}
	ng_mappings_release(&mappings);
	if (ng_session_arm_mappings(session, tracked, &diag))
		ng_session_note(session, "process %d loaded code that cannot be counted: %s",
			tracked->pid, diag.text);
	if (tracked->image_count > images_before)
		ng_tracked_gap(tracked, "code was loaded meanwhile: its calls before it was armed "
					"were not counted");
}

void ng_session_look_after(struct ng_session *session, struct ng_tracked *tracked)
{
	int dead;

	if (tracked->mapping_count > 1 && !tracked->is_loading)
		look_for_new_mappings(session, tracked);
	while ((dead = ng_tracked_find_dead(tracked)) >= 0) {
		struct ng_armed *old = tracked->armed[dead];

		tracked->armed[dead] = NULL;
		ng_tracked_gap(tracked, thread_gone);
		/* It has exited meanwhile: then its end comes as an event. */
		(void)ng_uprobe_arm(session->engine, tracked->pid,
			ng_traced_image_numbers(tracked->images[dead]), false,
			&tracked->armed[dead], NULL);
		ng_armed_free(old); /* takes 0.1 s: the new one is armed by then */
	}
}
