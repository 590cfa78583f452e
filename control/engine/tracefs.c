#include "control/engine/tracefs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "control/target/process.h"
#include "core/base/cleanup.h"
#include "core/base/clock.h"
#include "core/base/number.h"

#define TRACEFS_SUPER_MAGIC 0x74726163 /* linux/magic.h, where old headers lack it */

#define EVENTS_FILE  "uprobe_events"
#define GROUP_PREFIX "nowgate_"

/* The kernel frees an event's last user after RCU grace periods: about 0.1 s, seen up to 0.3 s. */
#define REMOVE_TRIES   100
#define REMOVE_WAIT_NS (10 * NG_NS_PER_MS)

static int mount_detached(void)
{
	NG_CLEANUP_CLOSE int context_fd = (int)syscall(SYS_fsopen, "tracefs", FSOPEN_CLOEXEC);
	int mount_fd;

	if (context_fd < 0)
		return -errno;
	if (syscall(SYS_fsconfig, context_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mount_fd = (int)syscall(SYS_fsmount, context_fd, FSMOUNT_CLOEXEC, 0);
	return mount_fd < 0 ? -errno : mount_fd;
}

int ng_tracefs_open(struct ng_diag *diag)
{
	static const char *const places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
	int error = mount_detached();

	if (error >= 0)
		return error;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct statfs facts;
		int fd = open(places[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			continue;
		if (!fstatfs(fd, &facts) && facts.f_type == TRACEFS_SUPER_MAGIC)
			return fd;
		close(fd);
	}
	return ng_diag_set(diag, error,
		"tracefs cannot be mounted, and is not at /sys/kernel/tracing (%s): run as root, "
		"outside of a container, or mount it there",
		strerror(-error));
}

int ng_tracefs_group(char group[NG_TRACEFS_GROUP_MAX])
{
	struct ng_process self;
	int error = ng_process_read(getpid(), &self);

	if (error)
		return error;
	(void)snprintf(group, NG_TRACEFS_GROUP_MAX, GROUP_PREFIX "%d_%" PRIu64, self.pid,
		self.start_ticks);
	return 0;
}

static int write_command(int tracefs_fd, const char *command)
{
	NG_CLEANUP_CLOSE int fd = openat(tracefs_fd, EVENTS_FILE, O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, command, strlen(command)) < 0 ? -errno : 0;
}

int ng_tracefs_event_id(int tracefs_fd, const char *group, const char *name, uint64_t *ret_id)
{
	const struct ng_range any = {0, UINT32_MAX};
	char path[2 * NG_TRACEFS_GROUP_MAX + 16];
	char text[32] = "";
	ssize_t length;

	(void)snprintf(path, sizeof(path), "events/%s/%s/id", group, name);
	NG_CLEANUP_CLOSE int fd = openat(tracefs_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	length = read(fd, text, sizeof(text) - 1);
	if (length < 0)
		return -errno;
	text[strcspn(text, "\n")] = '\0';
	return ng_number_parse(text, any, ret_id, NULL);
}

int ng_tracefs_define(int tracefs_fd, const struct ng_tracefs_uprobe *uprobe, uint64_t *ret_id,
	struct ng_diag *diag)
{
	char command[256];
	int error;

	(void)snprintf(command, sizeof(command), "p:%s/%s /proc/self/fd/%d:0x%" PRIx64,
		uprobe->group, uprobe->name, uprobe->image_fd, uprobe->offset);
	error = write_command(tracefs_fd, command);
	if (error)
		return ng_diag_set(diag, error,
			"the kernel refuses a uprobe event at offset 0x%" PRIx64
			" (%s): see `nowgate doctor`",
			uprobe->offset, strerror(-error));
	error = ng_tracefs_event_id(tracefs_fd, uprobe->group, uprobe->name, ret_id);
	if (!error)
		return 0;
	(void)ng_tracefs_remove(
		tracefs_fd, uprobe->group, uprobe->name); /* the first error counts */
	return ng_diag_set(
		diag, error, "the new uprobe event has no id in tracefs (%s)", strerror(-error));
}

int ng_tracefs_remove(int tracefs_fd, const char *group, const char *name)
{
	const struct timespec wait = {.tv_nsec = REMOVE_WAIT_NS};
	char command[2 * NG_TRACEFS_GROUP_MAX + 8];
	int error = 0;

	(void)snprintf(command, sizeof(command), "-:%s/%s", group, name);
	for (int i = 0; i < REMOVE_TRIES; i++) {
		error = write_command(tracefs_fd, command);
		if (error != -EBUSY)
			break;
		(void)nanosleep(
			&wait, NULL); /* cut short by a signal: then the next try is early */
	}
	return error == -ENOENT ? 0 : error;
}

/* Is the owner that a group is named after dead? Only names of our form count as ours. */
static bool is_stale_group(const char *group)
{
	struct ng_process owner;
	uint64_t start_ticks;
	int pid, length = 0;

	if (sscanf(group, GROUP_PREFIX "%d_%" SCNu64 "%n", &pid, &start_ticks, &length) != 2 ||
		group[length])
		return false;
	return ng_process_read(pid, &owner) || owner.start_ticks != start_ticks ||
	       owner.state == 'Z';
}

static int for_each_stale(int tracefs_fd, bool remove)
{
	int fd = openat(tracefs_fd, EVENTS_FILE, O_RDONLY | O_CLOEXEC);
	NG_CLEANUP_FCLOSE FILE *file = NULL;
	char line[4096 + 256]; /* a path and a name */
	int count = 0;

	if (fd < 0)
		return -errno;
	file = fdopen(fd, "r");
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	while (fgets(line, sizeof(line), file)) {
		char group[NG_TRACEFS_GROUP_MAX], name[NG_TRACEFS_GROUP_MAX];

		if (sscanf(line, "p:%63[^/]/%63s", group, name) != 2 || !is_stale_group(group))
			continue;
		if (!remove || !ng_tracefs_remove(tracefs_fd, group, name))
			count++;
	}
	return count;
}

int ng_tracefs_sweep(int tracefs_fd)
{
	int total = 0, count;

	/* Removing lines makes the list shorter under the reader: so until none is left. */
	while ((count = for_each_stale(tracefs_fd, true)) > 0)
		total += count;
	return count < 0 ? count : total;
}

int ng_tracefs_count_stale(int tracefs_fd)
{
	return for_each_stale(tracefs_fd, false);
}
