/*
 * A call's record: who, when, and its stack by frame pointers, into a ring buffer that a reader
 * drains on a timer: a wake-up runs on the traced thread, and takes 1.4 us. Only as the ring gets
 * half full there is one.
 */
#ifndef NG_BPF_RECORD_BPF_H
#define NG_BPF_RECORD_BPF_H

#include <stdbool.h>

#include "bpf/maps.bpf.h"
#include "bpf/task.bpf.h"

/* Most stacks are short: those are collected here, and take no more room in the ring than they
 * need. */
struct ng_short_record {
	struct ng_record head;
	__u64 frames[NG_RECORD_FRAMES_FEW];
};

struct ng_long_record {
	struct ng_record head;
	__u64 frames[NG_RECORD_FRAMES_MAX];
};

/* Where the ring is filled to its half and not so far beyond, records wake the reader: CPUs that
 * write at the same time may each step over a thinner line. */
#define NG_WAKE_BAND_BYTES 4096

/* What of its gate's time a call is in: as ng_record has it. */
struct ng_when {
	__u32 window;
	__u32 stretch;
};

/* A frame as its function sets it up. */
struct ng_frame {
	__u64 caller; /* the caller's frame; 0: there is none */
	__u64 return_address;
};

/*
 * The running goroutine's id; 0 where it is not known. One read of the program's memory where g is
 * in a register, which is nearly everywhere; else two.
 *
 * The thread pointer as the task has it: a program that sets it by wrfsbase itself is only seen to
 * at its thread's next switch. Go's runtime and C libraries set it by the kernel, once a thread.
 */
static __always_inline __u64 ng_goroutine_id(const struct pt_regs *regs, struct task_struct *task,
	const struct ng_goroutine *where)
{
	__u64 g = regs->r14, id = 0;

	if (where->g == NG_G_NOWHERE)
		return 0;
	if (where->g == NG_G_TLS &&
		bpf_probe_read_user(
			&g, sizeof(g), (void *)(task->thread.fsbase + where->tls_bytes)))
		return 0;
	if (bpf_probe_read_user(&id, sizeof(id), (void *)(g + where->id_offset)))
		return 0;
	return id;
}

/*
 * Walks a stack by its frame pointers. The kernel's own walk (bpf_get_stack) reads on where the last
 * frame has 0 for its caller, and takes a page fault there for each stack: 0.8 us of 2.1.
 *
 * @return how many frames there are
 */
static __always_inline __u32 ng_walk(
	const struct pt_regs *regs, bool is_frameless, __u64 *frames, const __u32 max)
{
	__u64 at = regs->bp;
	__u32 count = 1;

	frames[0] = regs->ip;
	/* What is to become the frame's return address is where the stack ends. */
	if (is_frameless) {
		if (bpf_probe_read_user(&frames[1], sizeof(frames[1]), (void *)regs->sp))
			return 1;
		count = 2;
	}
	for (__u32 i = 1; i < max; i++) {
		struct ng_frame frame;

		if (i < count)
			continue;
		if (!at || bpf_probe_read_user(&frame, sizeof(frame), (void *)at) ||
			!frame.return_address)
			break;
		frames[i] = frame.return_address;
		count = i + 1;
		at = frame.caller;
	}
	return count;
}

static __always_inline void ng_record_head(
	struct ng_record *head, struct task_struct *task, __u32 site, struct ng_when when)
{
	head->time_ns = bpf_ktime_get_ns();
	head->start_ns = task->group_leader->start_boottime;
	head->tgid = task->tgid;
	head->exec_id = (__u32)task->self_exec_id;
	head->site = site;
	head->tid = task->pid;
	head->window = when.window;
	head->stretch = when.stretch;
}

static __always_inline __u64 ng_record_flags(void)
{
	const __u64 waiting = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA);

	/* Below the half the difference wraps. */
	return waiting - ng_records_bytes / 2 < NG_WAKE_BAND_BYTES ? BPF_RB_FORCE_WAKEUP
								   : BPF_RB_NO_WAKEUP;
}

/* With its room taken before its depth is known; what the stack does not fill is 0, which is no
 * address. */
static __always_inline bool ng_record_long(
	const struct pt_regs *regs, const struct ng_record *head, bool is_frameless)
{
	struct ng_long_record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);

	if (!record)
		return false;
	record->head = *head;
	__builtin_memset(record->frames, 0, sizeof(record->frames));
	(void)ng_walk(regs, is_frameless, record->frames, NG_RECORD_FRAMES_MAX);
	bpf_ringbuf_submit(record, ng_record_flags());
	return true;
}

static __always_inline void ng_record_call(
	const struct pt_regs *regs, struct task_struct *task, __u32 site, struct ng_when when)
{
	struct ng_short_record record = {}; /* kernels before 6.3 want it so */
	const struct ng_site_facts *facts = bpf_map_lookup_elem(&site_facts, &site);
	__u64 count;

	if (!facts)
		return; /* cannot be: the number is in range */
	ng_record_head(&record.head, task, site, when);
	record.head.goroutine = ng_goroutine_id(regs, task, &facts->goroutine);
	count = ng_walk(regs, facts->is_frameless, record.frames, NG_RECORD_FRAMES_FEW);
	if (count >= NG_RECORD_FRAMES_FEW) {
		if (!ng_record_long(regs, &record.head, facts->is_frameless))
			ng_lose(NG_LOST_RECORDS_FULL);
	} else if (bpf_ringbuf_output(&records, &record,
			   sizeof(record.head) + count * sizeof(record.frames[0]),
			   ng_record_flags())) {
		ng_lose(NG_LOST_RECORDS_FULL);
	}
}

#endif
