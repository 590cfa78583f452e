#include "core/image/copies.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/image/sites.h"

#define LEAVES_MAX 4
/* Functions that one pattern names; each body is looked for and analysed. */
#define SUBJECTS_MAX 512
/* Instructions from a copy's first to its call: arguments, no more. */
#define LINE_INSNS_MAX 64

static bool is_leaf(const struct ng_copy *copy, uint64_t address)
{
	for (size_t i = 0; i < copy->leaf_count; i++) {
		if (copy->leaves[i] == address)
			return true;
	}
	return false;
}

/** What the copy's own instructions do. */
struct own {
	uint64_t call; /* 0: none */
	size_t call_count;
	uint64_t leaf_call; /* 0: none */
	size_t leaf_count;
	bool wanders; /* they jump to where is not known */
};

static void take_insn(const struct ng_copy *copy, const struct ng_insn *insn, struct own *own)
{
	switch (insn->flow) {
	case NG_INSN_CALL:
		own->call = insn->address;
		own->call_count++;
		if (is_leaf(copy, insn->target)) {
			own->leaf_call = insn->address;
			own->leaf_count++;
		}
		break;
	case NG_INSN_INDIRECT_JUMP:
		own->wanders = true;
		break;
	default:
		break;
	}
}

static struct own read_own(const struct ng_flow *flow, const struct ng_copy *copy)
{
	struct own own = {.call = 0};

	for (size_t i = 0; i < copy->count; i++) {
		for (uint64_t at = copy->ranges[i].start; at < copy->ranges[i].end; at++) {
			const size_t offset = (size_t)(at - flow->address);
			struct ng_insn insn;

			if (offset >= flow->size_bytes)
				break;
			if (ng_flow_is_start(flow, offset) && ng_flow_insn(flow, offset, &insn))
				take_insn(copy, &insn, &own);
		}
	}
	return own;
}

/* Does straight code that nothing jumps into lead from one address to another? */
static bool is_straight(const struct ng_flow *flow, uint64_t from, uint64_t to)
{
	size_t offset = (size_t)(from - flow->address);
	const size_t end = (size_t)(to - flow->address);

	for (int i = 0; i < LINE_INSNS_MAX; i++) {
		struct ng_insn insn;

		if (!ng_flow_is_start(flow, offset) || !ng_flow_insn(flow, offset, &insn) ||
			ng_flow_is_split(flow, offset, insn.length))
			return false;
		if (i > 0 && ng_flow_is_target(flow, offset))
			return false;
		if (offset == end)
			return true;
		if (insn.flow != NG_INSN_NEXT)
			return false;
		offset += insn.length;
	}
	return false;
}

/*
 * Does a jump from among the copy's code, whoever's it is, lead back to the call or before it? It
 * may close a loop of the copy's. It may also be a return into a loop that the copy stands in; then
 * we miss the copy, and say so.
 */
static bool may_loop(const struct ng_flow *flow, const struct ng_copy *copy, uint64_t call)
{
	const uint64_t first = copy->ranges[0].start - flow->address;
	uint64_t end = 0;

	for (size_t i = 0; i < copy->count; i++) {
		if (copy->ranges[i].end - flow->address > end)
			end = copy->ranges[i].end - flow->address;
	}
	for (size_t i = 0; i < flow->edge_count; i++) {
		const struct ng_flow_edge *edge = &flow->edges[i];

		if (edge->from >= first && edge->from < end && edge->to <= call - flow->address)
			return true;
	}
	return false;
}

uint64_t ng_copy_find_call(const struct ng_flow *flow, const struct ng_copy *copy, bool *ret_proven)
{
	const uint64_t first = copy->ranges[0].start;
	const struct own own = read_own(flow, copy);

	*ret_proven = own.leaf_count == 1;
	if (own.leaf_count)
		return own.leaf_count == 1 ? own.leaf_call : 0;
	if (own.call_count != 1 || own.wanders || !is_straight(flow, first, own.call))
		return 0;
	return may_loop(flow, copy, own.call) ? 0 : own.call;
}

/** The function that holds the copy at hand; the next copy is most often in the same. */
struct holder {
	uint64_t address; /* 0: none yet */
	uint8_t *code;
	struct ng_flow flow;
	bool usable;
};

static void close_holder(struct holder *holder)
{
	ng_flow_close(&holder->flow);
	free(holder->code);
	*holder = (struct holder){0};
}

