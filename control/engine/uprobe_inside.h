/* What the uprobe engine is made of; for the files of the engine alone. */
#ifndef NG_CONTROL_ENGINE_UPROBE_INSIDE_H
#define NG_CONTROL_ENGINE_UPROBE_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/engine/tracefs.h"
#include "control/engine/uprobe.h"

struct bpf_link;
struct ring_buffer;

struct defined_site {
	char name[NG_TRACEFS_GROUP_MAX];
	uint64_t tracepoint_id;
	int image_fd; /* borrowed */
	uint64_t offset;
	bool is_syscall; /* an event of the kernel's own: name, image and offset are not used */
	bool is_removed; /* its event is gone … */
	bool is_free;	 /* … and its number may be given again */
	struct bpf_link *holder; /* the BPF program on the holding perf event; NULL with links */
};

struct ng_uprobe {
	struct ng_probe *skeleton;
	int tracefs_fd;			  /* -1: by links */
	bool swaps;			  /* the kernel may swap inherited events between tasks */
	char group[NG_TRACEFS_GROUP_MAX]; /* of the process … */
	unsigned int number;		  /* … and which of its engines this is */
	struct defined_site *sites;
	size_t site_count;
	struct ring_buffer *events;
	struct ng_gate *gates;	     /* mapped; NULL: not yet */
	ng_uprobe_on_event on_event; /* of the drain under way */
	void *event_context;
};

#endif
