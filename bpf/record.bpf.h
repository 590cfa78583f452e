/*
 * A call's record: who, when, and its stack by frame pointers, into a ring buffer that a reader
 * drains on a timer: a wake-up would run on the traced thread, and takes 1.4 us.
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

static __always_inline void ng_record_head(
	struct ng_record *head, struct task_struct *task, __u32 site)
{
	head->time_ns = bpf_ktime_get_ns();
	head->start_ns = task->group_leader->start_boottime;
	head->tgid = task->tgid;
	head->exec_id = (__u32)task->self_exec_id;
	head->site = site;
	head->tid = task->pid;
}

/* With its room taken before its depth is known; what the stack does not fill is 0, which is no
 * address. */
static __always_inline bool ng_record_long(void *ctx, const struct ng_record *head)
{
	struct ng_long_record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);

	if (!record)
		return false;
	record->head = *head;
	__builtin_memset(record->frames, 0, sizeof(record->frames));
	(void)bpf_get_stack(ctx, record->frames, sizeof(record->frames), BPF_F_USER_STACK);
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return true;
}

static __always_inline void ng_record_call(void *ctx, struct task_struct *task, __u32 site)
{
	struct ng_short_record record;
	long bytes;

	ng_record_head(&record.head, task, site);
	bytes = bpf_get_stack(ctx, record.frames, sizeof(record.frames), BPF_F_USER_STACK);
	if (bytes == sizeof(record.frames)) {
		if (!ng_record_long(ctx, &record.head))
			ng_lose(NG_LOST_RECORDS_FULL);
		return;
	}
	if (bytes < 0)
		bytes = 0;
	if (bytes > (long)sizeof(record.frames))
		bytes = sizeof(record.frames); /* cannot be; the verifier wants it said */
	if (bpf_ringbuf_output(&records, &record, sizeof(record.head) + (__u64)bytes,
		    BPF_RB_NO_WAKEUP))
		ng_lose(NG_LOST_RECORDS_FULL);
}

#endif
