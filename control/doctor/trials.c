/* What tracing needs, tried. */
#include "control/doctor/checks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "control/engine/calibration_file.h"
#include "control/engine/tracefs.h"
#include "core/base/cleanup.h"
#include "core/base/clock.h"

/* A nop that costs less than this share of a call got the kernel's faster way in. */
#define OPTIMISED_SHARE 0.85

/* Notes how a trial went, and whether it was for want of a privilege. */
static void say_trial(
	struct ng_check *check, struct ng_trials *trials, int error, const char *success)
{
	if (!error) {
		ng_check_say(check, NG_CHECK_OK, "%s", success);
		return;
	}
	ng_check_say(check, NG_CHECK_FAIL, "%s", strerror(-error));
	if (error == -EPERM || error == -EACCES) {
		trials->denied = true;
		ng_check_advise(check, "run as root; if you are, see the lines above");
	}
}

static void try_perf(struct ng_checks *checks, struct ng_trials *trials)
{
	struct ng_check *check = ng_checks_add(checks, "perf_event");
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.disabled = 1,
	};
	/* On every process, as events of ours can be. */
	NG_CLEANUP_CLOSE int fd =
		(int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);

	say_trial(check, trials, fd < 0 ? -errno : 0, "can be opened on any process");
}

static void try_bpf(struct ng_checks *checks, struct ng_trials *trials)
{
	static const struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct ng_check *check = ng_checks_add(checks, "bpf_program");
	NG_CLEANUP_CLOSE int fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "ng_nothing", "Dual BSD/GPL",
		nothing, sizeof(nothing) / sizeof(nothing[0]), NULL);

	say_trial(check, trials, fd < 0 ? fd : 0, "loads");
}

static void try_tracefs(struct ng_checks *checks)
{
	struct ng_check *check = ng_checks_add(checks, "tracefs");
	struct ng_diag diag = NG_DIAG_INIT;
	NG_CLEANUP_CLOSE int tracefs_fd = ng_tracefs_open(&diag);
	NG_CLEANUP_CLOSE int events_fd = -1;
	int stale;

	if (tracefs_fd < 0) {
		ng_check_say(check, NG_CHECK_WARN, "%s", diag.text);
		ng_check_advise(check,
			"counting falls back to links, which take 0.1 s to take off: run as root "
			"on "
			"the machine itself, or mount -t tracefs tracefs /sys/kernel/tracing");
		return;
	}
	events_fd = openat(tracefs_fd, "uprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
	if (events_fd < 0) {
		ng_check_say(check, NG_CHECK_WARN, "uprobe_events cannot be written: %s",
			strerror(errno));
		ng_check_advise(check,
			"run as root; a kernel without CONFIG_UPROBE_EVENTS has no such file");
		return;
	}
	ng_check_say(check, NG_CHECK_OK, "uprobe_events can be written");

	check = ng_checks_add(checks, "stale_events");
	stale = ng_tracefs_count_stale(tracefs_fd);
	if (stale <= 0) {
		ng_check_say(check, NG_CHECK_OK, "none");
		return;
	}
	ng_check_say(check, NG_CHECK_WARN,
		"%d of runs that were killed: they cost no time, but pin the traced file's mount",
		stale);
	ng_check_advise(check, "any run of `nowgate stat` removes them, and so did this one");
}

static void advise_probe(struct ng_check *check, struct ng_trials *trials, int error)
{
	switch (error) {
	case -EPERM:
	case -EACCES:
		trials->denied = true;
		ng_check_advise(check, "run as root; if you are, see the lines above");
		break;
	case -ETIMEDOUT:
	case -ECHILD:
		ng_check_advise(check, "try again when the machine is less busy");
		break;
	default:
		ng_check_advise(check, "see the lines above; if all is well there, report a bug");
		break;
	}
}

static void say_optimised(struct ng_checks *checks, const struct ng_calibration *calibration)
{
	struct ng_check *check = ng_checks_add(checks, "optimised_uprobes");
	const double nop_ns = calibration->costs[NG_LOOP_NOP5].median_ns;
	const double call_ns = calibration->costs[NG_LOOP_CALL].median_ns;

	ng_check_say(check, NG_CHECK_OK, "%s: %.0f ns on a five-byte nop, %.0f on a call",
		nop_ns < OPTIMISED_SHARE * call_ns ? "yes" : "no (they come with kernel 6.18)",
		nop_ns, call_ns);
}

static void try_probe(struct ng_checks *checks, struct ng_trials *trials)
{
	struct ng_check *check = ng_checks_add(checks, "probe");
	struct ng_diag diag = NG_DIAG_INIT;
	uint64_t hits = 0;
	int error;

	if (!trials->recalibrate && !ng_calibration_load(&trials->calibration)) {
		error = ng_calibrate_try(&hits, &diag);
		trials->calibrated = true;
	} else {
		error = ng_calibration_renew(&trials->calibration, &diag);
		trials->calibrated = !error;
		hits = trials->calibration.hits;
	}
	if (error) {
		ng_check_say(
			check, NG_CHECK_FAIL, "%s", diag.text[0] ? diag.text : strerror(-error));
		advise_probe(check, trials, error);
		return;
	}
	ng_check_say(check, NG_CHECK_OK,
		"placed in a child of ours: %" PRIu64 " hits, each of them counted", hits);
	say_optimised(checks, &trials->calibration);
}

void ng_checks_trials(struct ng_checks *checks, struct ng_trials *trials)
{
	try_perf(checks, trials);
	try_bpf(checks, trials);
	try_tracefs(checks);
	try_probe(checks, trials);
}
