/*
 * The memory that a target and nowgate share: gates, counters and rings of the inline engine.
 *
 *     -1 page  the own page: private to the target, wiped in a child by fork
 *      0       struct ng_area_header
 *      +page   struct ng_area_gate, one a site
 *              struct ng_area_line, for each site: one a thread by its number (runtime.m's id),
 *              then NG_AREA_SHARED_LINES that others share, then the forked children's
 *              struct ng_area_ring, one a thread by its number, then those that others share; each
 *              with its records behind it
 *
 * All but the own page is one shared mapping. Both sides write to it, and nowgate believes nothing
 * that it reads there. Included by the recording part too, which is compiled without a libc.
 *
 * Who writes what, and how:
 *
 *     gates, header     nowgate stores; the target loads. A mode takes effect at the next call.
 *     a thread's line   its thread alone, one instruction an addition: a signal handler of the same
 *                       thread can come between two, not into one. nowgate loads.
 *     shared lines      any thread, by `lock`.
 *     a ring            its thread alone; a shared ring whoever has set `busy`. `head` is stored
 *                       last, with release; nowgate loads it with acquire, reads the records, and
 *                       stores `tail` with release, which the writer loads with acquire when there
 *                       is no room by the tail that it saw last.
 *
 * A call within the recording of a call, by a signal handler, finds `busy` set: it counts, and its
 * record is lost. A child by fork finds the own page wiped: its calls count apart, and it writes no
 * records. A child by vfork has its parent's memory, and counts as the parent.
 */
#ifndef NG_CORE_INLINE_AREA_H
#define NG_CORE_INLINE_AREA_H

#include <stdint.h>

#define NG_AREA_MAGIC	0x6e6c6e6974616767ull
#define NG_AREA_VERSION 1

#define NG_AREA_PAGE	       4096
#define NG_AREA_SITES_MAX      64
#define NG_AREA_SHARED_LINES   64
#define NG_AREA_STACKS	       4096 /* that a ring knows by number; a power of two */
#define NG_AREA_DEPTH_MAX      126  /* return addresses of a stack, behind the site */
#define NG_AREA_RECORD_BYTES   16   /* records are multiples of it */
#define NG_AREA_RING_BYTES_MIN 65536
#define NG_AREA_RING_BYTES_MAX (64u << 20)

/** What a gate does with a call. */
enum ng_area_mode {
	NG_AREA_OFF = 0,
	NG_AREA_COUNT = 1,
	NG_AREA_SAMPLED = 2, /* count all, record one in `interval` */
	NG_AREA_FULL = 3,    /* count and record all */
};

/** The own page. Writer: nowgate, once. */
struct ng_area_own {
	uint64_t is_owner; /* 1; in a child by fork 0: the page is private and MADV_WIPEONFORK */
};

struct ng_area_header {
	/* Whose it is, for those who find it later. */
	uint64_t magic;
	uint32_t version;
	uint32_t site_count;
	uint64_t owner_pid;	 /* nowgate's … */
	uint64_t owner_start_ns; /* … and its start on the boot clock */
	uint64_t target_pid;
	uint64_t target_start_ns;
	uint64_t area_bytes; /* of the shared mapping */
	uint64_t pad0;

	/* What the recording part reads at each call. */
	uint64_t lease_tsc;    /* from then on nothing is recorded; calls count */
	uint64_t lines_offset; /* from the header, bytes, like the next */
	uint64_t rings_offset;
	uint64_t ring_stride;  /* bytes from one ring to the next */
	uint64_t ring_bytes;   /* of records; a power of two */
	uint32_t thread_lines; /* lines of threads, for each site */
	uint32_t
		thread_rings; /* rings of threads; of those with higher numbers none is their own */
	uint32_t shared_rings; /* a power of two, or 0 */
	uint32_t epoch;	       /* one more for each reader: it knows no stack of before */
	uint64_t pad1;

