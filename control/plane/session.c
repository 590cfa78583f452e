#include "control/plane/session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "control/plane/tracked.h"
#include "control/target/process.h"
#include "control/target/text.h"
#include "core/base/cleanup.h"
#include "core/base/clock.h"

#define MANY_SITES 64 /* more take a while to go, which is told */
#define REMOVE_MS  80 /* a site's way out, as NG_SITES_MAX has it */

#define ABSENCES_MAX 4		 /* programs of a command that a note names */
#define CHECK_NS     NG_NS_PER_S /* between looks at the code; it is looked at when all ends, too */

/* A file's sites, armed in every process. */
struct everyone {
	struct ng_traced_image *image;
	struct ng_armed *armed; /* NULL: not any more */
};

struct ng_session {
	struct ng_session_options options;
	struct ng_uprobe *engine;
	struct ng_images images;
	struct ng_traced_image *kernel; /* its system calls count for every target; NULL: none do */
	struct ng_tracked_list tracked;
	struct everyone *everyone; /* of the files that were asked for */
	size_t everyone_count;
	pid_t held;		/* stopped at its exec while its events are taken in; 0: none */
	uint64_t started_at_ns; /* 0: the gate is still closed */
	uint64_t stopped_at_ns; /* 0: it is still open */
	uint64_t check_at_ns;	/* when the code of the armed ones is looked at next */
};

static void on_event(const struct ng_proc_event *event, void *context);

/* Links hang on one thread, the main one while it lives. */
static const char thread_gone[] =
	"the thread that held the breakpoint exited: calls until it was armed "
	"again were not counted";

