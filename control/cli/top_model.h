/*
 * What `nowgate top` shows: the daemon's targets in an order, one of them selected, and the callers
 * of one. Knows nothing of terminals.
 */
#ifndef NG_CONTROL_CLI_TOP_MODEL_H
#define NG_CONTROL_CLI_TOP_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

enum ng_top_order {
	NG_TOP_BY_RATE,
	NG_TOP_BY_COST, /* what tracing takes now */
	NG_TOP_BY_PID,
	NG_TOP_ORDERS,
};

/** A target; texts belong to the answer that the model holds. */
struct ng_top_row {
	pid_t pid;
	const char *exe;
	const char *mode;
	double lease_s;	     /* for how long still; 0: no end */
	double rate_hz;	     /* of all its functions, calls/s */
	bool is_measured;    /* else the rate is not known now */
	bool is_estimate;    /* it lies between these two */
	double rate_low_hz;  /* … */
	double rate_high_hz; /* may be infinite */
	double budget_ratio;
	double now_ratio;    /* of its CPU time that tracing takes */
	double minute_ratio; /* the same over the last minute */
	double hits;
	double lost;
	bool has_ended;
	json_t *functions;
};

struct ng_top {
	enum ng_top_order order;
	json_t *answer; /* owned; NULL: there was none yet */
	struct ng_top_row *rows;
	size_t count;
	pid_t selected; /* 0: none */
};

void ng_top_release(struct ng_top *top);

/** Takes in what `status` answered. The selected process stays so while it is there.
 * @param answer taken, also on failure @return 0; -ENOMEM */
int ng_top_take(struct ng_top *top, json_t *answer);

void ng_top_set_order(struct ng_top *top, enum ng_top_order order);
const char *ng_top_order_name(enum ng_top_order order);

/** The selected row's index; 0 where none is selected. */
size_t ng_top_selected(const struct ng_top *top);

/** Selects the row so many further on, or the last one that way. */
void ng_top_move(struct ng_top *top, long by);

/** The rows as one JSON document. @return NULL: no memory */
json_t *ng_top_json(const struct ng_top *top);

/** Who calls, most first. */
struct ng_top_caller {
	char *function; /* owned */
	char *file;	/* owned; NULL: not known */
	unsigned int line;
	double calls;
};

struct ng_top_callers {
	struct ng_top_caller *items;
	size_t count;
	double calls; /* of all of them */
};

void ng_top_callers_release(struct ng_top_callers *callers);

/** Takes what `callers` answered, in place of what there is. @return 0; -EINVAL it is none; -ENOMEM
 */
int ng_top_callers_take(struct ng_top_callers *callers, const json_t *answer);

#endif
