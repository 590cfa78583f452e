#include "control/daemon/daemon_profiles.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/number.h"

#define SECONDS_MAX	300
#define SECONDS_DEFAULT "30" /* as Go's own /debug/pprof/profile */
#define USAGE		"Ask for /profile?pid=PID&seconds=30, of a process that nowgate traces.\n"

/* A target, as far as a recording needs to know it. */
struct wanted_target {
	pid_t pid;
	bool is_there;
	double budget_ratio;
	const char *functions[NG_RECORDING_FUNCTIONS_MAX]; /* the member's */
	size_t function_count;
};

static int look_for_target(const struct ng_member_report *report, void *context)
{
	struct wanted_target *target = context;

	if (report->pid != target->pid || report->ended)
		return 0;
	target->is_there = true;
	target->budget_ratio = report->settings.budget_ratio;
	for (size_t i = 0; i < report->function_count && i < NG_RECORDING_FUNCTIONS_MAX; i++)
		target->functions[target->function_count++] = report->functions[i].name;
	return 0;
}

static struct daemon_profile *find_free(struct ng_daemon *daemon)
{
	for (size_t i = 0; i < NG_DAEMON_PROFILES_MAX; i++) {
		if (!daemon->http.profiles[i].request)
			return &daemon->http.profiles[i];
	}
	return NULL;
}

static bool is_recorded(const struct ng_daemon *daemon, pid_t pid)
{
	for (size_t i = 0; i < NG_DAEMON_PROFILES_MAX; i++) {
		if (daemon->http.profiles[i].request && daemon->http.profiles[i].pid == pid)
			return true;
	}
	return false;
}

/* What is wrong is answered. @return false then */
static bool read_parameters(
	struct ng_http_request *request, pid_t *ret_pid, unsigned int *ret_seconds)
{
	const char *pid_text = ng_http_parameter(request, "pid");
	const char *seconds_text = ng_http_parameter(request, "seconds");
	struct ng_diag diag = NG_DIAG_INIT;
	uint64_t pid, seconds;
	char text[NG_DIAG_SIZE + sizeof(USAGE)];

	if (pid_text && !ng_number_parse(pid_text, (struct ng_range){1, INT32_MAX}, &pid, &diag) &&
		!ng_number_parse(seconds_text ? seconds_text : SECONDS_DEFAULT,
			(struct ng_range){1, SECONDS_MAX}, &seconds, &diag)) {
		*ret_pid = (pid_t)pid;
		*ret_seconds = (unsigned int)seconds;
		return true;
	}
	(void)snprintf(text, sizeof(text), "%s%s%s", diag.text, diag.text[0] ? "\n" : "", USAGE);
	ng_http_answer_text(request, 400, text);
	return false;
}

static void start(struct ng_daemon *daemon, struct ng_http_request *request,
	const struct wanted_target *target, unsigned int seconds)
{
	const struct ng_recording_options options = {.pid = target->pid,
		.seconds = seconds,
		.budget_ratio = target->budget_ratio,
		.functions = target->functions,
		.function_count = target->function_count};
	struct daemon_profile *profile = find_free(daemon);
	struct ng_diag diag = NG_DIAG_INIT;

	if (!profile || is_recorded(daemon, target->pid)) {
		ng_http_answer_text(request, 503,
			profile ? "A profile of this process is being taken. Ask again later.\n"
				: "Enough profiles are being taken. Ask again later.\n");
		return;
	}
	if (ng_recording_start(&options, &profile->recording, &diag)) {
		ng_daemon_log(daemon, NG_LOG_WARNING, "%s", diag.text);
		ng_http_answer_text(request, 503, "No profile can be taken now: see the log.\n");
		return;
	}
	profile->pid = target->pid;
	profile->request = request;
	ng_daemon_log(daemon, NG_LOG_INFO, "process %d: a profile of %u s is taken", target->pid,
		seconds);
}

void ng_daemon_answer_profile(struct ng_daemon *daemon, struct ng_http_request *request)
{
	struct wanted_target target = {.pid = 0};
	unsigned int seconds;

	if (!read_parameters(request, &target.pid, &seconds))
		return;
	if (ng_fleet_report(daemon->fleet, look_for_target, &target))
		ng_http_answer_text(request, 503, "No profile can be taken now.\n");
	else if (!target.is_there)
		ng_http_answer_text(request, 404,
			"nowgate traces no such process. `nowgate status` says which.\n");
	else
		start(daemon, request, &target, seconds);
}

void ng_daemon_forget_profile(struct ng_daemon *daemon, const struct ng_http_request *request)
{
	for (size_t i = 0; i < NG_DAEMON_PROFILES_MAX; i++) {
		struct daemon_profile *profile = &daemon->http.profiles[i];

		if (profile->request != request)
			continue;
		ng_recording_free(profile->recording);
		*profile = (struct daemon_profile){.request = NULL};
	}
}

static void answer(struct ng_http_request *request, char *bytes, size_t length)
{
	struct ng_http_page *page = ng_http_page_new("application/octet-stream", bytes, length);

	ng_http_answer(request, 200, page);
	ng_http_page_free(page);
}

static void answer_failure(struct ng_daemon *daemon, const struct daemon_profile *profile,
	int error, const struct ng_diag *diag)
{
	char text[NG_DIAG_SIZE + 1];

	ng_daemon_log(
		daemon, NG_LOG_WARNING, "process %d: no profile: %s", profile->pid, diag->text);
	(void)snprintf(text, sizeof(text), "%s\n", diag->text);
	ng_http_answer_text(profile->request, error == -ESRCH ? 404 : 500, text);
}

void ng_daemon_profiles_turn(struct ng_daemon *daemon)
{
	for (size_t i = 0; i < NG_DAEMON_PROFILES_MAX; i++) {
		struct daemon_profile *profile = &daemon->http.profiles[i];
		struct ng_diag diag = NG_DIAG_INIT;
		char *bytes;
		size_t length;
		int error;

		if (!profile->request)
			continue;
		error = ng_recording_take(profile->recording, &bytes, &length, &diag);
		if (error == -EAGAIN)
			continue;
		if (error)
			answer_failure(daemon, profile, error, &diag);
		else
			answer(profile->request, bytes, length);
		ng_recording_free(profile->recording);
		*profile = (struct daemon_profile){.request = NULL};
	}
}
