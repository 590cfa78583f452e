#include "core/inline/form.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/image/clockbody.h"
#include "core/image/flow.h"
#include "core/image/goroutine.h"
#include "core/image/sites.h"

#define FUNCTION_BYTES_MIN 6
#define CHECK_INSNS_MAX	   6

/** A function's code, followed from its entry. */
struct body {
	const struct ng_image *image;
	const struct ng_site *site;
	uint8_t *code; /* owned */
	struct ng_flow flow;
};

static int open_body(struct body *body, struct ng_diag *diag)
{
	struct ng_function function = {.name = NULL};
	int error = ng_image_function_at(body->image, body->site->entry, &function);

	free(function.name);
	if (error == -ENOMEM)
		return error;
	if (error || function.address != body->site->entry) /* found by its bytes */
		function = (struct ng_function){
			.address = body->site->entry, .size_bytes = NG_CLOCKBODY_BYTES_MAX};
	if (function.size_bytes > NG_FLOW_CODE_MAX)
		return ng_diag_set(diag, -ENOTSUP,
			"it is too long to prove anything of it: %llu bytes",
			(unsigned long long)function.size_bytes);
	error = 0;
	body->code = ng_sites_read_code(body->image, &function, &error);
	if (!body->code)
		return ng_diag_set(diag, error ? error : -EIO, "its code cannot be read: %s",
			strerror(error ? -error : EIO));
	if (function.size_bytes < FUNCTION_BYTES_MIN)
		error = ng_diag_set(diag, -ENOTSUP,
			"it is too short for a jump: %llu bytes, and 6 is the least",
			(unsigned long long)function.size_bytes);
	else
		error = ng_flow_open(
			&body->flow, body->code, (size_t)function.size_bytes, function.address);
	if (error) {
		free(body->code);
		body->code = NULL;
	}
	return error;
}

static void close_body(struct body *body)
{
	ng_flow_close(&body->flow);
	free(body->code);
}

static int refuse_split(const struct ng_flow *flow, size_t offset, struct ng_diag *diag)
{
	if (!ng_flow_is_split(flow, offset, NG_FORM_BYTES))
		return 0;
	return ng_diag_set(diag, -ENOTSUP,
		"a jump leads into the bytes that would be replaced, at +%#zx", offset);
}

/* What all forms have. */
static int fill(const struct body *body, size_t offset, struct ng_form *form)
{
	const int64_t in_file = ng_image_text_offset(body->image, body->flow.address + offset);

	if (in_file < 0)
		return (int)in_file;
	form->address = body->flow.address + offset;
	form->offset = (uint64_t)in_file;
	memcpy(form->bytes, body->code + offset, NG_FORM_BYTES);
	form->m_id_offset = ng_goroutine_m_id_offset(ng_image_info(body->image)->go_version);
	form->tid_offset = ng_goroutine_tid_offset(ng_image_info(body->image)->go_version);
	return 0;
}

/* Go's id may not be known; where g is, the bytes have proven. */
static void fill_g_in_r14(const struct body *body, struct ng_form *form)
{
	form->goroutine = (struct ng_goroutine){.g = NG_G_R14,
		.id_offset = ng_goroutine_id_offset(ng_image_info(body->image)->go_version)};
}

/* `mov 0x30(%r14),%rbx`: m is in a register that nothing up to the vDSO's call changes. */
static bool loads_m(const struct body *body, size_t end)
{
	static const uint8_t load[] = {0x49, 0x8b, 0x5e, 0x30};

	for (size_t at = 0; at + sizeof(load) <= end; at++) {
		if (ng_flow_is_start(&body->flow, at) &&
			!memcmp(body->code + at, load, sizeof(load)))
			return true;
	}
	return false;
}

/* The load of the clock's id; 0 where the function is not one of the two. */
static size_t find_clock(const struct body *body)
{
	for (size_t at = 1; at < body->flow.size_bytes; at++) {
		const uint8_t *bytes = body->code + at;
		const size_t left = body->flow.size_bytes - at;

		if (!ng_flow_is_start(&body->flow, at))
			continue;
		if (ng_clockbody_is_now(bytes, left) || ng_clockbody_is_nanotime1(bytes, left))
			return at;
	}
	return 0;
}

static int choose_clock(
	const struct body *body, size_t offset, struct ng_form *form, struct ng_diag *diag)
{
	int error = refuse_split(&body->flow, offset, diag);

	if (!error && !loads_m(body, offset))
		error = ng_diag_set(diag, -ENOTSUP,
			"it reads the clock as time.now does, but where it has its m is not known: "
			"a Go version that nowgate does not know");
	if (!error)
		error = fill(body, offset, form);
	if (error)
		return error;
	form->kind = NG_FORM_CLOCK;
	form->clock_id = body->code[offset + 1];
	form->next = form->address + NG_FORM_BYTES;
	form->exact = true;
	form->is_plain = true;
	fill_g_in_r14(body, form);
	(void)snprintf(form->why, sizeof(form->why),
		"a jump in place of `mov $%u,%%edi` before the vDSO's call%s", form->clock_id,
		form->m_id_offset ? "" : "; its threads' numbers are not known: counted by CPU");
	return 0;
}

