/*
 * A calibration, kept in /run for later runs, so that not each of them takes a second to measure.
 *
 * It is used only on the machine, boot, kernel and build of nowgate that it was measured with, and
 * for a day: a virtual machine can be moved to another host without noticing.
 */
#ifndef NG_CONTROL_ENGINE_CALIBRATION_FILE_H
#define NG_CONTROL_ENGINE_CALIBRATION_FILE_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "control/engine/calibrate.h"

#define NG_CALIBRATION_FOLDER "/run/nowgate"
#define NG_CALIBRATION_NAME   "calibration.json"
#define NG_CALIBRATION_PATH   NG_CALIBRATION_FOLDER "/" NG_CALIBRATION_NAME
#define NG_CALIBRATION_AGE_S  86400

/** What a calibration depends on. */
struct ng_machine {
	char boot_id[40];
	char cpu[64];	     /* the CPU's own name for its model */
	char kernel[160];    /* release and version */
	char version[32];    /* of nowgate */
	uint64_t program_id; /* hash of the BPF programs, which are part of the cost */
};

/** @return 0, or a negative errno where /proc does not tell */
int ng_machine_read(struct ng_machine *ret_machine);

/** @return 0; -ENOENT none; -ESTALE of another machine, or too old; -EPERM not a file that only
 * root can have written; -EINVAL damaged */
int ng_calibration_load(struct ng_calibration *ret_calibration);

/** Replaces the stored one, at once or not at all. @return 0; a negative errno */
int ng_calibration_save(const struct ng_calibration *calibration);

/** The members "measured_at", "took_ns", "hits" and "classes" of `nowgate doctor --json`. @return a
 * new object, or NULL where memory is out */
json_t *ng_calibration_to_json(const struct ng_calibration *calibration);

/** The text of the file; allocated, NULL where memory is out. Pure. */
char *ng_calibration_format(
	const struct ng_calibration *calibration, const struct ng_machine *machine);

/**
 * Reads the text of the file. Pure.
 *
 * @param now_s Unix time
 * @return 0; -EINVAL damaged: not JSON, a member missing or of the wrong kind, a cost that none can
 *         be; -ESTALE
 */
int ng_calibration_parse(const char *text, size_t size_bytes, const struct ng_machine *machine,
	uint64_t now_s, struct ng_calibration *ret_calibration);

#endif
