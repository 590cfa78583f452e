#include "control/daemon/daemon_requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "control/daemon/access.h"
#include "control/daemon/answers.h"
#include "control/daemon/daemon_flight.h"
#include "control/daemon/daemon_state.h"
#include "control/target/process.h"

static int answer_attach(struct ng_daemon *daemon, const struct daemon_asked *asked,
	json_t **ret_body, struct ng_diag *diag)
{
	const struct ng_request *request = asked->request;
	const struct ng_settings base = ng_daemon_default_settings(daemon);
	const struct ng_settings settings = ng_wish_apply(&request->wish, &base);
	uint32_t id;
	size_t count;
	int error;

	if (ng_fleet_find(daemon->fleet, &request->select))
		return ng_diag_set(diag, -EEXIST,
			"the same processes are attached already: `nowgate mode` changes how, "
			"`nowgate detach` ends it");
	error = ng_daemon_attach(
		daemon, &request->select, &request->functions, &settings, &id, &count, diag);
	if (error)
		return error;
	ng_daemon_keep(daemon, asked);
	*ret_body = json_pack("{s:I, s:I}", "id", (json_int_t)id, "processes", (json_int_t)count);
	return 0;
}

static int answer_detach(struct ng_daemon *daemon, const struct daemon_asked *asked,
	json_t **ret_body, struct ng_diag *diag)
{
	const struct ng_selector *select = &asked->request->select;
	uint32_t id;
	size_t count = 0;

	while ((id = ng_fleet_find(daemon->fleet, select))) {
		(void)ng_fleet_detach(daemon->fleet, id, NULL); /* it was just found */
		count++;
	}
	if (!count)
		return ng_diag_set(diag, -ESRCH,
			"nothing was attached by these words: `nowgate status` shows what is");
	ng_daemon_keep(daemon, asked);
	*ret_body = json_pack("{s:I}", "detached", (json_int_t)count);
	return 0;
}

static int answer_mode(struct ng_daemon *daemon, const struct daemon_asked *asked,
	json_t **ret_body, struct ng_diag *diag)
{
	const struct ng_request *request = asked->request;
	const size_t count = ng_fleet_set(daemon->fleet, &request->select, &request->wish);

	if (!count && !ng_fleet_find(daemon->fleet, &request->select))
		return ng_diag_set(diag, -ESRCH,
			"no attached process matches: `nowgate status` shows those that are, "
			"`nowgate attach` adds one");
	ng_daemon_keep(daemon, asked);
	*ret_body = json_pack("{s:I}", "processes", (json_int_t)count);
	return 0;
}

static int answer(struct ng_daemon *daemon, const struct daemon_asked *asked, json_t **ret_body,
	struct ng_diag *diag)
{
	switch (asked->request->op) {
	case NG_OP_ATTACH:
		return answer_attach(daemon, asked, ret_body, diag);
	case NG_OP_DETACH:
		return answer_detach(daemon, asked, ret_body, diag);
	case NG_OP_MODE:
		return answer_mode(daemon, asked, ret_body, diag);
	case NG_OP_STATUS:
		return ng_answer_status(daemon, &asked->request->select, ret_body);
	case NG_OP_SNAPSHOT:
		return ng_answer_snapshot(daemon, asked->request->select.pid, ret_body, diag);
	case NG_OP_CALLERS:
		return ng_answer_callers(daemon, asked->request->select.pid, ret_body, diag);
	default:
		*ret_body = json_pack("{s:s, s:i}", "version", NG_VERSION, "pid", (int)getpid());
		return 0;
	}
}

/* May they? A request by pid is looked at more closely: the process may be no longer theirs alone.
 */
static int check_access(
	const struct ng_daemon *daemon, const struct daemon_asked *asked, struct ng_diag *diag)
{
	const struct ng_access access = {.budget_ratio = daemon->config.budget_ratio,
		.max_budget_ratio = daemon->config.max_budget_ratio};
	struct ng_request *request = asked->request;
	struct ng_owner owner;
	int error = ng_access_check(&access, asked->peer->uid, request, diag);

	if (error || !request->select.pid || request->op == NG_OP_STATUS)
		return error;
	/* What is kept of a process that has ended is root's. */
	if (asked->peer->uid == 0 &&
		(request->op == NG_OP_SNAPSHOT || request->op == NG_OP_CALLERS))
		return 0;
	error = ng_process_owner(request->select.pid, &owner);
	if (error)
		return ng_diag_set(diag, error, "there is no process %d", request->select.pid);
	return ng_access_check_process(asked->peer->uid, request->select.pid, &owner, diag);
}

static void log_change(struct ng_daemon *daemon, const struct daemon_asked *asked, int error,
	const struct ng_diag *diag)
{
	char *line = NULL;

	if (asked->request->op == NG_OP_STATUS || asked->request->op == NG_OP_PING ||
		asked->request->op == NG_OP_CALLERS)
		return;
	(void)ng_request_encode(asked->request, &line, NULL); /* out of memory: less is told */
	ng_daemon_log(daemon, NG_LOG_INFO, "uid %u, pid %d: %s: %s", asked->peer->uid,
		asked->peer->pid, line ? line : ng_op_name(asked->request->op),
		error ? diag->text : "done");
	free(line);
}

void ng_daemon_on_request(const struct ng_request *request, const struct ng_peer *peer,
	char **ret_answer, void *context)
{
	struct ng_daemon *daemon = context;
	/* Narrowed on the way to what others than root may ask for; the server's own after that. */
	const struct daemon_asked asked = {.request = (struct ng_request *)request, .peer = peer};
	struct ng_diag diag = NG_DIAG_INIT;
	json_t *body = NULL;
	int error = check_access(daemon, &asked, &diag);

	if (!error)
		error = answer(daemon, &asked, &body, &diag);
	/* Before anybody is told: should we stand still from here on, the lease ends all the same.
	 */
	ng_watchdog_set_deadline(daemon->watchdog, ng_fleet_deadline(daemon->fleet));
	log_change(daemon, &asked, error, &diag);
	*ret_answer = error ? ng_answer_error(ng_exit_code(error),
				      diag.text[0] ? diag.text : strerror(-error))
			    : ng_answer_ok(body);
}
