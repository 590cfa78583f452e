#include "control/daemon/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/base/number.h"

/* Splits HOST:PORT, or [HOST]:PORT. @return the port; NULL where it is neither */
static const char *split(const char *text, char *host, size_t size)
{
	const bool is_bracketed = text[0] == '[';
	const char *end = is_bracketed ? strchr(text, ']') : strchr(text, ':');
	size_t length;

	text += is_bracketed;
	if (!end || (is_bracketed && end[1] != ':'))
		return NULL;
	length = (size_t)(end - text);
	if (length >= size)
		return NULL;
	memcpy(host, text, length);
	host[length] = '\0';
	return end + 1 + is_bracketed;
}

int ng_address_parse(const char *text, struct ng_address *ret_address, struct ng_diag *diag)
{
	struct ng_address address = {.length = 0};
	struct sockaddr_in *four = (struct sockaddr_in *)&address.socket;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address.socket;
	char host[INET6_ADDRSTRLEN] = "";
	const char *port = split(text, host, sizeof(host));
	uint64_t number;
	int error;

	if (port && text[0] == '[' && inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		address.length = sizeof(*six);
	} else if (port && text[0] != '[' && inet_pton(AF_INET, host, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		address.length = sizeof(*four);
	} else {
		return ng_diag_set(diag, -EINVAL,
			"'%s' is no numeric address with a port: write 127.0.0.1:9753 or "
			"[::1]:9753",
			text);
	}
	error = ng_number_parse(port, (struct ng_range){0, UINT16_MAX}, &number, diag);
	if (error)
		return error;
	if (address.socket.ss_family == AF_INET6)
		six->sin6_port = htons((uint16_t)number);
	else
		four->sin_port = htons((uint16_t)number);
	*ret_address = address;
	return 0;
}

void ng_address_print(const struct ng_address *address, char text[NG_ADDRESS_TEXT_MAX])
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)&address->socket;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->socket;
	char host[INET6_ADDRSTRLEN] = "?";

	if (address->socket.ss_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof(host)); /* it fits */
		(void)snprintf(text, NG_ADDRESS_TEXT_MAX, "[%s]:%d", host, ntohs(six->sin6_port));
	} else {
		(void)inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host));
		(void)snprintf(text, NG_ADDRESS_TEXT_MAX, "%s:%d", host, ntohs(four->sin_port));
	}
}

bool ng_address_is_loopback(const struct ng_address *address)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)&address->socket;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->socket;

	if (address->socket.ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) ||
		       (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) && six->sin6_addr.s6_addr[12] == 127);
	return ntohl(four->sin_addr.s_addr) >> 24 == 127;
}

int ng_address_listen(struct ng_address *address, int backlog, struct ng_diag *diag)
{
	char text[NG_ADDRESS_TEXT_MAX];
	const int on = 1;
	int error, fd;

	ng_address_print(address, text);
	fd = socket(address->socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ng_diag_set(diag, -errno, "cannot listen on %s: %s", text, strerror(errno));
	/* Connections of a daemon that has just ended do not keep the port. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!bind(fd, (const struct sockaddr *)&address->socket, address->length) &&
		!listen(fd, backlog) &&
		!getsockname(fd, (struct sockaddr *)&address->socket, &address->length))
		return fd;
	error = -errno;
	close(fd);
	if (error == -EADDRINUSE)
		return ng_diag_set(diag, error,
			"cannot listen on %s: another program does; `ss -ltnp` shows which", text);
	return ng_diag_set(diag, error, "cannot listen on %s: %s", text, strerror(-error));
}

bool ng_address_is_plain_host(const char *host)
{
	const size_t length = host ? strlen(host) : 0;
	struct ng_address address;
	char with_port[NG_ADDRESS_TEXT_MAX + 2];

	if (!length)
		return true;
	if (!strcasecmp(host, "localhost") || !strncasecmp(host, "localhost:", 10))
		return true;
	if (length >= NG_ADDRESS_TEXT_MAX)
		return false;
	(void)snprintf(with_port, sizeof(with_port), "%s:0", host);
	return !ng_address_parse(host, &address, NULL) ||
	       !ng_address_parse(with_port, &address, NULL);
}