	/* CLOCK_MONOTONIC = clock_ns + ((tsc - clock_tsc) * clock_mult >> 32). For others: nowgate
	 * uses its own. */
	uint64_t clock_tsc;
	uint64_t clock_ns;
	uint64_t clock_mult;
	uint64_t pad2[5];
};

/** One site's gate, on a cache line that no one but nowgate writes. */
struct ng_area_gate {
	uint32_t mode;	     /* enum ng_area_mode */
	uint32_t interval;   /* NG_AREA_SAMPLED: on average one in so many; at least 1 */
	uint32_t id_offset;  /* of a goroutine's id in its g; 0: not known */
	uint32_t tid_offset; /* of the thread's id in its m; 0: not known */
	uint64_t pad1[6];
};

/** Why a counted call's record was lost. */
enum ng_area_loss {
	NG_AREA_LOST_FULL = 0, /* no room in its ring: the reader was too slow */
	NG_AREA_LOST_BUSY = 1, /* within the recording of another call, by a signal handler or, in a
				  shared ring, another thread */
	NG_AREA_LOST_RING = 2, /* its thread has no ring */
	NG_AREA_LOSSES = 3,
};

/** What one thread, or those who share the line, did at one site. */
struct ng_area_line {
	uint64_t calls;
	uint64_t lost[NG_AREA_LOSSES];
	uint64_t random;    /* the state of the sampling's random numbers; never 0 */
	uint32_t countdown; /* calls to the next that is recorded; signed, where it is shared */
	uint32_t pad0;
	uint64_t pad1[2];
};

/** A ring's state; records follow at NG_AREA_RING_DATA. */
struct ng_area_ring {
	uint64_t head;	    /* bytes written so far. Writer: the target, release */
	uint64_t tail_seen; /* the writer's alone, like the next three */
	uint64_t last_tsc;  /* of the last record; the next tells the difference */
	uint32_t epoch;	    /* of the last record */
	uint32_t busy;
	uint64_t pad0[12];
	uint64_t tail; /* bytes read so far. Writer: nowgate, release */
	uint64_t pad1[495];
	uint64_t stacks[NG_AREA_STACKS]; /* by number: the hash of the stack that has it */
};

#define NG_AREA_RING_DATA sizeof(struct ng_area_ring)

/*
 * A record: two words, little endian, and a stack's frames behind them, to a multiple of 16 bytes.
 *
 *              word 0, low half   word 0, high half   word 1
 *     call     TSC since the last  number << 2 | 0    goroutine's id; 0: not known, or none
 *     stack    depth               number << 2 | 1    site's index; then `depth` return addresses
 *     time     epoch               tid << 2 | 2       TSC; numbers of another epoch are void. The
 *                                                     thread's id; 0: not known, or many threads'
 */
enum ng_area_kind {
	NG_AREA_CALL = 0,
	NG_AREA_STACK = 1, /* from now on the number stands for it */
	NG_AREA_TIME = 2,
};

_Static_assert(sizeof(struct ng_area_header) == 192, "ng_area_header");
_Static_assert(__builtin_offsetof(struct ng_area_header, lease_tsc) == 64, "lease_tsc");
_Static_assert(__builtin_offsetof(struct ng_area_header, clock_tsc) == 128, "clock_tsc");
_Static_assert(sizeof(struct ng_area_gate) == 64, "ng_area_gate");
_Static_assert(sizeof(struct ng_area_line) == 64, "ng_area_line");
_Static_assert(__builtin_offsetof(struct ng_area_line, countdown) == 40, "countdown");
_Static_assert(__builtin_offsetof(struct ng_area_ring, tail) == 128, "ng_area_ring.tail");
_Static_assert(__builtin_offsetof(struct ng_area_ring, stacks) == 4096, "stacks");
_Static_assert(sizeof(struct ng_area_ring) % 64 == 0, "ng_area_ring");

#endif
