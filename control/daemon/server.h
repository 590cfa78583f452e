/*
 * The daemon's Unix socket: lines in, lines out (see protocol.h).
 *
 * One thread, nothing blocks. Everything that a client can make the daemon hold is bounded: the
 * number of clients, a line's length and the time for it, the time for taking an answer, the time
 * for saying nothing. A client's next request is looked at when its last answer is out, so at most
 * one answer a client is held.
 */
#ifndef NG_CONTROL_DAEMON_SERVER_H
#define NG_CONTROL_DAEMON_SERVER_H

#include <stdint.h>
#include <sys/types.h>

#include "control/daemon/protocol.h"
#include "core/base/clock.h"
#include "core/base/diag.h"

#define NG_SOCKET_PATH "/run/nowgate/socket"

#define NG_CLIENTS_MAX	     64
#define NG_CLIENTS_OTHERS    48			/* of them not root's: root can always come in */
#define NG_LINE_TIMEOUT_NS   (5 * NG_NS_PER_S)	/* from a line's first byte to its newline */
#define NG_ANSWER_TIMEOUT_NS (5 * NG_NS_PER_S)	/* until an answer is taken whole */
#define NG_IDLE_TIMEOUT_NS   (60 * NG_NS_PER_S) /* between an answer and the next request */

/** Who asks, as the kernel told when they connected. */
struct ng_peer {
	uid_t uid;
	pid_t pid; /* 0: outside of our pid namespace */
};

/**
 * Answers a request that was parsed; malformed ones do not come here.
 *
 * @param ret_answer a line that malloc() gave, without a newline; the server frees it. Left NULL it
 *        stands for "out of memory"
 */
typedef void (*ng_on_request)(const struct ng_request *request, const struct ng_peer *peer,
	char **ret_answer, void *context);

struct ng_server_options {
	const char *path; /* at most 107 bytes */
	ng_on_request on_request;
	void *context;
	uint64_t line_timeout_ns;   /* 0: NG_LINE_TIMEOUT_NS … */
	uint64_t answer_timeout_ns; /* … NG_ANSWER_TIMEOUT_NS … */
	uint64_t idle_timeout_ns;   /* … NG_IDLE_TIMEOUT_NS; others are for tests */
};

struct ng_server;

/**
 * Listens. What a dead daemon left at the path is removed; a living one's socket, or something that
 * is no socket, never. "PATH.lock" is kept beside it, and locked, so that two that start at the
 * same time cannot both think so.
 *
 * @return 0; -EADDRINUSE a daemon lives there; -EEXIST something else does; -ENAMETOOLONG; whatever
 *         bind() says: with the text
 */
int ng_server_open(const struct ng_server_options *options, struct ng_server **ret_server,
	struct ng_diag *diag);

/** Closes every client and removes the socket, if it is still ours. */
void ng_server_free(struct ng_server *server);

/** Readable when ng_server_turn() has something to do. */
int ng_server_event_fd(const struct ng_server *server);

/** When ng_server_turn() has something to do even so: CLOCK_MONOTONIC; UINT64_MAX: never. */
uint64_t ng_server_deadline_ns(const struct ng_server *server);

/** Takes in and sends out whatever can be now; calls on_request. Never blocks. */
void ng_server_turn(struct ng_server *server);

#endif
