/* core/inline/ring: what a target can write into its rings, word by word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/inline/ring.h"

#define SITES 2
#define DATA  NG_AREA_RING_DATA

static const uint64_t addresses[SITES] = {0x1000, 0x2000};
static const uint32_t numbers[SITES] = {70, 80};

/** A target's area with one ring, and its reader. */
struct made {
	struct ng_layout layout;
	uint8_t *area;
	struct ng_area_header *header;
	struct ng_area_ring *ring;
	struct ng_rings *rings;
	struct ng_tsc clock; /* a tick is a nanosecond */
	uint64_t at;
	/* Of the last call. */
	struct ng_call call;
	uint64_t frames[NG_AREA_DEPTH_MAX + 1];
	uint64_t calls;
};

static void set_up(struct made *made)
{
	static const struct ng_area_owner owner = {.pid = 1};
	struct ng_rings_of of = {.addresses = addresses,
		.numbers = numbers,
		.tgid = 1,
		.exec_id = 2,
		.start_ns = 3,
		.stack_bytes_max = 1 << 20};

	*made = (struct made){.layout = {.site_count = SITES,
				      .thread_lines = 1,
				      .thread_rings = 1,
				      .ring_bytes = NG_AREA_RING_BYTES_MIN},
		.clock = {.tsc = 1000000, .ns = 1000000, .mult = 1ull << 32}};
	assert_int_equal(ng_layout_fill(&made->layout, NULL), 0);
	made->area = calloc(1, made->layout.area_bytes);
	assert_non_null(made->area);
	ng_layout_write(&made->layout, &owner, 1, made->area);
	made->header = (struct ng_area_header *)(void *)made->area;
	made->ring = (struct ng_area_ring *)(void *)(made->area + made->layout.rings_offset);
	of.area = made->area;
	of.layout = &made->layout;
	assert_int_equal(ng_rings_new(&of, &made->rings), 0);
}

static void tear_down(struct made *made)
{
	ng_rings_free(made->rings);
	free(made->area);
}

static void take(const struct ng_call *call, void *context)
{
	struct made *made = context;

	made->call = *call;
	if (call->depth)
		memcpy(made->frames, call->frames, 8 * call->depth);
	made->calls++;
}

static void put(struct made *made, uint64_t first, uint64_t second)
{
	uint8_t *data = (uint8_t *)made->ring + DATA;

	memcpy(data + (made->at & (NG_AREA_RING_BYTES_MIN - 1)), &first, 8);
	memcpy(data + ((made->at + 8) & (NG_AREA_RING_BYTES_MIN - 1)), &second, 8);
	made->at += 16;
}

static void put_time(struct made *made, uint64_t epoch, uint64_t tsc)
{
	put(made, (uint64_t)(123 << 2 | NG_AREA_TIME) << 32 | (uint32_t)epoch, tsc);
}

static void put_stack(struct made *made, uint64_t number, uint64_t site, uint32_t depth)
{
	put(made, (number << 2 | NG_AREA_STACK) << 32 | depth, site);
	for (uint32_t i = 0; i < depth; i += 2)
		put(made, 0x9000 + i, i + 1 < depth ? 0x9000 + i + 1 : 0);
}

static void put_call(struct made *made, uint64_t number, uint32_t later)
{
	put(made, number << 34 | later, 55);
}

/* Publishes and reads. @return how many calls */
static uint64_t read_now(struct made *made)
{
	made->ring->head = made->at;
	return ng_rings_read_all(made->rings, &made->clock, take, made);
}

static void begin(struct made *made)
{
	set_up(made);
	put_time(made, made->header->epoch, 500000);
	put_stack(made, 9, 1, 3);
	put_call(made, 9, 10);
	assert_int_equal(read_now(made), 1);
}

static void reads_what_is_right(void **state)
{
	const uint64_t frames[] = {0x2000, 0x9000, 0x9001, 0x9002};
	struct made made;

	(void)state;
	begin(&made);
	assert_int_equal(made.call.depth, 4);
	assert_memory_equal(made.frames, frames, sizeof(frames));
	assert_int_equal(made.call.time_ns, 500010);
	assert_int_equal(made.call.goroutine, 55);
	assert_int_equal(made.call.site, 80);
	assert_int_equal(made.call.tid, 123);
	put_call(&made, 9, 5);
	put_stack(&made, 9, 0, 0);
	put_call(&made, 9, UINT32_MAX); /* not beyond now */
	assert_int_equal(read_now(&made), 2);
	assert_int_equal(made.call.depth, 1);
	assert_int_equal(made.frames[0], 0x1000);
	assert_int_equal(made.call.time_ns, 1000000);
	assert_true(made.ring->tail == made.at);
	assert_int_equal(ng_rings_so_far(made.rings).damaged, 0);
	tear_down(&made);
}

