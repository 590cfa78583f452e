/*
 * Metrics as monitoring systems scrape them: Prometheus's text format 0.0.4 and OpenMetrics 1.0.0,
 * family by family. They differ in what a counter's family is called, in units and in the end.
 */
#ifndef NG_CORE_OUT_OPENMETRICS_H
#define NG_CORE_OUT_OPENMETRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/out/buffer.h"

enum ng_openmetrics_format {
	NG_OPENMETRICS_TEXT = 0, /* Prometheus's, 0.0.4 */
	NG_OPENMETRICS_1 = 1,	 /* OpenMetrics 1.0.0 */
};

#define NG_OPENMETRICS_FORMATS 2

enum ng_metric_kind {
	NG_METRIC_GAUGE,
	NG_METRIC_COUNTER, /* samples are called NAME_total; never negative */
	NG_METRIC_INFO,	   /* samples are called NAME_info, and are 1; a gauge in the text format */
};

struct ng_metric_family {
	const char *name; /* without _total or _info */
	enum ng_metric_kind kind;
	const char *unit; /* what the name ends with: "seconds"; NULL: none */
	const char *help; /* one sentence */
};

struct ng_metric_label {
	const char *name;
	const char *value; /* any bytes: what is no UTF-8 becomes U+FFFD, controls but \n a space */
};

struct ng_metric_labels {
	const struct ng_metric_label *items;
	size_t count;
};

/** A text that is being written. Errors are kept by the buffer. */
struct ng_openmetrics {
	struct ng_buffer *buffer; /* borrowed */
	enum ng_openmetrics_format format;
	const struct ng_metric_family *family; /* the one that samples are of … */
	bool has_begun;			       /* … and whether it has any */
};

/** The next family; each once. One without samples leaves nothing in the text. */
void ng_openmetrics_family(struct ng_openmetrics *writer, const struct ng_metric_family *family);

/** A sample of the family; its labels are its own among them. */
void ng_openmetrics_put(
	struct ng_openmetrics *writer, const struct ng_metric_labels *labels, double value);

/** Behind the last sample. */
void ng_openmetrics_end(struct ng_openmetrics *writer);

/** What goes into the header Content-Type. */
const char *ng_openmetrics_type(enum ng_openmetrics_format format);

/** The format that a header Accept asks for; OpenMetrics only where it is named, and not liked less
 * than text. @param accept NULL: there is none */
enum ng_openmetrics_format ng_openmetrics_choose(const char *accept);

#endif
