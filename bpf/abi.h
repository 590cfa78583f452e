/*
 * What the BPF programs and user space share: fixed widths, explicit padding, asserted layout.
 * Included by bpf/ (compiled for BPF), core/, control/ and the tests.
 */
#ifndef NG_BPF_ABI_H
#define NG_BPF_ABI_H

#include <linux/types.h>

/* Sizes of the maps. A per-CPU count takes 8 bytes a CPU, and the kernel sets room aside for all.
 */
#define NG_COUNTS_MAX	16384 /* (process, site) pairs at one time */
#define NG_TARGETS_MAX	16384 /* processes watched at one time */
#define NG_IMAGES_MAX	1024  /* files watched for their exec */
#define NG_EVENTS_BYTES (1u << 20)

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
	NG_LOST_CAUSES = 3,
};

/** A watched process's life, told through the ring buffer `events`. */
enum ng_proc_event_kind {
	NG_PROC_FORK = 1,      /* tgid: the child; parent: its parent */
	NG_PROC_EXEC = 2,      /* tgid: the process, with its new image */
	NG_PROC_EXIT = 3,      /* tgid: the process, whose last thread ends */
	NG_PROC_MAIN_EXIT = 4, /* tgid: the process, whose main thread ended before the others */
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

/** A watched process; `targets` maps its tgid to this. Writers: user space; the fork program for
 * children that are followed; the exec program for processes that take up a watched file. */
struct ng_target {
	__u64 start_ns; /* as in ng_count_key; 0: not known yet, any will do */
	__u64 cpu_ns;	/* of threads that ended; writer: the exit program, by atomic addition */
	__u32 flags;	/* NG_TARGET_* */
	__u32 pad;
};

#define NG_TARGET_FOLLOW 1u /* its children become targets too */

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
_Static_assert(sizeof(struct ng_target) == 24, "ng_target");
_Static_assert(sizeof(struct ng_image_key) == 16, "ng_image_key");

#endif
