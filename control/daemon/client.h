/* The other end of the daemon's socket: what the commands use. */
#ifndef NG_CONTROL_DAEMON_CLIENT_H
#define NG_CONTROL_DAEMON_CLIENT_H

#include <stdint.h>

#include <jansson.h>

#include "control/daemon/protocol.h"
#include "core/base/clock.h"
#include "core/base/diag.h"

#define NG_CLIENT_TIMEOUT_NS (10 * NG_NS_PER_S) /* for a request: far more than a daemon takes */

/**
 * Connects to the daemon at a socket.
 *
 * @return 0; -ECONNREFUSED no daemon is there; -EACCES; -ENAMETOOLONG; -ETIMEDOUT it does not take
 *         connections in
 */
int ng_client_open(const char *path, uint64_t timeout_ns, int *ret_fd, struct ng_diag *diag);

/**
 * Sends a line, without a newline, and reads one.
 *
 * @param ret_answer without its newline; the caller frees it
 * @return 0; -ETIMEDOUT; -ECONNRESET the daemon went away; -EMSGSIZE the answer is above
 *         NG_ANSWER_BYTES_MAX; -ENOMEM
 */
int ng_client_ask(
	int fd, const char *line, uint64_t timeout_ns, char **ret_answer, struct ng_diag *diag);

/**
 * One request by a connection of its own, from encoding it to reading the answer.
 *
 * @param ret_answer the whole answer, if NG_EXIT_DONE; release it by json_decref()
 * @return the exit code, with the text where it is not NG_EXIT_DONE
 */
enum ng_exit ng_client_request(const char *path, const struct ng_request *request,
	json_t **ret_answer, struct ng_diag *diag);

#endif
