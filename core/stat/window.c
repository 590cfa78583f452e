#include "core/stat/window.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/base/cleanup.h"
#include "core/stat/quartiles.h"

#define HITS_MIN 16 /* a shorter row says little of the median */

/* An interrupt makes one iteration slow, or two; not this many in a row. */
#define ROW_MIN 4

/* How far an edge reaches: what arming causes came within 20 us of the first hit, what disarming
 * causes within the last two hits. */
#define EDGE_NS 100e3

#define DISTURBED 2 /* times the usual cost: more than what hits differ by among themselves */

/* No edge takes so long: the thread was not on a CPU, and somebody else was. Where no CPU is idle
 * that lasts for a slice, milliseconds. */
#define AWAY_NS 500e3

struct row {
	size_t start; /* in the log, end not included */
	size_t end;
};

static struct row find_row(const struct ng_window_log *log)
{
	struct row row = {0, 0};

	while (row.end < log->count) {
		row.start = row.end++;
		while (row.end < log->count && log->index[row.end] == log->index[row.end - 1] + 1)
			row.end++;
		if (row.end - row.start >= ROW_MIN)
			return row;
	}
	return (struct row){0, 0};
}

/* Sums what disturbed iterations took above the usual cost, from one end of the row inwards. */
static double edge_excess(
	const struct ng_window_log *log, const struct row *row, double usual_ns, bool from_end)
{
	double passed = 0, excess = 0;

	for (size_t i = 0; i < (row->end - row->start) / 2 && passed < EDGE_NS; i++) {
		double ns = (double)log->ns[from_end ? row->end - 1 - i : row->start + i];

		passed += usual_ns;
		if (ns > DISTURBED * usual_ns && ns < AWAY_NS)
			excess += ns - usual_ns;
	}
	return excess;
}

int ng_window_measure(const struct ng_window_log *log, struct ng_window *ret_window)
{
	const struct row row = find_row(log);
	const size_t hits = row.end - row.start;
	NG_CLEANUP_FREE double *values = NULL;
	double usual_ns;

	if (hits < HITS_MIN)
		return -ENODATA;
	values = calloc(hits, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (size_t i = 0; i < hits; i++)
		values[i] = (double)log->ns[row.start + i];
	usual_ns = ng_quartiles_of(values, hits).median;
	*ret_window = (struct ng_window){
		.hits = hits,
		.hit_ns = usual_ns - log->unarmed_ns,
		.edge_ns = edge_excess(log, &row, usual_ns, false) +
			   edge_excess(log, &row, usual_ns, true),
	};
	return 0;
}
