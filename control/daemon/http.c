#include "control/daemon/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

/* Who finds all connections taken waits in the kernel. */
#define BACKLOG 64

struct ng_http_page {
	struct MHD_Response *response;
	unsigned int users; /* who made it, and answers that wait to be sent */
};

/* A connection: there is one request on each. */
struct ng_http_request {
	struct ng_http *http;
	struct MHD_Connection *connection; /* NULL: a free slot */
	const char *path;		   /* NULL: it has not been asked yet */
	struct ng_http_page *page; /* of an answer that is to be sent; NULL: memory was out */
	unsigned int status;
	bool is_answered;
	bool is_later;	      /* suspended until it is answered */
	uint64_t deadline_ns; /* UINT64_MAX: none */
};

struct ng_http {
	struct ng_http_options options;
	struct MHD_Daemon *daemon;
	int event_fd;
	bool has_resumed; /* a request: libmicrohttpd's descriptor does not tell of that */
	struct ng_http_request requests[NG_HTTP_CONNECTIONS_MAX];
};

/* --- pages -------------------------------------------------------------------------------------
 */

/* One request a connection: nobody keeps one who asks for nothing. */
static bool add_headers(struct MHD_Response *response, const char *type)
{
	return MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES &&
	       MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES &&
	       MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") ==
		       MHD_YES;
}

struct ng_http_page *ng_http_page_new(const char *type, char *text, size_t length)
{
	struct ng_http_page *page = text ? calloc(1, sizeof(*page)) : NULL;

	if (page)
		page->response =
			MHD_create_response_from_buffer_with_free_callback(length, text, free);
	if (!page || !page->response) {
		free(text);
		free(page);
		return NULL;
	}
	page->users = 1;
	if (add_headers(page->response, type))
		return page;
	ng_http_page_free(page);
	return NULL;
}

void ng_http_page_free(struct ng_http_page *page)
{
	if (!page || --page->users)
		return;
	MHD_destroy_response(page->response); /* those that are being sent keep it */
	free(page);
}

/* --- requests ----------------------------------------------------------------------------------
 */

const char *ng_http_path(const struct ng_http_request *request)
{
	return request->path;
}

