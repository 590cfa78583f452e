/* What the kernel's small text files say. Pure, and made for any text. */
#ifndef NG_CONTROL_DOCTOR_FACTS_H
#define NG_CONTROL_DOCTOR_FACTS_H

#include <stdbool.h>
#include <stdint.h>

/** A kernel's version. */
struct ng_release {
	unsigned int major;
	unsigned int minor;
};

/** Reads a release such as "6.1.0-18-amd64"; false where it is none. */
bool ng_release_parse(const char *text, struct ng_release *ret_release);

bool ng_release_is_before(struct ng_release release, unsigned int major, unsigned int minor);

enum ng_lockdown {
	NG_LOCKDOWN_NONE,
	NG_LOCKDOWN_INTEGRITY,
	NG_LOCKDOWN_CONFIDENTIALITY, /* no tracefs, no perf, no kernel memory for BPF */
	NG_LOCKDOWN_UNKNOWN,
};

/** Reads "none [integrity] confidentiality": the one in brackets is in force. */
enum ng_lockdown ng_lockdown_parse(const char *text);

/** Reads the number that follows a key at a line's start in a /proc/PID/status ("CapEff", base 16);
 * false where there is none. */
bool ng_status_parse(const char *status, const char *key, int base, uint64_t *ret_value);

/** What a kernel's configuration says of an option ("CONFIG_UPROBES"): 'y', 'm', or 'n' where it is
 * not set or not there. */
char ng_config_parse(const char *config, const char *option);

#endif
