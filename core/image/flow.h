/* The control flow of one function: which bytes begin an instruction, and who jumps where. */
#ifndef NG_CORE_IMAGE_FLOW_H
#define NG_CORE_IMAGE_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/image/insn.h"

#define NG_FLOW_CODE_MAX (2u << 20) /* bytes of a function; what is longer is not looked at */

#define NG_FLOW_TABLES_MAX 32 /* in one function; the jumps of more are unknown */

#define NG_FLOW_OUTSIDE UINT32_MAX

/** A direct jump or branch within the function, by offsets; also a call of anything but the entry,
 * which is a jump with a return address; and a join, which comes from NG_FLOW_OUTSIDE. */
struct ng_flow_edge {
	uint32_t from;
	uint32_t to;
};

/** What leads into one function. */
struct ng_joins {
	uint32_t *offsets; /* where its parts lead back to, and where others begin within it */
	size_t count;
	bool wanders;	 /* a part of it jumps to where is not known */
	bool is_entered; /* code that is no part of it jumps to or calls into its midst */
};

/** What is known of a function from outside of its code: its jump tables, and who leads into it. */
struct ng_flow_data {
	/* @return the count read, or a negative errno; as ng_image_read() */
	int64_t (*read)(uint64_t address, void *buffer, size_t size_bytes, void *context);
	void *context;
	const struct ng_joins *joins; /* NULL: not looked for */
};

struct ng_flow {
	const struct ng_flow_data *data; /* borrowed; NULL: nothing is known from outside */
	const uint8_t *code;		 /* borrowed */
	size_t size_bytes;
	uint64_t address;
	uint8_t *starts;  /* bitmap: first bytes of instructions, reached from the entry */
	uint8_t *targets; /* bitmap: where the edges lead */
	struct ng_flow_edge
		*edges; /* by no order; of reached code, and of all code swept through */
	size_t edge_count;
	bool has_indirect_jump; /* in reached code: its targets are not among the edges */
	uint32_t tables[NG_FLOW_TABLES_MAX]; /* jumps whose tables were read: they are */
	size_t table_count;
};

/**
 * Follows the code from its entry, through each direct jump; and sweeps once through all of it, for
 * jumps in code that only an indirect jump or the unwinder (a C++ landing pad) reaches.
 *
 * Jumps from outside of the function are seen where the data has them; or else it is taken to be
 * entered at its entry alone.
 *
 * A jump table is read where it has the form that Go gives it: `lea table(%rip),%a;
 * jmp *(%a,%b,8)`, and each word of it that lies within the function is taken for one of its own.
 *
 * @param flow its data may be set, the rest is filled
 * @return 0; -E2BIG; -ENOMEM
 */
int ng_flow_open(struct ng_flow *flow, const uint8_t *code, size_t size_bytes, uint64_t address);
void ng_flow_close(struct ng_flow *flow);

/** Does an instruction that the entry leads to begin at this offset? */
bool ng_flow_is_start(const struct ng_flow *flow, size_t offset);

/** Does any jump lead to this offset? */
bool ng_flow_is_target(const struct ng_flow *flow, size_t offset);

/** Does any jump lead into the middle of what is decoded at this offset, of length bytes? */
bool ng_flow_is_split(const struct ng_flow *flow, size_t offset, size_t length);

/** Decodes the instruction at an offset; false where there is none. */
bool ng_flow_insn(const struct ng_flow *flow, size_t offset, struct ng_insn *ret_insn);

#endif
