#include "control/daemon/server.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/daemon/listener.h"

#define LINE_BYTES_MAX	 (NG_REQUEST_BYTES_MAX + 1) /* with its newline */
#define LINE_BYTES_FIRST 1024
#define REQUESTS_A_TURN	 16  /* of one client, so that none keeps the others waiting */
#define ACCEPTS_A_TURN	 256 /* likewise */
#define ACCEPT_PAUSE_NS	 (100 * NG_NS_PER_MS) /* out of descriptors or memory */

struct client {
	int fd; /* -1: a free slot */
	struct ng_peer peer;
	char *in;
	size_t in_length;
	size_t in_capacity;
	char *out; /* an answer on its way; NULL: none */
	size_t out_length;
	size_t out_sent;
	uint64_t deadline_ns; /* for the line, the answer or the next request, whichever is next */
	bool has_ended;	      /* the peer sends nothing more */
	bool is_closing;      /* after the answer */
	bool has_more;	      /* whole lines are left for the next turn */
	bool waits_to_send;   /* what epoll was told */
};

struct ng_server {
	struct ng_server_options options;
	struct ng_listener listener;
	int epoll_fd;
	uint64_t accept_again_ns; /* 0: accepting */
	struct client clients[NG_CLIENTS_MAX];
};

static void drop(const struct ng_server *server, struct client *client)
{
	/* By close() alone they would live on in a child that was forked meanwhile. */
	(void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL);
	(void)shutdown(client->fd, SHUT_RDWR);
	close(client->fd);
	free(client->in);
	free(client->out);
	*client = (struct client){.fd = -1};
}

/* Whose turn is next, and how long it may take. */
static void set_deadline(const struct ng_server *server, struct client *client)
{
	const uint64_t now_ns = ng_clock_ns(); /* anew: on_request may have taken long */

	if (client->out)
		client->deadline_ns = now_ns + server->options.answer_timeout_ns;
	else if (client->in_length)
		client->deadline_ns = now_ns + server->options.line_timeout_ns;
	else
		client->deadline_ns = now_ns + server->options.idle_timeout_ns;
}

/* Takes the line; NULL stands for one that there was no memory for. */
static void put_answer(struct client *client, char *line)
{
	if (!line)
		line = ng_answer_error(NG_EXIT_FAILED, "the daemon is out of memory");
	if (!line) {
		client->is_closing = true;
		return;
	}
	client->out = line;
	client->out_length = strlen(line) + 1;
	client->out_sent = 0;
	line[client->out_length - 1] = '\n'; /* for the NUL: it is sent by its length */
}

static void refuse(struct client *client, enum ng_exit code, const char *text)
{
	client->in_length = 0;
	client->has_more = false;
	client->is_closing = true;
	put_answer(client, ng_answer_error(code, text));
}

static void answer(const struct ng_server *server, struct client *client, size_t length)
{
	struct ng_request request = NG_REQUEST_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	char *line = NULL;
	const int error = ng_request_parse(client->in, length, &request, &diag);

	if (error)
		line = ng_answer_error(
			ng_request_error_code(error), diag.text[0] ? diag.text : strerror(-error));
	else
		server->options.on_request(&request, &client->peer, &line, server->options.context);
	ng_request_release(&request);
	put_answer(client, line);
}