static void note(struct ng_session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void note(struct ng_session *session, const char *format, ...)
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
	int error;

	if (!session)
		return -ENOMEM;
	session->options = *options;
	error = ng_uprobe_open(options->attach, NG_GATING_COMMON, &session->engine, diag);
	if (error) {
		ng_session_free(session);
		return error;
	}
	if (ng_uprobe_attach(session->engine) == NG_ATTACH_LINK)
		note(session,
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
	ng_tracked_list_release(&session->tracked);
	for (size_t i = 0; i < session->everyone_count; i++)
		ng_armed_free(session->everyone[i].armed);
	free(session->everyone);
	ng_uprobe_close(session->engine);
	ng_images_release(&session->images);
	free(session);
}

/* The time from which on hits count, for something armed now. */
static uint64_t counted_from(const struct ng_session *session)
{
	return session->started_at_ns ? ng_clock_ns() : 0;
}

/* Prepares one mapped file. A library that cannot be read has nothing for us; the main image's
 * error is the caller's to judge. */
static int prepare_mapping(struct ng_session *session, pid_t pid, const struct ng_mapping *mapping,
	struct ng_traced_image **ret_image, struct ng_diag *diag)
{
	*ret_image = ng_images_by_key(&session->images, mapping->device, mapping->inode);
	if (*ret_image)
		return 0;
	NG_CLEANUP_CLOSE int fd = ng_process_open_mapping(pid, mapping);
	if (fd < 0)
		return 0;
	return ng_images_prepare(&session->images, session->engine, &session->options.wanted, fd,
		mapping->path, ret_image, diag);
}

static int arm_image(struct ng_session *session, struct ng_tracked *tracked,
	struct ng_traced_image *image, const struct ng_mappings *mappings, struct ng_diag *diag)
{
	const struct ng_text_file file = ng_traced_image_file(image);
	struct ng_armed *armed = NULL;
	int error;

	if (!image->sites.count || ng_tracked_has_image(tracked, image))
		return 0;
	error = ng_text_check(tracked->pid, mappings, &file, &image->sites, diag);
	if (!error && tracked->origin != NG_ORIGIN_IMAGE)
		error = ng_uprobe_arm(session->engine, tracked->pid, ng_traced_image_numbers(image),
			tracked->origin == NG_ORIGIN_COMMAND, &armed, diag);
	if (!error)
		error = ng_tracked_add_image(tracked, image, armed);
	return error;
}

/* Arms what is wanted in the main image and in every file mapped so far. */
static int arm_mappings(
	struct ng_session *session, struct ng_tracked *tracked, struct ng_diag *diag)
{
	struct ng_mappings mappings = NG_MAPPINGS_INIT;
	int error = ng_process_mappings(tracked->pid, &mappings);

	if (error)
		return ng_diag_set(diag, error, "process %d has exited", tracked->pid);
	if (session->kernel && !ng_tracked_has_image(tracked, session->kernel))
		error = ng_tracked_add_image(tracked, session->kernel, NULL);
	if (!error && tracked->main)
		error = arm_image(session, tracked, tracked->main, &mappings, diag);
	for (size_t i = 0; !error && i < mappings.count; i++) {
		struct ng_traced_image *image;

		if (tracked->origin == NG_ORIGIN_IMAGE)
			break; /* the files that were asked for, and no others */
		error = prepare_mapping(session, tracked->pid, &mappings.items[i], &image, diag);
		if (!error && image)
			error = arm_image(session, tracked, image, &mappings, diag);
	}
	tracked->mapping_count = mappings.count;
	ng_mappings_release(&mappings);
	return error;
}

/* Reads the running image of a process and makes it the tracked one's. */
static int prepare_main(
	struct ng_session *session, struct ng_tracked *tracked, struct ng_diag *diag)
{
	char path[PATH_MAX];
	NG_CLEANUP_CLOSE int fd = ng_process_open_image(tracked->pid, diag);
	int error;

	if (fd < 0)
		return fd;
	ng_process_image_path(tracked->pid, path, sizeof(path));
	error = ng_tracked_set_exe(tracked, path);
	if (error)
		return error;
	return ng_images_prepare(&session->images, session->engine, &session->options.wanted, fd,
		path, &tracked->main, diag);
}

static bool has_function(const struct ng_tracked *tracked, size_t function)
{
	for (size_t i = 0; i < tracked->image_count; i++) {
		if (!tracked->images[i]->errors[function])
			return true;
	}
	return false;
}

/* Why a process has not a function: in the words of its main image, or of a library that has it in
 * a form that cannot be probed. */
static int explain_function(const struct ng_session *session, const struct ng_tracked *tracked,
	size_t function, struct ng_diag *diag)
{
	const char *name = session->options.wanted.functions[function];

	for (size_t i = 0; i < session->images.count; i++) {
		const struct ng_traced_image *image = session->images.items[i];

		if (image->errors[function] == -ENOTSUP && image->image && image != tracked->main)
			return ng_traced_image_explain(image, name, diag);
	}
	return ng_traced_image_explain(tracked->main, name, diag);
}

/* Is each wanted function in one of the images? */
static int check_found(
	struct ng_session *session, const struct ng_tracked *tracked, struct ng_diag *diag)
{
	const struct ng_wanted *wanted = &session->options.wanted;

	if (wanted->clock && !tracked->image_count && tracked->main->error)
		return ng_diag_set(diag, tracked->main->error, "%s: %s", tracked->exe,
			tracked->main->diag.text);
	if (wanted->clock && !tracked->image_count)
		return ng_diag_set(
			diag, -ENOENT, "%s: reads no clock that can be probed", tracked->exe);
	for (size_t i = 0; i < wanted->function_count; i++) {
		if (!has_function(tracked, i))
			return explain_function(session, tracked, i, diag);
	}
	return 0;
}

/* Of each program that the command ran, the last ones first. */
static void note_absence(struct ng_session *session, size_t function)
{
	const struct ng_tracked_list *list = &session->tracked;
	const struct ng_traced_image *told[ABSENCES_MAX];
	size_t count = 0;

	for (size_t i = list->count; i > 0 && count < ABSENCES_MAX; i--) {
		const struct ng_tracked *tracked = list->items[i - 1];
		struct ng_diag diag = NG_DIAG_INIT;
		bool repeated = !tracked->main;

		for (size_t k = 0; k < count; k++)
			repeated |= told[k] == tracked->main;
		if (repeated)
			continue;
		told[count++] = tracked->main;
		if (explain_function(session, tracked, function, &diag))
			note(session, "%s", diag.text);
	}
}

void ng_session_note_missing(struct ng_session *session)
{
	for (size_t i = 0; i < session->options.wanted.function_count; i++) {
		bool found = false;

		for (size_t k = 0; k < session->tracked.count; k++)
			found |= has_function(session->tracked.items[k], i);
		if (!found)
			note_absence(session, i);
	}
}
#define GAPS_TOLD_MAX 3 /* of an image; the result has them all */

static void note_incomplete(struct ng_session *session, const struct ng_tracked *tracked)
{
	for (size_t i = 0; i < tracked->image_count; i++) {
		const struct ng_sites *sites = &tracked->images[i]->sites;

		for (size_t k = 0; k < sites->gap_count && k < GAPS_TOLD_MAX; k++)
			note(session, "%s: not every call is seen: %s", tracked->images[i]->path,
				sites->gaps[k].text);
		if (sites->gap_count > GAPS_TOLD_MAX)
			note(session, "%s: and so for %zu functions more", tracked->images[i]->path,
				sites->gap_count - GAPS_TOLD_MAX);
	}
}

static void note_tracer(struct ng_session *session, pid_t pid)
{
	char comm[NG_COMM_MAX * 4];
	int tracer = ng_process_tracer(pid, comm);

	if (tracer > 0 && tracer != getpid())
		note(session, "process %d is traced by %s (pid %d); it is counted all the same",
			pid, comm, tracer);
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
	error = prepare_main(session, tracked, diag);
	if (!error && tracked->main->error && !tracked->main->image)
		error = ng_diag_set(diag, tracked->main->error, "%s: %s", tracked->exe,
			tracked->main->diag.text);
	if (!error)
		error = ng_uprobe_watch(session->engine, pid, &target);
	if (!error)
		error = arm_mappings(session, tracked, diag);
	if (!error)
		error = check_found(session, tracked, diag);
	if (error) {
		ng_uprobe_unwatch(session->engine, pid);
		ng_tracked_drop(&session->tracked, tracked);
		return error;
	}
	tracked->armed_at_ns = counted_from(session);
	note_tracer(session, pid);
	note_incomplete(session, tracked);
	return 0;
}

static int keep_everyone(
	struct ng_session *session, struct ng_traced_image *image, struct ng_armed *armed)
{
	struct everyone *grown =
		reallocarray(session->everyone, session->everyone_count + 1, sizeof(*grown));

	if (!grown) {
		ng_armed_free(armed);
		return -ENOMEM;
	}
	session->everyone = grown;
	grown[session->everyone_count++] = (struct everyone){.image = image, .armed = armed};
	return 0;
}

/* A process that runs an armed file, found running or by its exec. */
static struct ng_tracked *track_image_user(struct ng_session *session,
	const struct ng_process *process, struct ng_traced_image *image, uint64_t since_ns)
{
	struct ng_tracked *tracked = ng_tracked_add(&session->tracked, process, NG_ORIGIN_IMAGE);

	if (!tracked)
		return NULL;
	tracked->main = image;
	tracked->armed_at_ns = since_ns;
	if (ng_tracked_set_exe(tracked, image->path) ||
		ng_tracked_add_image(tracked, image, NULL)) {
		ng_tracked_drop(&session->tracked, tracked);
		return NULL;
	}
	(void)ng_process_cpu_time(
		process->pid, &tracked->cpu_start_ns); /* 0 where it has just exited */
	return tracked;
}

/* Finds the processes that run the file already. */
static void find_users(struct ng_session *session, struct ng_traced_image *image)
{
	const struct ng_target target = {.flags = NG_TARGET_FOLLOW};
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		struct ng_process process;
		struct stat file;
		char path[64];
		pid_t pid = atoi(entry->d_name);
		int tid = pid > 0 ? ng_process_live_thread(pid) : -1;

		if (tid <= 0 || pid == getpid())
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/exe", pid, tid);
		if (stat(path, &file) || file.st_ino != image->inode ||
			file.st_dev != image->device || ng_process_read(pid, &process))
			continue;
		if (ng_tracked_find(&session->tracked, pid, process.start_ticks))
			continue;
		if (!ng_uprobe_watch(session->engine, pid, &target))
			(void)track_image_user(session, &process, image, counted_from(session));
	}
	if (proc)
		closedir(proc);
}

