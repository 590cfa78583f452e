/*
 * Any bytes as a line of the socket's: as a request, as an answer, and as the state file's text.
 * What is taken as a request must be within its bounds, and be the same when it is encoded and read
 * again; what is refused must say why.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/access.h"
#include "control/daemon/protocol.h"
#include "control/daemon/state.h"
#include "tests/fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_bounds(const struct ng_request *request)
{
	const struct ng_wish *wish = &request->wish;
	const struct ng_settings *settings = &wish->settings;

	MUST((unsigned int)request->op < NG_OPS);
	MUST(request->select.pid >= 0);
	MUST(request->functions.count <= NG_NAMES_MAX);
	MUST(request->op != NG_OP_ATTACH || !request->select.all);
	MUST(request->op == NG_OP_PING || request->op == NG_OP_STATUS ||
		!ng_selector_is_empty(&request->select));
	MUST(request->op != NG_OP_MODE || wish->has_mode);
	MUST((unsigned int)settings->mode < NG_MODES);
	MUST(!wish->has_budget || (settings->budget_ratio >= NG_BUDGET_MIN &&
					  settings->budget_ratio <= NG_BUDGET_MAX));
	MUST(!wish->has_rate || (settings->rate_ratio > 0 && settings->rate_ratio <= 1));
	MUST(settings->lease_ns <= NG_LEASE_MAX_NS);
	MUST(!wish->has_events || settings->events > 0);
	if (wish->has_mode && (settings->mode == NG_MODE_BURST || settings->mode == NG_MODE_FULL))
		MUST(!wish->has_lease || settings->lease_ns > 0);
}

static void check_same(const struct ng_request *request, const struct ng_request *again)
{
	MUST(request->op == again->op);
	MUST(ng_selector_equals(&request->select, &again->select));
	MUST(ng_names_equal(&request->functions, &again->functions));
	MUST(request->wish.has_mode == again->wish.has_mode &&
		request->wish.has_budget == again->wish.has_budget &&
		request->wish.has_lease == again->wish.has_lease &&
		request->wish.has_events == again->wish.has_events &&
		request->wish.has_rate == again->wish.has_rate &&
		request->wish.has_exact == again->wish.has_exact &&
		request->wish.has_follow_forks == again->wish.has_follow_forks);
	MUST(request->wish.settings.mode == again->wish.settings.mode);
	MUST(request->wish.settings.budget_ratio == again->wish.settings.budget_ratio);
	MUST(request->wish.settings.rate_ratio == again->wish.settings.rate_ratio);
	MUST(request->wish.settings.lease_ns == again->wish.settings.lease_ns);
	MUST(request->wish.settings.events == again->wish.settings.events);
}

/* Others than root get nothing beyond what is theirs. */
static void check_access(struct ng_request *request)
{
	const struct ng_access access = {.budget_ratio = 0.01, .max_budget_ratio = 0.02};
	const struct ng_wish *wish = &request->wish;

	if (ng_access_check(&access, 1000, request, NULL) || request->op == NG_OP_PING ||
		request->op == NG_OP_STATUS)
		return;
	MUST(request->select.has_uid && request->select.uid == 1000);
	MUST(!wish->has_budget || wish->settings.budget_ratio <= 0.02);
	MUST(request->op != NG_OP_ATTACH || wish->has_budget);
	MUST(!wish->has_mode || wish->settings.mode == NG_MODE_OFF ||
		wish->settings.mode == NG_MODE_COUNT || wish->settings.mode == NG_MODE_SAMPLED);
}

static void try_request(const char *line, size_t length)
{
	struct ng_request request = {.op = NG_OP_PING}, again = {.op = NG_OP_PING};
	struct ng_diag diag = NG_DIAG_INIT;
	json_t *answer = NULL;
	char *text;
	int error = ng_request_parse(line, length, &request, &diag);

	MUST((error != 0) == (diag.text[0] != '\0'));
	if (error) {
		MUST(ng_request_error_code(error) == NG_EXIT_USAGE);
		text = ng_answer_error(NG_EXIT_USAGE, diag.text);
		MUST(text && !strchr(text, '\n'));
		MUST(ng_answer_parse(text, strlen(text), &answer, NULL) == NG_EXIT_USAGE);
		free(text);
		return;
	}
	check_bounds(&request);
	/* JSON may be shorter than we write it: "\u0001" never gets here, but 1e-3 may grow. */
	error = ng_request_encode(&request, &text, NULL);
	MUST(error == 0 || error == -E2BIG);
	if (!error) {
		MUST(ng_request_parse(text, strlen(text), &again, NULL) == 0);
		check_same(&request, &again);
		ng_request_release(&again);
		free(text);
	}
	check_access(&request);
	ng_request_release(&request);
}

static void try_state(const char *text, size_t length)
{
	const struct ng_state_clock clock = {
		.boot_id = "boot", .boot_ns = 1000000000, .wall_ns = 1000000000};
	struct ng_state state = {0}, again = {0};
	struct ng_diag diag = NG_DIAG_INIT;
	char *written;
	int error = ng_state_parse(text, length, &clock, &state, &diag);

	MUST((error != 0) == (diag.text[0] != '\0'));
	if (error && error != -ESTALE)
		return;
	MUST(state.count <= NG_STATE_ENTRIES_MAX);
	for (size_t i = 0; i < state.count; i++)
		MUST(!state.entries[i].has_lease ||
			(error == 0 && state.entries[i].wish.settings.lease_ns > 0 &&
				state.entries[i].wish.settings.lease_ns <= NG_LEASE_MAX_NS));
	MUST(ng_state_format(&state, &clock, &written, NULL) == 0);
	MUST(ng_state_parse(written, strlen(written), &clock, &again, NULL) == 0);
	MUST(again.count == state.count);
	free(written);
	ng_state_release(&again);
	ng_state_release(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = malloc(size ? size : 1); /* of that size exactly, for ASan */
	json_t *answer = NULL;

	MUST(line);
	memcpy(line, data, size);
	try_request(line, size);
	try_state(line, size);
	if (ng_answer_parse(line, size, &answer, NULL) == NG_EXIT_DONE)
		json_decref(answer);
	free(line);
	return 0;
}
