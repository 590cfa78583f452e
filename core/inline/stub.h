/*
 * The entry code of the inline engine: what a call meets when it is led out of its function, one
 * piece for each site, and the recording part that they share.
 *
 * Entered by a jump or by a call whose target was changed, left by a jump: no return address of
 * ours is on a goroutine's stack while Go's code runs. All registers that the form has live are as
 * before; %rsp moves in the midst by at most NG_STUB_STACK_BYTES. In C and assembly, where not even
 * %r12 and %r13 are free, these are kept too; only flags are not: no one has them live at a call.
 */
#ifndef NG_CORE_INLINE_STUB_H
#define NG_CORE_INLINE_STUB_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/diag.h"
#include "core/inline/form.h"

#define NG_STUB_BYTES_MAX   512
#define NG_STUB_STACK_BYTES 480 /* of the stack that it was entered on, at most */

/** The recording part's code, that stands at any address. */
extern const uint8_t *const ng_handler_code;
extern const size_t ng_handler_bytes;

/** Where things are in the target: addresses as it sees them. */
struct ng_stub_place {
	uint64_t code;	       /* where the entry code will stand */
	uint64_t handler;      /* where ng_handler_code stands */
	uint64_t area;	       /* struct ng_area_header; the own page is the page before it */
	uint64_t bias;	       /* of the image: its addresses now, less those as linked */
	uint32_t site;	       /* index of its gate */
	uint32_t thread_lines; /* as in the area's header … */
	uint64_t lines_offset; /* … and this */
};

/**
 * Makes the entry code of a site.
 *
 * @param ret_bytes how many there are
 * @return 0; -ERANGE something is further away than 2 GiB
 */
int ng_stub_make(const struct ng_form *form, const struct ng_stub_place *place,
	uint8_t ret_code[NG_STUB_BYTES_MAX], size_t *ret_bytes, struct ng_diag *diag);

/**
 * The five bytes that are put in place of form->bytes, so that the site leads to the entry code.
 *
 * @return 0; -ERANGE it is further away than 2 GiB
 */
int ng_stub_patch(const struct ng_form *form, const struct ng_stub_place *place,
	uint8_t ret_bytes[NG_FORM_BYTES], struct ng_diag *diag);

#endif
