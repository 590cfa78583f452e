/*
 * Gates of single processes, and the windows that sampled calls are noted in: shared memory between
 * the BPF programs and us.
 *
 * Any thread may use the gates and windows that it took; taking and giving back is locked.
 */
#ifndef NG_CONTROL_ENGINE_GATES_H
#define NG_CONTROL_ENGINE_GATES_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "control/engine/uprobe.h"
#include "core/base/diag.h"

struct ng_gates;

/**
 * Maps the gates and windows of an engine that was opened with NG_GATING_EACH.
 *
 * @param engine must outlive the gates
 */
int ng_gates_open(struct ng_uprobe *engine, struct ng_gates **ret_gates, struct ng_diag *diag);
void ng_gates_close(struct ng_gates *gates);

/** Takes a free gate, closed: mode off, its tally 0. @return its index, never 0; -EMFILE */
int ng_gates_take(struct ng_gates *gates);
void ng_gates_give(struct ng_gates *gates, uint32_t gate);

/** A gate, for plain stores of what user space writes (bpf/abi.h). */
struct ng_gate *ng_gates_at(struct ng_gates *gates, uint32_t gate);

/** A gate's tally, of all CPUs: sums; the first and last of its times. @return 0; -errno */
int ng_gates_tally(const struct ng_gates *gates, uint32_t gate, struct ng_gate_tally *ret_tally);

/** Forgets when the first delivered hit was, so that the next one is noted. */
int ng_gates_forget_first(const struct ng_gates *gates, uint32_t gate);

/**
 * Begins or ends to follow the CPUs' switches, which windows need: each switch of the machine takes
 * some tens of ns longer then.
 */
int ng_gates_follow_switches(struct ng_gates *gates, bool follow, struct ng_diag *diag);

/**
 * Opens a window at a gate in mode sampled: its calls count for so long from now on, by BPF's own
 * clock, or until the tokens run out. Whatever disturbs the process afterwards is not in it.
 *
 * @return the window's index; -EBUSY all windows are open
 */
int ng_gates_open_window(struct ng_gates *gates, uint32_t gate, uint64_t length_ns, int64_t tokens);

/** Waits until a gate's window is over: a wake-up in the midst of it could stall the process. */
void ng_gates_await_window(struct ng_gates *gates, uint32_t gate);

/** Ends a gate's window now, if one is open. Any thread. */
void ng_gates_end_window(struct ng_gates *gates, uint32_t gate);

/** A thread's part in a window; or its calls at a site in it. */
struct ng_window_part {
	uint32_t tid;
	bool is_time;
	uint32_t site;	/* where it is calls */
	uint64_t value; /* ns on a CPU, or calls */
};

struct ng_window_parts {
	struct ng_window_part items[NG_WINDOW_ROWS];
	size_t count;
	uint32_t serial;    /* as its records have it (bpf/abi.h); never 0 */
	uint64_t opened_ns; /* CLOCK_MONOTONIC */
	uint64_t closed_ns;
	uint64_t calls; /* of all threads and sites */
	bool tripped;	/* its tokens ran out */
};

/**
 * Closes a gate's window and reads what it saw: the time of threads that run on is theirs too.
 *
 * @param tgid the process
 */
void ng_gates_close_window(
	struct ng_gates *gates, uint32_t gate, uint32_t tgid, struct ng_window_parts *ret_parts);

#endif
