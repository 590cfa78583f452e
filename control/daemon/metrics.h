/*
 * What the fleet knows, as metrics: reports in, a text out. Pure; the clock and /proc are read by
 * who collects the facts.
 *
 * A counter never goes back. Estimates do at times, when later windows say that earlier ones said
 * too much: then what is told stands still until they have caught up. So what was told last is
 * remembered of each target.
 *
 * The number of series is bounded. Of more targets than may have some, those that call most have
 * them; one that has them keeps them until another calls twice as much. A target's counters are its
 * own since it was attached, so series that come back go on where they would be.
 */
#ifndef NG_CONTROL_DAEMON_METRICS_H
#define NG_CONTROL_DAEMON_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "control/plane/losses.h"
#include "control/plane/member.h"
#include "core/out/openmetrics.h"

/** What is told of the daemon itself; and the clocks. */
struct ng_metrics_facts {
	const char *version;
	size_t attachments;
	uint64_t lost[NG_LOSSES];
	double cpu_seconds;
	double resident_bytes;
	double start_seconds; /* Unix time */
	uint64_t now_ns;      /* CLOCK_MONOTONIC, at … */
	double now_seconds;   /* … this Unix time */
};

/** Zeroed it remembers nothing. */
struct ng_metrics {
	struct ng_metrics_target *targets; /* of the last scrape, in its order */
	size_t target_count;
};

void ng_metrics_release(struct ng_metrics *metrics);

struct ng_metrics_scrape {
	const struct ng_metrics_facts *facts;
	const struct ng_member_report *reports; /* oldest first, as ng_fleet_report() gives them */
	size_t report_count;
	size_t targets_max; /* that have series of their own */
};

/** Takes in what is known now. @return 0; -ENOMEM */
int ng_metrics_take(struct ng_metrics *metrics, const struct ng_metrics_scrape *scrape);

/**
 * Writes what was taken in last.
 *
 * @param scrape the same
 * @param ret_text to be freed
 * @return 0; -ENOMEM
 */
int ng_metrics_write(const struct ng_metrics *metrics, const struct ng_metrics_scrape *scrape,
	enum ng_openmetrics_format format, char **ret_text);

#endif