/* @return whether the client is still there */
static bool send_answer(struct client *client)
{
	while (client->out) {
		ssize_t sent = send(client->fd, client->out + client->out_sent,
			client->out_length - client->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN;
		client->out_sent += (size_t)sent;
		if (client->out_sent == client->out_length) {
			free(client->out);
			client->out = NULL;
		}
	}
	return true;
}

/* Makes room in the buffer, up to a line's limit. */
static bool make_room(struct client *client)
{
	size_t capacity = client->in_capacity ? client->in_capacity * 2 : LINE_BYTES_FIRST;
	char *in;

	if (client->in_length < client->in_capacity || client->in_capacity == LINE_BYTES_MAX)
		return true;
	if (capacity > LINE_BYTES_MAX)
		capacity = LINE_BYTES_MAX;
	in = realloc(client->in, capacity);
	if (!in)
		return false;
	client->in = in;
	client->in_capacity = capacity;
	return true;
}

/* Until there is no more, for one that has sent and gone must not keep its slot for another turn.
 * @return whether the client is still there */
static bool receive(struct client *client)
{
	if (client->out || client->is_closing)
		return true;
	while (!client->has_ended) {
		ssize_t got;

		if (!make_room(client))
			return false;
		if (client->in_length == client->in_capacity)
			return true; /* as much as a line may be */
		got = recv(client->fd, client->in + client->in_length,
			client->in_capacity - client->in_length, MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN;
		client->in_length += (size_t)got;
		client->has_ended = !got;
	}
	return true;
}

/* The lines that are there, one after the other, as long as their answers are taken. */
static bool handle_lines(const struct ng_server *server, struct client *client)
{
	client->has_more = false;
	for (int count = 0; !client->out && !client->is_closing; count++) {
		char *newline =
			client->in_length ? memchr(client->in, '\n', client->in_length) : NULL;
		size_t length;

		if (!newline)
			break;
		if (count == REQUESTS_A_TURN) {
			client->has_more = true;
			break;
		}
		length = (size_t)(newline - client->in);
		answer(server, client, length);
		client->in_length -= length + 1;
		memmove(client->in, newline + 1, client->in_length);
		set_deadline(server, client);
		if (!send_answer(client))
			return false;
		set_deadline(server, client);
	}
	return true;
}

/* What there is to say of a line that has not ended. */
static void judge_rest(const struct ng_server *server, struct client *client)
{
	if (client->out || client->is_closing || client->has_more)
		return;
	if (client->in_length == LINE_BYTES_MAX) {
		refuse(client, NG_EXIT_USAGE, "the request is too long: 65536 bytes at most");
		set_deadline(server, client);
	} else if (client->has_ended && client->in_length) {
		refuse(client, NG_EXIT_USAGE, "the request ends without a newline");
		set_deadline(server, client);
	}
}

/* Tells epoll what is waited for. @return false where it cannot be told */
static bool watch(const struct ng_server *server, struct client *client)
{
	const bool waits = client->out;
	struct epoll_event event = {.events = waits ? EPOLLOUT : EPOLLIN, .data.ptr = client};

	if (waits == client->waits_to_send)
		return true;
	client->waits_to_send = waits;
	return !epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, client->fd, &event);
}

static void serve(const struct ng_server *server, struct client *client)
{
	const bool had_answer = client->out, had_half = client->in_length;
	bool lives = send_answer(client);

	if (lives && had_answer && !client->out)
		set_deadline(server, client);
	lives = lives && receive(client);
	if (lives && !had_half && client->in_length)
		set_deadline(server, client);
	lives = lives && handle_lines(server, client);
	if (lives) {
		judge_rest(server, client);
		lives = send_answer(client);
	}
	if (lives && !client->out &&
		(client->is_closing || (client->has_ended && !client->has_more)))
		lives = false;
	if (!lives || !watch(server, client))
		drop(server, client);
}

static void serve_late(const struct ng_server *server, struct client *client)
{
	if (client->out || !client->in_length) {
		drop(server, client);
		return;
	}
	refuse(client, NG_EXIT_USAGE, "the request took too long: its newline did not come");
	set_deadline(server, client);
	serve(server, client);
}

/* For a connection that gets no slot. Its buffer is empty, so the line goes out whole. */
static void turn_away(int fd, const char *text)
{
	char *line = ng_answer_error(NG_EXIT_REFUSED, text);

	if (line) {
		line[strlen(line)] = '\n';
		(void)send(fd, line, strcspn(line, "\n") + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	free(line);
	close(fd);
}

static void take_in(struct ng_server *server, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct client *free_slot = NULL;
	unsigned int others = 0;
	struct ucred who;
	socklen_t length = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length)) {
		turn_away(fd, "the kernel does not tell who you are");
		return;
	}
	for (size_t i = 0; i < NG_CLIENTS_MAX; i++) {
		struct client *client = &server->clients[i];

		if (client->fd < 0)
			free_slot = client;
		else
			others += client->peer.uid != 0;
	}
	if (!free_slot || (who.uid != 0 && others >= NG_CLIENTS_OTHERS)) {
		turn_away(fd, "too many clients are connected: try again later");
		return;
	}
	event.data.ptr = free_slot;
	if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event)) {
		turn_away(fd, "the daemon is out of memory");
		return;
	}
	*free_slot = (struct client){.fd = fd, .peer = {.uid = who.uid, .pid = who.pid}};
	set_deadline(server, free_slot);
}

static int watch_listener(struct ng_server *server, int operation)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = server};

	return epoll_ctl(server->epoll_fd, operation, server->listener.fd, &event) ? -errno : 0;
}

