/* Processor, hypervisor, kernel and its settings. */
#include "control/doctor/checks.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <zlib.h>

#include "control/doctor/facts.h"
#include "core/base/cleanup.h"

#define CONFIG_MAX_BYTES (4u << 20) /* they are 300 KB */

static void check_kernel(struct ng_checks *checks)
{
	struct ng_check *check = ng_checks_add(checks, "architecture");
	struct ng_release release = {0, 0};
	struct utsname system;

	if (uname(&system))
		memset(&system, 0, sizeof(system)); /* cannot be */
	ng_check_say(check, strcmp(system.machine, "x86_64") ? NG_CHECK_FAIL : NG_CHECK_OK, "%s",
		system.machine);
	if (check->status)
		ng_check_advise(check, "nowgate runs on x86_64 only");

	check = ng_checks_add(checks, "kernel");
	ng_check_say(check, NG_CHECK_OK, "%s (5.15 or newer is needed)", system.release);
	if (!ng_release_parse(system.release, &release) || ng_release_is_before(release, 5, 15)) {
		check->status = NG_CHECK_FAIL;
		ng_check_advise(check,
			"boot a newer kernel: sites are told apart by BPF cookies, which came with "
			"5.15");
	}
}

/* /proc/config.gz or /boot/config-RELEASE; gzopen() reads either. NULL where there is none. */
static char *read_config(void)
{
	struct utsname system;
	char *text = NULL;
	char path[128];
	gzFile file = gzopen("/proc/config.gz", "re");
	int length;

	if (!file && !uname(&system)) {
		(void)snprintf(path, sizeof(path), "/boot/config-%s", system.release);
		file = gzopen(path, "re");
	}
	if (!file)
		return NULL;
	text = malloc(CONFIG_MAX_BYTES);
	length = text ? gzread(file, text, CONFIG_MAX_BYTES - 1) : -1;
	(void)gzclose(file); /* it was read only */
	if (length < 0) {
		free(text);
		return NULL;
	}
	text[length] = '\0';
	return text;
}

static void check_config(struct ng_checks *checks)
{
	static const char *const needed[] = {"CONFIG_PERF_EVENTS", "CONFIG_UPROBES",
		"CONFIG_UPROBE_EVENTS", "CONFIG_BPF_SYSCALL", "CONFIG_BPF_EVENTS",
		"CONFIG_DEBUG_INFO_BTF"};
	struct ng_check *check = ng_checks_add(checks, "kernel_config");
	NG_CLEANUP_FREE char *config = read_config();
	char missing[160] = "";

	if (!config) {
		ng_check_say(check, NG_CHECK_OK, "not to be seen here; the trials below decide");
		return;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		size_t used = strlen(missing);

		if (ng_config_parse(config, needed[i]) != 'y')
			(void)snprintf(missing + used, sizeof(missing) - used, " %s", needed[i]);
	}
	if (!missing[0]) {
		ng_check_say(check, NG_CHECK_OK, "has uprobes, BPF and BTF");
		return;
	}
	ng_check_say(check, NG_CHECK_FAIL, "without%s", missing);
	ng_check_advise(check, "boot a kernel that is built with these options");
}

static void check_btf(struct ng_checks *checks)
{
	struct ng_check *check = ng_checks_add(checks, "btf");

	if (!access("/sys/kernel/btf/vmlinux", R_OK)) {
		ng_check_say(check, NG_CHECK_OK, "/sys/kernel/btf/vmlinux");
		return;
	}
	ng_check_say(check, NG_CHECK_FAIL, "/sys/kernel/btf/vmlinux cannot be read");
	ng_check_advise(check, "mount sysfs at /sys, or boot a kernel with CONFIG_DEBUG_INFO_BTF");
}

static void check_jit(struct ng_checks *checks)
{
	struct ng_check *check = ng_checks_add(checks, "bpf_jit");
	char text[16];

	/* Readable by root only; kernels built to compile always have nothing to switch off. */
	if (!ng_checks_read("/proc/sys/net/core/bpf_jit_enable", text, sizeof(text))) {
		ng_check_say(check, NG_CHECK_OK, "net.core.bpf_jit_enable is not to be seen here");
	} else if (text[0] != '0') {
		ng_check_say(check, NG_CHECK_OK, "on");
	} else {
		ng_check_say(check, NG_CHECK_WARN, "off: each hit is interpreted, and dearer");
		ng_check_advise(check, "sysctl net.core.bpf_jit_enable=1");
	}
	if (!ng_checks_read("/proc/sys/kernel/bpf_stats_enabled", text, sizeof(text)) ||
		text[0] == '0')
		return;
	check = ng_checks_add(checks, "bpf_statistics");
	ng_check_say(check, NG_CHECK_WARN, "on: the kernel reads the clock twice at each hit");
	ng_check_advise(check, "sysctl kernel.bpf_stats_enabled=0");
}

static void check_lockdown(struct ng_checks *checks)
{
	struct ng_check *check = ng_checks_add(checks, "lockdown");
	char text[64];

	if (!ng_checks_read("/sys/kernel/security/lockdown", text, sizeof(text))) {
		ng_check_say(check, NG_CHECK_OK, "none (no /sys/kernel/security/lockdown)");
		return;
	}
	text[strcspn(text, "\n")] = '\0';
	ng_check_say(check, NG_CHECK_OK, "%s", text);
	if (ng_lockdown_parse(text) == NG_LOCKDOWN_CONFIDENTIALITY) {
		check->status = NG_CHECK_FAIL;
		ng_check_advise(
			check, "it forbids tracefs and perf: boot with lockdown=integrity or none");
	}
}

static void check_virtualisation(struct ng_checks *checks)
{
	struct ng_check *check = ng_checks_add(checks, "virtualisation");
	unsigned int a, b, c, d;
	char name[13] = "";

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 31))) {
		ng_check_say(check, NG_CHECK_OK, "none");
		return;
	}
	__cpuid(0x40000000, a, b, c, d); /* the hypervisor's own leaf: its name, 12 letters */
	memcpy(name, &b, 4);
	memcpy(name + 4, &c, 4);
	memcpy(name + 8, &d, 4);
	ng_check_say(check, NG_CHECK_OK,
		"a virtual machine (%s): single-stepped hits are dear, the table below says how",
		name[0] ? name : "no name");
}

static void check_clock(struct ng_checks *checks)
{
	struct ng_check *check = ng_checks_add(checks, "clocksource");
	char text[32];

	if (!ng_checks_read("/sys/devices/system/clocksource/clocksource0/current_clocksource",
		    text, sizeof(text))) {
		ng_check_say(check, NG_CHECK_OK, "not to be seen here");
		return;
	}
	text[strcspn(text, "\n")] = '\0';
	if (!strcmp(text, "tsc") || !strcmp(text, "kvm-clock") || !strncmp(text, "hyperv", 6)) {
		ng_check_say(check, NG_CHECK_OK, "%s: read without a system call", text);
		return;
	}
	ng_check_say(check, NG_CHECK_WARN,
		"%s: each read of the clock is a system call, traced or not", text);
	ng_check_advise(check, "nothing that nowgate needs; programs here would like tsc better");
}

void ng_checks_machine(struct ng_checks *checks)
{
	check_kernel(checks);
	check_config(checks);
	check_btf(checks);
	check_jit(checks);
	check_lockdown(checks);
	check_virtualisation(checks);
	check_clock(checks);
}
