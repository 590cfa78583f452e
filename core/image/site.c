#include "core/image/site.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/image/flow.h"

/* Go's stack check is at most six instructions, in any version: mov, sub, jb, cmp, jbe; or with the
 * thread-local load of g before them. */
#define CHECK_INSNS_MAX 8
/* Its tail saves up to 9 integer and 15 float registers, calls morestack, and loads them again. */
#define TAIL_INSNS_MAX 128
/* A straight line longer than this holds no better place than its beginning. */
#define LINE_INSNS_MAX 64

/* Does the code at an offset save what it must, call, and jump back to the entry? That is what a
 * failed stack check does (runtime.morestack), and nothing else that begins this way. */
static bool is_morestack_tail(const struct ng_flow *flow, size_t offset)
{
	bool called = false;

	for (int i = 0; i < TAIL_INSNS_MAX; i++) {
		struct ng_insn insn;

		if (!ng_flow_insn(flow, offset, &insn))
			return false;
		switch (insn.flow) {
		case NG_INSN_NEXT:
			break;
		case NG_INSN_CALL:
			called = true;
			break;
		case NG_INSN_JUMP:
			return called && insn.target == flow->address;
		default:
			return false;
		}
		offset += insn.length;
	}
	return false;
}

/* Is the tail reached from the check alone? Then its jump back repeats the check, and nothing else.
 */
static bool is_reached_from_check_only(const struct ng_flow *flow, size_t tail, size_t check_end)
{
	for (size_t i = 0; i < flow->edge_count; i++) {
		const struct ng_flow_edge *edge = &flow->edges[i];

		if (edge->to == tail && edge->from >= check_end)
			return false;
	}
	return true;
}

/* The offset behind Go's stack check; 0 where the function has none. */
static size_t skip_stack_check(const struct ng_flow *flow)
{
	size_t offset = 0, check_end = 0, tail = 0;
	bool compared = false;

	for (int i = 0; i < CHECK_INSNS_MAX; i++) {
		struct ng_insn insn;

		if (!ng_flow_insn(flow, offset, &insn))
			break;
		offset += insn.length;
		if (insn.flow == NG_INSN_BRANCH && compared && insn.target > flow->address &&
			is_morestack_tail(flow, (size_t)(insn.target - flow->address))) {
			check_end = offset;
			tail = (size_t)(insn.target - flow->address);
		} else if (insn.flow != NG_INSN_NEXT || insn.moves_stack) {
			break; /* the frame is being set up: the check is over */
		}
		compared = insn.compares;
	}
	return check_end && is_reached_from_check_only(flow, tail, check_end) ? check_end : 0;
}

/* How good a place is; the better one wins, of two alike the first. */
enum rank {
	RANK_NONE,
	RANK_STEPPED_LATE, /* single-stepped, and a fault before it hides the call */
	RANK_STEPPED,
	RANK_LATE,   /* emulated; a fault before it hides the call */
	RANK_BARE,   /* emulated, but the frame is not set up yet: the caller is read from (rsp) */
	RANK_FRAMED, /* emulated, with the frame set up */
	RANK_CALL,   /* the same, a call */
};

static enum rank rank_of(const struct ng_insn *insn, bool framed, bool faulted)
{
	if (!insn->probeable)
		return RANK_NONE;
	if (!insn->emulated)
		return faulted ? RANK_STEPPED_LATE : RANK_STEPPED;
	if (faulted)
		return RANK_LATE;
	if (!framed || insn->moves_stack)
		return insn->flow == NG_INSN_CALL ? RANK_FRAMED : RANK_BARE;
	return insn->flow == NG_INSN_CALL ? RANK_CALL : RANK_FRAMED;
}

struct choice {
	enum rank rank;
	size_t offset;
	struct ng_insn insn;
};

/*
 * Walks the straight line from `start`: the instructions that each call runs once. It ends before
 * an instruction that a jump leads to, and with the first that can lead elsewhere or not come back.
 * With an indirect jump in the function its targets are unknown, so only the set-up of the frame is
 * sure: run twice, it would leave the stack askew.
 */
static struct choice choose_on_line(const struct ng_flow *flow, size_t start)
{
	struct choice best = {.rank = RANK_NONE};
	bool framed = false, faulted = false;
	size_t offset = start;

