#include "control/plane/described.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/cleanup.h"

static void read_cgroup(pid_t pid, char *path, size_t path_bytes)
{
	char file[64], line[PATH_MAX + 64];
	NG_CLEANUP_FCLOSE FILE *lines = NULL;

	path[0] = '\0';
	(void)snprintf(file, sizeof(file), "/proc/%d/cgroup", pid);
	lines = fopen(file, "re");
	while (lines && fgets(line, sizeof(line), lines)) {
		if (strncmp(line, "0::", 3) != 0)
			continue; /* of version 1 */
		line[strcspn(line, "\n")] = '\0';
		(void)snprintf(path, path_bytes, "%.*s", (int)path_bytes - 1, line + 3);
	}
}

int ng_describe(pid_t pid, struct ng_described *described)
{
	char path[32];
	struct stat status;
	int error = ng_process_read(pid, &described->process);

	(void)snprintf(path, sizeof(path), "/proc/%d", pid);
	if (error || stat(path, &status))
		return -ESRCH;
	ng_process_image_path(pid, described->exe, sizeof(described->exe));
	read_cgroup(pid, described->cgroup, sizeof(described->cgroup));
	described->candidate = (struct ng_candidate){.pid = pid,
		.uid = status.st_uid,
		.exe = described->exe,
		.comm = described->process.comm,
		.cgroup = described->cgroup};
	return 0;
}
