/* The state's file: written at once or not at all, read with mistrust. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/daemon/state.h"
#include "core/base/cleanup.h"
#include "core/base/write.h"

#define NEW_NAME NG_STATE_NAME ".new" /* one daemon at a time: the socket's lock sees to that */
#define BAD_NAME NG_STATE_NAME ".bad"

static int open_folder(const char *folder, bool is_made, int *ret_fd, struct ng_diag *diag)
{
	int fd;

	if (is_made && mkdir(folder, 0700) && errno != EEXIST)
		return ng_diag_set(diag, -errno, "%s cannot be made: %s", folder, strerror(errno));
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ng_diag_set(diag, -errno, "%s: %s", folder, strerror(errno));
	*ret_fd = fd;
	return 0;
}

static int write_new(int folder_fd, const char *text)
{
	NG_CLEANUP_CLOSE int fd = openat(
		folder_fd, NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int error;

	if (fd < 0)
		return -errno;
	error = ng_write_all(fd, text, strlen(text));
	if (!error && fsync(fd))
		error = -errno;
	return error;
}

int ng_state_save(const char *folder, const struct ng_state *state, struct ng_diag *diag)
{
	NG_CLEANUP_CLOSE int folder_fd = -1;
	NG_CLEANUP_FREE char *text = NULL;
	struct ng_state_clock clock;
	int error = ng_state_clock_read(&clock);

	if (error)
		return ng_diag_set(diag, error, "state: no boot id: %s", strerror(-error));
	error = ng_state_format(state, &clock, &text, diag);
	if (!error)
		error = open_folder(folder, true, &folder_fd, diag);
	if (error)
		return error;
	(void)unlinkat(folder_fd, NEW_NAME, 0); /* of a daemon that died in the middle */
	error = write_new(folder_fd, text);
	if (!error && renameat(folder_fd, NEW_NAME, folder_fd, NG_STATE_NAME))
		error = -errno;
	if (error) {
		(void)unlinkat(folder_fd, NEW_NAME, 0); /* the first error counts */
		return ng_diag_set(diag, error,
			"%s/" NG_STATE_NAME " cannot be written: %s; the one before is kept",
			folder, strerror(-error));
	}
	/* The rename itself: without it the old file can come back with a crash, which is whole. */
	(void)fsync(folder_fd);
	return 0;
}

static int read_text(int folder_fd, char **ret_text, size_t *ret_length, struct ng_diag *diag)
{
	NG_CLEANUP_CLOSE int fd =
		openat(folder_fd, NG_STATE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	NG_CLEANUP_FREE char *text = NULL;
	size_t length = 0;
	struct stat facts;
	ssize_t got;

	if (fd < 0 || fstat(fd, &facts))
		return errno == ELOOP ? ng_diag_set(diag, -EPERM, "it is a link") : -errno;
	if (!S_ISREG(facts.st_mode) || facts.st_uid != geteuid() ||
		(facts.st_mode & (S_IWGRP | S_IWOTH)))
		return ng_diag_set(diag, -EPERM, "others could have written it");
	text = malloc(NG_STATE_BYTES_MAX + 1);
	if (!text)
		return -ENOMEM;
	do {
		got = read(fd, text + length, NG_STATE_BYTES_MAX + 1 - length);
		if (got < 0)
			return -errno;
		length += (size_t)got;
	} while (got);
	if (length > NG_STATE_BYTES_MAX)
		return ng_diag_set(diag, -EINVAL, "it is too large");
	*ret_text = text;
	*ret_length = length;
	text = NULL;
	return 0;
}

/* Is it the file that is wrong, and not the moment? */
static bool is_to_blame(int error)
{
	return error == -EINVAL || error == -ERANGE || error == -EPROTONOSUPPORT ||
	       error == -ESTALE || error == -EPERM;
}

static int load(int folder_fd, struct ng_state *state, struct ng_diag *why)
{
	NG_CLEANUP_FREE char *text = NULL;
	struct ng_state_clock clock;
	size_t length = 0;
	int error = ng_state_clock_read(&clock);

	if (!error)
		error = read_text(folder_fd, &text, &length, why);
	return error ? error : ng_state_parse(text, length, &clock, state, why);
}

int ng_state_load(const char *folder, struct ng_state *ret_state, struct ng_diag *diag)
{
	NG_CLEANUP_CLOSE int folder_fd = -1;
	struct ng_diag why = NG_DIAG_INIT;
	struct ng_state state = {0};
	char fate[128] = "";
	int error = open_folder(folder, false, &folder_fd, &why);

	if (!error)
		error = load(folder_fd, &state, &why);
	if (error == -ENOENT)
		error = 0;
	if (!error || error == -ESTALE)
		*ret_state = state;
	if (!error)
		return 0;
	if (is_to_blame(error) && folder_fd >= 0)
		(void)snprintf(fate, sizeof(fate), "; it %s",
			renameat(folder_fd, NG_STATE_NAME, folder_fd, BAD_NAME)
				? "cannot be set aside either"
				: "is set aside as " BAD_NAME);
	return ng_diag_set(diag, error, "%s/" NG_STATE_NAME " is not taken: %s%s", folder,
		why.text[0] ? why.text : strerror(-error), fate);
}
