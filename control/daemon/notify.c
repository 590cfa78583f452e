#include "control/daemon/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/number.h"

#define MESSAGE_MAX 512

static int read_address(const char *path, struct ng_notify *notify, struct ng_diag *diag)
{
	const size_t length = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || length < 2 ||
		length >= sizeof(notify->address.sun_path))
		return ng_diag_set(diag, -EINVAL,
			"NOTIFY_SOCKET is '%.128s', neither a path nor an abstract address: the "
			"service manager is told nothing",
			path);
	notify->address.sun_family = AF_UNIX;
	memcpy(notify->address.sun_path, path, length);
	/* A path has its NUL; an abstract name begins with one, and ends by its length. */
	if (path[0] == '@')
		notify->address.sun_path[0] = '\0';
	notify->address_length =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (path[0] == '/'));
	return 0;
}

static int read_watchdog(struct ng_notify *notify, struct ng_diag *diag)
{
	static const struct ng_range any = {1, UINT64_MAX / NG_NS_PER_US};
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t value;

	if (!usec)
		return 0;
	/* It stands in the environment of whoever the manager's child has started, too. */
	if (pid && (ng_number_parse(pid, any, &value, NULL) || value != (uint64_t)getpid()))
		return 0;
	if (ng_number_parse(usec, any, &value, NULL))
		return ng_diag_set(
			diag, -EINVAL, "WATCHDOG_USEC is '%.64s', no number of us", usec);
	notify->watchdog_ns = value * NG_NS_PER_US / 2; /* as sd_watchdog_enabled(3) wants it */
	return 0;
}

int ng_notify_open(struct ng_notify *ret_notify, struct ng_diag *diag)
{
	struct ng_notify notify = NG_NOTIFY_INIT;
	const char *path = getenv("NOTIFY_SOCKET");
	int error = 0;

	*ret_notify = notify;
	if (path) {
		error = read_address(path, &notify, diag);
		if (!error)
			error = read_watchdog(&notify, diag);
	}
	if (path && !error) {
		notify.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (notify.fd < 0)
			error = ng_diag_set(diag, -errno, "no socket: %s", strerror(errno));
	}
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	if (!error)
		*ret_notify = notify;
	return error;
}

void ng_notify_close(struct ng_notify *notify)
{
	if (notify->fd >= 0)
		close(notify->fd);
	*notify = (struct ng_notify)NG_NOTIFY_INIT;
}

static int tell(const struct ng_notify *notify, const char *message)
{
	if (notify->fd < 0)
		return 0;
	return sendto(notify->fd, message, strlen(message), MSG_NOSIGNAL,
		       (const struct sockaddr *)&notify->address, notify->address_length) < 0
		       ? -errno
		       : 0;
}

int ng_notify_ready(const struct ng_notify *notify)
{
	return tell(notify, "READY=1");
}

int ng_notify_reloading(const struct ng_notify *notify)
{
	char message[64];

	/* The time tells this reload's READY from an earlier one's (Type=notify-reload). */
	(void)snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		(uint64_t)(ng_clock_ns() / NG_NS_PER_US));
	return tell(notify, message);
}

int ng_notify_stopping(const struct ng_notify *notify)
{
	return tell(notify, "STOPPING=1");
}

int ng_notify_watchdog(const struct ng_notify *notify)
{
	return tell(notify, "WATCHDOG=1");
}

int ng_notify_status(const struct ng_notify *notify, const char *text)
{
	char message[MESSAGE_MAX];

	(void)snprintf(message, sizeof(message), "STATUS=%s", text);
	/* A newline would begin another assignment. */
	for (char *at = message; *at; at++) {
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = ' ';
	}
	return tell(notify, message);
}
