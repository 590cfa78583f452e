#include "control/daemon/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"

int ng_socket_address(const char *path, struct sockaddr_un *ret_address, struct ng_diag *diag)
{
	const size_t length = strlen(path);

	if (length >= sizeof(ret_address->sun_path))
		return ng_diag_set(diag, -ENAMETOOLONG,
			"the socket's path is too long: %zu bytes, %zu at most", length,
			sizeof(ret_address->sun_path) - 1);
	memset(ret_address, 0, sizeof(*ret_address));
	ret_address->sun_family = AF_UNIX;
	memcpy(ret_address->sun_path, path, length + 1);
	return (int)(offsetof(struct sockaddr_un, sun_path) + length + 1);
}

/* The last folder only: /run is there, /run/nowgate not after a boot. */
static void make_folder(const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash || slash == path)
		return;
	(void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	(void)mkdir(folder, 0755); /* where it cannot be made, bind() tells */
}

/*
 * A lock of fcntl()'s kind: a child does not inherit it, so none keeps it when the daemon dies. Its
 * file stays for ever, for whoever removes it can remove one that another has just locked.
 */
static int lock(struct ng_listener *listener, struct ng_diag *diag)
{
	struct flock wanted = {.l_type = F_WRLCK, .l_whence = SEEK_SET}, held = wanted;
	char name[sizeof(listener->path) + sizeof(".lock")];

	(void)snprintf(name, sizeof(name), "%s.lock", listener->path);
	listener->lock_fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (listener->lock_fd < 0)
		return ng_diag_set(diag, -errno, "%s: %s", name, strerror(errno));
	if (!fcntl(listener->lock_fd, F_SETLK, &wanted))
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return ng_diag_set(diag, -errno, "%s cannot be locked: %s", name, strerror(errno));
	if (fcntl(listener->lock_fd, F_GETLK, &held))
		held.l_pid = 0;
	return ng_diag_set(diag, -EADDRINUSE, "a daemon, process %d, listens on %s already",
		held.l_pid, listener->path);
}

/* Makes way for a socket, if what is in the way is a dead daemon's. */
static int clear_path(const char *path, const struct sockaddr_un *address, int address_length,
	struct ng_diag *diag)
{
	NG_CLEANUP_CLOSE int fd = -1;
	struct stat facts;

	if (lstat(path, &facts))
		return errno == ENOENT ? 0
				       : ng_diag_set(diag, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(facts.st_mode))
		return ng_diag_set(diag, -EEXIST,
			"%s is there already, and is no socket: it is not touched", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ng_diag_set(diag, -errno, "no socket: %s", strerror(errno));
	/* Anything but a refusal, a full queue too, means that somebody may live there. */
	if (!connect(fd, (const struct sockaddr *)address, (socklen_t)address_length) ||
		errno != ECONNREFUSED)
		return ng_diag_set(diag, -EADDRINUSE, "somebody listens on %s already", path);
	if (unlink(path) && errno != ENOENT)
		return ng_diag_set(diag, -errno, "%s, left by a dead daemon, cannot be removed: %s",
			path, strerror(errno));
	return 0;
}

static int start_listening(struct ng_listener *listener, const struct sockaddr_un *address,
	int address_length, struct ng_diag *diag)
{
	struct stat facts;

	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener->fd < 0)
		return ng_diag_set(diag, -errno, "no socket: %s", strerror(errno));
	if (bind(listener->fd, (const struct sockaddr *)address, (socklen_t)address_length))
		return ng_diag_set(
			diag, -errno, "cannot listen on %s: %s", listener->path, strerror(errno));
	/* Everybody may connect: who may do what is decided by their uid. */
	if (lstat(listener->path, &facts) || chmod(listener->path, 0666) ||
		listen(listener->fd, SOMAXCONN)) {
		const int error = -errno;

		(void)unlink(listener->path); /* the first error counts */
		return ng_diag_set(
			diag, error, "cannot listen on %s: %s", listener->path, strerror(-error));
	}
	listener->device = facts.st_dev;
	listener->inode = facts.st_ino;
	return 0;
}

int ng_listener_open(const char *path, struct ng_listener *ret_listener, struct ng_diag *diag)
{
	struct ng_listener listener = NG_LISTENER_INIT;
	struct sockaddr_un address;
	const int length = ng_socket_address(path, &address, diag);
	int error;

	if (length < 0)
		return length;
	memcpy(listener.path, path, strlen(path) + 1);
	make_folder(path);
	error = lock(&listener, diag);
	if (!error)
		error = clear_path(path, &address, length, diag);
	if (!error)
		error = start_listening(&listener, &address, length, diag);
	if (error) {
		ng_listener_close(&listener);
		return error;
	}
	*ret_listener = listener;
	return 0;
}

void ng_listener_close(struct ng_listener *listener)
{
	struct stat facts;

	if (listener->inode && !lstat(listener->path, &facts) && facts.st_dev == listener->device &&
		facts.st_ino == listener->inode)
		(void)unlink(listener->path); /* else the next daemon finds that nobody listens */
	if (listener->fd >= 0)
		close(listener->fd);
	if (listener->lock_fd >= 0)
		close(listener->lock_fd);
	*listener = (struct ng_listener)NG_LISTENER_INIT;
}
