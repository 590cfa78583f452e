/*
 * The daemon's HTTP: who asks gets an answer, now or later, and the connection ends with it.
 *
 * libmicrohttpd without threads, in the daemon's own: nothing blocks, nothing is locked. Everything
 * that a client can make the daemon hold is bounded: the number of connections (others wait in the
 * kernel's queue), a request's head, the time for it, the time for taking the answer.
 */
#ifndef NG_CONTROL_DAEMON_HTTP_H
#define NG_CONTROL_DAEMON_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/daemon/address.h"
#include "core/base/clock.h"
#include "core/base/diag.h"

#define NG_HTTP_CONNECTIONS_MAX	   16
#define NG_HTTP_HEAD_BYTES_MAX	   (16u << 10) /* of a request; libmicrohttpd's memory for it */
#define NG_HTTP_REQUEST_TIMEOUT_NS (5 * NG_NS_PER_S)  /* from connecting to the head's end */
#define NG_HTTP_ANSWER_TIMEOUT_NS  (10 * NG_NS_PER_S) /* until an answer is taken whole */

/** A page that any number of answers can share, at the same time and one after the other. */
struct ng_http_page;

/** @param type its media type @param text taken, also on failure @return NULL: out of memory */
struct ng_http_page *ng_http_page_new(const char *type, char *text, size_t length);

/** Answers that are under way keep what they need. NULL does nothing. */
void ng_http_page_free(struct ng_http_page *page);

/** One request that has not been answered. */
struct ng_http_request;

/** What is asked for: the path, without parameters. Texts are the request's. */
const char *ng_http_path(const struct ng_http_request *request);

/** A parameter ("?pid=7"), or a header. @return NULL: there is none */
const char *ng_http_parameter(const struct ng_http_request *request, const char *name);
const char *ng_http_header(const struct ng_http_request *request, const char *name);

/** Answers, once; a pointer to a request is good until then. @param page NULL: memory is out, and
 * the connection ends without a word */
void ng_http_answer(
	struct ng_http_request *request, unsigned int status, struct ng_http_page *page);

/** Answers a few words, with a newline at their end. */
void ng_http_answer_text(struct ng_http_request *request, unsigned int status, const char *text);

struct ng_http_options {
	struct ng_address address;
	/**
	 * Is asked by GET or HEAD; else libmicrohttpd or this file has answered. What is not
	 * answered before it returns has to be answered later: until then it takes up a connection,
	 * and nothing is read from it.
	 */
	void (*on_request)(struct ng_http_request *request, void *context);
	/** A request that was to be answered later is no more: we close. May be NULL. */
	void (*on_gone)(struct ng_http_request *request, void *context);
	void *context;
	uint64_t request_timeout_ns; /* 0: NG_HTTP_REQUEST_TIMEOUT_NS … */
	uint64_t answer_timeout_ns;  /* … NG_HTTP_ANSWER_TIMEOUT_NS; others are for tests */
};

struct ng_http;

/** Listens. @return 0; -ENOMEM; what ng_address_listen() gave: with the text */
int ng_http_open(
	const struct ng_http_options *options, struct ng_http **ret_http, struct ng_diag *diag);

/** Closes all connections. NULL does nothing. */
void ng_http_free(struct ng_http *http);

/** Where it listens: the port that the kernel chose, too. */
const struct ng_address *ng_http_address(const struct ng_http *http);

/** Readable when ng_http_turn() has something to do. */
int ng_http_event_fd(const struct ng_http *http);

/** When ng_http_turn() has something to do even so: CLOCK_MONOTONIC; UINT64_MAX: never. */
uint64_t ng_http_deadline_ns(const struct ng_http *http);

/** Takes in and sends out whatever can be now; calls on_request. Never blocks. */
void ng_http_turn(struct ng_http *http);

#endif
