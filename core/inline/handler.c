/*
 * The recording part of the inline engine: one call into one ring. Runs in the target, called by
 * the entry code (core/inline/stub.c) on whatever stack the site is on.
 *
 * Compiled freestanding to bytes that stand anywhere: general registers only, no data, no
 * relocations, no function of anybody else's; core/inline/blob.py checks all that. It calls
 * nothing, waits for nobody but for a moment in a shared ring, and reads and writes only the area,
 * g, and the goroutine's own stack between g's bounds.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/inline/area.h"

#define G_STACK_LO   0 /* words of runtime.g */
#define G_STACK_HI   1
#define G_M	     6
#define HASH_FACTOR  0x9e3779b97f4a7c15ull
#define SHARED_TURNS 64 /* that a shared ring's holder is waited for */

#define INLINE static inline __attribute__((always_inline))

/** The call that is recorded. */
struct call {
	uint64_t site;
	const uint64_t *g;     /* NULL: not known */
	const uint64_t *frame; /* the frame pointer */
	uint64_t caller;       /* a return address before those of the frames; 0: none */
	uint32_t tid_offset;   /* in m; 0: not known, or not wanted */
	uint64_t tsc;
};

/** What is known of the stack by one walk. */
struct stack {
	uint64_t hash;
	uint64_t depth;
};

/** Where frames are written; NULL ring: nowhere. */
struct place {
	uint8_t *data;
	uint64_t at;
	uint64_t mask;
};

INLINE uint64_t read_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

/* One instruction: a signal handler's own addition cannot get lost in the middle of it. */
INLINE void add_one(uint64_t *counter, bool shared)
{
	if (shared)
		__asm__ volatile("lock incq %0" : "+m"(*counter)::"cc");
	else
		__asm__ volatile("incq %0" : "+m"(*counter)::"cc");
}

INLINE void put_word(const struct place *place, uint64_t index, uint64_t word)
{
	*(uint64_t *)(void *)(place->data + ((place->at + 8 * index) & place->mask)) = word;
}

INLINE void take_frame(struct stack *stack, const struct place *place, uint64_t pc)
{
	stack->hash = (stack->hash ^ pc) * HASH_FACTOR;
	if (place)
		put_word(place, stack->depth, pc);
	stack->depth++;
}

/*
 * Follows the frame pointers within g's stack: upwards only, so it ends, and of what is in use
 * only, so it cannot fault. The stack is this thread's own as long as this runs.
 */
INLINE struct stack walk(const struct call *call, const struct place *place)
{
	struct stack stack = {.hash = call->site + 1, .depth = 0};
	const uint64_t *frame = call->frame;
	uint64_t low, high;

	if (call->caller)
		take_frame(&stack, place, call->caller);
	if (!call->g)
		return stack;
	low = call->g[G_STACK_LO];
	high = call->g[G_STACK_HI];
	/* On this very stack: below it there may be no memory yet. */
	if ((uint64_t)__builtin_frame_address(0) - low < high - low)
		low = (uint64_t)__builtin_frame_address(0);
	while ((uint64_t)frame >= low && (uint64_t)frame <= high - 16 && !((uint64_t)frame & 7) &&
		high >= 16 && stack.depth < NG_AREA_DEPTH_MAX) {
		const uint64_t pc = frame[1];

		if (!pc)
			break;
		take_frame(&stack, place, pc);
		low = (uint64_t)frame + 1;
		frame = (const uint64_t *)frame[0];
	}
	return stack;
}

/* By multiplications only the high bits are mixed well; a hash is never 0, a free place's. Another
 * epoch has other hashes, so that what it knew need not be wiped. */
INLINE uint64_t finish_hash(uint64_t hash, uint64_t epoch)
{
	hash ^= hash >> 32;
	return (hash + epoch) * HASH_FACTOR | 1;
}

