#include "control/plane/session_users.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "control/plane/session_arm.h"
#include "control/target/process.h"
#include "control/target/text.h"
#include "core/base/cleanup.h"

static int keep_everyone(
	struct ng_session *session, struct ng_traced_image *image, struct ng_armed *armed)
{
	struct session_everyone *grown =
		reallocarray(session->everyone, session->everyone_count + 1, sizeof(*grown));

	if (!grown) {
		ng_armed_free(armed);
		return -ENOMEM;
	}
	session->everyone = grown;
	grown[session->everyone_count++] =
		(struct session_everyone){.image = image, .armed = armed};
	return 0;
}

struct ng_tracked *ng_session_track_user(struct ng_session *session,
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
	/* Nothing of both where it has just exited. It is armed by its file alone: what it maps is
	 * for naming what its stacks hold. */
	(void)ng_process_cpu_time(process->pid, &tracked->cpu_start_ns);
	if (session->options.on_call)
		(void)ng_session_arm_mappings(session, tracked, NULL);
	return tracked;
}

/* The next process in /proc that runs the file already. @return is there one? */
static bool next_user(
	DIR *proc, const struct ng_traced_image *image, struct ng_process *ret_process)
{
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		struct stat file;
		char path[64];
		pid_t pid = atoi(entry->d_name);
		int tid = pid > 0 ? ng_process_live_thread(pid) : -1;

		if (tid <= 0 || pid == getpid())
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/exe", pid, tid);
		if (!stat(path, &file) && file.st_ino == image->inode &&
			file.st_dev == image->device && !ng_process_read(pid, ret_process))
			return true;
	}
	return false;
}

static void find_users(struct ng_session *session, struct ng_traced_image *image)
{
	const struct ng_target target = {.flags = NG_TARGET_FOLLOW};
	DIR *proc = opendir("/proc");
	struct ng_process process;

	while (next_user(proc, image, &process)) {
		if (ng_tracked_find(&session->tracked, process.pid, process.start_ticks))
			continue;
		if (!ng_uprobe_watch(session->engine, process.pid, &target))
			(void)ng_session_track_user(
				session, &process, image, ng_session_counted_from(session));
	}
	if (proc)
		closedir(proc);
}

/* Is the text of those who run the file already what the file holds? A debugger's breakpoint on a
 * site would be swallowed, and erased. */
static int check_users(const struct ng_traced_image *image, struct ng_diag *diag)
{
	const struct ng_text_file file = ng_traced_image_file(image);
	DIR *proc = opendir("/proc");
	struct ng_process process;
	int error = 0;

	while (!error && next_user(proc, image, &process)) {
		struct ng_mappings mappings = NG_MAPPINGS_INIT;

		if (!ng_process_mappings(process.pid, &mappings))
			error = ng_text_check(process.pid, &mappings, &file, &image->sites, diag);
		if (error == -ESRCH)
			error = 0; /* it has exited meanwhile */
		ng_mappings_release(&mappings);
	}
	if (proc)
		closedir(proc);
	return error;
}

bool ng_session_is_everyones(const struct ng_session *session, const struct ng_traced_image *image)
{
	for (size_t i = 0; i < session->everyone_count; i++) {
		if (session->everyone[i].image == image)
			return true;
	}
	return false;
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
	error = check_users(image, diag);
	if (!error)
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

void ng_session_adopt_users(struct ng_session *session, const struct ng_tallies *tallies)
{
	for (size_t i = 0; i < tallies->count; i++) {
		const struct ng_count_key *key = &tallies->items[i].key;
		const uint64_t start_ticks = ng_process_ticks(key->start_ns);
		struct ng_traced_image *image = image_of_everyone(session, key->site);
		struct ng_process process = {.pid = (pid_t)key->tgid, .start_ticks = start_ticks};
		struct ng_tracked *tracked;
		char path[PATH_MAX];

		if (!image || key->tgid == (uint32_t)getpid() ||
			ng_tracked_under(&session->tracked, key))
			continue;
		tracked = ng_session_track_user(session, &process, image, session->started_at_ns);
		if (!tracked)
			continue;
		tracked->start_ns = key->start_ns;
		tracked->exec_id = key->exec_id;
		ng_process_image_path(process.pid, path, sizeof(path));
		(void)ng_tracked_set_exe(tracked, path); /* else it keeps the library's */
	}
}