int ng_session_add_image(struct ng_session *session, const char *path, struct ng_diag *diag)
{
	NG_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct ng_image_key key = {0};
	struct ng_traced_image *image;
	struct ng_armed *armed;
	int error;

	if (fd < 0)
		return ng_diag_set(diag, -errno, "%s: %s", path, strerror(errno));
	error = ng_images_prepare(&session->images, session->engine, &session->options.wanted, fd,
		path, &image, diag);
	if (error)
		return error;
	if (image->error)
		return ng_diag_set(diag, image->error, "%s: %s", path, image->diag.text);
	if (!image->sites.count)
		return ng_diag_set(diag, -ENOENT, "%s: reads no clock that can be probed", path);
	key.inode = image->key_inode;
	key.device = (uint32_t)(major(image->key_device) << 20 | minor(image->key_device));
	error = ng_uprobe_watch_image(session->engine, &key);
	if (!error)
		error = ng_uprobe_arm_all(
			session->engine, ng_traced_image_numbers(image), &armed, diag);
	if (!error)
		error = keep_everyone(session, image, armed);
	if (!error)
		find_users(session, image);
	return error;
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

int ng_session_arm_stopped(struct ng_session *session, pid_t pid, bool is_loaded,
	bool *ret_is_wanted, struct ng_diag *diag)
{
	struct ng_process process;
	struct ng_tracked *tracked;
	int error = ng_process_read(pid, &process);

	if (error)
		return error;
	/* Its fork and exec are told before it is held: they begin its life, which is armed there.
	 */
	session->held = pid;
	(void)ng_uprobe_drain(session->engine, on_event, session);
	session->held = 0;
	tracked = ng_tracked_find(&session->tracked, pid, process.start_ticks);
	if (!tracked || !tracked->main)
		return -ESRCH;
	error = arm_mappings(session, tracked, diag);
	*ret_is_wanted = ng_tracked_has_image(tracked, tracked->main) &&
			 (is_loaded || !session->options.wanted.clock);
	tracked->is_loading = !is_loaded && !*ret_is_wanted;
	return error;
}

void ng_session_start(struct ng_session *session)
{
	uint64_t now;

	ng_uprobe_gate(session->engine, true);
	now = ng_clock_ns(); /* after the gate: every call from here on counts */
	session->started_at_ns = now;
	for (size_t i = 0; i < session->tracked.count; i++) {
		struct ng_tracked *tracked = session->tracked.items[i];

		if (!tracked->armed_at_ns)
			tracked->armed_at_ns = now;
		/* 0 where it has just exited. */
		(void)ng_process_cpu_time(tracked->pid, &tracked->cpu_start_ns);
	}
}

int ng_session_event_fd(const struct ng_session *session)
{
	return ng_uprobe_event_fd(session->engine);
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
		note(session, "out of memory: process %u is not followed", event->tgid);
		return;
	}
	child->exec_id = event->exec_id;
	child->start_ns = event->start_ns;
	child->armed_at_ns = event->time_ns;
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

/* Does everything that should be armed stand in the process's code? */
static void check_text(struct ng_tracked *tracked)
{
	struct ng_mappings mappings = NG_MAPPINGS_INIT;

	if (ng_process_mappings(tracked->pid, &mappings))
		return;
	for (size_t i = 0; i < tracked->image_count; i++) {
		const struct ng_traced_image *image = tracked->images[i];
		const struct ng_text_file file = ng_traced_image_file(image);

		if (ng_text_is_bare(tracked->pid, &mappings, &file, &image->sites))
			ng_tracked_gap(tracked, "a breakpoint was gone from its code: calls after "
						"that were not counted");
	}
	ng_mappings_release(&mappings);
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
	if (!error)
		error = arm_mappings(session, tracked, diag);
	if (!error && covered)
		check_text(tracked);
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
	int error;

	if (!tracked)
		return;
	ng_tracked_end(old, event->time_ns, 0);
	tracked->start_ns = event->start_ns;
	tracked->exec_id = event->exec_id;
	tracked->armed_at_ns = event->time_ns;
	tracked->main = image;
	error = image ? ng_tracked_set_exe(tracked, image->path)
		      : prepare_main(session, tracked, &diag);
	if (!error)
		error = arm_new_life(session, tracked, old, &diag);
	(void)ng_process_cpu_time(tracked->pid, &tracked->cpu_start_ns); /* 0: it has ended */
	if (error)
		note(session, "process %d runs a new image, which cannot be counted: %s",
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
		if (image)
			tracked = track_image_user(session, &process, image, event->time_ns);
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
	if (!image || !image->sites.count)
		return;
	tracked = track_image_user(session, &process, image, event->time_ns);
	if (tracked) {
		tracked->start_ns = event->start_ns;
		tracked->exec_id = event->exec_id;
	}
}

static void on_event(const struct ng_proc_event *event, void *context)
{
	struct ng_session *session = context;
	struct ng_tracked *tracked;

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
	bool changed;

	if (tracked->origin == NG_ORIGIN_IMAGE || ng_process_mappings(tracked->pid, &mappings))
		return;
	changed = mappings.count != tracked->mapping_count;
	ng_mappings_release(&mappings);
	/* By another image, if its exec is still to be told: then that event deals with it. */
	if (!changed || !runs_its_image(tracked))
		return;
	if (arm_mappings(session, tracked, &diag))
		note(session, "process %d loaded code that cannot be counted: %s", tracked->pid,
			diag.text);
	if (tracked->image_count > images_before)
		ng_tracked_gap(tracked, "code was loaded meanwhile: its calls before it was armed "
					"were not counted");
}

static void look_after(struct ng_session *session, struct ng_tracked *tracked)
{
	int dead;

	if (tracked->mapping_count > 1 && !tracked->is_loading)
		look_for_new_mappings(session, tracked);
	while ((dead = ng_tracked_find_dead(tracked)) >= 0) {
		struct ng_armed *old = tracked->armed[dead];

		tracked->armed[dead] = NULL;
		ng_tracked_gap(tracked,
			"the thread that held the breakpoint exited: calls until it "
			"was armed again were not counted");
		/* It has exited meanwhile: then its end comes as an event. */
		(void)ng_uprobe_arm(session->engine, tracked->pid,
			ng_traced_image_numbers(tracked->images[dead]), false,
			&tracked->armed[dead], NULL);
		ng_armed_free(old); /* takes 0.1 s: the new one is armed by then */
	}
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
	note(session, "%s is being overwritten: what was counted of it so far stands, but no more",
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
	(void)ng_uprobe_drain(session->engine, on_event, session);
	/* The list can grow while we look. */
	for (size_t i = 0; i < session->tracked.count; i++) {
		struct ng_tracked *tracked = session->tracked.items[i];

		if (tracked->disarmed_at_ns)
			continue;
		(void)ng_process_cpu_time(tracked->pid, &tracked->cpu_end_ns);
		look_after(session, tracked);
		if (is_check_due)
			check_text(tracked);
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

	(void)ng_uprobe_drain(session->engine, on_event, session); /* execs, before the look */
	for (size_t i = 0; i < session->tracked.count; i++) {
		if (!session->tracked.items[i]->disarmed_at_ns)
			check_text(session->tracked.items[i]);
	}
	now = ng_clock_ns(); /* before the gate closes: every call until here counts */
	ng_uprobe_gate(session->engine, false);
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
		note(session, "taking %zu probes away, which takes about %zu s", sites,
			sites * REMOVE_MS / 1000 + 1);
	ng_uprobe_settle(session->engine);
	for (size_t i = 0; i < session->images.count; i++)
		ng_traced_image_let_go(session->images.items[i]);
	(void)ng_uprobe_drain(session->engine, on_event, session); /* exits up to now */
	for (size_t i = 0; i < session->tracked.count; i++) {
		if (!session->tracked.items[i]->disarmed_at_ns)
			session->tracked.items[i]->disarmed_at_ns = now;
	}
}

/* The image of those armed in every process that a site belongs to; NULL */
static struct ng_traced_image *image_of_everyone(struct ng_session *session, uint32_t site)
{
	for (size_t i = 0; i < session->everyone_count; i++) {
		struct ng_traced_image *image = session->everyone[i].image;

		for (size_t k = 0; k < image->sites.count; k++) {
			if (image->numbers[k] == site)
				return image;
		}
	}
	return NULL;
}

/* Processes that only map a file which was asked for (a library) are known by their first hit. */
static void adopt_users(struct ng_session *session, const struct ng_tallies *tallies)
{
	for (size_t i = 0; i < tallies->count; i++) {
		const struct ng_count_key *key = &tallies->items[i].key;
		const uint64_t start_ticks = ng_process_ticks(key->start_ns);
		struct ng_traced_image *image = image_of_everyone(session, key->site);
		struct ng_process process = {.pid = (pid_t)key->tgid, .start_ticks = start_ticks};
		struct ng_tracked *tracked;
		char path[PATH_MAX];

		if (!image || key->tgid == (uint32_t)getpid() ||
			ng_tracked_knows(&session->tracked, key))
			continue;
		tracked = track_image_user(session, &process, image, session->started_at_ns);
		if (!tracked)
			continue;
		tracked->start_ns = key->start_ns;
		tracked->exec_id = key->exec_id;
		ng_process_image_path(process.pid, path, sizeof(path));
		(void)ng_tracked_set_exe(tracked, path); /* else it keeps the library's */
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
	if (!error)
		adopt_users(session, &tallies);
	if (!error)
		error = ng_uprobe_lost(session->engine, report.lost);
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
