/*
 * The lives of traced processes. One life is one process running one image: an exec ends it and
 * begins another, under the same pid.
 */
#ifndef NG_CONTROL_PLANE_TRACKED_H
#define NG_CONTROL_PLANE_TRACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/engine/uprobe.h"
#include "control/plane/images.h"
#include "control/plane/session.h"
#include "control/target/process.h"

struct ng_tracked {
	pid_t pid;
	pid_t parent;
	uint64_t start_ticks;
	uint64_t start_ns; /* 0: not told by BPF yet */
	uint32_t exec_id;  /* 0: the life that it was found in, not told by BPF */
	enum ng_origin origin;
	bool is_inline;	 /* it has code of ours, and no breakpoints */
	bool is_loading; /* held again and again while its loader maps code: no need to look */
	char *exe;
	struct ng_traced_image *main;
	struct ng_traced_image **images; /* armed ones */
	struct ng_armed **armed;	 /* beside each image; NULL where another's covers it */
	size_t image_count;
	size_t mapping_count;	     /* executable mappings when last looked at … */
	struct ng_mappings mappings; /* … and what they are */
	uint64_t armed_at_ns;	     /* 0: when the gate opens */
	uint64_t disarmed_at_ns;     /* 0: still armed */
	uint64_t cpu_start_ns;
	uint64_t cpu_end_ns;
	bool ended;	 /* it exited, or began a new life */
	const char *gap; /* why calls were missed; NULL where none was */
};

/** A child that a process forked which is not followed: only to know its hits by. */
struct ng_child {
	uint64_t start_ns;
	uint32_t exec_id;
	pid_t pid;
	size_t parent; /* index in the list */
};

struct ng_tracked_list {
	struct ng_tracked *
		*items; /* oldest first; none is ever taken out but by ng_tracked_drop() */
	size_t count;
	struct ng_child *children;
	size_t child_count;
};

void ng_tracked_list_release(struct ng_tracked_list *list);

/** Begins a life. @return it, owned by the list; NULL where memory is out */
struct ng_tracked *ng_tracked_add(
	struct ng_tracked_list *list, const struct ng_process *process, enum ng_origin origin);

/** Takes back the newest life, which could not be armed. */
void ng_tracked_drop(struct ng_tracked_list *list, struct ng_tracked *tracked);

/** The present life of a process; NULL */
struct ng_tracked *ng_tracked_find(
	const struct ng_tracked_list *list, pid_t pid, uint64_t start_ticks);

/** The present life of a process that an event speaks of, by one of the event's pids; NULL */
struct ng_tracked *ng_tracked_by_event(
	const struct ng_tracked_list *list, const struct ng_proc_event *event, uint32_t tgid);

/** The life, past or present, that this is counted under; NULL */
struct ng_tracked *ng_tracked_under(
	const struct ng_tracked_list *list, const struct ng_count_key *key);

int ng_tracked_set_exe(struct ng_tracked *tracked, const char *exe);

/** Notes that an image is armed; takes armed, also when it fails. */
int ng_tracked_add_image(
	struct ng_tracked *tracked, struct ng_traced_image *image, struct ng_armed *armed);
bool ng_tracked_has_image(const struct ng_tracked *tracked, const struct ng_traced_image *image);

/** What covers one life covers another: a forked child, or the same thread after an exec. */
int ng_tracked_inherit(struct ng_tracked *tracked, const struct ng_tracked *from);

/** Notes a child that is not followed. Out of memory it is forgotten: its hits are foreign then. */
void ng_tracked_note_child(struct ng_tracked_list *list, const struct ng_tracked *parent,
	const struct ng_proc_event *event);

/** Disarms an image; a life that goes on has a gap then. */
void ng_tracked_give_up(struct ng_tracked *tracked, const struct ng_traced_image *image);

/** Notes that calls were missed. The first cause is kept. */
void ng_tracked_gap(struct ng_tracked *tracked, const char *why);

/** Notes a gap where not everything that should be armed stands in the process's code. */
void ng_tracked_check_text(struct ng_tracked *tracked);

/** Ends a life. @param cpu_ns CPU time of the whole process; 0: as last read */
void ng_tracked_end(struct ng_tracked *tracked, uint64_t time_ns, uint64_t cpu_ns);

/** Has the breakpoint of an image gone silently? @return the image's index, or -1 */
int ng_tracked_find_dead(const struct ng_tracked *tracked);
void ng_tracked_disarm(struct ng_tracked *tracked);

/** Fills a report's targets and foreign calls; what was lost stands in it already. @return 0;
 * -ENOMEM: release the report all the same
 */
int ng_tracked_report(struct ng_tracked_list *list, const struct ng_tallies *tallies,
	uint64_t now_ns, struct ng_report *report);

#endif
