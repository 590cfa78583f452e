/* Where the daemon listens by TCP: "127.0.0.1:9753", "[::1]:9753". */
#ifndef NG_CONTROL_DAEMON_ADDRESS_H
#define NG_CONTROL_DAEMON_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "core/base/diag.h"

struct ng_address {
	struct sockaddr_storage socket;
	socklen_t length;
};

#define NG_ADDRESS_TEXT_MAX 64 /* bytes, with the NUL */

/** Reads a numeric address with a port; names are not looked up. Port 0: the kernel chooses one.
 * @return 0; -EINVAL; -ERANGE the port: with the text */
int ng_address_parse(const char *text, struct ng_address *ret_address, struct ng_diag *diag);

/** As ng_address_parse() reads it. */
void ng_address_print(const struct ng_address *address, char text[NG_ADDRESS_TEXT_MAX]);

/** Can only this machine reach it? */
bool ng_address_is_loopback(const struct ng_address *address);

/**
 * Listens, without blocking. @param address what it came to: with port 0, the port that was chosen
 *
 * @return the descriptor; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES or what else bind() gave: with the
 * text
 */
int ng_address_listen(struct ng_address *address, int backlog, struct ng_diag *diag);

/**
 * Is the host that a request is addressed to one that no page elsewhere can have chosen: a numeric
 * address, "localhost", or none? A name could be anybody's: a browser here that shows their page
 * asks us for it, once the name is made to mean this machine (DNS rebinding). Pure.
 *
 * @param host a header Host, NULL: there is none
 */
bool ng_address_is_plain_host(const char *host);

#endif
