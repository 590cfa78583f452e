/* Capabilities, namespaces, filters and limits of this process. */
#include "control/doctor/checks.h"

#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/doctor/facts.h"
#include "control/target/process.h"
#include "core/base/number.h"

#define FILES_ENOUGH 4096 /* an armed process takes a descriptor for each site and thread */

static const struct {
	const char *name;
	int bit;
	int or_bit;		     /* has the same rights, and more; -1: none has */
	enum ng_check_status status; /* where it is missing */
	const char *what;	     /* it is for */
} capabilities[] = {
	{"cap_sys_admin", CAP_SYS_ADMIN, -1, NG_CHECK_FAIL, "tracefs, and probes in others' code"},
	{"cap_bpf", CAP_BPF, CAP_SYS_ADMIN, NG_CHECK_FAIL, "loading BPF programs"},
	{"cap_perfmon", CAP_PERFMON, CAP_SYS_ADMIN, NG_CHECK_FAIL, "BPF programs for tracing"},
	{"cap_sys_ptrace", CAP_SYS_PTRACE, -1, NG_CHECK_WARN,
		"reading the images of other users' processes"},
	{"cap_sys_resource", CAP_SYS_RESOURCE, -1, NG_CHECK_OK,
		"raising our limit of open files above the hard one"},
};

static void check_capabilities(struct ng_checks *checks, const char *status)
{
	uint64_t effective;

	if (!ng_status_parse(status, "CapEff", 16, &effective)) {
		ng_check_say(ng_checks_add(checks, "capabilities"), NG_CHECK_WARN,
			"/proc/self/status does not tell");
		return;
	}
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
		struct ng_check *check = ng_checks_add(checks, capabilities[i].name);

		if (effective & (UINT64_C(1) << capabilities[i].bit)) {
			ng_check_say(check, NG_CHECK_OK, "is there");
			continue;
		}
		if (capabilities[i].or_bit >= 0 &&
			(effective & (UINT64_C(1) << capabilities[i].or_bit))) {
			ng_check_say(check, NG_CHECK_OK, "comes with cap_sys_admin");
			continue;
		}
		ng_check_say(check, capabilities[i].status, "is missing: it is for %s",
			capabilities[i].what);
		if (check->status)
			ng_check_advise(check,
				"run as root; in a container, with --privileged or --cap-add");
	}
}

static void check_namespace(struct ng_checks *checks, const char *name, const char *path,
	uint64_t first, const char *consequence)
{
	struct ng_check *check = ng_checks_add(checks, name);
	struct stat facts;

	if (stat(path, &facts)) {
		ng_check_say(check, NG_CHECK_WARN, "%s does not tell", path);
		ng_check_advise(check, "mount proc at /proc");
	} else if (facts.st_ino == first) {
		ng_check_say(check, NG_CHECK_OK, "the machine's own");
	} else {
		ng_check_say(check, NG_CHECK_FAIL, "a container's: %s", consequence);
		ng_check_advise(check,
			"run on the machine itself, or in a container with --privileged and "
			"--pid=host");
	}
}

static void check_seccomp(struct ng_checks *checks, const char *status)
{
	struct ng_check *check = ng_checks_add(checks, "seccomp");
	uint64_t mode;

	if (!ng_status_parse(status, "Seccomp", 10, &mode) || !mode) {
		ng_check_say(check, NG_CHECK_OK, "no filter");
		return;
	}
	ng_check_say(check, NG_CHECK_WARN, "a filter is in force");
	ng_check_advise(check, "where a trial below is denied, allow bpf, perf_event_open, fsopen, "
			       "fsconfig, fsmount and ptrace");
}

/* Informational where the capabilities are there: the kernel asks these only without them. */
static void check_sysctls(struct ng_checks *checks, bool is_root)
{
	struct ng_check *check = ng_checks_add(checks, "perf_event_paranoid");
	char text[32];

	(void)ng_checks_read("/proc/sys/kernel/perf_event_paranoid", text, sizeof(text));
	text[strcspn(text, "\n")] = '\0';
	ng_check_say(check, NG_CHECK_OK, "%s%s", text[0] ? text : "not to be seen here",
		is_root ? "; root may use perf at any level" : "");

	check = ng_checks_add(checks, "unprivileged_bpf_disabled");
	(void)ng_checks_read("/proc/sys/kernel/unprivileged_bpf_disabled", text, sizeof(text));
	text[strcspn(text, "\n")] = '\0';
	ng_check_say(check, NG_CHECK_OK, "%s; nowgate needs none", text[0] ? text : "0");

	if (!ng_checks_read("/proc/sys/kernel/yama/ptrace_scope", text, sizeof(text)))
		return;
	check = ng_checks_add(checks, "ptrace_scope");
	text[strcspn(text, "\n")] = '\0';
	ng_check_say(check, NG_CHECK_OK, "%s", text);
	if (text[0] == '3') {
		check->status = NG_CHECK_WARN;
		ng_check_advise(check, "`stat -- COMMAND` cannot hold the command at its start: "
				       "trace it by -p, or "
				       "reboot with kernel.yama.ptrace_scope below 3");
	}
}

static void say_limit(rlim_t limit, char *text, size_t text_bytes)
{
	if (limit == RLIM_INFINITY)
		(void)snprintf(text, text_bytes, "unlimited");
	else
		(void)snprintf(text, text_bytes, "%" PRIu64, (uint64_t)limit);
}

static void check_limits(struct ng_checks *checks)
{
	struct ng_check *check = ng_checks_add(checks, "open_files");
	struct rlimit limit = {0};
	char text[32];

	(void)getrlimit(RLIMIT_NOFILE, &limit); /* cannot fail for a known limit */
	say_limit(limit.rlim_max, text, sizeof(text));
	ng_check_say(check, limit.rlim_max < FILES_ENOUGH ? NG_CHECK_WARN : NG_CHECK_OK,
		"at most %s", text);
	if (check->status)
		ng_check_advise(check,
			"raise it (ulimit -Hn 65536): an armed process takes one for each site and "
			"thread");

	check = ng_checks_add(checks, "locked_memory");
	(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	say_limit(limit.rlim_cur, text, sizeof(text));
	ng_check_say(
		check, NG_CHECK_OK, "%s bytes; BPF has not counted towards it since 5.11", text);
}

void ng_checks_privileges(struct ng_checks *checks)
{
	char status[4096];

	(void)ng_checks_read("/proc/self/status", status, sizeof(status)); /* "" is handled */
	check_capabilities(checks, status);
	check_namespace(checks, "user_namespace", "/proc/self/ns/user", NG_FIRST_USER_NAMESPACE,
		"capabilities do not hold outside of it");
	check_namespace(checks, "pid_namespace", "/proc/self/ns/pid", NG_FIRST_PID_NAMESPACE,
		"BPF tells pids of the machine, which are other ones in here");
	check_namespace(checks, "time_namespace", "/proc/self/ns/time", NG_FIRST_TIME_NAMESPACE,
		"BPF tells start times of the machine, which are other ones in here");
	check_seccomp(checks, status);
	check_sysctls(checks, !geteuid());
	check_limits(checks);
}
