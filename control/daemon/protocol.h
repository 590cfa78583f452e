/*
 * What goes over the daemon's socket: one JSON object a line, a request, and one for its answer.
 *
 *     {"v":1,"op":"mode","select":{"exe":"/usr/bin/caddy"},"settings":{"mode":"full","lease_ns":30000000000}}
 *     {"v":1,"ok":true,…}
 *     {"v":1,"ok":false,"error":{"code":6,"text":"no attached process matches"}}
 *
 * Whatever is not written here is refused by name: unknown keys, wrong types, numbers out of range.
 * Nothing here touches the system; it is fed from memory.
 */
#ifndef NG_CONTROL_DAEMON_PROTOCOL_H
#define NG_CONTROL_DAEMON_PROTOCOL_H

#include <stddef.h>

#include <jansson.h>

#include "control/daemon/wire.h"
#include "control/exit.h"
#include "control/plane/selector.h"
#include "control/plane/wish.h"
#include "core/base/diag.h"

#define NG_PROTOCOL_VERSION  1
#define NG_REQUEST_BYTES_MAX 65536 /* a request's line, without its newline */
#define NG_ANSWER_BYTES_MAX  (64u << 20)

enum ng_op {
	NG_OP_PING = 0,	    /* {"v":1,"op":"ping"} */
	NG_OP_ATTACH = 1,   /* "select" (not "all"), perhaps "functions" and "settings" */
	NG_OP_DETACH = 2,   /* "select" */
	NG_OP_MODE = 3,	    /* "select", "settings" with a mode, without follow_forks */
	NG_OP_STATUS = 4,   /* perhaps "select"; without, everything */
	NG_OP_SNAPSHOT = 5, /* "select" with a pid alone */
	NG_OP_CALLERS = 6,  /* likewise */
	NG_OPS = 7,
};

/** A request that was checked; texts are its own. */
struct ng_request {
	enum ng_op op;
	struct ng_selector select;
	struct ng_names functions; /* attach: none stands for the daemon's default */
	struct ng_wish wish;
};

#define NG_REQUEST_INIT                                                                            \
	{                                                                                          \
		.op = NG_OP_PING                                                                   \
	}

void ng_request_release(struct ng_request *request);

const char *ng_op_name(enum ng_op op);

/**
 * Reads a request's line, without its newline.
 *
 * @return 0; -E2BIG too long; -EPROTONOSUPPORT of another version; -EINVAL, -ERANGE anything else
 *         that is wrong with it, with the key's name in the text; -ENOMEM
 */
int ng_request_parse(
	const char *line, size_t length, struct ng_request *ret_request, struct ng_diag *diag);

/**
 * Writes a request as a line, without a newline.
 *
 * @return 0; -E2BIG its line would be refused; -EINVAL a text is not UTF-8; -ENOMEM
 */
int ng_request_encode(const struct ng_request *request, char **ret_line, struct ng_diag *diag);

/** An answer that all went well, with the members of `body`. @param body taken; NULL for none.
 * @return the line, without a newline; NULL where memory is out */
char *ng_answer_ok(json_t *body);

/** An answer that says what went wrong. Bytes that are no UTF-8 become '?'. @return the line,
 * without a newline; NULL where memory is out */
char *ng_answer_error(enum ng_exit code, const char *text);

/** The code that an error of ng_request_parse() goes by. */
enum ng_exit ng_request_error_code(int error);

/**
 * Reads an answer's line: the client's side.
 *
 * @param ret_answer the whole object where it says "ok"; release it by json_decref()
 * @return NG_EXIT_DONE; the answer's code, with its text in diag; NG_EXIT_FAILED where it is none
 */
enum ng_exit ng_answer_parse(
	const char *line, size_t length, json_t **ret_answer, struct ng_diag *diag);

#endif
