#include "control/daemon/answers.h"

#include <errno.h>

#include "control/daemon/daemon_flight.h"
#include "control/plane/losses.h"
#include "control/plane/member_json.h"
#include "core/base/clock.h"

struct collecting {
	const struct ng_selector *select;
	json_t *targets;
};

static int collect(const struct ng_member_report *report, void *context)
{
	struct collecting *collecting = context;
	const struct ng_selector *select = collecting->select;

	if (!select->all && !ng_selector_is_empty(select) && !ng_fleet_selects(select, report->pid))
		return 0;
	return json_array_append_new(
		       collecting->targets, ng_member_to_json(report, NG_MEMBER_RATE_NOW))
		       ? -ENOMEM
		       : 0;
}

int ng_answer_status(struct ng_daemon *daemon, const struct ng_selector *select, json_t **ret_body)
{
	struct collecting collecting = {.select = select, .targets = json_array()};
	uint64_t lost[NG_LOSSES];
	int error =
		collecting.targets ? ng_fleet_report(daemon->fleet, collect, &collecting) : -ENOMEM;

	if (!error)
		error = ng_daemon_lost(daemon, lost);
	if (error) {
		json_decref(collecting.targets);
		return error;
	}
	*ret_body = json_pack("{s:I, s:I, s:o, s:o}", "now_ns", (json_int_t)ng_clock_ns(),
		"started_ns", (json_int_t)daemon->started_ns, "targets", collecting.targets, "lost",
		ng_losses_json(lost, NG_LOSSES));
	return *ret_body ? 0 : -ENOMEM;
}
