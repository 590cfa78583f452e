/*
 * How a thread's goroutine is found at an address of a Go image: where its g is, and where in g its
 * id stands.
 *
 * By the Go version alone, not by DWARF: each release lays g out once, and a program that is
 * traced need not have DWARF, nor should a privileged process parse it. Versions that are not known
 * here have no goroutine ids.
 */
#ifndef NG_CORE_IMAGE_GOROUTINE_H
#define NG_CORE_IMAGE_GOROUTINE_H

#include <stdint.h>

#include "bpf/abi.h"
#include "core/base/diag.h"
#include "core/image/image.h"

/** The offset of runtime.g's goid, in bytes; 0 where the version is not known: not a release, as
 * "go1.24.4" is one, or none of Go 1.16 to 1.27. */
uint32_t ng_goroutine_id_offset(const char *go_version);

/** The offset of runtime.m's id, its number among the process's Ms, in bytes; 0 where it is not
 * known: not a release of Go 1.19 or 1.21 to 1.27. */
uint32_t ng_goroutine_m_id_offset(const char *go_version);

/** The offset of runtime.m's procid, its thread's id, for the same versions. */
uint32_t ng_goroutine_tid_offset(const char *go_version);

/**
 * Says how to find the goroutine where code stands at an address, as linked.
 *
 * @param ret_where NG_G_NOWHERE on any error
 * @return 0; -ENODATA it cannot be told: not Go's code, or an unknown version, or assembly code
 *         in an image of which it is not known where its threads' g is: with the text
 */
int ng_goroutine_at(const struct ng_image *image, uint64_t address, struct ng_goroutine *ret_where,
	struct ng_diag *diag);

#endif
