#include "core/image/flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Words of a jump table: Go makes none of fewer than 8 cases, and few of more than a hundred. */
#define TABLE_WORDS_MIN 4
#define TABLE_WORDS_MAX 1024

/* Offsets still to be followed. */
struct work {
	uint32_t *offsets;
	size_t count;
	size_t room;
};

static int push_work(struct work *work, uint32_t offset)
{
	if (work->count == work->room) {
		size_t room = work->room ? 2 * work->room : 64;
		uint32_t *grown = reallocarray(work->offsets, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		work->offsets = grown;
		work->room = room;
	}
	work->offsets[work->count++] = offset;
	return 0;
}

static int add_edge(struct ng_flow *flow, uint32_t from, uint32_t to)
{
	/* Doubles at each power of two, so that the count alone tells the room. */
	if (!(flow->edge_count & (flow->edge_count - 1))) {
		size_t room = flow->edge_count ? 2 * flow->edge_count : 1;
		struct ng_flow_edge *grown = reallocarray(flow->edges, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		flow->edges = grown;
	}
	flow->edges[flow->edge_count++] = (struct ng_flow_edge){.from = from, .to = to};
	flow->targets[to / 8] |= (uint8_t)(1u << to % 8);
	return 0;
}

bool ng_flow_insn(const struct ng_flow *flow, size_t offset, struct ng_insn *ret_insn)
{
	return offset < flow->size_bytes &&
	       !ng_insn_decode(flow->code + offset, flow->size_bytes - offset,
		       flow->address + offset, ret_insn);
}

static bool is_inside(const struct ng_flow *flow, uint64_t address)
{
	return address - flow->address < flow->size_bytes; /* also where the code wraps around */
}

/* Does it lead to elsewhere in the body? A call of the entry is a recursion: another call. */
static bool is_edge(const struct ng_flow *flow, const struct ng_insn *insn)
{
	if (insn->flow != NG_INSN_JUMP && insn->flow != NG_INSN_BRANCH &&
		(insn->flow != NG_INSN_CALL || insn->target == flow->address))
		return false;
	return is_inside(flow, insn->target);
}

/* The register of `lea table(%rip),%reg`, and the table's address; -1 where it is none. */
static int table_base(const struct ng_flow *flow, const struct ng_insn *insn, uint64_t *ret_table)
{
	const uint8_t *bytes = flow->code + (insn->address - flow->address);
	int32_t displacement;

	if (insn->length != 7 || (bytes[0] & 0xfb) != 0x48 || bytes[1] != 0x8d ||
		(bytes[2] & 0xc7) != 0x05)
		return -1;
	memcpy(&displacement, bytes + 3, sizeof(displacement));
	*ret_table = insn->address + insn->length + (uint64_t)(int64_t)displacement;
	return (bytes[2] >> 3 & 7) | (bytes[0] & 4) << 1;
}

/* Is it `jmp *(%base,%index,8)`? */
static bool jumps_by_table(const struct ng_flow *flow, const struct ng_insn *insn, int base)
{
	const uint8_t *bytes = flow->code + (insn->address - flow->address);
	const uint8_t rex = (bytes[0] & 0xf0) == 0x40 ? *bytes++ : 0;

	return insn->length == (rex ? 4 : 3) && bytes[0] == 0xff && bytes[1] == 0x24 &&
	       (bytes[2] & 0xc0) == 0xc0 && (bytes[2] & 7) != 5 &&
	       ((bytes[2] & 7) | (rex & 1) << 3) == base;
}

/* @return 0, also where nothing is known of the table; -ENOMEM */
static int add_table(struct ng_flow *flow, struct work *work, uint32_t from, uint64_t table)
{
	uint64_t words[TABLE_WORDS_MAX];
	const int64_t length = flow->data->read(table, words, sizeof(words), flow->data->context);
	const size_t count = length > 0 ? (size_t)length / sizeof(words[0]) : 0;
	size_t taken = 0;
	int error = 0;

	while (!error && taken < count && is_inside(flow, words[taken])) {
		const uint32_t to = (uint32_t)(words[taken++] - flow->address);

		error = add_edge(flow, from, to);
		if (!error)
			error = push_work(work, to);
	}
	if (taken < TABLE_WORDS_MIN || taken == TABLE_WORDS_MAX ||
		flow->table_count == NG_FLOW_TABLES_MAX)
		flow->has_indirect_jump = true;
	else
		flow->tables[flow->table_count++] = from;
	return error;
}

static int follow_indirect(struct ng_flow *flow, struct work *work, const struct ng_insn *before,
	const struct ng_insn *jump)
{
	uint64_t table = 0;
	const int base = flow->data && flow->data->read && before->length
				 ? table_base(flow, before, &table)
				 : -1;

	if (base >= 0 && jumps_by_table(flow, jump, base))
		return add_table(flow, work, (uint32_t)(jump->address - flow->address), table);
	flow->has_indirect_jump = true;
	return 0;
}

/* Follows straight on from an offset until known code, or an end. */
static int follow(struct ng_flow *flow, struct work *work, size_t offset)
{
	struct ng_insn insn, before = {.length = 0};
	int error = 0;

	while (!error && !ng_flow_is_start(flow, offset) && ng_flow_insn(flow, offset, &insn)) {
		flow->starts[offset / 8] |= (uint8_t)(1u << offset % 8);
		if (is_edge(flow, &insn)) {
			uint32_t target = (uint32_t)(insn.target - flow->address);

			error = add_edge(flow, (uint32_t)offset, target);
			if (!error)
				error = push_work(work, target);
		}
		if (insn.flow == NG_INSN_INDIRECT_JUMP && !error)
			error = follow_indirect(flow, work, &before, &insn);
		if (insn.flow == NG_INSN_JUMP || insn.flow == NG_INSN_INDIRECT_JUMP ||
			insn.flow == NG_INSN_STOP)
			break;
		offset += insn.length;
		before = insn;
	}
	return error;
}

/* A jump that is led to from elsewhere may jump by another table. */
static void check_tables(struct ng_flow *flow)
{
	for (size_t i = 0; i < flow->table_count; i++)
		flow->has_indirect_jump |= ng_flow_is_target(flow, flow->tables[i]);
}

/* Where the next instruction begins, but not beyond the next that is known to begin there. */
static size_t next_in_sweep(const struct ng_flow *flow, size_t offset, size_t length)
{
	if (ng_flow_is_start(flow, offset))
		return offset + length;
	for (size_t i = 1; i < length; i++) {
		if (ng_flow_is_start(flow, offset + i))
			return offset + i;
	}
	return offset + length;
}

/* Code that only an indirect jump reaches can jump too. Wrong edges, from data read as code, only
 * make us more careful. */
static int sweep(struct ng_flow *flow)
{
	struct ng_insn insn;
	int error = 0;

	for (size_t offset = 0; !error && offset < flow->size_bytes;) {
		if (!ng_flow_insn(flow, offset, &insn)) {
			offset++;
			continue;
		}
		if (is_edge(flow, &insn) && !ng_flow_is_start(flow, offset))
			error = add_edge(
				flow, (uint32_t)offset, (uint32_t)(insn.target - flow->address));
		offset = next_in_sweep(flow, offset, insn.length);
	}
	return error;
}

static int add_joins(struct ng_flow *flow, struct work *work)
{
	const struct ng_joins *joins = flow->data ? flow->data->joins : NULL;
	int error = 0;

	for (size_t i = 0; joins && !error && i < joins->count; i++) {
		if (joins->offsets[i] >= flow->size_bytes)
			continue;
		error = add_edge(flow, NG_FLOW_OUTSIDE, joins->offsets[i]);
		if (!error)
			error = push_work(work, joins->offsets[i]);
	}
	flow->has_indirect_jump |= joins && joins->wanders;
	return error;
}

int ng_flow_open(struct ng_flow *flow, const uint8_t *code, size_t size_bytes, uint64_t address)
{
	struct work work = {0};
	int error;

	*flow = (struct ng_flow){
		.data = flow->data, .code = code, .size_bytes = size_bytes, .address = address};
	if (size_bytes > NG_FLOW_CODE_MAX)
		return -E2BIG;
	flow->starts = calloc(1, size_bytes / 8 + 1);
	flow->targets = calloc(1, size_bytes / 8 + 1);
	error = flow->starts && flow->targets ? push_work(&work, 0) : -ENOMEM;
	if (!error)
		error = add_joins(flow, &work);
	while (!error && work.count)
		error = follow(flow, &work, work.offsets[--work.count]);
	free(work.offsets);
	if (!error)
		error = sweep(flow);
	if (!error)
		check_tables(flow);
	if (error)
		ng_flow_close(flow);
	return error;
}

void ng_flow_close(struct ng_flow *flow)
{
	free(flow->starts);
	free(flow->targets);
	free(flow->edges);
	*flow = (struct ng_flow){0};
}

bool ng_flow_is_start(const struct ng_flow *flow, size_t offset)
{
	return offset < flow->size_bytes && (flow->starts[offset / 8] >> offset % 8 & 1);
}

bool ng_flow_is_target(const struct ng_flow *flow, size_t offset)
{
	return offset < flow->size_bytes && (flow->targets[offset / 8] >> offset % 8 & 1);
}

bool ng_flow_is_split(const struct ng_flow *flow, size_t offset, size_t length)
{
	for (size_t i = 1; i < length; i++) {
		if (ng_flow_is_target(flow, offset + i))
			return true;
	}
	return false;
}
