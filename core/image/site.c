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
/* Between a panic's call and the tail. */
#define PADDING_NOPS_MAX 3
#define INSN_BYTES_MAX	 15
/* A straight line longer than this holds no better place than its beginning. */
#define LINE_INSNS_MAX 64

/** Go's stack check, by offsets. */
struct check {
	size_t end;	 /* behind its last branch; 0: there is none */
	size_t branch;	 /* that branch, where proven */
	size_t tail;	 /* where a failed check goes on … */
	size_t tail_end; /* … up to behind its jump back */
	bool proven;	 /* what comes after it runs once, however often the check fails */
};

/*
 * Does the code at an offset save what it must, call, and jump back to the entry? That is what a
 * failed stack check does (runtime.morestack), and nothing else that begins this way. With a second
 * call the first is a panic's, which never returns, and the tail only happens to follow it.
 *
 * @return the offset behind it, or 0
 */
static size_t skip_morestack_tail(const struct ng_flow *flow, size_t offset)
{
	int calls = 0;

	for (int i = 0; i < TAIL_INSNS_MAX; i++) {
		struct ng_insn insn;

		if (!ng_flow_insn(flow, offset, &insn))
			return 0;
		offset += insn.length;
		switch (insn.flow) {
		case NG_INSN_NEXT:
			break;
		case NG_INSN_CALL:
		case NG_INSN_INDIRECT_CALL: /* by the GOT, in a shared build */
			calls++;
			break;
		case NG_INSN_JUMP:
			return calls == 1 && insn.target == flow->address ? offset : 0;
		default:
			return 0;
		}
	}
	return 0;
}

/*
 * Does control fall into what begins at an offset, the tail? What Go puts before it is a panic's
 * call, with a nop perhaps so that the return address is the function's own; such a call never
 * returns. All reached code is asked that ends there, or reaches over it.
 */
static bool falls_into(const struct ng_flow *flow, size_t offset, int nops)
{
	bool preceded = false;

	for (size_t back = 1; back <= INSN_BYTES_MAX && back <= offset; back++) {
		struct ng_insn insn;

		if (!ng_flow_is_start(flow, offset - back) ||
			!ng_flow_insn(flow, offset - back, &insn) || insn.length < back)
			continue;
		if (insn.length > back || insn.flow == NG_INSN_BRANCH)
			return true;
		if (insn.flow != NG_INSN_NEXT) {
			preceded |= insn.flow == NG_INSN_CALL || insn.flow == NG_INSN_INDIRECT_CALL;
			continue;
		}
		if (nops == PADDING_NOPS_MAX || strcmp(insn.mnemonic, "nop") != 0 ||
			falls_into(flow, offset - back, nops + 1))
			return true;
		preceded = true;
	}
	return nops && !preceded; /* something else leads to the nop */
}

/* Nothing else leads into the check or its tail: then the tail's jump repeats the check alone. */
static bool is_check_closed(const struct ng_flow *flow, const struct check *check)
{
	for (size_t i = 0; i < flow->edge_count; i++) {
		const struct ng_flow_edge *edge = &flow->edges[i];
		const bool from_tail = edge->from >= check->tail && edge->from < check->tail_end;

		if (edge->to < check->end && !from_tail)
			return false;
		if (edge->to == check->tail && edge->from >= check->end)
			return false;
		if (edge->to > check->tail && edge->to < check->tail_end)
			return false;
	}
	return !falls_into(flow, check->tail, 0);
}

/* cmp 0x10(%reg),%reg or 0x18: g's stackguard0, or stackguard1 in code for the system stack. */
static bool compares_guard(const struct ng_flow *flow, const struct ng_insn *insn)
{
	const uint8_t *bytes = flow->code + (insn->address - flow->address);

	return insn->length == 4 && (bytes[0] & 0xf8) == 0x48 && bytes[1] == 0x3b &&
	       (bytes[2] & 0xc0) == 0x40 && (bytes[2] & 7) != 4 &&
	       (bytes[3] == 0x10 || bytes[3] == 0x18);
}

/* Takes a branch that may be the check's. @return whether the check may go on behind it */
static bool take_branch(
	const struct ng_flow *flow, const struct ng_insn *branch, bool guarded, struct check *check)
{
	const size_t offset = (size_t)(branch->address - flow->address);
	const size_t end = offset + branch->length;
	const size_t tail = (size_t)(branch->target - flow->address);
	size_t tail_end = 0;

	if (tail <= offset)
		return false;
	if (tail < flow->size_bytes)
		tail_end = skip_morestack_tail(flow, tail);
	if (!tail_end) {
		if (guarded) /* but its way back is not among the bytes that we have */
			*check = (struct check){.end = end};
		return false;
	}
	*check = (struct check){
		.end = end, .branch = offset, .tail = tail, .tail_end = tail_end, .proven = true};
	return true;
}

static struct check find_stack_check(const struct ng_flow *flow)
{
	struct check check = {0};
	size_t offset = 0;
	bool compared = false, guarded = false;

