/* What `nowgate stat` prints: a table, or JSON. */
#ifndef NG_CONTROL_CLI_STAT_PRINT_H
#define NG_CONTROL_CLI_STAT_PRINT_H

#include <stdio.h>

#include "control/engine/calibrate.h"
#include "control/plane/session.h"

/** What a report is printed with. */
struct ng_stat_print {
	FILE *file;
	const struct ng_calibration *calibration; /* NULL: costs are not known */
};

/** Prints the table of a whole run. */
void ng_stat_print_table(const struct ng_stat_print *print, const struct ng_report *report);

/** Prints one JSON document. @return 0; -ENOMEM; what writing gave */
int ng_stat_print_json(const struct ng_stat_print *print, const struct ng_report *report);

/** Prints one interval, as lines of a table or one line of JSON; `before` is the report that the
 * interval starts from. */
void ng_stat_print_interval(const struct ng_stat_print *print, const struct ng_report *before,
	const struct ng_report *now);
int ng_stat_print_interval_json(const struct ng_stat_print *print, const struct ng_report *before,
	const struct ng_report *now);

#endif