/* @return 0, also where it cannot be analysed; -ENOMEM; what reading gave */
static int open_holder(const struct ng_image *image, const struct ng_function *function,
	struct holder *holder, struct ng_sites *sites)
{
	int error = 0;

	if (holder->address == function->address)
		return 0;
	close_holder(holder);
	holder->address = function->address;
	if (function->size_bytes > NG_FLOW_CODE_MAX ||
		!ng_sites_spend(sites, NG_SITES_CODE_WORK * function->size_bytes))
		return 0;
	holder->code = ng_sites_read_code(image, function, &error);
	if (!holder->code)
		return error;
	error = ng_flow_open(
		&holder->flow, holder->code, (size_t)function->size_bytes, function->address);
	holder->usable = !error;
	return error == -ENOMEM ? error : 0;
}

/** A function that was inlined. */
struct subject {
	const char *name; /* as in the inline trees */
	uint64_t leaves[LEAVES_MAX];
	size_t leaf_count;
	size_t copy_count;
	size_t missed;
	size_t unproven;
	const char *such_in; /* the caller of a missed or unproven one */
};

/** One pass over the copies. */
struct pass {
	const struct ng_image *image;
	const char *label; /* NULL: each subject's own name */
	struct ng_sites *sites;
	struct holder holder;
	struct subject *subjects;
	size_t subject_count;
	bool too_many;
};

static uint64_t count_bytes(const struct ng_copy *copy)
{
	uint64_t count = 0;

	for (size_t i = 0; i < copy->count; i++)
		count += copy->ranges[i].end - copy->ranges[i].start;
	return count;
}

static void add_leaf(struct pass *pass, struct subject *subject, const char *name)
{
	struct ng_functions functions = NG_FUNCTIONS_INIT;

	if (ng_image_find(pass->image, name, &functions, NULL))
		return;
	for (size_t i = 0; i < functions.count && subject->leaf_count < LEAVES_MAX; i++)
		subject->leaves[subject->leaf_count++] = functions.items[i].address;
	ng_functions_release(&functions);
}

/* Of the runtime's functions, which the compiler calls as it likes, each copy may call others. */
static bool is_runtimes(const struct ng_image *image, uint64_t address)
{
	struct ng_function function;
	bool is;

	if (ng_image_function_at(image, address, &function))
		return true; /* whose it is cannot be told */
	is = function.address != address || !strncmp(function.name, "runtime.", 8);
	free(function.name);
	return is;
}

/* What its own body surely calls, each copy of it does. @return 0; -ENOMEM */
static int read_body(struct pass *pass, struct subject *subject)
{
	struct ng_functions functions = NG_FUNCTIONS_INIT;
	NG_CLEANUP_FREE uint8_t *code = NULL;
	uint64_t target = 0;
	int error = ng_image_find(pass->image, subject->name, &functions, NULL);

	if (error)
		return error == -ENOMEM ? error : 0;
	ng_sites_drop_wrappers(pass->image, &functions);
	if (functions.count == 1)
		code = ng_sites_read_code(pass->image, &functions.items[0], &error);
	if (code)
		target = ng_site_sure_call(code, (size_t)functions.items[0].size_bytes,
			functions.items[0].address, true);
	if (target && !is_runtimes(pass->image, target))
		subject->leaves[subject->leaf_count++] = target;
	ng_functions_release(&functions);
	return error == -ENOMEM ? error : 0;
}

/* @return the subject of that name; NULL where there are too many, or for want of memory, which is
 * then in *ret_error */
static struct subject *subject_of(struct pass *pass, const char *name, int *ret_error)
{
	struct subject *subject;

	for (size_t i = 0; i < pass->subject_count; i++) {
		if (!strcmp(pass->subjects[i].name, name))
			return &pass->subjects[i];
	}
	pass->too_many = pass->subject_count == SUBJECTS_MAX;
	if (pass->too_many)
		return NULL;
	subject = reallocarray(pass->subjects, pass->subject_count + 1, sizeof(*subject));
	if (!subject) {
		*ret_error = -ENOMEM;
		return NULL;
	}
	pass->subjects = subject;
	subject += pass->subject_count++;
	*subject = (struct subject){.name = name};
	if (!strcmp(name, "time.Now")) {
		/* It begins by calling one of these, whatever the compiler makes of the rest. */
		add_leaf(pass, subject, "time.now");
		add_leaf(pass, subject, "time.runtimeNow");
	} else {
		*ret_error = read_body(pass, subject);
	}
	return subject;
}