const char *ng_http_parameter(const struct ng_http_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *ng_http_header(const struct ng_http_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

void ng_http_answer(struct ng_http_request *request, unsigned int status, struct ng_http_page *page)
{
	request->status = status;
	request->page = page;
	if (page)
		page->users++;
	request->is_answered = true;
	if (!request->is_later)
		return;
	request->is_later = false;
	request->http->has_resumed = true;
	MHD_resume_connection(request->connection);
}

void ng_http_answer_text(struct ng_http_request *request, unsigned int status, const char *text)
{
	struct ng_http_page *page =
		ng_http_page_new("text/plain; charset=utf-8", strdup(text), strlen(text));

	if (page && status == MHD_HTTP_METHOD_NOT_ALLOWED)
		(void)MHD_add_response_header(
			page->response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD"); /* it says so too */
	ng_http_answer(request, status, page);
	ng_http_page_free(page);
}

/* @return MHD_NO, which ends the connection, where there is no memory for an answer */
static enum MHD_Result send_answer(struct ng_http_request *request)
{
	enum MHD_Result result = MHD_NO;

	if (request->page)
		result = MHD_queue_response(
			request->connection, request->status, request->page->response);
	ng_http_page_free(request->page);
	request->page = NULL;
	request->deadline_ns = ng_clock_ns() + request->http->options.answer_timeout_ns;
	return result;
}

static void judge(struct ng_http *http, struct ng_http_request *request, const char *method)
{
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		ng_http_answer_text(request, MHD_HTTP_METHOD_NOT_ALLOWED,
			"Only GET and HEAD: what is here can be looked at, not changed.\n");
	else if (ng_address_is_loopback(&http->options.address) &&
		 !ng_address_is_plain_host(ng_http_header(request, MHD_HTTP_HEADER_HOST)))
		ng_http_answer_text(request, MHD_HTTP_FORBIDDEN,
			"This is served to this machine only, so ask for it by a numeric address "
			"or localhost: by another name any web page could.\n");
	else
		http->options.on_request(request, http->options.context);
}

static enum MHD_Result on_access(void *context, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *body, size_t *body_length, void **kept)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct ng_http_request *request = info ? info->socket_context : NULL;

	(void)version;
	(void)body;
	(void)body_length;
	(void)kept;
	if (!request) /* more connections than slots: cannot be */
		return MHD_NO;
	if (!request->path) {
		request->path = url;
		request->deadline_ns = UINT64_MAX;
		judge(context, request, method);
	}
	if (request->is_answered)
		return send_answer(request);
	MHD_suspend_connection(connection);
	request->is_later = true;
	return MHD_YES;
}

static void begin(struct ng_http *http, struct MHD_Connection *connection, void **ret_request)
{
	for (size_t i = 0; i < NG_HTTP_CONNECTIONS_MAX; i++) {
		struct ng_http_request *request = &http->requests[i];

		if (request->connection)
			continue;
		*request = (struct ng_http_request){.http = http,
			.connection = connection,
			.deadline_ns = ng_clock_ns() + http->options.request_timeout_ns};
		*ret_request = request;
		return;
	}
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
	enum MHD_ConnectionNotificationCode code)
{
	struct ng_http_request *request = *socket_context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		begin(context, connection, socket_context);
	} else if (request) {
		ng_http_page_free(request->page);
		*request = (struct ng_http_request){.connection = NULL};
		*socket_context = NULL;
	}
}

/* --- the whole ---------------------------------------------------------------------------------
 */

int ng_http_open(
	const struct ng_http_options *options, struct ng_http **ret_http, struct ng_diag *diag)
{
	struct ng_http *http = calloc(1, sizeof(*http));
	const union MHD_DaemonInfo *info;
	int listen_fd;

	if (!http)
		return -ENOMEM;
	http->options = *options;
	if (!options->request_timeout_ns)
		http->options.request_timeout_ns = NG_HTTP_REQUEST_TIMEOUT_NS;
	if (!options->answer_timeout_ns)
		http->options.answer_timeout_ns = NG_HTTP_ANSWER_TIMEOUT_NS;
	listen_fd = ng_address_listen(&http->options.address, BACKLOG, diag);
	if (listen_fd < 0) {
		free(http);
		return listen_fd;
	}
	/* Times are ours: libmicrohttpd knows of silence only, in whole seconds. */
	http->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		on_access, http, MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)NG_HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)NG_HTTP_HEAD_BYTES_MAX, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
		MHD_OPTION_END);
	info = http->daemon ? MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info) { /* whether the descriptor is closed depends on how far it came: it is left */
		ng_http_free(http);
		return ng_diag_set(diag, -ENOMEM, "libmicrohttpd does not start");
	}
	http->event_fd = info->epoll_fd;
	*ret_http = http;
	return 0;
}

void ng_http_free(struct ng_http *http)
{
	if (!http)
		return;
	for (size_t i = 0; i < NG_HTTP_CONNECTIONS_MAX; i++) {
		struct ng_http_request *request = &http->requests[i];

		if (!request->connection || !request->is_later)
			continue;
		if (http->options.on_gone)
			http->options.on_gone(request, http->options.context);
		/* libmicrohttpd does not stop while one is suspended; there is no page: it ends. */
		ng_http_answer(request, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
	}
	if (http->daemon)
		MHD_stop_daemon(http->daemon);
	free(http);
}

const struct ng_address *ng_http_address(const struct ng_http *http)
{
	return &http->options.address;
}

int ng_http_event_fd(const struct ng_http *http)
{
	return http->event_fd;
}

uint64_t ng_http_deadline_ns(const struct ng_http *http)
{
	uint64_t deadline_ns = http->has_resumed ? 0 : UINT64_MAX;
	MHD_UNSIGNED_LONG_LONG wait_ms;

	if (deadline_ns && MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES)
		deadline_ns = ng_clock_ns() + wait_ms * NG_NS_PER_MS;
	for (size_t i = 0; i < NG_HTTP_CONNECTIONS_MAX; i++) {
		const struct ng_http_request *request = &http->requests[i];

		if (request->connection && request->deadline_ns < deadline_ns)
			deadline_ns = request->deadline_ns;
	}
	return deadline_ns;
}

/* libmicrohttpd closes it when it sees that. */
static void end_late(struct ng_http_request *request)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	if (info)
		(void)shutdown(info->connect_fd, SHUT_RDWR);
	request->deadline_ns = UINT64_MAX;
}

void ng_http_turn(struct ng_http *http)
{
	const uint64_t now_ns = ng_clock_ns();

	for (size_t i = 0; i < NG_HTTP_CONNECTIONS_MAX; i++) {
		struct ng_http_request *request = &http->requests[i];

		if (request->connection && request->deadline_ns <= now_ns)
			end_late(request);
	}
	http->has_resumed = false;
	(void)MHD_run(http->daemon); /* MHD_NO: it is of another kind, which it is not */
}
