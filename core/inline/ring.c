#include "core/inline/ring.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/** A stack that a number stands for. */
struct known {
	uint32_t site; /* index */
	uint32_t depth;
	uint64_t frames[]; /* the site's address first */
};

/** One ring as nowgate has it: what the target cannot change. */
struct reader {
	uint64_t tail;
	uint64_t tsc; /* of the last record */
	uint32_t tid;
	uint32_t epoch;
	bool is_ours; /* its epoch is this reader's; not so what was written for one before */
	struct known **stacks; /* NG_AREA_STACKS of them; NULL before the first */
};

struct ng_rings {
	struct ng_rings_of of;
	struct ng_layout layout;
	uint64_t *addresses;
	uint32_t *numbers;
	struct reader *readers;
	uint32_t reader_count;
	uint32_t first_epoch, epoch; /* each damage begins another */
	size_t stack_bytes;
	struct ng_rings_read so_far;
};

/** One ring, while it is read. */
struct reading {
	struct ng_rings *rings;
	struct reader *reader;
	const struct ng_tsc *clock;
	const uint8_t *data;
	uint64_t mask;
	uint64_t left; /* bytes of records, from the tail on */
	ng_rings_on_call on_call;
	void *context;
	uint64_t calls;
};

static struct ng_area_ring *ring_at(const struct ng_rings *rings, uint32_t index)
{
	return (struct ng_area_ring *)(void *)((uint8_t *)rings->of.area +
					       rings->layout.rings_offset +
					       index * rings->layout.ring_stride);
}

/* Once: what is checked is what is used. */
static uint64_t word_at(const struct reading *reading, uint64_t index)
{
	const uint64_t at = (reading->reader->tail + 8 * index) & reading->mask;

	return __atomic_load_n(
		(const uint64_t *)(const void *)(reading->data + at), __ATOMIC_RELAXED);
}

static void forget(struct ng_rings *rings, struct known *known)
{
	if (known)
		rings->stack_bytes -= sizeof(*known) + known->depth * sizeof(uint64_t);
	free(known);
}

static void forget_all(struct ng_rings *rings, struct reader *reader)
{
	for (size_t i = 0; reader->stacks && i < NG_AREA_STACKS; i++) {
		forget(rings, reader->stacks[i]);
		reader->stacks[i] = NULL;
	}
}

/* Room for a stack, within what there may be in all. */
static struct known *new_known(struct ng_rings *rings, uint32_t depth)
{
	const size_t bytes = sizeof(struct known) + depth * sizeof(uint64_t);
	struct known *known;

	if (bytes > rings->of.stack_bytes_max - rings->stack_bytes)
		return NULL;
	known = malloc(bytes);
	if (known)
		rings->stack_bytes += bytes;
	return known;
}

static bool has_table(struct ng_rings *rings, struct reader *reader)
{
	const size_t bytes = NG_AREA_STACKS * sizeof(reader->stacks[0]);

	if (reader->stacks)
		return true;
	if (bytes > rings->of.stack_bytes_max - rings->stack_bytes)
		return false;
	reader->stacks = calloc(1, bytes);
	if (reader->stacks)
		rings->stack_bytes += bytes;
	return reader->stacks;
}

/* @return the record's length; 0: it is none */
static uint64_t read_stack(struct reading *reading, uint64_t head)
{
	struct ng_rings *rings = reading->rings;
	struct reader *reader = reading->reader;
	const uint32_t depth = (uint32_t)head, number = (uint32_t)(head >> 34);
	const uint64_t site = word_at(reading, 1);
	const uint64_t bytes = NG_AREA_RECORD_BYTES + 8 * ((uint64_t)depth + (depth & 1));
	struct known *known;

	if (depth > NG_AREA_DEPTH_MAX || number >= NG_AREA_STACKS ||
		site >= rings->layout.site_count || bytes > reading->left)
		return 0;
	if (!reader->is_ours || !has_table(rings, reader))
		return bytes;
	forget(rings, reader->stacks[number]);
	known = reader->stacks[number] = new_known(rings, depth + 1);
	if (!known)
		return bytes;
	known->site = (uint32_t)site;
	known->depth = depth + 1;
	known->frames[0] = rings->addresses[site];
	for (uint32_t i = 0; i < depth; i++)
		known->frames[i + 1] = word_at(reading, 2 + i);
	return bytes;
}

