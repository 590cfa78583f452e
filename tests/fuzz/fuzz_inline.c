/*
 * Any bytes as what a target leaves in its area, before and while it is read: each read ends, and
 * what it tells is within what there can be.
 *
 * An input is steps: 1 byte what to do, 2 bytes where, 8 bytes a word; or as many as are left.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/inline/ring.h"
#include "tests/fuzz/must.h"

#define SITES	    2
#define STEPS_MAX   512
#define STEP_BYTES  11
#define STACK_BYTES 70000 /* for the tables of two rings, and a few stacks */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint64_t addresses[SITES] = {0x1000, 0x2000};
static const uint32_t numbers[SITES] = {70, 80};

struct told {
	struct ng_tsc clock;
	uint64_t calls;
};

static void take(const struct ng_call *call, void *context)
{
	struct told *told = context;

	told->calls++;
	MUST(call->depth <= NG_AREA_DEPTH_MAX + 1);
	MUST(!call->depth == !call->frames);
	MUST(call->site == 70 || call->site == 80);
	MUST(!call->depth || call->frames[0] == (call->site == 70 ? 0x1000 : 0x2000));
	MUST(call->tgid == 1 && call->exec_id == 2 && call->start_ns == 3 && !call->window);
	MUST(call->time_ns >= told->clock.start_ns && call->time_ns <= told->clock.ns);
	for (size_t i = 0; i < call->depth; i++)
		told->clock.start_tsc ^= call->frames[i]; /* all of them can be read */
}

static void read_all(struct ng_rings *rings, struct told *told, const struct ng_layout *layout)
{
	const uint64_t before = told->calls;
	const uint64_t rings_count = layout->thread_rings + layout->shared_rings;

	MUST(ng_rings_read_all(rings, &told->clock, take, told) == told->calls - before);
	MUST(told->calls - before <= rings_count * layout->ring_bytes / NG_AREA_RECORD_BYTES);
	MUST(ng_rings_so_far(rings).delivered == told->calls);
	MUST(ng_rings_so_far(rings).stackless <= told->calls);
}

/** The area, and what is written to next. */
struct target {
	struct ng_layout layout;
	uint8_t *area;
	struct ng_area_ring *ring;
	uint64_t at; /* of the next record */
};

static void put(struct target *target, uint64_t word)
{
	const uint64_t mask = target->layout.ring_bytes - 1;

	memcpy((uint8_t *)target->ring + NG_AREA_RING_DATA + (target->at & mask), &word, 8);
	target->at += 8;
}

static void step(struct target *target, uint8_t what, uint16_t where, uint64_t word)
{
	struct ng_area_header *header = (struct ng_area_header *)(void *)target->area;

	switch (what & 7) {
	case 0 ... 2:
		put(target, word);
		break;
	case 3:
		put(target, (uint64_t)NG_AREA_TIME << 32 | header->epoch);
		put(target, word);
		break;
	case 4: /* any word of the area */
		memcpy(target->area + (uint64_t)where * 8 % target->layout.area_bytes, &word, 8);
		break;
	case 5:
		target->ring->head = what & 8 ? word : target->at;
		break;
	case 6: /* the other ring */
		target->ring =
			(struct ng_area_ring *)(void *)(target->area + target->layout.rings_offset +
							(where & 1) * target->layout.ring_stride);
		target->at = target->ring->head;
		break;
	default: /* a stack's head, or a call */
		put(target, (uint64_t)((where << 2) | (what >> 3 & 1)) << 32 | (uint32_t)word);
		put(target, word >> 32);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ng_area_owner owner = {.pid = 1};
	struct target target = {.layout = {.site_count = SITES,
					.thread_lines = 1,
					.thread_rings = 1,
					.shared_rings = 1,
					.ring_bytes = NG_AREA_RING_BYTES_MIN}};
	struct told told = {.clock = {.start_tsc = 10,
				    .start_ns = 20,
				    .tsc = 1000,
				    .ns = 2000,
				    .mult = 1ull << 32}};
	struct ng_rings *rings = NULL;
	struct ng_rings_counts counts;
	struct ng_rings_of of = {.addresses = addresses,
		.numbers = numbers,
		.tgid = 1,
		.exec_id = 2,
		.start_ns = 3,
		.stack_bytes_max = STACK_BYTES};

	MUST(!ng_layout_fill(&target.layout, NULL));
	target.area = calloc(1, target.layout.area_bytes);
	MUST(target.area);
	ng_layout_write(&target.layout, &owner, 1, target.area);
	of.area = target.area;
	of.layout = &target.layout;
	MUST(!ng_rings_new(&of, &rings));
	step(&target, 6, 0, 0);
	for (size_t i = 0; i < STEPS_MAX && (i + 1) * STEP_BYTES <= size; i++) {
		const uint8_t *bytes = data + i * STEP_BYTES;
		uint16_t where;
		uint64_t word;

		memcpy(&where, bytes + 1, sizeof(where));
		memcpy(&word, bytes + 3, sizeof(word));
		step(&target, bytes[0], where, word);
		if (bytes[0] & 0x80)
			read_all(rings, &told, &target.layout);
	}
	read_all(rings, &told, &target.layout);
	for (uint32_t site = 0; site < SITES; site++)
		ng_rings_count(rings, site, &counts);
	ng_rings_free(rings);
	free(target.area);
	return 0;
}