/* Runtime functions with rules of their own: they keep registers, or flags, that a call may change.
 */
static bool has_own_rules(const char *name)
{
	static const char *const prefixes[] = {"runtime.duff", "runtime.gcWriteBarrier",
		"runtime.wb", "runtime.morestack", "runtime.panic", "runtime.goPanic",
		"runtime.asyncPreempt", "runtime.spillArgs", "runtime.unspillArgs", "runtime.race",
		"runtime.sigreturn", "runtime.retpoline", "gogo", "runtime.systemstack_switch",
		"runtime.libfuzzer", "runtime.secret"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return true;
	}
	return false;
}

/* A Go function's call must lead to the entry of a function that keeps Go's rules. */
static int check_target(const struct body *body, uint64_t target, struct ng_diag *diag)
{
	struct ng_function function;
	int error = ng_image_function_at(body->image, target, &function);

	if (error == -ENOMEM)
		return error;
	if (error)
		return ng_diag_set(diag, -ENOTSUP,
			"its call leads to %#llx, where no function is known: it may keep other "
			"rules for registers than Go's",
			(unsigned long long)target);
	if (function.address != target)
		error = ng_diag_set(
			diag, -ENOTSUP, "its call leads into the midst of %.80s", function.name);
	else if (has_own_rules(function.name))
		error = ng_diag_set(diag, -ENOTSUP,
			"its call leads to %.80s, which keeps other rules for registers than Go's",
			function.name);
	free(function.name);
	return error;
}

/* cmp 0x10(%r14),%reg: g's stackguard0. */
static bool is_guard_compare(const uint8_t *bytes, const struct ng_insn *insn, bool of_r12)
{
	static const uint8_t by_rsp[] = {0x49, 0x3b, 0x66, 0x10},
			     by_r12[] = {0x4d, 0x3b, 0x66, 0x10};

	return insn->length == 4 && !memcmp(bytes, of_r12 ? by_r12 : by_rsp, 4);
}

/* What computes, in %r12, where the stack would end: lea -frame(%rsp),%r12; mov %rsp,%r12; sub
 * $frame,%r12. */
static bool is_frame_end(const uint8_t *bytes, const struct ng_insn *insn)
{
	static const uint8_t lea8[] = {0x4c, 0x8d, 0x64, 0x24}, lea32[] = {0x4c, 0x8d, 0xa4, 0x24},
			     mov[] = {0x49, 0x89, 0xe4}, mov_other[] = {0x4c, 0x8b, 0xe4},
			     sub[] = {0x49, 0x81, 0xec};

	switch (insn->length) {
	case 3:
		return !memcmp(bytes, mov, 3) || !memcmp(bytes, mov_other, 3);
	case 5:
		return !memcmp(bytes, lea8, 4);
	case 7:
		return !memcmp(bytes, sub, 3);
	case 8:
		return !memcmp(bytes, lea32, 4);
	default:
		return false;
	}
}

/* jb after the sub, jbe after the compare; unsigned, with 8 or 32 bits. */
static bool is_check_branch(const uint8_t *bytes, const struct ng_insn *insn, bool compared)
{
	if (insn->flow != NG_INSN_BRANCH)
		return false;
	if (bytes[0] == 0x0f)
		return bytes[1] == (compared ? 0x86 : 0x82);
	return bytes[0] == (compared ? 0x76 : 0x72);
}

uint8_t ng_form_check_length(const uint8_t *code, size_t size_bytes, uint64_t address)
{
	bool of_r12 = false, compared = false;
	size_t at = 0;

	for (int i = 0; i < CHECK_INSNS_MAX; i++) {
		struct ng_insn insn;
		const uint8_t *bytes = code + at;

		if (at >= size_bytes || ng_insn_decode(bytes, size_bytes - at, address + at, &insn))
			return 0;
		at += insn.length;
		if (is_check_branch(bytes, &insn, compared)) {
			if (insn.target - address >= size_bytes || insn.target < address + at)
				return 0;
			if (compared)
				return at <= NG_FORM_CHECK_MAX ? (uint8_t)at : 0;
		} else if (!compared && is_frame_end(bytes, &insn)) {
			of_r12 = true;
		} else if (!compared && is_guard_compare(bytes, &insn, of_r12)) {
			compared = true;
		} else {
			return 0;
		}
	}
	return 0;
}

/* The room that the recording part needs, with what it calls; Go's check leaves 800 bytes. */
static int check_room(const struct body *body, struct ng_diag *diag)
{
	if (ng_form_check_length(body->code, body->flow.size_bytes, body->flow.address))
		return 0;
	return ng_diag_set(diag, -ENOTSUP,
		"its function has no stack check, so how much stack there is left is not known");
}

