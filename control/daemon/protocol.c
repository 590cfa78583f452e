#include "control/daemon/protocol.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"

static const char *const op_names[NG_OPS] = {
	[NG_OP_PING] = "ping",
	[NG_OP_ATTACH] = "attach",
	[NG_OP_DETACH] = "detach",
	[NG_OP_MODE] = "mode",
	[NG_OP_STATUS] = "status",
	[NG_OP_SNAPSHOT] = "snapshot",
	[NG_OP_CALLERS] = "callers",
};

void ng_request_release(struct ng_request *request)
{
	ng_selector_release(&request->select);
	ng_names_release(&request->functions);
	*request = (struct ng_request)NG_REQUEST_INIT;
}

const char *ng_op_name(enum ng_op op)
{
	return (unsigned int)op < NG_OPS ? op_names[op] : "unknown";
}

static int parse_op(json_t *root, enum ng_op *ret_op, struct ng_diag *diag)
{
	const char *name = json_string_value(json_object_get(root, "op"));

	if (!name)
		return ng_diag_set(diag, -EINVAL, "op is missing, or not a string");
	for (unsigned int op = 0; op < NG_OPS; op++) {
		if (strcmp(name, op_names[op]))
			continue;
		*ret_op = (enum ng_op)op;
		return 0;
	}
	return ng_diag_set(diag, -EINVAL,
		"op is '%.64s', can be attach, detach, mode, status, snapshot, callers or "
		"ping",
		name);
}

static int parse_version(json_t *root, struct ng_diag *diag)
{
	json_t *version = json_object_get(root, "v");

	if (!json_is_integer(version))
		return ng_diag_set(diag, -EINVAL, "v, the protocol's version, is missing");
	if (json_integer_value(version) == NG_PROTOCOL_VERSION)
		return 0;
	return ng_diag_set(diag, -EPROTONOSUPPORT, "v is %lld, and %d is spoken here",
		(long long)json_integer_value(version), NG_PROTOCOL_VERSION);
}

/* The keys that each operation takes, beside "v" and "op". */
static const char *const op_keys[NG_OPS][6] = {
	[NG_OP_PING] = {"v", "op"},
	[NG_OP_ATTACH] = {"v", "op", "select", "functions", "settings"},
	[NG_OP_DETACH] = {"v", "op", "select"},
	[NG_OP_MODE] = {"v", "op", "select", "settings"},
	[NG_OP_STATUS] = {"v", "op", "select"},
	[NG_OP_SNAPSHOT] = {"v", "op", "select"},
	[NG_OP_CALLERS] = {"v", "op", "select"},
};

/* What the members' own readers cannot know: what the operation needs of them. */
static int check_request(const struct ng_request *request, bool has_select, struct ng_diag *diag)
{
	const char *op = op_names[request->op];

	if (!has_select && request->op != NG_OP_PING && request->op != NG_OP_STATUS)
		return ng_diag_set(diag, -EINVAL, "%s needs select: which processes?", op);
	if (request->op == NG_OP_ATTACH && request->select.all)
		return ng_diag_set(diag, -EINVAL,
			"attach cannot have all: name a pid, exe, comm, cgroup or uid");
	if ((request->op == NG_OP_SNAPSHOT || request->op == NG_OP_CALLERS) && !request->select.pid)
		return ng_diag_set(diag, -EINVAL, "%s is of one process: select needs a pid", op);
	if (request->op != NG_OP_MODE)
		return 0;
	if (!request->wish.has_mode)
		return ng_diag_set(diag, -EINVAL, "mode needs settings with a mode");
	if (request->wish.has_follow_forks)
		return ng_diag_set(diag, -EINVAL,
			"follow_forks goes with attach only: detach and attach again");
	return 0;
}

static int parse_object(json_t *root, struct ng_request *request, struct ng_diag *diag)
{
	json_t *select = json_object_get(root, "select");
	json_t *functions = json_object_get(root, "functions");
	json_t *settings = json_object_get(root, "settings");
	int error = parse_version(root, diag);

	if (!error)
		error = parse_op(root, &request->op, diag);
	if (!error)
		error = ng_wire_check_keys(root, op_names[request->op], op_keys[request->op], diag);
	if (!error && select)
		error = ng_wire_get_selector(select, &request->select, diag);
	if (!error && functions)
		error = ng_wire_get_functions(functions, &request->functions, diag);
	if (!error && settings)
		error = ng_wire_get_wish(settings, &request->wish, diag);
	return error ? error : check_request(request, select, diag);
}

