#include "control/target/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/clock.h"

#define PATH_BYTES 64 /* of the paths in /proc that are built here */

int ng_process_parse(const char *stat, struct ng_process *ret_process)
{
	struct ng_process process = {0};
	const char *name = strchr(stat, '(');
	const char *rest = strrchr(stat, ')'); /* the name may hold any character, ')' too */
	size_t length;

	if (!name || !rest || rest < name || sscanf(stat, "%d", &process.pid) != 1)
		return -EINVAL;
	length = (size_t)(rest - name - 1);
	if (length >= sizeof(process.comm))
		length = sizeof(process.comm) - 1;
	memcpy(process.comm, name + 1, length);
	/* Fields 3, 4, 20 and 22 of proc(5). */
	if (sscanf(rest + 1,
		    " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %" SCNu32
		    " %*d %" SCNu64,
		    &process.state, &process.parent, &process.threads, &process.start_ticks) != 4)
		return -EINVAL;
	*ret_process = process;
	return 0;
}

/* Reads a small file of /proc whole; -ESRCH where its process is gone. */
static int read_small(const char *path, char *text, size_t text_bytes)
{
	NG_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	length = read(fd, text, text_bytes - 1);
	if (length < 0)
		return -errno;
	text[length] = '\0';
	return 0;
}

int ng_process_read(pid_t pid, struct ng_process *ret_process)
{
	char path[PATH_BYTES], text[1024];
	int error;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	error = read_small(path, text, sizeof(text));
	return error ? error : ng_process_parse(text, ret_process);
}

/* A number in a process's status, such as "Tgid"; 0 where it is 0 or not there. */
static int read_status(const char *path, const char *key, pid_t *ret_number)
{
	char text[4096];
	const char *line;
	int error = read_small(path, text, sizeof(text));

	if (error)
		return error;
	line = strstr(text, key);
	*ret_number = line ? atoi(line + strlen(key)) : 0;
	return 0;
}

int ng_process_find(pid_t pid, struct ng_process *ret_process, struct ng_diag *diag)
{
	struct ng_process process;
	char path[PATH_BYTES];
	pid_t leader = 0;
	int error = ng_process_read(pid, &process);

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (!error)
		error = read_status(path, "\nTgid:", &leader);
	if (error)
		return ng_diag_set(diag, error, "there is no process %d", pid);
	if (leader != pid)
		return ng_diag_set(diag, -ESRCH,
			"there is no process %d: that is a thread of process %d (%s). Give -p %d",
			pid, leader, process.comm, leader);
	*ret_process = process;
	return 0;
}

static bool is_in(const char *path, ino_t first)
{
	struct stat facts;

	return stat(path, &facts) || facts.st_ino == first;
}

bool ng_process_has_kernels_view(void)
{
	return is_in("/proc/self/ns/pid", NG_FIRST_PID_NAMESPACE) &&
	       is_in("/proc/self/ns/time", NG_FIRST_TIME_NAMESPACE);
}

int ng_process_owner(pid_t pid, struct ng_owner *ret_owner)
{
	char path[PATH_BYTES], text[4096];
	const char *line;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (read_small(path, text, sizeof(text)))
		return -ESRCH;
	line = strstr(text, "\nUid:");
	return line && sscanf(line, "\nUid: %u %u %u", &ret_owner->real, &ret_owner->effective,
			       &ret_owner->saved) == 3
		       ? 0
		       : -ESRCH;
}

static uint64_t tick_ns(void)
{
	return NG_NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
}

uint64_t ng_process_ticks(uint64_t start_ns)
{
	return start_ns / tick_ns();
}

uint64_t ng_process_start_ns(uint64_t start_ticks)
{
	return start_ticks * tick_ns();
}

int ng_process_cpu_time(pid_t pid, uint64_t *ret_ns)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &used))
		return -ESRCH;
	*ret_ns = (uint64_t)used.tv_sec * NG_NS_PER_S + (uint64_t)used.tv_nsec;
	return 0;
}

