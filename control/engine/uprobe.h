/*
 * The uprobe engine: the kernel's breakpoints, armed and disarmed in one process at a time.
 *
 * A site is defined once, as a uprobe event in tracefs, and held registered by a perf event that
 * matches nobody, with the BPF program on it. A target is armed by opening one more perf event of
 * the same tracepoint on it, and disarmed by closing that: 0.1 ms where attaching and detaching a
 * link of its own takes 7 and 115 ms. Breakpoints appear only in the armed processes. When nowgate
 * ends, in whatever way, the kernel closes the descriptors and takes the breakpoints out.
 *
 * An armed process is held by a perf event on each of its threads, inherited by the threads that
 * come later: the breakpoints stay until the last of them is gone, whichever exits or execs first.
 *
 * Where tracefs cannot be had, each armed process gets a perf uprobe link of its own. It is slower
 * to arm, hangs on one thread, and never inherits (that would make the target's clone() fail).
 *
 * One thread uses an engine at a time.
 */
#ifndef NG_CONTROL_ENGINE_UPROBE_H
#define NG_CONTROL_ENGINE_UPROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi.h"
#include "control/engine/tallies.h"
#include "core/base/diag.h"

struct ng_uprobe;
struct ng_armed;
struct ng_probe;

/** How targets are attached. */
enum ng_attach {
	NG_ATTACH_AUTO, /* by tracefs, else by link */
	NG_ATTACH_TRACEFS,
	NG_ATTACH_LINK,
};

/** Whose mode decides over a hit. */
enum ng_gating {
	NG_GATING_COMMON, /* one gate for all processes: it counts, or it does not */
	NG_GATING_EACH,	  /* processes have gates of their own (control/engine/gates.h) */
};

struct ng_uprobe_options {
	enum ng_attach attach;
	enum ng_gating gating;
	uint32_t records_bytes; /* of the ring of calls' records (control/engine/records.h), a power
				   of two; with NG_GATING_COMMON each call is told with its stack,
				   else those delivered of gates that say so; 0: none */
};

/**
 * Loads the BPF programs, and removes events that dead runs left. Nothing is armed yet; the gates
 * are closed.
 *
 * @return 0; -EPERM where a privilege is missing; -ENOTSUP where the kernel lacks something; the
 *         text says what
 */
int ng_uprobe_open(const struct ng_uprobe_options *options, struct ng_uprobe **ret_engine,
	struct ng_diag *diag);

/** Disarms everything, waits until no hit is under way, and removes what was defined. The counts
 * are gone then: read them after ng_uprobe_settle(). */
void ng_uprobe_close(struct ng_uprobe *engine);

/** How targets are really attached: NG_ATTACH_TRACEFS or NG_ATTACH_LINK. */
enum ng_attach ng_uprobe_attach(const struct ng_uprobe *engine);

/** Do breakpoints stay while any thread of a process lives, through its execs, and are they in its
 * followed children from the start? Not with links, and not before Linux 6.12, where one can go
 * unseen. Known once something is armed. */
bool ng_uprobe_is_firm(const struct ng_uprobe *engine);

/**
 * Adds a site: a file and the offset of a proven instruction in it. Not armed anywhere yet.
 *
 * @param image_fd borrowed for as long as the engine lives
 * @param ret_site its number, the `site` of ng_count_key
 */
int ng_uprobe_add_site(struct ng_uprobe *engine, int image_fd, uint64_t offset, uint32_t *ret_site,
	struct ng_diag *diag);

/** Tells what the records of a site's calls are made by. Before it is armed: its number may have
 * been another's. */
void ng_uprobe_describe_site(
	struct ng_uprobe *engine, uint32_t site, const struct ng_site_facts *facts);

/**
 * Adds the lead of a site (bpf/abi.h): it has a number as sites have, and is armed as they are.
 *
 * @return 0; -ENOTSUP without tracefs; as ng_uprobe_add_site()
 */
int ng_uprobe_add_lead(struct ng_uprobe *engine, int image_fd, uint64_t offset, uint32_t leads_to,
	uint32_t *ret_lead, struct ng_diag *diag);

/**
 * Adds a system call: its entries in watched processes (ng_uprobe_watch()) count from now on, as at
 * a site. While it is open, every system call of every process of the machine takes longer.
 *
 * @param name as the kernel's events have it: "clock_gettime"
 * @return 0; -ENOTSUP without tracefs; -ENOENT no such event: with the text
 */