int ng_request_parse(
	const char *line, size_t length, struct ng_request *ret_request, struct ng_diag *diag)
{
	struct ng_request request = NG_REQUEST_INIT;
	json_error_t why;
	json_t *root;
	int error;

	if (length > NG_REQUEST_BYTES_MAX)
		return ng_diag_set(diag, -E2BIG, "the request is too long: %d bytes at most",
			NG_REQUEST_BYTES_MAX);
	root = json_loadb(line, length, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return ng_diag_set(diag, -EINVAL, "the request is not JSON: %s (byte %d)", why.text,
			why.position);
	if (json_is_object(root))
		error = parse_object(root, &request, diag);
	else
		error = ng_diag_set(diag, -EINVAL, "the request is not a JSON object");
	json_decref(root);
	if (error)
		ng_request_release(&request);
	else
		*ret_request = request;
	return error;
}

/* Sets a member; takes the value, and fails where there is none. */
static int put(json_t *root, const char *key, json_t *value, struct ng_diag *diag)
{
	if (!json_object_set_new(root, key, value))
		return 0;
	return ng_diag_set(diag, -EINVAL, "%s cannot be sent: a text in it is not UTF-8", key);
}

static bool has_settings(const struct ng_wish *wish)
{
	return wish->has_mode || wish->has_budget || wish->has_lease || wish->has_events ||
	       wish->has_rate || wish->has_exact || wish->has_record || wish->has_follow_forks;
}

int ng_request_encode(const struct ng_request *request, char **ret_line, struct ng_diag *diag)
{
	json_t *root =
		json_pack("{s:i, s:s}", "v", NG_PROTOCOL_VERSION, "op", ng_op_name(request->op));
	char *line;
	int error = root ? 0 : -ENOMEM;

	if (!error && !ng_selector_is_empty(&request->select))
		error = put(root, "select", ng_wire_selector(&request->select), diag);
	if (!error && request->functions.count)
		error = put(root, "functions", ng_wire_functions(&request->functions), diag);
	if (!error && has_settings(&request->wish))
		error = put(root, "settings", ng_wire_wish(&request->wish), diag);
	line = error ? NULL : json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (error)
		return error;
	if (!line)
		return -ENOMEM;
	if (strlen(line) > NG_REQUEST_BYTES_MAX) {
		free(line);
		return ng_diag_set(diag, -E2BIG, "the request is too long: %d bytes at most",
			NG_REQUEST_BYTES_MAX);
	}
	*ret_line = line;
	return 0;
}

/* Takes the object. */
static char *dump(json_t *root)
{
	char *line = root ? json_dumps(root, JSON_COMPACT) : NULL;

	json_decref(root);
	return line;
}

char *ng_answer_ok(json_t *body)
{
	json_t *root = json_pack("{s:i, s:b}", "v", NG_PROTOCOL_VERSION, "ok", 1);
	const bool is_bad = !root || (body && json_object_update(root, body));

	json_decref(body);
	if (is_bad) {
		json_decref(root);
		return NULL;
	}
	return dump(root);
}

char *ng_answer_error(enum ng_exit code, const char *text)
{
	NG_CLEANUP_FREE char *clean = strdup(text);
	json_t *string = clean ? json_string(clean) : NULL;

	/* A text that a diagnosis has cut, or a name from the system, need not be UTF-8. */
	for (char *at = clean; !string && at && *at; at++) {
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	}
	if (!string && clean)
		string = json_string(clean);
	return dump(json_pack("{s:i, s:b, s:{s:i, s:o}}", "v", NG_PROTOCOL_VERSION, "ok", 0,
		"error", "code", (int)code, "text", string));
}

enum ng_exit ng_request_error_code(int error)
{
	switch (error) {
	case 0:
		return NG_EXIT_DONE;
	case -E2BIG:
	case -EINVAL:
	case -ERANGE:
	case -EPROTONOSUPPORT:
		return NG_EXIT_USAGE;
	default:
		return ng_exit_code(error);
	}
}

enum ng_exit ng_answer_parse(
	const char *line, size_t length, json_t **ret_answer, struct ng_diag *diag)
{
	json_t *root = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	json_t *version = json_object_get(root, "v"), *ok = json_object_get(root, "ok");
	json_t *code = json_object_get(json_object_get(root, "error"), "code");
	const char *text =
		json_string_value(json_object_get(json_object_get(root, "error"), "text"));
	enum ng_exit ret = NG_EXIT_FAILED;

	if (json_is_integer(version) && json_integer_value(version) != NG_PROTOCOL_VERSION) {
		(void)ng_diag_set(diag, -EPROTONOSUPPORT,
			"the daemon speaks version %lld of the protocol, not %d: it is another "
			"nowgate than this one; restart it",
			(long long)json_integer_value(version), NG_PROTOCOL_VERSION);
	} else if (json_is_integer(version) && json_is_true(ok)) {
		*ret_answer = root;
		return NG_EXIT_DONE;
	} else if (json_is_integer(version) && json_is_false(ok) && text &&
		   json_integer_value(code) > 0 && json_integer_value(code) < 256) {
		(void)ng_diag_set(diag, -EPROTO, "%s", text);
		ret = (enum ng_exit)json_integer_value(code);
	} else {
		(void)ng_diag_set(diag, -EPROTO, "what the daemon answered is no answer");
	}
	json_decref(root);
	return ret;
}
