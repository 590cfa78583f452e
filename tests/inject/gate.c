#include "gate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/target/process.h"
#include "core/image/image.h"
#include "core/image/insn.h"
#include "core/image/site.h"

#define JUMP_BYTES 5u
#define CALL	   0xe8
#define JUMP	   0xe9

/* mov $0,%edi; lea 0x10(%rsp),%rsi */
static const uint8_t clock_bytes[] = {0xbf, 0, 0, 0, 0, 0x48, 0x8d, 0x74, 0x24, 0x10};

static void put_jump(uint8_t *bytes, uint8_t opcode, uint64_t at, uint64_t target)
{
	const int32_t distance = (int32_t)(int64_t)(target - (at + JUMP_BYTES));

	bytes[0] = opcode;
	memcpy(bytes + 1, &distance, sizeof(distance));
}

static int build(void *context, const struct ng_inject_places *places, uint8_t *code,
	uint8_t *data_head, struct ng_diag *diag)
{
	static const uint8_t count[] = {0xf0, 0x48, 0xff, 0x05}; /* lock incq …(%rip) */
	struct gate *gate = context;
	const uint64_t site = gate->patch.address;
	const int32_t distance =
		(int32_t)(int64_t)(places->data + GATE_COUNT_AT - (places->code + 8));
	size_t used = 8;

	(void)diag;
	memcpy(code, count, sizeof(count));
	memcpy(code + sizeof(count), &distance, sizeof(distance));
	if (gate->is_clock) {
		memcpy(code + used, clock_bytes, JUMP_BYTES);
		used += JUMP_BYTES;
	}
	put_jump(code + used, JUMP, places->code + used,
		gate->is_clock ? site + JUMP_BYTES : gate->target);
	put_jump(gate->patch.after, gate->is_clock ? JUMP : CALL, site, places->code);
	memcpy(data_head, "test", 5);
	return 0;
}

static uint64_t find_clock(const struct ng_image *image, const char *function, uint64_t *ret_offset)
{
	struct ng_functions functions = NG_FUNCTIONS_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	uint8_t code[512];
	uint64_t found = 0;

	if (ng_image_find(image, function, &functions, &diag)) {
		fprintf(stderr, "inject: %s\n", diag.text);
		return 0;
	}
	const uint64_t address = functions.items[0].address;
	const int64_t length = ng_image_read(image, address, code, sizeof(code));
	const uint8_t *at =
		length > 0 ? memmem(code, (size_t)length, clock_bytes, sizeof(clock_bytes)) : NULL;

	if (at) {
		found = address + (uint64_t)(at - code);
		*ret_offset = (uint64_t)ng_image_text_offset(image, found);
	}
	ng_functions_release(&functions);
	return found;
}

static uint64_t find_call(
	struct gate *gate, const struct ng_image *image, const char *function, uint64_t *ret_offset)
{
	struct ng_sites sites = NG_SITES_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	uint64_t found = 0;

	if (ng_sites_find(image, function, &sites, &diag)) {
		fprintf(stderr, "inject: %s\n", diag.text);
		return 0;
	}
	if (sites.items[0].bytes[0] == CALL) {
		struct ng_insn insn;

		found = sites.items[0].address;
		*ret_offset = sites.items[0].offset;
		if (!ng_insn_decode(sites.items[0].bytes, JUMP_BYTES, found, &insn))
			gate->target = insn.target;
	}
	ng_sites_release(&sites);
	return found;
}

/* From the file to the running process. */
static int locate(struct gate *gate, pid_t pid, uint64_t address, uint64_t offset)
{
	struct ng_mappings mappings = NG_MAPPINGS_INIT;
	int error = -1;

	if (ng_process_mappings(pid, &mappings))
		return -1;
	for (size_t i = 0; i < mappings.count && error; i++) {
		const struct ng_mapping *mapping = &mappings.items[i];

		if (offset < mapping->offset ||
			offset >= mapping->offset + mapping->end - mapping->start)
			continue;
		gate->patch.address = mapping->start + offset - mapping->offset;
		gate->target += gate->patch.address - address;
		error = 0;
	}
	ng_mappings_release(&mappings);
	return error;
}

int gate_find(struct gate *gate, pid_t pid, const char *function, const char *kind)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_image *image;
	uint64_t address, offset;
	int fd = ng_process_open_image(pid, &diag);

	*gate = (struct gate){.is_clock = !strcmp(kind, "clock")};
	if (fd < 0 || ng_image_open(fd, &image, &diag)) {
		fprintf(stderr, "inject: %s\n", diag.text);
		return -1;
	}
	address = gate->is_clock ? find_clock(image, function, &offset)
				 : find_call(gate, image, function, &offset);
	gate->patch.length = JUMP_BYTES;
	gate->patch.is_one = 1;
	if (address)
		(void)ng_image_read(image, address, gate->patch.before, JUMP_BYTES);
	ng_image_free(image);
	if (!address || locate(gate, pid, address, offset)) {
		fprintf(stderr, "inject: no %s in %s of process %d\n", kind, function, pid);
		return -1;
	}
	gate->plan = (struct ng_inject_plan){.pid = pid,
		.code_bytes = 64,
		.data_bytes = 2 * NG_PAGE_BYTES,
		.patch_count = 1,
		.patches = &gate->patch,
		.build = build,
		.context = gate};
	return 0;
}