/* Each copy looks at all of its own code, and at all jumps of its function. */
static int add_copy(struct pass *pass, const struct ng_inlined_range *ranges, size_t count)
{
	struct ng_call_site call = {.caller = &ranges[0].caller};
	int error = open_holder(pass->image, call.caller, &pass->holder, pass->sites);
	struct subject *subject = error ? NULL : subject_of(pass, ranges[0].name, &error);
	struct ng_copy copy = {.ranges = ranges, .count = count};

	if (error || !subject)
		return error;
	copy.leaves = subject->leaves;
	copy.leaf_count = subject->leaf_count;
	subject->copy_count++;
	if (pass->holder.usable &&
		ng_sites_spend(pass->sites,
			pass->holder.flow.edge_count + NG_SITES_CODE_WORK * count_bytes(&copy)))
		call.address = ng_copy_find_call(&pass->holder.flow, &copy, &call.exact);
	call.name = pass->label ? pass->label : subject->name;
	call.why = call.exact ? "inlined copy: its own call, which each run of the copy makes once"
			      : "inlined copy: its only call; nothing proves that each run of a "
				"copy makes it";
	error = -ENOEXEC;
	if (call.address)
		error = ng_sites_add_call(pass->image, &pass->holder.flow, &call, pass->sites);
	subject->missed += error == -ENOEXEC;
	subject->unproven += !error && !call.exact;
	if (error == -ENOEXEC || !call.exact)
		subject->such_in = call.caller->name;
	return error == -ENOEXEC ? 0 : error;
}

/* By function, in it by copy, and in that by address. */
static int compare_ranges(const void *left, const void *right)
{
	const struct ng_inlined_range *a = left, *b = right;

	if (a->caller.address != b->caller.address)
		return a->caller.address < b->caller.address ? -1 : 1;
	if (a->copy != b->copy)
		return a->copy < b->copy ? -1 : 1;
	return a->start < b->start ? -1 : a->start > b->start;
}

static int add_sorted(struct pass *pass, const struct ng_inlined_range *ranges, size_t count)
{
	int error = 0;

	for (size_t i = 0, next; !error && i < count; i = next) {
		next = i + 1;
		while (next < count && ranges[next].copy == ranges[i].copy &&
			ranges[next].caller.address == ranges[i].caller.address)
			next++;
		error = add_copy(pass, &ranges[i], next - i);
	}
	return error;
}

static int note_gaps(const struct pass *pass)
{
	int error = 0;

	for (size_t i = 0; !error && i < pass->subject_count; i++) {
		const struct subject *subject = &pass->subjects[i];
		const char *name = pass->label ? pass->label : subject->name;

		if (subject->missed)
			error = ng_sites_miss(pass->sites, name,
				"%zu of %zu inlined copies of %.80s have no call of their own that "
				"is proven to run once (such as in %.80s)",
				subject->missed, subject->copy_count, name, subject->such_in);
		else if (subject->unproven)
			error = ng_sites_miss(pass->sites, name,
				"%zu of %zu inlined copies of %.80s are counted at a call that not "
				"each run may make (such as in %.80s)",
				subject->unproven, subject->copy_count, name, subject->such_in);
	}
	if (!error && pass->too_many)
		error = ng_sites_miss(pass->sites, pass->label,
			"inlined copies of more than %d functions are not looked for",
			SUBJECTS_MAX);
	return error;
}

int ng_sites_add_copies(const struct ng_image *image, const struct ng_inlined *inlined,
	const char *label, struct ng_sites *sites)
{
	struct pass pass = {.image = image, .label = label, .sites = sites};
	NG_CLEANUP_FREE struct ng_inlined_range *ranges = NULL;
	int error;

	if (!inlined->count)
		return 0;
	ranges = malloc(inlined->count * sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	/* The names in it stay the list's. */
	memcpy(ranges, inlined->items, inlined->count * sizeof(*ranges));
	qsort(ranges, inlined->count, sizeof(*ranges), compare_ranges);
	error = add_sorted(&pass, ranges, inlined->count);
	close_holder(&pass.holder);
	if (!error)
		error = note_gaps(&pass);
	free(pass.subjects);
	return error;
}
