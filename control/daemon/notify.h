/*
 * What the service manager is told: sd_notify's protocol, a datagram to $NOTIFY_SOCKET. Without
 * that variable everything here does nothing and succeeds.
 */
#ifndef NG_CONTROL_DAEMON_NOTIFY_H
#define NG_CONTROL_DAEMON_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/base/diag.h"

struct ng_notify {
	int fd; /* -1: nobody wants to know */
	struct sockaddr_un address;
	socklen_t address_length;
	uint64_t watchdog_ns; /* how often ng_notify_watchdog() is wanted at least; 0: not at all */
};

#define NG_NOTIFY_INIT                                                                             \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/**
 * Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and removes them from the environment: they
 * are not for our children.
 *
 * @return 0; -EINVAL a variable that nobody can follow: with the text, and with a notify that does
 *         nothing
 */
int ng_notify_open(struct ng_notify *ret_notify, struct ng_diag *diag);
void ng_notify_close(struct ng_notify *notify);

/* Each gives 0, or what sending gave; -EAGAIN where the manager's queue is full: never blocks. */

int ng_notify_ready(const struct ng_notify *notify);
int ng_notify_reloading(const struct ng_notify *notify); /* then ng_notify_ready() again */
int ng_notify_stopping(const struct ng_notify *notify);
int ng_notify_watchdog(const struct ng_notify *notify);

/** One line for `systemctl status`; control characters become spaces, and long ones are cut. */
int ng_notify_status(const struct ng_notify *notify, const char *text);

#endif
