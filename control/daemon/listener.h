/* The Unix socket that a daemon listens on, and whether it may have the path. */
#ifndef NG_CONTROL_DAEMON_LISTENER_H
#define NG_CONTROL_DAEMON_LISTENER_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "core/base/diag.h"

struct ng_listener {
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int fd; /* listens; non-blocking */
	int lock_fd;
	dev_t device; /* of the socket's file, to know it again */
	ino_t inode;
};

#define NG_LISTENER_INIT                                                                           \
	{                                                                                          \
		.fd = -1, .lock_fd = -1                                                            \
	}

/**
 * Fills an address. @return its length for bind() and connect(); -ENAMETOOLONG */
int ng_socket_address(const char *path, struct sockaddr_un *ret_address, struct ng_diag *diag);

/** See ng_server_open(). The lock is this process's, not its children's. */
int ng_listener_open(const char *path, struct ng_listener *ret_listener, struct ng_diag *diag);

/** Removes the socket's file if it is still ours. */
void ng_listener_close(struct ng_listener *listener);

#endif
