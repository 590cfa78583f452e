/*
 * What the BPF programs and user space share: fixed widths, explicit padding, asserted layout.
 * Included by bpf/ (compiled for BPF), core/, control/ and the tests.
 */
#ifndef NG_BPF_ABI_H
#define NG_BPF_ABI_H

#include <linux/types.h>

/* Sizes of the maps. A per-CPU count takes 8 bytes a CPU, and the kernel sets room aside for all.
 */
#define NG_COUNTS_MAX	 16384 /* (process, site) pairs at one time */
#define NG_TARGETS_MAX	 16384 /* processes watched at one time */
#define NG_IMAGES_MAX	 1024  /* files watched for their exec */
#define NG_EVENTS_BYTES	 (1u << 20)
#define NG_GATES_MAX	 4096 /* processes with a gate of their own, and the default one */
#define NG_WINDOWS_MAX	 32   /* windows open at one time */
#define NG_WINDOW_ROWS	 512  /* (thread, site) pairs in a window; a power of two */
#define NG_WINDOW_PROBES 16   /* rows looked at for a pair */
#define NG_CPUS_MAX	 1024
#define NG_FACTS_MAX	 16384 /* sites at one time */

/**
 * Whose calls, at which site. A process is its pid and its start time, never a pid alone; both
 * outlive an exec, and exec_id tells one image's life from the next.
 */
struct ng_count_key {
	__u64 start_ns; /* the process's start on the boot clock: task->group_leader->start_boottime
			 */
	__u32 tgid;	/* in the initial pid namespace */
	__u32 exec_id;	/* task->self_exec_id: one more at each exec, handed on by fork */
	__u32 site;	/* the attach cookie: a number that the engine gave */
	__u32 pad;
};

/** One CPU's share. Writer: the BPF program, by atomic addition, for another thread can get the
 * CPU in the middle of the program. Reader: user space, which adds up the CPUs. */
struct ng_count {
	__u64 calls;
};

/** Why something was not counted or told; indices of the array `lost`. */
enum ng_loss_cause {
	NG_LOST_COUNTS_FULL = 0,  /* a call: no room for another (process, site) pair */
	NG_LOST_TARGETS_FULL = 1, /* a child to follow: no room for another target */
	NG_LOST_EVENTS_FULL = 2,  /* a process event: the ring buffer was full */
	NG_LOST_WINDOW_FULL = 3,  /* a call in a window: no row for another (thread, site) pair */
	NG_LOST_RECORDS_FULL = 4, /* a call's record: the ring buffer was full; the call counts */
	NG_LOST_CAUSES = 5,
};

/** A watched process's life, told through the ring buffer `events`. */
enum ng_proc_event_kind {
	NG_PROC_FORK = 1,      /* tgid: the child; parent: its parent */
	NG_PROC_EXEC = 2,      /* tgid: the process, with its new image */
	NG_PROC_EXIT = 3,      /* tgid: the process, whose last thread ends */
	NG_PROC_MAIN_EXIT = 4, /* tgid: the process, whose main thread ended before the others */
	NG_PROC_TRIP = 5, /* tgid: the process, whose window or burst has taken its last call */
};

struct ng_proc_event {
	__u64 time_ns;	/* CLOCK_MONOTONIC */
	__u64 start_ns; /* as in ng_count_key */
	__u64 cpu_ns;	/* NG_PROC_EXIT: CPU time of the threads that ended since it is watched */
	__u64 image_inode;  /* NG_PROC_EXEC: the new image's file, as stat() tells it … */
	__u32 image_device; /* … in the kernel's own encoding: major << 20 | minor */
	__u32 kind;	    /* enum ng_proc_event_kind */
	__u32 tgid;
	__u32 parent;  /* NG_PROC_FORK: tgid of the parent, else 0 */
	__u32 exec_id; /* as in ng_count_key */
	__u32 pad;
};

/** Where a thread that hits a site has its goroutine's g. */
enum ng_g_place {
	NG_G_NOWHERE = 0, /* that is not known, or there is none: C code */
	NG_G_R14 = 1,	  /* in the register that Go's compiler keeps for it */
	NG_G_TLS = 2,	  /* in the thread's own memory */
};