/* After any of these it goes on by a new epoch, and with it all is right again. */
static void check_damage(struct made *made, uint64_t calls)
{
	const uint32_t epoch = made->header->epoch;

	assert_int_equal(read_now(made), calls);
	assert_int_equal(ng_rings_so_far(made->rings).damaged, 1);
	assert_int_equal(made->header->epoch, epoch + 1);
	assert_true(made->ring->tail == made->at);
	put_call(made, 9, 1); /* of the writer that does not know it yet */
	assert_int_equal(read_now(made), 1);
	assert_int_equal(made->call.depth, 0);
	put_time(made, epoch + 1, 600000);
	put_stack(made, 9, 0, 1);
	put_call(made, 9, 1);
	assert_int_equal(read_now(made), 1);
	assert_int_equal(made->call.depth, 2);
	assert_int_equal(made->call.time_ns, 600001);
	assert_int_equal(ng_rings_so_far(made->rings).damaged, 1);
	tear_down(made);
}

static void passes_over_what_cannot_be(void **state)
{
	struct made made;

	(void)state;
	begin(&made); /* no such kind */
	put(&made, 3ull << 32, 0);
	put_call(&made, 9, 1);
	check_damage(&made, 0);
	begin(&made); /* a stack deeper than any */
	put(&made, (uint64_t)(9 << 2 | NG_AREA_STACK) << 32 | (NG_AREA_DEPTH_MAX + 1), 0);
	check_damage(&made, 0);
	begin(&made);
	put(&made, (uint64_t)(9 << 2 | NG_AREA_STACK) << 32 | UINT32_MAX, 0);
	check_damage(&made, 0);
	begin(&made); /* a site that there is not */
	put_call(&made, 9, 1);
	put_stack(&made, 9, SITES, 2);
	check_damage(&made, 1);
	begin(&made);
	put_stack(&made, 9, UINT64_MAX, 2);
	check_damage(&made, 0);
	begin(&made); /* numbers that there are not */
	put_stack(&made, NG_AREA_STACKS, 0, 2);
	check_damage(&made, 0);
	begin(&made);
	put_call(&made, NG_AREA_STACKS, 2);
	check_damage(&made, 0);
	begin(&made); /* a stack that ends behind what is there */
	put(&made, (uint64_t)(9 << 2 | NG_AREA_STACK) << 32 | 3, 0);
	check_damage(&made, 0);
	begin(&made); /* half a record; more than a ring holds; back */
	made.at += 8;
	assert_int_equal(read_now(&made), 0);
	assert_int_equal(ng_rings_so_far(made.rings).damaged, 1);
	made.at += 1ull << 40;
	assert_int_equal(read_now(&made), 0);
	made.at = 0;
	assert_int_equal(read_now(&made), 0);
	assert_int_equal(ng_rings_so_far(made.rings).damaged, 3);
	tear_down(&made);
}

static void a_stack_of_which_nothing_was_said_is_not_known(void **state)
{
	struct made made;

	(void)state;
	begin(&made);
	put_call(&made, 10, 1);
	assert_int_equal(read_now(&made), 1);
	assert_int_equal(made.call.depth, 0);
	assert_null(made.call.frames);
	assert_int_equal(made.call.site, 70);
	assert_int_equal(ng_rings_so_far(made.rings).stackless, 1);
	tear_down(&made);
}

/* What was written for another reader is passed over, its stacks too. */
static void another_epoch_is_not_told(void **state)
{
	struct made made;

	(void)state;
	begin(&made);
	put_time(&made, made.header->epoch - 1, 400000);
	put_stack(&made, 9, 0, 1);
	put_call(&made, 9, 1);
	put_time(&made, made.header->epoch + 1, 400000);
	put_call(&made, 9, 1);
	put_time(&made, made.header->epoch, 700000);
	put_call(&made, 9, 1);
	assert_int_equal(read_now(&made), 1);
	assert_int_equal(made.call.depth, 0);
	assert_int_equal(made.call.time_ns, 700001);
	assert_int_equal(ng_rings_so_far(made.rings).damaged, 0);
	tear_down(&made);
}

/* The header's and the ring's other words are nothing to the reader. */
static void believes_no_other_word(void **state)
{
	struct made made;

	(void)state;
	begin(&made);
	memset(made.area, 0xff, NG_AREA_PAGE);
	memset((uint8_t *)made.ring + 8, 0xff, sizeof(*made.ring) - 8);
	put_call(&made, 9, 1);
	assert_int_equal(read_now(&made), 1);
	assert_int_equal(made.call.depth, 4);
	assert_true(made.ring->tail == made.at);
	tear_down(&made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_is_right),
		cmocka_unit_test(passes_over_what_cannot_be),
		cmocka_unit_test(a_stack_of_which_nothing_was_said_is_not_known),
		cmocka_unit_test(another_epoch_is_not_told),
		cmocka_unit_test(believes_no_other_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