void ng_threads_release(struct ng_threads *threads)
{
	free(threads->tids);
	*threads = (struct ng_threads)NG_THREADS_INIT;
}

/* A thread that has begun to exit has let go of its memory: its maps read as empty. */
bool ng_process_has_memory(pid_t pid, pid_t tid)
{
	char path[PATH_BYTES], target[2];

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/exe", pid, tid);
	return readlink(path, target, sizeof(target)) >= 0;
}

int ng_process_threads(pid_t pid, struct ng_threads *ret_threads)
{
	struct ng_threads threads = NG_THREADS_INIT;
	char path[PATH_BYTES];
	struct dirent *entry;
	size_t room = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	while ((entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (tid <= 0 || !ng_process_has_memory(pid, tid))
			continue;
		if (threads.count == room) {
			pid_t *grown = reallocarray(
				threads.tids, room = room ? 2 * room : 16, sizeof(*grown));

			if (!grown) {
				closedir(dir);
				ng_threads_release(&threads);
				return -ENOMEM;
			}
			threads.tids = grown;
		}
		threads.tids[threads.count++] = tid;
	}
	closedir(dir);
	if (!threads.count) {
		ng_threads_release(&threads);
		return -ESRCH;
	}
	*ret_threads = threads;
	return 0;
}

void ng_thread_times_release(struct ng_thread_times *times)
{
	free(times->items);
	*times = (struct ng_thread_times)NG_THREAD_TIMES_INIT;
}

static int by_tid(const void *left, const void *right)
{
	const pid_t a = ((const struct ng_thread_time *)left)->tid;
	const pid_t b = ((const struct ng_thread_time *)right)->tid;

	return (a > b) - (a < b);
}

int ng_process_thread_times(pid_t pid, size_t max, struct ng_thread_times *ret_times)
{
	struct ng_threads threads = NG_THREADS_INIT;
	struct ng_thread_times times = NG_THREAD_TIMES_INIT;
	int error = ng_process_threads(pid, &threads);

	if (error)
		return error;
	times.items = calloc(threads.count, sizeof(*times.items));
	error = times.items ? 0 : -ENOMEM;
	for (size_t i = 0; !error && i < threads.count && times.count < max; i++) {
		struct ng_thread_time *time = &times.items[times.count];
		char path[PATH_BYTES], text[64];

		(void)snprintf(
			path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, threads.tids[i]);
		time->tid = threads.tids[i];
		/* "on-CPU-ns waiting-ns slices"; gone in between: left out */
		if (!read_small(path, text, sizeof(text)) &&
			sscanf(text, "%" SCNu64, &time->cpu_ns) == 1)
			times.count++;
	}
	ng_threads_release(&threads);
	if (error)
		return error;
	qsort(times.items, times.count, sizeof(*times.items), by_tid);
	*ret_times = times;
	return 0;
}

int ng_process_live_thread(pid_t pid)
{
	struct ng_threads threads = NG_THREADS_INIT;
	int tid;

	if (ng_process_has_memory(pid, pid))
		return pid;
	tid = ng_process_threads(pid, &threads);
	if (!tid)
		tid = threads.tids[0];
	ng_threads_release(&threads);
	return tid;
}

/* "/proc/PID/task/TID/FILE" of some live thread. */
static int live_path(pid_t pid, const char *file, char path[PATH_BYTES])
{
	int tid = ng_process_live_thread(pid);

	if (tid < 0)
		return tid;
	(void)snprintf(path, PATH_BYTES, "/proc/%d/task/%d/%s", pid, tid, file);
	return 0;
}

/* Is it for want of a right that a process shows no image? Then the errno, else 0. */
static int denied_error(pid_t pid)
{
	char path[PATH_BYTES], target[2];

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (readlink(path, target, sizeof(target)) >= 0)
		return 0;
	return errno == EACCES || errno == EPERM ? -errno : 0;
}

int ng_process_open_image(pid_t pid, struct ng_diag *diag)
{
	struct ng_process process;
	char path[PATH_BYTES];
	int fd, error, denied;

	error = ng_process_find(pid, &process, diag);
	if (error)
		return error;
	error = live_path(pid, "exe", path);
	denied = error == -ESRCH ? denied_error(pid) : 0;
	if (denied && geteuid())
		return ng_diag_set(diag, denied,
			"process %d (%s) is not yours to look into: run as root", pid,
			process.comm);
	if (denied)
		return ng_diag_set(diag, denied,
			"the kernel lets us not look into process %d (%s): %s. `nowgate doctor` "
			"says what is missing",
			pid, process.comm, strerror(-denied));
	if (error == -ESRCH && process.state == 'Z')
		return ng_diag_set(diag, error, "process %d (%s) has exited", pid, process.comm);
	if (error)
		return ng_diag_set(diag, error,
			"process %d (%s) has no executable: a kernel thread, or it has just exited",
			pid, process.comm);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	error = errno == ENOENT ? -ESRCH : -errno;
	return ng_diag_set(diag, error, "the executable of process %d (%s) cannot be read: %s", pid,
		process.comm, strerror(-error));
}

void ng_process_image_path(pid_t pid, char *path, size_t path_bytes)
{
	static const char deleted[] = " (deleted)";
	char link[PATH_BYTES];
	ssize_t length = -1;

	if (!live_path(pid, "exe", link))
		length = readlink(link, path, path_bytes - 1);
	if (length < 0) {
		(void)snprintf(path, path_bytes, "?");
		return;
	}
	path[length] = '\0';
	if ((size_t)length >= sizeof(deleted) &&
		!strcmp(path + length - (sizeof(deleted) - 1), deleted))
		path[(size_t)length - (sizeof(deleted) - 1)] = '\0';
}

int ng_process_tracer(pid_t pid, char comm[NG_COMM_MAX * 4])
{
	struct ng_process tracer;
	char path[PATH_BYTES];
	pid_t tracer_pid = 0;
	int error = live_path(pid, "status", path);

	if (!error)
		error = read_status(path, "\nTracerPid:", &tracer_pid);
	if (error || !tracer_pid)
		return error;
	(void)snprintf(comm, NG_COMM_MAX * 4, "%s",
		ng_process_read(tracer_pid, &tracer) ? "?" : tracer.comm);
	return tracer_pid;
}

void ng_mappings_release(struct ng_mappings *mappings)
{
	for (size_t i = 0; i < mappings->count; i++)
		free(mappings->items[i].path);
	free(mappings->items);
	*mappings = (struct ng_mappings)NG_MAPPINGS_INIT;
}

int ng_mappings_copy(const struct ng_mappings *mappings, struct ng_mappings *ret_copy)
{
	struct ng_mappings copy = NG_MAPPINGS_INIT;

	if (!mappings->count)
		return 0;
	copy.items = calloc(mappings->count, sizeof(*copy.items));
	if (!copy.items)
		return -ENOMEM;
	for (; copy.count < mappings->count; copy.count++) {
		struct ng_mapping *item = &copy.items[copy.count];

		*item = mappings->items[copy.count];
		item->path = strdup(item->path);
		if (!item->path) {
			ng_mappings_release(&copy);
			return -ENOMEM;
		}
	}
	*ret_copy = copy;
	return 0;
}

static int add_mapping(struct ng_mappings *mappings, const struct ng_mapping *mapping)
{
	struct ng_mapping *grown =
		reallocarray(mappings->items, mappings->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	mappings->items = grown;
	grown[mappings->count] = *mapping;
	grown[mappings->count].path = strdup(mapping->path);
	if (!grown[mappings->count].path)
		return -ENOMEM;
	mappings->count++;
	return 0;
}

int ng_process_mappings(pid_t pid, struct ng_mappings *ret_mappings)
{
	struct ng_mappings mappings = NG_MAPPINGS_INIT;
	NG_CLEANUP_FCLOSE FILE *file = NULL;
	NG_CLEANUP_FREE char *line = NULL;
	char path[PATH_BYTES];
	size_t line_bytes = 0;
	int error = live_path(pid, "maps", path);

	if (error)
		return error;
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	while (!error && getline(&line, &line_bytes, file) > 0) {
		struct ng_mapping mapping = {0};
		unsigned int device_major, device_minor;
		char executable;
		int name = 0;

		if (sscanf(line,
			    "%" SCNx64 "-%" SCNx64 " %*c%*c%c%*c %" SCNx64 " %x:%x %" SCNu64 " %n",
			    &mapping.start, &mapping.end, &executable, &mapping.offset,
			    &device_major, &device_minor, &mapping.inode, &name) != 7 ||
			executable != 'x' || !mapping.inode)
			continue;
		line[strcspn(line, "\n")] = '\0';
		mapping.device = makedev(device_major, device_minor);
		mapping.path = line + name;
		error = add_mapping(&mappings, &mapping);
	}
	if (error) {
		ng_mappings_release(&mappings);
		return error;
	}
	*ret_mappings = mappings;
	return 0;
}

int ng_process_open_mapping(pid_t pid, const struct ng_mapping *mapping)
{
	char path[2 * PATH_BYTES], file[PATH_BYTES];
	int fd;

	(void)snprintf(
		file, sizeof(file), "map_files/%" PRIx64 "-%" PRIx64, mapping->start, mapping->end);
	/* map_files stands in the process's own folder only, and works while its main thread lives.
	 */
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	/* Else by its name, as the process itself would find it. */
	NG_CLEANUP_FREE char *name = NULL;
	int tid = ng_process_live_thread(pid);
	if (tid < 0)
		return tid;
	if (asprintf(&name, "/proc/%d/task/%d/root%s", pid, tid, mapping->path) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	fd = open(name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The device of a mount of ours, by its number; false where there is none. */
static bool mount_device(int mount_id, dev_t *ret_device)
{
	NG_CLEANUP_FCLOSE FILE *file = fopen("/proc/self/mountinfo", "re");
	NG_CLEANUP_FREE char *line = NULL;
	size_t line_bytes = 0;

	while (file && getline(&line, &line_bytes, file) > 0) {
		unsigned int device_major, device_minor;
		int id;

		if (sscanf(line, "%d %*d %u:%u", &id, &device_major, &device_minor) != 3 ||
			id != mount_id)
			continue;
		*ret_device = makedev(device_major, device_minor);
		return true;
	}
	return false;
}

void ng_file_key(int fd, dev_t *ret_device, ino_t *ret_inode)
{
	char path[PATH_BYTES], text[1024];
	struct stat facts = {0};
	uint64_t inode;
	const char *line;
	int mount_id;

	(void)fstat(fd, &facts); /* of an open descriptor: cannot fail */
	*ret_device = facts.st_dev;
	*ret_inode = facts.st_ino;
	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (read_small(path, text, sizeof(text)))
		return;
	line = strstr(text, "\nino:"); /* since 5.14 */
	if (line && sscanf(line, "\nino: %" SCNu64, &inode) == 1)
		*ret_inode = inode;
	line = strstr(text, "\nmnt_id:");
	if (line && sscanf(line, "\nmnt_id: %d", &mount_id) == 1)
		(void)mount_device(mount_id, ret_device);
}

ssize_t ng_process_read_memory(pid_t pid, uint64_t address, void *buffer, size_t size_bytes)
{
	char path[PATH_BYTES];
	ssize_t length;
	int error = live_path(pid, "mem", path);

	if (error)
		return error;
	NG_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	length = pread(fd, buffer, size_bytes, (off_t)address);
	return length < 0 ? -errno : length;
}
