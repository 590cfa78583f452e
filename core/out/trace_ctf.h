/* A CTF trace's directory and its metadata, which describe what trace_ctf.c writes. */
#ifndef NG_CORE_OUT_TRACE_CTF_H
#define NG_CORE_OUT_TRACE_CTF_H

#include <stdint.h>

#include "core/base/diag.h"
#include "core/out/trace.h"

#define NG_CTF_MAGIC	  0xc1fc1fc1u
#define NG_CTF_UUID_BYTES 16

/* Ids of events. */
enum {
	NG_CTF_CALL,
	NG_CTF_LATE_CALL,
	NG_CTF_STACK,
	NG_CTF_LOST,
	NG_CTF_GAP,
};

/**
 * Makes options->path a directory, if it is none yet, and writes the file `metadata` into it.
 *
 * @return 0; -EEXIST: there is something in it; -ENOMEM; what the system said
 */
int ng_ctf_create(const struct ng_trace_options *options, uint8_t ret_uuid[NG_CTF_UUID_BYTES],
	struct ng_diag *diag);

#endif
