/* Traces under test: a folder for them, and calls that follow from their number. For tests by
 * cmocka. */
#ifndef NG_TESTS_OUT_TRACING_H
#define NG_TESTS_OUT_TRACING_H

#include <stdint.h>

#include "core/out/trace.h"
#include "tests/out/traced.h"

#define TRACING_FORMATS 3

/* A new folder for each test: for cmocka_unit_test_setup_teardown(). */
int tracing_make_folder(void **state);
int tracing_remove_folder(void **state);
const char *tracing_folder(void);

/** A path in it for a trace; until it is called again. */
const char *tracing_path(enum ng_trace_format format);

/* What fails in one of these fails the test. */
struct ng_trace *tracing_opened(const struct ng_trace_options *options);
struct ng_trace *tracing_opened_as(enum ng_trace_format format);
void tracing_must_write(struct ng_trace *trace, const struct ng_trace_event *event);
void tracing_must_close(struct ng_trace *trace, struct ng_trace_totals *ret_totals);

/** The i-th of many calls, of 3 threads; its stack is new each 100. @param room of its caller's
 * name */
struct ng_trace_event tracing_numbered(uint64_t i, char room[32]);

/** Writes those from begin to before end: what is lost is counted. */
void tracing_write_numbered(struct ng_trace *trace, uint64_t begin, uint64_t end);
void tracing_assert_numbered(const struct traced_call *call, uint64_t i);

/** What was lost by a cause. */
uint64_t tracing_lost_to(const struct ng_trace_totals *totals, const char *cause);

#endif