static uint64_t read_call(struct reading *reading, uint64_t head)
{
	struct ng_rings *rings = reading->rings;
	struct reader *reader = reading->reader;
	const uint32_t number = (uint32_t)(head >> 34);
	const struct known *known;
	struct ng_call call = {.start_ns = rings->of.start_ns,
		.tgid = rings->of.tgid,
		.exec_id = rings->of.exec_id,
		.tid = reader->tid,
		.goroutine = word_at(reading, 1)};

	if (number >= NG_AREA_STACKS)
		return 0;
	if (!reader->is_ours)
		return NG_AREA_RECORD_BYTES;
	known = reader->stacks ? reader->stacks[number] : NULL;
	reader->tsc += (uint32_t)head;
	call.time_ns = ng_tsc_to_ns(reading->clock, reader->tsc);
	call.site = rings->numbers[known ? known->site : 0];
	call.frames = known ? known->frames : NULL;
	call.depth = known ? known->depth : 0;
	rings->so_far.stackless += !known;
	reading->calls++;
	reading->on_call(&call, reading->context);
	return NG_AREA_RECORD_BYTES;
}

static uint64_t read_time(struct reading *reading, uint64_t head)
{
	struct ng_rings *rings = reading->rings;
	struct reader *reader = reading->reader;
	const uint32_t epoch = (uint32_t)head;

	if (!reader->is_ours || epoch != reader->epoch)
		forget_all(rings, reader);
	reader->epoch = epoch;
	reader->is_ours = epoch - rings->first_epoch <= rings->epoch - rings->first_epoch;
	reader->tsc = word_at(reading, 1);
	reader->tid = (uint32_t)(head >> 34);
	return NG_AREA_RECORD_BYTES;
}

/* @return the record's length; 0: it is none */
static uint64_t read_record(struct reading *reading)
{
	const uint64_t head = word_at(reading, 0);
	const unsigned int kind = head >> 32 & 3;

	if (kind == NG_AREA_TIME)
		return read_time(reading, head);
	if (kind == NG_AREA_STACK)
		return read_stack(reading, head);
	if (kind == NG_AREA_CALL)
		return read_call(reading, head);
	return 0;
}

/* What cannot be is passed over to its end. The writer knows nothing of it; by a new epoch it tells
 * its stacks once more. Calls up to there are told without. */
static void pass_over(struct reading *reading)
{
	struct ng_rings *rings = reading->rings;
	struct ng_area_header *header = rings->of.area;

	rings->so_far.damaged++;
	__atomic_store_n(&header->epoch, ++rings->epoch, __ATOMIC_RELEASE);
	forget_all(rings, reading->reader);
	reading->reader->tail += reading->left;
	reading->left = 0;
}

static void read_ring(struct reading *reading, struct ng_area_ring *ring)
{
	const uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
	struct reader *reader = reading->reader;

	reading->left = head - reader->tail;
	if (!reading->left)
		return;
	if (reading->left > reading->mask + 1 || reading->left % NG_AREA_RECORD_BYTES)
		pass_over(reading);
	while (reading->left) {
		const uint64_t bytes = read_record(reading);

		if (!bytes) {
			pass_over(reading);
			break;
		}
		reader->tail += bytes;
		reading->left -= bytes;
	}
	__atomic_store_n(&ring->tail, reader->tail, __ATOMIC_RELEASE);
}

