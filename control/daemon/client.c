#include "control/daemon/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "control/daemon/listener.h"
#include "core/base/cleanup.h"

static int explain(int error, const char *path, struct ng_diag *diag)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		return ng_diag_set(diag, -ECONNREFUSED,
			"no daemon listens on %s: start one by `nowgate daemon` (as root), or "
			"`systemctl start nowgate`",
			path);
	case EAGAIN:
		return ng_diag_set(diag, -ETIMEDOUT,
			"the daemon on %s takes no connection in: does it hang?", path);
	default:
		return ng_diag_set(diag, -error, "%s: %s", path, strerror(error));
	}
}

int ng_client_open(const char *path, uint64_t timeout_ns, int *ret_fd, struct ng_diag *diag)
{
	/* A full queue makes connect() wait, for as long as sending may; poll() cannot tell. */
	const struct timeval timeout = {.tv_sec = (time_t)(timeout_ns / NG_NS_PER_S),
		.tv_usec = (suseconds_t)(timeout_ns % NG_NS_PER_S / NG_NS_PER_US)};
	struct sockaddr_un address;
	const int length = ng_socket_address(path, &address, diag);
	int fd, error;

	if (length < 0)
		return length;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ng_diag_set(diag, -errno, "no socket: %s", strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) ||
		connect(fd, (const struct sockaddr *)&address, (socklen_t)length) ||
		fcntl(fd, F_SETFL, O_NONBLOCK)) {
		error = errno;
		close(fd);
		return explain(error, path, diag);
	}
	*ret_fd = fd;
	return 0;
}

/* Waits until it can be written or read. @return 0; -ETIMEDOUT; -EINTR for a signal */
static int wait_for(int fd, short events, uint64_t deadline_ns, struct ng_diag *diag)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};
	const uint64_t now_ns = ng_clock_ns();
	int ready;

	if (now_ns >= deadline_ns)
		return ng_diag_set(diag, -ETIMEDOUT, "the daemon does not answer: does it hang?");
	ready = poll(&poll_fd, 1, (int)((deadline_ns - now_ns) / NG_NS_PER_MS) + 1);
	return ready < 0 ? ng_diag_set(diag, -errno, "interrupted") : 0;
}

/* A daemon that turns us away has said why, and then closed: that is still to be read. */
static int send_line(int fd, const char *line, uint64_t deadline_ns, struct ng_diag *diag)
{
	const size_t length = strlen(line);
	size_t sent = 0;

	/* The newline is sent by itself; the line is the caller's. */
	while (sent <= length) {
		const char *part = sent < length ? line + sent : "\n";
		ssize_t done = send(fd, part, sent < length ? length - sent : 1, MSG_NOSIGNAL);

		if (done >= 0) {
			sent += (size_t)done;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return 0;
		} else if (errno == EAGAIN) {
			int error = wait_for(fd, POLLOUT, deadline_ns, diag);

			if (error)
				return error;
		} else if (errno != EINTR) {
			return ng_diag_set(diag, -errno, "sending: %s", strerror(errno));
		}
	}
	return 0;
}

struct buffer {
	char *bytes;
	size_t length;
	size_t capacity;
};

/* @return 1 the line is whole; 0 more is to come; a negative errno */
static int receive_part(int fd, struct buffer *buffer, struct ng_diag *diag)
{
	char *newline;
	ssize_t got;

	if (buffer->length == buffer->capacity) {
		const size_t capacity = buffer->capacity ? buffer->capacity * 2 : 4096;
		char *bytes =
			capacity > NG_ANSWER_BYTES_MAX ? NULL : realloc(buffer->bytes, capacity);

		if (!bytes)
			return ng_diag_set(diag,
				capacity > NG_ANSWER_BYTES_MAX ? -EMSGSIZE : -ENOMEM,
				"the daemon's answer is too large");
		buffer->bytes = bytes;
		buffer->capacity = capacity;
	}
	got = recv(fd, buffer->bytes + buffer->length, buffer->capacity - buffer->length, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0)
		return ng_diag_set(
			diag, -ECONNRESET, "the daemon went away before it answered: see its log");
	newline = memchr(buffer->bytes + buffer->length, '\n', (size_t)got);
	buffer->length += (size_t)got;
	if (!newline)
		return 0;
	*newline = '\0';
	return 1;
}

int ng_client_ask(
	int fd, const char *line, uint64_t timeout_ns, char **ret_answer, struct ng_diag *diag)
{
	const uint64_t deadline_ns = ng_clock_ns() + timeout_ns;
	struct buffer buffer = {0};
	int result = send_line(fd, line, deadline_ns, diag);

	while (!result) {
		result = wait_for(fd, POLLIN, deadline_ns, diag);
		if (!result)
			result = receive_part(fd, &buffer, diag);
	}
	if (result < 0) {
		free(buffer.bytes);
		return result;
	}
	*ret_answer = buffer.bytes;
	return 0;
}

enum ng_exit ng_client_request(const char *path, const struct ng_request *request,
	json_t **ret_answer, struct ng_diag *diag)
{
	NG_CLEANUP_FREE char *line = NULL;
	NG_CLEANUP_FREE char *answer = NULL;
	NG_CLEANUP_CLOSE int fd = -1;
	int error = ng_request_encode(request, &line, diag);

	if (error)
		return ng_request_error_code(error);
	error = ng_client_open(path, NG_CLIENT_TIMEOUT_NS, &fd, diag);
	if (!error)
		error = ng_client_ask(fd, line, NG_CLIENT_TIMEOUT_NS, &answer, diag);
	if (error)
		return (enum ng_exit)ng_exit_code(error);
	return ng_answer_parse(answer, strlen(answer), ret_answer, diag);
}
