/*
 * What the BPF programs and user space share: fixed widths, explicit padding, asserted layout.
 * Included by bpf/ (compiled for BPF), core/, control/ and the tests.
 */
#ifndef NG_BPF_ABI_H
#define NG_BPF_ABI_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#define NG_ABI_VERSION 1

/* Limits of the maps; ng_uprobe_open() may set smaller or larger ones before loading. */
#define NG_COUNTS_MAX	16384 /* (process, site) pairs alive at one time */
#define NG_TARGETS_MAX	16384 /* processes watched at one time */
#define NG_EVENTS_BYTES (256 * 1024)

/**
 * Whose calls at which site. A process is its pid and its start time, never a pid alone; an exec
 * keeps both, so exec_count tells one program image from the next.
 */
struct ng_count_key {
	__u64 start_ns; /* task->start_boottime of the thread group's leader */
	__u32 tgid;	/* in the initial pid namespace */
	__u32 site;	/* the attach cookie */
};

/** Written by the program on the CPU whose copy it is; summed by user space. */
struct ng_count {
	__u64 calls;
};

/** Why a hit was not counted; indices of the `lost` array. */
enum ng_loss_cause {
	NG_LOST_COUNTS_FULL = 0, /* no room for another (process, site) pair */
	NG_LOST_CAUSES = 1,
};

/** A watched process's life, told through the ring buffer `events`. */
enum ng_proc_event_kind {
	NG_PROC_FORK = 1, /* pid: the child; other: the parent */
	NG_PROC_EXEC = 2, /* pid: the process; other: the thread that called exec, by its old tid */
	NG_PROC_EXIT = 3, /* pid: the process, whose last thread is gone */
	NG_PROC_COMM_EXEC = 4, /* pid: a process not watched that executed a watched file */
};

struct ng_proc_event {
	__u64 time_ns;	/* CLOCK_MONOTONIC */
	__u64 start_ns; /* as in ng_count_key */
	__u64 cpu_ns;	/* on NG_PROC_EXIT: CPU time of the whole process, else 0 */
	__u32 kind;	/* enum ng_proc_event_kind */
	__u32 tgid;
	__u32 other;
	__u32 pad;
};

/** What is known of a watched process; `targets` maps a tgid to it. */
struct ng_target {
	__u64 start_ns; /* as in ng_count_key; a different one: another process under an old pid */
	__u32 flags;	/* NG_TARGET_* */
	__u32 pad;
};

#define NG_TARGET_FOLLOW 1u /* its children become targets too */

_Static_assert(sizeof(struct ng_count_key) == 16, "ng_count_key");
_Static_assert(sizeof(struct ng_count) == 8, "ng_count");
_Static_assert(sizeof(struct ng_proc_event) == 40, "ng_proc_event");
_Static_assert(__builtin_offsetof(struct ng_proc_event, kind) == 24, "ng_proc_event.kind");
_Static_assert(sizeof(struct ng_target) == 16, "ng_target");

#endif