/** How a goroutine's id is found at a site. */
struct ng_goroutine {
	__u32 g;	 /* enum ng_g_place */
	__s32 tls_bytes; /* NG_G_TLS: from the thread pointer (FS) to g's address */
	__u32 id_offset; /* in g, bytes */
};

/** What the programs must know of a site; `site_facts` has it by the site's number. Writer: user
 * space, before the site is armed. */
struct ng_site_facts {
	struct ng_goroutine goroutine;
	__u32 is_frameless; /* not 0: before it the function has not set up its frame */
};

/** A call with its stack, told through the ring buffer `records`. */
struct ng_record {
	__u64 time_ns;	/* CLOCK_MONOTONIC */
	__u64 start_ns; /* as in ng_count_key, like the next but tid */
	__u32 tgid;
	__u32 exec_id;
	__u32 site;
	__u32 tid;
	__u64 goroutine; /* 0: not known, or none: the runtime's own code on its own stacks */
	__u32 window;  /* serial number of the window that it was hit in; 0: none, each call is told
			*/
	__u32 stretch; /* as ng_gate.records; 0: without a gate, which is one stretch */
	/* Then 8 bytes a frame, innermost first: the site's address, then return addresses. Where
	 * there are NG_RECORD_FRAMES_MAX the stack may be deeper. */
};

#define NG_RECORD_FRAMES_MAX 127
#define NG_RECORD_FRAMES_FEW 24 /* so many are collected first, on the program's own stack */

/** A watched process; `targets` maps its tgid to this. Writers: user space; the fork program for
 * children that are followed; the exec program for processes that take up a watched file. */
struct ng_target {
	__u64 start_ns; /* as in ng_count_key; 0: not known yet, any will do */
	__u64 cpu_ns;	/* of threads that ended; writer: the exit program, by atomic addition */
	__u32 flags;	/* NG_TARGET_* */
	__u32 gate;	/* index in `gates`; 0: the default gate */
};

#define NG_TARGET_FOLLOW 1u /* its children become targets too */

/** What the user asked for. */
enum ng_mode {
	NG_MODE_OFF = 0,     /* not armed; a late hit is sampled out */
	NG_MODE_COUNT = 1,   /* every call counts */
	NG_MODE_SAMPLED = 2, /* those in windows do */
	NG_MODE_BURST = 3,   /* every call, up to a number of them */
	NG_MODE_FULL = 4,    /* every call */
	NG_MODES = 5,
};

/** One process's gate, on a cache line of its own. Writer: user space, plain stores to its mapping
 * of `gates`, and the fields marked so by each hit's atomic additions. */
struct ng_gate {
	__u64 lease_until_ns; /* CLOCK_MONOTONIC: from then on `fallback` holds; 0: no end */
	__s64 tokens;	  /* calls that the window, or a limited count, may still take; hits take */
	__s64 burst_left; /* burst: calls that it may still take; hits take */
	__u32 mode;	  /* enum ng_mode … */
	__u32 fallback;	  /* … when the lease is over */
	__u32 probability; /* sampled: a call in a window counts if 32 random bits are not above */
	__u32 window_open; /* sampled: the open window's serial number; 0: none is, no call counts
			    */
	__u32 burst_limited; /* burst: not 0 where burst_left counts */
	__u32 count_limited; /* count: not 0 where running out of tokens is told */
	__u32 window;	     /* index in `windows` that calls are noted in while one is open */
	__u32 records; /* not 0 where delivered calls are told with their stacks: a number of the
			  stretch of time since this was last written */
	__u64 window_until_ns; /* sampled: the window's end, CLOCK_MONOTONIC; a trip brings it
				  forward */
};

/** What one CPU has taken of a window's tokens, and not yet used. Writer: hits. */
struct ng_gate_share {
	__u32 window; /* as ng_gate.window_open */
	__u32 left;
};

#define NG_GATE_SHARE 16 /* tokens that a CPU takes at a time */