	for (int i = 0; i < LINE_INSNS_MAX; i++) {
		struct ng_insn insn;
		enum rank rank;

		if (ng_flow_is_target(flow, offset) || !ng_flow_insn(flow, offset, &insn))
			break;
		rank = rank_of(&insn, framed, faulted);
		if (flow->has_indirect_jump && !insn.moves_stack && i > 0)
			rank = RANK_NONE;
		if (rank > best.rank)
			best = (struct choice){.rank = rank, .offset = offset, .insn = insn};
		if (insn.flow != NG_INSN_NEXT)
			break;
		framed |= insn.moves_stack;
		faulted |= insn.may_fault;
		offset += insn.length;
	}
	return best;
}

static void explain(const struct ng_flow *flow, size_t check_end, const struct choice *choice,
	struct ng_site *site)
{
	const char *where = check_end ? "after the stack check" : "no stack check";
	const char *what = "";

	switch (choice->rank) {
	case RANK_CALL:
		what = "a call with the frame set up, emulated by the kernel";
		break;
	case RANK_FRAMED:
		what = "emulated by the kernel, with the frame set up";
		break;
	case RANK_BARE:
		what = "emulated by the kernel; the frame is not set up yet";
		break;
	case RANK_LATE:
		what = "emulated by the kernel; a call that faults before it is not seen";
		break;
	default:
		what = "nothing there that the kernel emulates, so it is single-stepped";
	}
	(void)snprintf(site->why, sizeof(site->why), "%s: %s%s", where, what,
		flow->has_indirect_jump ? "; jump tables limit the choice" : "");
}

static void fill(const struct ng_flow *flow, size_t check_end, const struct choice *choice,
	struct ng_site *site)
{
	site->entry = flow->address;
	site->address = flow->address + choice->offset;
	site->delta = (uint32_t)choice->offset;
	site->length = choice->insn.length;
	memset(site->bytes, 0, sizeof(site->bytes));
	memcpy(site->bytes, flow->code + choice->offset, choice->insn.length);
	site->class = choice->insn.emulated ? NG_SITE_EMULATED : NG_SITE_STEPPED;
	site->exact = true;
	memcpy(site->insn, choice->insn.mnemonic, sizeof(site->insn));
	explain(flow, check_end, choice, site);
}

/* A function whose first instruction is also a loop's: each turn hits. */
static bool choose_looping(const struct ng_flow *flow, size_t start, struct ng_site *site)
{
	struct choice choice = {.rank = RANK_STEPPED, .offset = start};

	if (!ng_flow_insn(flow, start, &choice.insn) || !choice.insn.probeable)
		return false;
	fill(flow, start, &choice, site);
	site->exact = false;
	(void)snprintf(site->why, sizeof(site->why),
		"the code jumps back to this place: it can run more than once a call");
	return true;
}

int ng_site_choose(const uint8_t *code, size_t size_bytes, uint64_t address, bool go,
	struct ng_site *ret_site, struct ng_diag *diag)
{
	struct ng_flow flow;
	struct choice choice;
	size_t check_end;
	int error;

	if (!size_bytes)
		return ng_diag_set(diag, -ENOEXEC, "it is too short: it has no instruction at all");
	error = ng_flow_open(&flow, code, size_bytes, address);
	if (error == -E2BIG)
		return ng_diag_set(diag, -ENOEXEC,
			"it is too long to prove anything of it: %zu bytes", size_bytes);
	if (error)
		return error;
	check_end = go ? skip_stack_check(&flow) : 0;
	choice = choose_on_line(&flow, check_end);
	if (choice.rank != RANK_NONE)
		fill(&flow, check_end, &choice, ret_site);
	else if (!choose_looping(&flow, check_end, ret_site))
		error = ng_diag_set(diag, -ENOEXEC,
			"it has no instruction that can carry a probe: too short, or no code");
	ng_flow_close(&flow);
	return error;
}

void ng_sites_release(struct ng_sites *sites)
{
	for (size_t i = 0; i < sites->count; i++) {
		free(sites->items[i].function);
		free(sites->items[i].caller);
	}
	free(sites->items);
	*sites = (struct ng_sites)NG_SITES_INIT;
}
