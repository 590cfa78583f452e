/*
 * What decides whether tracing can work here: one check a fact, each with what to do about it.
 *
 * Facts explain, trials decide: where a fact looks bad and what it should prevent works all the
 * same, the trial is right.
 */
#ifndef NG_CONTROL_DOCTOR_CHECKS_H
#define NG_CONTROL_DOCTOR_CHECKS_H

#include <stdbool.h>
#include <stddef.h>

#include "control/engine/calibrate.h"

enum ng_check_status {
	NG_CHECK_OK,
	NG_CHECK_WARN, /* works, with a restriction */
	NG_CHECK_FAIL, /* tracing cannot work */
};

struct ng_check {
	const char *name; /* "kernel", "tracefs" …: a static text */
	enum ng_check_status status;
	char seen[256];	  /* what is here */
	char advice[256]; /* what to do about it; "" where nothing is to be done */
};

#define NG_CHECKS_MAX 40

struct ng_checks {
	struct ng_check items[NG_CHECKS_MAX];
	size_t count;
};

#define NG_CHECKS_INIT                                                                             \
	{                                                                                          \
		.count = 0                                                                         \
	}

/** Adds a check; fill it with ng_check_say(), and ng_check_advise() where it is not ok. */
struct ng_check *ng_checks_add(struct ng_checks *checks, const char *name);
void ng_check_say(struct ng_check *check, enum ng_check_status status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void ng_check_advise(struct ng_check *check, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** The worst status of all. */
enum ng_check_status ng_checks_worst(const struct ng_checks *checks);

/** Processor, hypervisor, kernel and its settings. */
void ng_checks_machine(struct ng_checks *checks);

/** Capabilities, namespaces, filters and limits of this process. */
void ng_checks_privileges(struct ng_checks *checks);

/** What the trials gave. */
struct ng_trials {
	bool recalibrate; /* in: measure, even if a calibration is stored */
	bool calibrated;  /* `calibration` is filled */
	bool denied;	  /* something failed for want of a privilege */
	struct ng_calibration calibration;
};

/** Opens, loads and places what tracing needs, really: 0.3 to 1 s. */
void ng_checks_trials(struct ng_checks *checks, struct ng_trials *trials);

/** Reads a small text file. @return whether it could be read; "" in the buffer where not */
bool ng_checks_read(const char *path, char *text, size_t text_bytes);

#endif