/** One CPU's share of what a gate's hits became: hits = delivered + sampled_out + lost. Writer:
 * hits, by atomic addition. */
struct ng_gate_tally {
	__u64 hits;
	__u64 delivered;
	__u64 sampled_out;
	__u64 lost;
	__u64 first_ns; /* the first delivered since user space wrote 0; CLOCK_MONOTONIC */
	__u64 last_hit_ns;
	__u64 lead_hits;  /* at leads: no calls, in none of the above */
	__u64 pairs;	  /* hits of a lead and then of its site, in windows … */
	__u64 pairs_ns;	  /* … and the time between the two */
	__u64 lead_key;	  /* whose lead was hit last: NG_ROW_KEY(tid, its site + 1) … */
	__u64 lead_ns;	  /* … and when. Plain stores; what they tell is checked */
	__u64 told;	  /* delivered calls whose records were written, or lost … */
	__u64 telling_ns; /* … and the time that took */
	struct ng_gate_share share;
};

/*
 * A lead: an instruction that is followed by a site on a straight line. Armed beside it, the time
 * from the lead's hit to the site's is what a hit costs, in that very process.
 *
 * The attach cookie of a site is its number; that of a lead has the number that it leads to plus
 * one in its upper half.
 */
#define NG_LEAD_COOKIE(number, leads_to) (((__u64)(leads_to) + 1) << 32 | (number))

/** What a thread did in a window: a row for its time, and one for its calls at each site. */
struct ng_window_row {
	__u64 key;   /* NG_ROW_KEY(); 0: free. Writer: whoever claims it, by compare and swap */
	__u64 value; /* ns on a CPU up to its last switch; or calls. Atomic additions */
};

/* A site's number plus one: 0 is the row of the thread's time. */
#define NG_ROW_KEY(tid, site_plus_one) ((__u64)(tid) << 32 | (site_plus_one))

struct ng_window_table {
	__u64 opened_ns; /* CLOCK_MONOTONIC. Writer: user space, before it opens */
	__u64 pad;
	struct ng_window_row rows[NG_WINDOW_ROWS];
};

/** Who runs on a CPU since when; as of the last switch there. Writer: that CPU. */
struct ng_on_cpu {
	__u64 since_ns; /* CLOCK_MONOTONIC */
	__u32 tgid;
	__u32 tid;
	__u64 pad[6]; /* to a cache line */
};

/** A file whose exec, by whatever process, is told; key of `images`. */
struct ng_image_key {
	__u64 inode;
	__u32 device; /* as in ng_proc_event */
	__u32 pad;
};

_Static_assert(sizeof(struct ng_count_key) == 24, "ng_count_key");
_Static_assert(__builtin_offsetof(struct ng_count_key, site) == 16, "ng_count_key.site");
_Static_assert(sizeof(struct ng_count) == 8, "ng_count");
_Static_assert(sizeof(struct ng_proc_event) == 56, "ng_proc_event");
_Static_assert(__builtin_offsetof(struct ng_proc_event, image_device) == 32, "image_device");
_Static_assert(__builtin_offsetof(struct ng_proc_event, tgid) == 40, "tgid");
_Static_assert(sizeof(struct ng_record) == 48, "ng_record");
_Static_assert(sizeof(struct ng_site_facts) == 16, "ng_site_facts");
_Static_assert(sizeof(struct ng_target) == 24, "ng_target");
_Static_assert(sizeof(struct ng_image_key) == 16, "ng_image_key");
_Static_assert(sizeof(struct ng_gate) == 64, "ng_gate");
_Static_assert(__builtin_offsetof(struct ng_gate, mode) == 24, "ng_gate.mode");
_Static_assert(sizeof(struct ng_gate_tally) == 112, "ng_gate_tally");
_Static_assert(sizeof(struct ng_window_row) == 16, "ng_window_row");
_Static_assert(sizeof(struct ng_window_table) == 16 + 16 * NG_WINDOW_ROWS, "ng_window_table");
_Static_assert(sizeof(struct ng_on_cpu) == 64, "ng_on_cpu");

#endif
