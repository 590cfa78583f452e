/* What metrics are made of; for the files of the metrics alone. */
#ifndef NG_CONTROL_DAEMON_METRICS_INSIDE_H
#define NG_CONTROL_DAEMON_METRICS_INSIDE_H

#include <stdbool.h>
#include <sys/types.h>

#include "control/daemon/metrics.h"

/** What is remembered of a target, and what is told of it now. */
struct ng_metrics_target {
	pid_t pid;
	uint64_t since_ns;		       /* another of its pid was attached at another time */
	double calls[NG_MEMBER_FUNCTIONS_MAX]; /* as told last */
	bool is_shown;
	double score; /* those with most are shown */
};

/** A scrape that is being written; `metrics` has taken it in. */
struct ng_metrics_page {
	const struct ng_metrics *metrics;
	const struct ng_metrics_scrape *scrape;
	struct ng_openmetrics writer;
};

/** Writes everything. */
void ng_metrics_put(struct ng_metrics_page *page);

#endif
