#include "control/daemon/access.h"

#include <errno.h>

static int check_selector(uid_t uid, struct ng_selector *select, struct ng_diag *diag)
{
	if (select->has_uid && select->uid != uid)
		return ng_diag_set(diag, -EPERM,
			"processes of uid %u are not yours: you are uid %u; ask root", select->uid,
			uid);
	select->has_uid = true;
	select->uid = uid;
	return 0;
}

static int check_wish(
	const struct ng_access *access, const struct ng_request *request, struct ng_diag *diag)
{
	const struct ng_wish *wish = &request->wish;

	if (wish->has_mode &&
		(wish->settings.mode == NG_MODE_BURST || wish->settings.mode == NG_MODE_FULL))
		return ng_diag_set(diag, -EBUSY,
			"mode %s goes over the budget, and only root may do that; try sampled",
			ng_mode_name(wish->settings.mode));
	if (wish->has_exact && wish->settings.exact)
		return ng_diag_set(diag, -EBUSY,
			"exact goes over the budget where it has to, and only root may do that");
	if (wish->has_rate)
		return ng_diag_set(diag, -EBUSY,
			"a rate of your own can go over the budget, and only root may do that");
	if (wish->has_budget && wish->settings.budget_ratio > access->max_budget_ratio)
		return ng_diag_set(diag, -EBUSY,
			"a budget of %g %% is more than the %g %% that the daemon's max_budget "
			"leaves to others than root",
			wish->settings.budget_ratio * 100, access->max_budget_ratio * 100);
	return 0;
}

int ng_access_check(
	const struct ng_access *access, uid_t uid, struct ng_request *request, struct ng_diag *diag)
{
	struct ng_wish *wish = &request->wish;
	int error;

	if (uid == 0 || request->op == NG_OP_PING || request->op == NG_OP_STATUS ||
		request->op == NG_OP_SNAPSHOT || request->op == NG_OP_CALLERS)
		return 0; /* whose process it is is asked for beside */
	if (!(access->max_budget_ratio > 0))
		return ng_diag_set(diag, -EPERM,
			"%s is root's: the daemon's max_budget leaves nothing to others",
			ng_op_name(request->op));
	error = check_wish(access, request, diag);
	if (!error)
		error = check_selector(uid, &request->select, diag);
	if (error || request->op != NG_OP_ATTACH || wish->has_budget)
		return error;
	wish->has_budget = true;
	wish->settings.budget_ratio = access->budget_ratio < access->max_budget_ratio
					      ? access->budget_ratio
					      : access->max_budget_ratio;
	return 0;
}

int ng_access_check_process(
	uid_t uid, pid_t pid, const struct ng_owner *owner, struct ng_diag *diag)
{
	if (uid == 0 || (owner->real == uid && owner->effective == uid && owner->saved == uid))
		return 0;
	return ng_diag_set(diag, -EPERM,
		"process %d is not yours: it runs as uid %u, you are uid %u; ask root", pid,
		owner->effective, uid);
}