	for (int i = 0; i < CHECK_INSNS_MAX; i++) {
		struct ng_insn insn;

		if (!ng_flow_insn(flow, offset, &insn))
			break;
		offset += insn.length;
		if (insn.flow == NG_INSN_BRANCH && compared) {
			if (!take_branch(flow, &insn, guarded, &check))
				break;
		} else if (insn.flow != NG_INSN_NEXT || insn.moves_stack) {
			break; /* the frame is being set up: the check is over */
		}
		compared = insn.compares;
		guarded = compares_guard(flow, &insn);
	}
	check.proven = check.proven && is_check_closed(flow, &check);
	return check;
}

/* How good a place is; the better one wins, of two alike the first. */
enum rank {
	RANK_NONE,
	RANK_STEPPED_LATE, /* single-stepped, and a fault before it hides the call */
	RANK_LATE_PANIC,   /* emulated, so; and the program may live on after it */
	RANK_STEPPED,
	RANK_LATE,   /* emulated; a fault before it hides the call */
	RANK_BARE,   /* emulated, but the frame is not set up yet: the caller is read from (rsp) */
	RANK_FRAMED, /* emulated, with the frame set up */
	RANK_CALL,   /* the same, a call */
};

static enum rank rank_of(const struct ng_insn *insn, bool framed, bool faulted, bool outlives)
{
	if (!insn->probeable)
		return RANK_NONE;
	if (!insn->emulated)
		return faulted ? RANK_STEPPED_LATE : RANK_STEPPED;
	if (faulted)
		return outlives ? RANK_LATE_PANIC : RANK_LATE;
	if (!framed || insn->moves_stack)
		return insn->flow == NG_INSN_CALL ? RANK_FRAMED : RANK_BARE;
	return insn->flow == NG_INSN_CALL ? RANK_CALL : RANK_FRAMED;
}

struct choice {
	enum rank rank;
	size_t offset;
	struct ng_insn insn;
};

/* Whether a step on the line runs once a call, as far as jumps to it go. */
static bool is_once(const struct ng_flow *flow, const struct ng_insn *insn)
{
	if (ng_flow_is_target(flow, (size_t)(insn->address - flow->address)))
		return false;
	return !flow->has_indirect_jump || insn->moves_stack;
}

/*
 * Walks the straight line from `start`: the instructions that each call runs once. It ends before
 * an instruction that a jump leads to, and with the first that can lead elsewhere or not come back.
 * With an indirect jump in the function its targets are unknown, so only the set-up of the frame is
 * sure: run twice, it would leave the stack askew.
 *
 * @param exact or else take the best place on the line, however often it runs
 */
static struct choice choose_on_line(
	const struct ng_flow *flow, size_t start, bool outlives, bool exact)
{
	struct choice best = {.rank = RANK_NONE};
	bool framed = false, faulted = false;
	size_t offset = start;

	for (int i = 0; i < LINE_INSNS_MAX; i++) {
		struct ng_insn insn;
		enum rank rank;

		if (!ng_flow_insn(flow, offset, &insn))
			break;
		if (exact && ng_flow_is_target(flow, offset))
			break;
		rank = rank_of(&insn, framed, faulted, outlives);
		if (exact && !is_once(flow, &insn))
			rank = RANK_NONE;
		if (rank > best.rank)
			best = (struct choice){.rank = rank, .offset = offset, .insn = insn};
		/* Where other code overlaps this, a breakpoint further on could be in its midst. */
		if (insn.flow != NG_INSN_NEXT || ng_flow_is_split(flow, offset, insn.length))
			break;
		framed |= insn.moves_stack;
		faulted |= insn.may_fault;
		offset += insn.length;
	}
	return best;
}

/*
 * The best place that each call runs once; or else the best one, with its reason in *ret_inexact,
 * which is NULL otherwise.
 */
static struct choice choose(const struct ng_flow *flow, const struct check *check, bool outlives,
	const char **ret_inexact)
{
	struct choice choice = {.rank = RANK_NONE};

	*ret_inexact = NULL;
	if (!check->end || check->proven)
		choice = choose_on_line(flow, check->end, outlives, true);
	if (choice.rank != RANK_NONE)
		return choice;
	if (flow->has_indirect_jump && (!check->end || check->proven))
		*ret_inexact = "a jump table may lead back to it: it can run more than once a call";
	else if (!check->end || check->proven)
		*ret_inexact = "a jump leads back to it: it can run more than once a call";
	else if (check->tail_end)
		*ret_inexact = "a jump leads back into the stack check: it can run more than once";
	else
		*ret_inexact = "what a failed stack check does is not seen here: it may run again";
	choice = choose_on_line(flow, check->end, outlives, false);
	if (choice.rank == RANK_NONE && check->end)
		choice = choose_on_line(flow, 0, outlives, false);
	return choice;
}