/* @return the stack's number, or the one that it is to have, with *ret_known saying which */
INLINE uint64_t number_of(const uint64_t *stacks, uint64_t hash, uint64_t tsc, bool *ret_known)
{
	const uint64_t first = hash >> 52, second = first ^ 1;

	*ret_known = true;
	if (__builtin_expect(stacks[first] == hash, 1))
		return first;
	if (stacks[second] == hash)
		return second;
	*ret_known = false;
	if (!stacks[first])
		return first;
	return first ^ (tsc >> 6 & 1);
}

INLINE bool has_room(struct ng_area_ring *ring, uint64_t bytes, uint64_t need)
{
	if (__builtin_expect(ring->head + need - ring->tail_seen <= bytes, 1))
		return true;
	ring->tail_seen = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
	return ring->head + need - ring->tail_seen <= bytes;
}

/* A stack that its number does not stand for yet. Walked once more, now to be written. */
static __attribute__((noinline)) uint64_t put_stack(
	const struct call *call, struct place place, uint64_t number)
{
	const struct place frames = {
		.data = place.data, .at = place.at + NG_AREA_RECORD_BYTES, .mask = place.mask};
	const struct stack stack = walk(call, &frames);

	put_word(&place, 0, (number << 2 | NG_AREA_STACK) << 32 | stack.depth);
	put_word(&place, 1, call->site);
	if (stack.depth & 1)
		put_word(&frames, stack.depth, 0);
	return NG_AREA_RECORD_BYTES + 8 * (stack.depth + (stack.depth & 1));
}

/* The time as it is, and whose ring this is: an M is one thread for as long as it lives. */
static __attribute__((noinline)) void put_time(
	const struct call *call, const struct place *place, uint64_t epoch)
{
	const uint8_t *m = call->g && call->tid_offset ? (const uint8_t *)call->g[G_M] : NULL;
	uint64_t tid = 0;

	if (m)
		tid = *(const uint32_t *)(const void *)(m + call->tid_offset) & 0x3fffffff;
	put_word(place, 0, (tid << 2 | NG_AREA_TIME) << 32 | epoch);
	put_word(place, 1, call->tsc);
}

/* @return whether there was room */
INLINE bool put_call(const struct ng_area_header *area, struct ng_area_ring *ring,
	const struct call *call, uint64_t goroutine)
{
	const struct stack stack = walk(call, NULL);
	const uint64_t hash = finish_hash(stack.hash, area->epoch);
	uint64_t last = ring->last_tsc, need = NG_AREA_RECORD_BYTES, number;
	struct place place = {.data = (uint8_t *)ring + NG_AREA_RING_DATA,
		.at = ring->head,
		.mask = area->ring_bytes - 1};
	bool known, timed;

	number = number_of(ring->stacks, hash, call->tsc, &known);
	timed = ring->epoch != area->epoch || (call->tsc - last) >> 32;
	if (!known)
		need += NG_AREA_RECORD_BYTES + 8 * (stack.depth + (stack.depth & 1));
	need += timed ? NG_AREA_RECORD_BYTES : 0;
	if (!has_room(ring, area->ring_bytes, need))
		return false;

	if (__builtin_expect(timed, 0)) {
		ring->epoch = area->epoch;
		last = call->tsc;
		put_time(call, &place, ring->epoch);
		place.at += NG_AREA_RECORD_BYTES;
	}
	if (__builtin_expect(!known, 0)) {
		place.at += put_stack(call, place, number);
		ring->stacks[number] = hash;
	}
	put_word(&place, 0, number << 34 | (uint32_t)(call->tsc - last));
	put_word(&place, 1, goroutine);
	ring->last_tsc = call->tsc;
	__atomic_store_n(&ring->head, place.at + NG_AREA_RECORD_BYTES, __ATOMIC_RELEASE);
	return true;
}