/* Is there a slot for whoever comes? */
static bool has_room(const struct ng_server *server)
{
	unsigned int count = 0, others = 0;

	for (size_t i = 0; i < NG_CLIENTS_MAX; i++) {
		count += server->clients[i].fd >= 0;
		others += server->clients[i].fd >= 0 && server->clients[i].peer.uid != 0;
	}
	return count < NG_CLIENTS_MAX && others < NG_CLIENTS_OTHERS;
}

static void accept_clients(struct ng_server *server)
{
	const bool had_room = has_room(server);

	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		int fd;

		/* Those taken in above may be gone already: look before turning others away. */
		if (i && had_room && !has_room(server))
			return;
		fd = accept4(server->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			take_in(server, fd);
			continue;
		}
		/* Those who wait would make the descriptor readable all the time. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			(void)watch_listener(server, EPOLL_CTL_DEL);
			server->accept_again_ns = ng_clock_ns() + ACCEPT_PAUSE_NS;
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

int ng_server_open(const struct ng_server_options *options, struct ng_server **ret_server,
	struct ng_diag *diag)
{
	struct ng_server *server = calloc(1, sizeof(*server));
	int error;

	if (!server)
		return -ENOMEM;
	server->options = *options;
	if (!options->line_timeout_ns)
		server->options.line_timeout_ns = NG_LINE_TIMEOUT_NS;
	if (!options->answer_timeout_ns)
		server->options.answer_timeout_ns = NG_ANSWER_TIMEOUT_NS;
	if (!options->idle_timeout_ns)
		server->options.idle_timeout_ns = NG_IDLE_TIMEOUT_NS;
	server->listener = (struct ng_listener)NG_LISTENER_INIT;
	for (size_t i = 0; i < NG_CLIENTS_MAX; i++)
		server->clients[i].fd = -1;
	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	error = server->epoll_fd < 0 ? ng_diag_set(diag, -errno, "no epoll: %s", strerror(errno))
				     : ng_listener_open(options->path, &server->listener, diag);
	if (!error)
		error = watch_listener(server, EPOLL_CTL_ADD);
	if (error) {
		ng_server_free(server);
		return error;
	}
	*ret_server = server;
	return 0;
}

void ng_server_free(struct ng_server *server)
{
	if (!server)
		return;
	for (size_t i = 0; i < NG_CLIENTS_MAX; i++) {
		if (server->clients[i].fd >= 0)
			drop(server, &server->clients[i]);
	}
	ng_listener_close(&server->listener);
	if (server->epoll_fd >= 0)
		close(server->epoll_fd);
	free(server);
}

int ng_server_event_fd(const struct ng_server *server)
{
	return server->epoll_fd;
}

uint64_t ng_server_deadline_ns(const struct ng_server *server)
{
	uint64_t deadline_ns = server->accept_again_ns ? server->accept_again_ns : UINT64_MAX;

	for (size_t i = 0; i < NG_CLIENTS_MAX; i++) {
		const struct client *client = &server->clients[i];

		if (client->fd >= 0 && client->has_more)
			return 0;
		if (client->fd >= 0 && client->deadline_ns < deadline_ns)
			deadline_ns = client->deadline_ns;
	}
	return deadline_ns;
}

void ng_server_turn(struct ng_server *server)
{
	struct epoll_event events[NG_CLIENTS_MAX + 1];
	const uint64_t now_ns = ng_clock_ns();
	bool has_guests = false;
	int count = epoll_wait(server->epoll_fd, events, NG_CLIENTS_MAX + 1, 0);

	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr == server)
			has_guests = true;
		else
			serve(server, events[i].data.ptr);
	}
	for (size_t i = 0; i < NG_CLIENTS_MAX; i++) {
		struct client *client = &server->clients[i];

		if (client->fd >= 0 && client->has_more)
			serve(server, client);
		else if (client->fd >= 0 && client->deadline_ns <= now_ns)
			serve_late(server, client);
	}
	if (server->accept_again_ns && server->accept_again_ns <= now_ns) {
		server->accept_again_ns =
			watch_listener(server, EPOLL_CTL_ADD) ? now_ns + ACCEPT_PAUSE_NS : 0;
		has_guests = !server->accept_again_ns;
	}
	/* Last: a slot that was freed above must not be taken while events of its client are left.
	 */
	if (has_guests)
		accept_clients(server);
}