static void explain(const struct ng_flow *flow, const struct check *check,
	const struct choice *choice, struct ng_site *site)
{
	const char *where = choice->offset && choice->offset >= check->end && check->end
				    ? "after the stack check"
				    : "no stack check before it";
	const char *what;

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

static void fill(const struct ng_flow *flow, const struct check *check, const struct choice *choice,
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
	/* A fault on the way would take long, and be taken for a hit's cost. */
	site->lead = check->proven && choice->rank >= RANK_BARE
			     ? (uint32_t)(choice->offset - check->branch)
			     : 0;
	memcpy(site->insn, choice->insn.mnemonic, sizeof(site->insn));
	explain(flow, check, choice, site);
}

int ng_site_choose(const uint8_t *code, size_t size_bytes, uint64_t address, bool go,
	struct ng_site *ret_site, struct ng_diag *diag)
{
	const struct ng_site_code all = {
		.bytes = code, .size_bytes = size_bytes, .address = address, .go = go};

	return ng_site_choose_in(&all, ret_site, diag);
}

int ng_site_choose_in(
	const struct ng_site_code *code, struct ng_site *ret_site, struct ng_diag *diag)
{
	struct ng_flow flow = {.data = code->data};
	struct choice choice;
	struct check check = {0};
	const char *inexact;
	int error;

	if (!code->size_bytes)
		return ng_diag_set(diag, -ENOEXEC, "it is too short: it has no instruction at all");
	/* `add %al,(%rax)`, to a decoder: what follows a segment's code, such as runtime.etext. */
	if (code->size_bytes >= 2 && !code->bytes[0] && !code->bytes[1])
		return ng_diag_set(diag, -ENOEXEC, "it is no code: it begins with zeros");
	error = ng_flow_open(&flow, code->bytes, code->size_bytes, code->address);
	if (error == -E2BIG)
		return ng_diag_set(diag, -ENOEXEC,
			"it is too long to prove anything of it: %zu bytes", code->size_bytes);
	if (error)
		return error;
	if (code->go)
		check = find_stack_check(&flow);
	choice = choose(&flow, &check, code->outlives_faults, &inexact);
	if (!inexact && code->data && code->data->joins && code->data->joins->is_entered)
		inexact = "other code jumps or calls into its midst: it can run otherwise than by "
			  "a call of its entry";
	if (choice.rank == RANK_NONE) {
		error = ng_diag_set(diag, -ENOEXEC,
			"it has no instruction that can carry a probe: too short, or no code");
	} else {
		fill(&flow, &check, &choice, ret_site);
		if (inexact) {
			ret_site->exact = false;
			ret_site->lead = 0;
			(void)snprintf(ret_site->why, sizeof(ret_site->why), "%s", inexact);
		}
	}
	ng_flow_close(&flow);
	return error;
}

/* How many calls of a target are there, in code that is reached? */
static size_t count_calls(const struct ng_flow *flow, uint64_t target)
{
	size_t count = 0;

	for (size_t offset = 0; offset < flow->size_bytes; offset++) {
		struct ng_insn insn;

		if (ng_flow_is_start(flow, offset) && ng_flow_insn(flow, offset, &insn) &&
			insn.flow == NG_INSN_CALL && insn.target == target)
			count++;
	}
	return count;
}

static uint64_t first_call_on_line(const struct ng_flow *flow, size_t offset)
{
	for (int i = 0; i < LINE_INSNS_MAX; i++) {
		struct ng_insn insn;

		if (!ng_flow_insn(flow, offset, &insn) || ng_flow_is_target(flow, offset) ||
			ng_flow_is_split(flow, offset, insn.length))
			return 0;
		if (insn.flow != NG_INSN_NEXT)
			return insn.flow == NG_INSN_CALL ? insn.target : 0;
		offset += insn.length;
	}
	return 0;
}

uint64_t ng_site_sure_call(const uint8_t *code, size_t size_bytes, uint64_t address, bool go)
{
	struct check check = {0};
	struct ng_flow flow = {.data = NULL};
	uint64_t target = 0;

	if (ng_flow_open(&flow, code, size_bytes, address))
		return 0;
	if (go)
		check = find_stack_check(&flow);
	if (!flow.has_indirect_jump && (!check.end || check.proven))
		target = first_call_on_line(&flow, check.end);
	if (target && count_calls(&flow, target) != 1)
		target = 0;
	ng_flow_close(&flow);
	return target;
}

const char *ng_site_class_name(enum ng_site_class class)
{
	switch (class) {
	case NG_SITE_EMULATED:
		return "emulated";
	case NG_SITE_STEPPED:
		return "single-stepped";
	default:
		return "syscall";
	}
}

void ng_sites_release(struct ng_sites *sites)
{
	for (size_t i = 0; i < sites->count; i++) {
		free(sites->items[i].function);
		free(sites->items[i].caller);
	}
	for (size_t i = 0; i < sites->gap_count; i++)
		free(sites->gaps[i].function);
	free(sites->items);
	free(sites->gaps);
	*sites = (struct ng_sites)NG_SITES_INIT;
}

const char *ng_sites_gap(const struct ng_sites *sites, const char *function)
{
	for (size_t i = 0; i < sites->gap_count; i++) {
		const char *whose = sites->gaps[i].function;

		if (!whose || !strcmp(whose, function))
			return sites->gaps[i].text;
	}
	return NULL;
}