/* The ring of a thread's number; NULL: there is none. */
INLINE struct ng_area_ring *ring_of(struct ng_area_header *area, uint64_t slot, bool *ret_shared)
{
	uint64_t index = slot;

	*ret_shared = slot >= area->thread_rings;
	if (*ret_shared) {
		if (!area->shared_rings)
			return NULL;
		index = area->thread_rings + (slot & (area->shared_rings - 1));
	}
	return (struct ng_area_ring *)(void *)((uint8_t *)area + area->rings_offset +
					       index * area->ring_stride);
}

/* A thread's own ring is busy only where this is its signal handler. */
INLINE bool seize(struct ng_area_ring *ring, bool shared)
{
	if (!shared) {
		if (ring->busy)
			return false;
		__atomic_store_n(&ring->busy, 1, __ATOMIC_RELAXED);
		__asm__ volatile("" ::: "memory");
		return true;
	}
	for (int turn = 0; turn < SHARED_TURNS; turn++) {
		if (!__atomic_exchange_n(&ring->busy, 1, __ATOMIC_ACQUIRE))
			return true;
		__asm__ volatile("pause");
	}
	return false;
}

/* Evenly from 1 to 2n - 1, so n on average: xorshift64*, one stream a line. Of a shared line each
 * who finds it used up adds to it, so that all that was added is n for each record. */
INLINE void draw_countdown(struct ng_area_line *line, uint32_t interval, bool shared)
{
	uint64_t random = line->random;
	uint32_t next;

	random ^= random >> 12;
	random ^= random << 25;
	random ^= random >> 27;
	line->random = random;
	random *= 0x2545f4914f6cdd1dull;
	next = 1 + (uint32_t)((random >> 32) * (2 * (uint64_t)interval - 1) >> 32);
	if (shared)
		(void)__atomic_fetch_add(&line->countdown, next, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&line->countdown, next, __ATOMIC_RELAXED);
}

/**
 * Records a call that was counted.
 *
 * @param slot its line at the site
 */
void ng_inline_take(struct ng_area_header *area, uint64_t site, uint64_t slot, const uint64_t *g,
	const uint64_t *frame, uint64_t caller)
	__attribute__((section(".text.entry"), used, visibility("hidden")));

void ng_inline_take(struct ng_area_header *area, uint64_t site, uint64_t slot, const uint64_t *g,
	const uint64_t *frame, uint64_t caller)
{
	const struct ng_area_gate *gate =
		(const struct ng_area_gate *)(void *)((uint8_t *)area + NG_AREA_PAGE) + site;
	const uint64_t lines = area->thread_lines + NG_AREA_SHARED_LINES + 1;
	struct ng_area_line *line =
		(struct ng_area_line *)(void *)((uint8_t *)area + area->lines_offset) +
		site * lines + slot;
	const bool line_shared = slot >= area->thread_lines;
	struct call call = {
		.site = site, .g = g, .frame = frame, .caller = caller, .tsc = read_tsc()};
	struct ng_area_ring *ring;
	uint64_t goroutine = 0;
	bool shared, done;

	if (gate->mode == NG_AREA_SAMPLED)
		draw_countdown(line, gate->interval ? gate->interval : 1, line_shared);
	if (call.tsc >= area->lease_tsc)
		return;
	ring = ring_of(area, slot, &shared);
	if (!ring) {
		add_one(&line->lost[NG_AREA_LOST_RING], line_shared);
		return;
	}
	if (!seize(ring, shared)) {
		add_one(&line->lost[NG_AREA_LOST_BUSY], line_shared);
		return;
	}
	if (g && gate->id_offset)
		goroutine = *(const uint64_t *)(const void *)((const uint8_t *)g + gate->id_offset);
	call.tid_offset = shared ? 0 : gate->tid_offset;
	done = put_call(area, ring, &call, goroutine);
	__atomic_store_n(&ring->busy, 0, __ATOMIC_RELEASE);
	if (!done)
		add_one(&line->lost[NG_AREA_LOST_FULL], line_shared);
}
