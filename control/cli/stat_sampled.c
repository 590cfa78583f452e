#include "control/cli/stat_sampled.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "control/cli/member_print.h"
#include "control/plane/fleet.h"
#include "core/base/clock.h"

static void print_note(const char *note, void *context)
{
	const struct ng_stat_sampled *run = context;

	fprintf(stderr, "nowgate %s: %s\n", run->name, note);
}

static int attach_one(struct ng_fleet *fleet, const struct ng_stat_sampled *run,
	const struct ng_selector *selector, struct ng_diag *diag)
{
	const struct ng_attachment attachment = {
		.selector = *selector, .wanted = run->wanted, .settings = run->settings};
	uint32_t id;
	size_t count;

	return ng_fleet_attach(fleet, &attachment, &id, &count, diag);
}

static int attach_all(
	struct ng_fleet *fleet, const struct ng_stat_sampled *run, struct ng_diag *diag)
{
	int error = 0;

	for (size_t i = 0; !error && i < run->pid_count; i++)
		error = attach_one(fleet, run, &(struct ng_selector){.pid = run->pids[i]}, diag);
	for (size_t i = 0; !error && i < run->exe_count; i++)
		error = attach_one(
			fleet, run, &(struct ng_selector){.exe = (char *)run->exes[i]}, diag);
	return error;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int wait_for_something(
	const struct ng_fleet *fleet, const struct ng_stat_sampled *run, uint64_t until_ns)
{
	struct pollfd fds[] = {{.fd = run->signal_fd, .events = POLLIN},
		{.fd = ng_fleet_event_fd(fleet), .events = POLLIN}};
	const uint64_t now_ns = ng_clock_ns();
	const uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
	const struct timespec timeout = {.tv_sec = (time_t)(wait_ns / NG_NS_PER_S),
		.tv_nsec = (long)(wait_ns % NG_NS_PER_S)};

	if (ppoll(fds, 2, &timeout, NULL) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

/* Was it told to end? A child's end, that of calibration, is none of it. */
static bool is_interrupted(const struct ng_stat_sampled *run)
{
	struct signalfd_siginfo info;

	while (read(run->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGCHLD && info.ssi_signo != SIGIO)
			return true;
	}
	return false;
}

static int print(struct ng_fleet *fleet, const struct ng_stat_sampled *run, uint64_t start_ns)
{
	struct ng_member_print print = {.file = run->file, .elapsed_ns = ng_clock_ns() - start_ns};

	return run->json ? ng_member_print_json(&print, fleet)
			 : ng_member_print_table(&print, fleet);
}

static int loop(struct ng_fleet *fleet, const struct ng_stat_sampled *run)
{
	const uint64_t start_ns = ng_clock_ns();
	const uint64_t end_ns = run->duration_ns ? start_ns + run->duration_ns : UINT64_MAX;
	uint64_t interval_end_ns = run->interval_ns ? start_ns + run->interval_ns : UINT64_MAX;
	uint64_t next_ns = 0;
	int error = 0;

	while (!error && ng_clock_ns() < end_ns) {
		error = wait_for_something(
			fleet, run, earlier(earlier(end_ns, interval_end_ns), next_ns));
		next_ns = ng_fleet_turn(fleet);
		if (error || is_interrupted(run) || (!run->exe_count && !ng_fleet_is_alive(fleet)))
			break;
		if (ng_clock_ns() < interval_end_ns)
			continue;
		error = print(fleet, run, start_ns);
		interval_end_ns += run->interval_ns;
	}
	if (error || !run->on_done)
		return error ? error : print(fleet, run, start_ns);
	ng_fleet_stop(fleet);
	return run->on_done(fleet, ng_clock_ns() - start_ns, run->context);
}

int ng_stat_sampled_run(const struct ng_stat_sampled *run, bool *ret_lost, struct ng_diag *diag)
{
	const struct ng_fleet_options options = {.on_note = print_note,
		.context = (void *)run,
		.on_call = run->on_call,
		.call_context = run->call_context};
	uint64_t lost[NG_LOSSES] = {0};
	struct ng_fleet *fleet;
	int error = ng_fleet_open(&options, &fleet, diag);

	if (error)
		return error;
	error = attach_all(fleet, run, diag);
	if (!error && run->started)
		fprintf(stderr, "nowgate %s: %s\n", run->name, run->started);
	if (!error)
		error = loop(fleet, run);
	if (!error)
		error = ng_fleet_lost(fleet, lost);
	*ret_lost = lost[NG_LOST_COUNTS_FULL] || lost[NG_LOST_WINDOW_FULL] ||
		    lost[NG_LOST_RECORDS_FULL];
	ng_fleet_free(fleet);
	return error;
}