int ng_uprobe_add_syscall(
	struct ng_uprobe *engine, const char *name, uint32_t *ret_site, struct ng_diag *diag);

struct ng_site_numbers;

/** Takes sites away for good; they must be armed nowhere. Their counts stay. Takes 0.1 s; from any
 * thread. */
void ng_uprobe_remove_sites(struct ng_uprobe *engine, struct ng_site_numbers sites);

/** Lets the numbers of sites that were removed be given to others. Their counts must have been
 * forgotten. */
void ng_uprobe_reuse_sites(struct ng_uprobe *engine, struct ng_site_numbers sites);

/** Sites to arm together. */
struct ng_site_numbers {
	const uint32_t *items;
	size_t count;
};

/**
 * Arms sites in a process. When it returns, every call in the process hits.
 *
 * @param follow children that it forks from now on are armed too, before their first instruction
 *        (not with links)
 * @return 0; -ESRCH no such process, or it has exited; -EPERM, -EMFILE …
 */
int ng_uprobe_arm(struct ng_uprobe *engine, pid_t pid, struct ng_site_numbers sites, bool follow,
	struct ng_armed **ret_armed, struct ng_diag *diag);

/** Arms sites in every process that runs the file, now and later. */
int ng_uprobe_arm_all(struct ng_uprobe *engine, struct ng_site_numbers sites,
	struct ng_armed **ret_armed, struct ng_diag *diag);

/** The thread that a link hangs on has exited: the breakpoint is gone, silently. Always false by
 * tracefs. */
bool ng_armed_is_dead(const struct ng_armed *armed);

/** Disarms. NULL does nothing. */
void ng_armed_free(struct ng_armed *armed);

/** The BPF programs and maps, for the parts of the engine that have a file of their own. */
struct ng_probe *ng_uprobe_skeleton(struct ng_uprobe *engine);

/** The tracepoint of a site, for ng_brief_arm(). @return 0 with links */
uint64_t ng_uprobe_tracepoint(const struct ng_uprobe *engine, uint32_t site);

/** Opens or closes the common gate: hits count only while it is open. One store, for all targets at
 * once. */
void ng_uprobe_gate(struct ng_uprobe *engine, bool open);

/**
 * Waits until each hit that passed the gate before it closed has been counted. Call it when all is
 * disarmed and the gate is closed. It takes about 0.1 s a site.
 *
 * @param on_wait called after each site, from this thread; NULL: nothing
 */
void ng_uprobe_settle(struct ng_uprobe *engine, void (*on_wait)(void *context), void *context);

/** Watches a process's forks (with NG_TARGET_FOLLOW), execs and exit. */
int ng_uprobe_watch(struct ng_uprobe *engine, pid_t pid, const struct ng_target *target);
void ng_uprobe_unwatch(struct ng_uprobe *engine, pid_t pid);

/** Ends watching, unless somebody watches the process for another gate by now. */
void ng_uprobe_unwatch_gate(struct ng_uprobe *engine, pid_t pid, uint32_t gate);

/** Watches a file: every exec of it is told, by whatever process. */
int ng_uprobe_watch_image(struct ng_uprobe *engine, const struct ng_image_key *image);

/** Is every exec of the machine to be told, not only those of watched processes and files? */
void ng_uprobe_watch_execs(struct ng_uprobe *engine, bool all);

/** Called for each process event, in the order in which they happened on a CPU. */
typedef void (*ng_uprobe_on_event)(const struct ng_proc_event *event, void *context);

/** Passes on the process events that are waiting. @return how many, or a negative errno */
int ng_uprobe_drain(struct ng_uprobe *engine, ng_uprobe_on_event on_event, void *context);

/** Readable when process events wait. */
int ng_uprobe_event_fd(const struct ng_uprobe *engine);

/** Reads all counts. Cost: one system call a (process, site) pair. @return 0; -ENOMEM; -errno */
int ng_uprobe_read(const struct ng_uprobe *engine, struct ng_tallies *ret_tallies);

/** Forgets a process's counts, to make room. */
void ng_uprobe_forget(struct ng_uprobe *engine, const struct ng_count_key *key);

/** What was lost, by cause. */
int ng_uprobe_lost(const struct ng_uprobe *engine, uint64_t ret_lost[NG_LOST_CAUSES]);

#endif