static int check_call(
	const struct body *body, size_t offset, struct ng_insn *ret_insn, struct ng_diag *diag)
{
	if (!ng_flow_is_start(&body->flow, offset) ||
		!ng_flow_insn(&body->flow, offset, ret_insn) || ret_insn->flow != NG_INSN_CALL ||
		ret_insn->length != NG_FORM_BYTES || body->code[offset] != 0xe8)
		return ng_diag_set(
			diag, -ENOTSUP, "it has no direct call that each run of it makes once");
	return refuse_split(&body->flow, offset, diag);
}

/* Is the frame set up where the call stands? Go and C push %rbp, or Go moves the stack, before. */
static bool is_framed(const struct body *body, size_t offset)
{
	struct ng_insn insn;

	for (size_t at = 0; at < offset && ng_flow_insn(&body->flow, at, &insn);
		at += insn.length) {
		if (insn.moves_stack)
			return true;
	}
	return false;
}

static int fill_call_goroutine(const struct body *body, struct ng_form *form, struct ng_diag *diag)
{
	struct ng_diag why = NG_DIAG_INIT;
	int error = ng_goroutine_at(body->image, form->address, &form->goroutine, &why);

	if (error == -ENODATA) { /* C; assembly; or an unknown version */
		if (ng_form_check_length(body->code, body->flow.size_bytes, body->flow.address))
			return ng_diag_set(diag, -ENOTSUP, "%s", why.text);
		return 0;
	}
	if (error)
		return error;
	form->is_plain = form->goroutine.g == NG_G_R14;
	error = check_room(body, diag);
	return error ? error : check_target(body, form->next, diag);
}

static int choose_call(const struct body *body, struct ng_form *form, struct ng_diag *diag)
{
	const size_t offset = (size_t)(body->site->address - body->flow.address);
	struct ng_insn insn = {.target = 0};
	int error = check_call(body, offset, &insn, diag);

	if (!error)
		error = fill(body, offset, form);
	if (error)
		return error;
	form->kind = NG_FORM_CALL;
	form->next = insn.target;
	form->exact = body->site->exact;
	form->is_bare = !is_framed(body, offset);
	error = fill_call_goroutine(body, form, diag);
	if (form->goroutine.g == NG_G_NOWHERE)
		form->m_id_offset = form->tid_offset = 0;
	(void)snprintf(form->why, sizeof(form->why), "another target for the call at +%#zx%s",
		offset,
		form->m_id_offset ? "" : "; its threads' numbers are not known: counted by CPU");
	return error;
}

static int choose_prologue(const struct body *body, struct ng_form *form, struct ng_diag *diag)
{
	const uint8_t length =
		ng_form_check_length(body->code, body->flow.size_bytes, body->flow.address);
	int error;

	if (body->site->kind != NG_SITE_FUNCTION)
		return ng_diag_set(
			diag, -ENOTSUP, "an inlined copy has no prologue; its call can be taken");
	if (!length)
		return ng_diag_set(diag, -ENOTSUP,
			"it does not begin with a stack check of a form that is known, and a "
			"goroutine may be parked within other code");
	error = refuse_split(&body->flow, 0, diag);
	if (!error)
		error = fill(body, 0, form);
	if (error)
		return error;
	form->kind = NG_FORM_PROLOGUE;
	form->next = form->address + length;
	memcpy(form->check, body->code, length);
	form->check_bytes = length;
	form->exact = body->site->exact && body->site->delta >= length;
	form->is_bare = true;
	form->is_plain = true;
	fill_g_in_r14(body, form);
	(void)snprintf(form->why, sizeof(form->why), "a jump over the stack check of %u bytes%s",
		length,
		form->m_id_offset ? "" : "; its threads' numbers are not known: counted by CPU");
	return 0;
}

int ng_form_choose(const struct ng_image *image, const struct ng_site *site, bool prologue,
	struct ng_form *ret_form, struct ng_diag *diag)
{
	struct body body = {.image = image, .site = site};
	struct ng_form form = {.kind = NG_FORM_CALL};
	size_t clock = 0;
	int error;

	if (site->class == NG_SITE_SYSCALL || site->kind == NG_SITE_LEAD)
		return ng_diag_set(diag, -ENOTSUP, "it is no function of the program's own");
	error = open_body(&body, diag);
	if (error || !body.code)
		return error;
	if (!prologue && site->kind == NG_SITE_FUNCTION)
		clock = find_clock(&body);
	if (prologue)
		error = choose_prologue(&body, &form, diag);
	else if (clock)
		error = choose_clock(&body, clock, &form, diag);
	else
		error = choose_call(&body, &form, diag);
	close_body(&body);
	if (!error)
		*ret_form = form;
	return error;
}

const char *ng_form_kind_name(enum ng_form_kind kind)
{
	static const char *const names[] = {[NG_FORM_CLOCK] = "clock",
		[NG_FORM_CALL] = "call",
		[NG_FORM_PROLOGUE] = "prologue"};

	return names[kind];
}