uint64_t ng_rings_read_all(
	struct ng_rings *rings, const struct ng_tsc *clock, ng_rings_on_call on_call, void *context)
{
	struct reading reading = {.rings = rings,
		.clock = clock,
		.mask = rings->layout.ring_bytes - 1,
		.on_call = on_call,
		.context = context};

	for (uint32_t i = 0; i < rings->reader_count; i++) {
		struct ng_area_ring *ring = ring_at(rings, i);

		reading.reader = &rings->readers[i];
		reading.data = (const uint8_t *)ring + NG_AREA_RING_DATA;
		read_ring(&reading, ring);
	}
	rings->so_far.delivered += reading.calls;
	return reading.calls;
}

struct ng_rings_read ng_rings_so_far(const struct ng_rings *rings)
{
	return rings->so_far;
}

void ng_rings_count(const struct ng_rings *rings, uint32_t site, struct ng_rings_counts *ret_counts)
{
	const uint32_t own = rings->layout.thread_lines + NG_AREA_SHARED_LINES;
	const struct ng_area_line *lines =
		(const struct ng_area_line *)(const void *)((const uint8_t *)rings->of.area +
							    rings->layout.lines_offset) +
		(uint64_t)site * (own + 1);

	*ret_counts = (struct ng_rings_counts){.calls = 0};
	for (uint32_t i = 0; i < own; i++) {
		ret_counts->calls += __atomic_load_n(&lines[i].calls, __ATOMIC_RELAXED);
		for (size_t cause = 0; cause < NG_AREA_LOSSES; cause++)
			ret_counts->lost[cause] +=
				__atomic_load_n(&lines[i].lost[cause], __ATOMIC_RELAXED);
	}
	ret_counts->foreign = __atomic_load_n(&lines[own].calls, __ATOMIC_RELAXED);
}

/* The target's own words tell the epoch before; any other than that will do. A ring that was never
 * written has 0, and nothing in it. */
static void begin_epoch(struct ng_rings *rings)
{
	struct ng_area_header *header = rings->of.area;

	rings->epoch = rings->first_epoch = __atomic_load_n(&header->epoch, __ATOMIC_RELAXED) + 1;
	__atomic_store_n(&header->epoch, rings->epoch, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < rings->reader_count; i++) {
		struct ng_area_ring *ring = ring_at(rings, i);

		rings->readers[i].tail = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
		__atomic_store_n(&ring->tail, rings->readers[i].tail, __ATOMIC_RELEASE);
	}
}

int ng_rings_new(const struct ng_rings_of *of, struct ng_rings **ret_rings)
{
	const uint32_t sites = of->layout->site_count;
	const uint32_t count = of->layout->thread_rings + of->layout->shared_rings;
	struct ng_rings *rings = calloc(1, sizeof(*rings));

	if (!rings)
		return -ENOMEM;
	rings->of = *of;
	rings->layout = *of->layout;
	rings->reader_count = count;
	rings->addresses = calloc(sites, sizeof(*rings->addresses));
	rings->numbers = calloc(sites, sizeof(*rings->numbers));
	rings->readers = calloc(count ? count : 1, sizeof(*rings->readers));
	if (!rings->addresses || !rings->numbers || !rings->readers) {
		ng_rings_free(rings);
		return -ENOMEM;
	}
	memcpy(rings->addresses, of->addresses, sites * sizeof(*rings->addresses));
	memcpy(rings->numbers, of->numbers, sites * sizeof(*rings->numbers));
	begin_epoch(rings);
	*ret_rings = rings;
	return 0;
}

void ng_rings_free(struct ng_rings *rings)
{
	if (!rings)
		return;
	for (uint32_t i = 0; rings->readers && i < rings->reader_count; i++) {
		forget_all(rings, &rings->readers[i]);
		free(rings->readers[i].stacks);
	}
	free(rings->readers);
	free(rings->addresses);
	free(rings->numbers);
	free(rings);
}
