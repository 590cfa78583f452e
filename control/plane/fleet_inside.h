/* What a fleet is made of; for the files of the fleet alone. */
#ifndef NG_CONTROL_PLANE_FLEET_INSIDE_H
#define NG_CONTROL_PLANE_FLEET_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/engine/calibrate.h"
#include "control/engine/records.h"
#include "control/plane/catalog.h"
#include "control/plane/costs.h"
#include "control/plane/fleet.h"
#include "control/plane/workers.h"

struct fleet_attachment {
	uint32_t id;
	struct ng_selector selector;
	uint64_t
		start_ticks; /* selector.pid: its start, so that no other process is taken for it */
	struct ng_settings settings; /* for processes to come … */
	struct ng_settings before;   /* … and once their lease is over */
	uint64_t lease_until_ns;     /* 0: none */
	struct ng_catalog *catalog;
};

struct fleet_entry {
	struct ng_member *member;
	struct ng_mappings mappings; /* when it was attached */
	uint32_t attachment;	     /* id; 0: it has been detached */
	bool is_followed;	     /* a child that its parent's attachment brought */
	bool is_wanted_again;	     /* attached anew before it was let go of */
	uint64_t looked_ns;	     /* when its image was looked at: execs before that are in it */
	uint64_t due_ns;
	uint64_t ended_ns; /* 0: it lives */
};

/** A process that has just begun to run an image, which had nothing wanted: its libraries may not
 * have been mapped yet. */
struct fleet_loading {
	pid_t pid;
	uint32_t
		followed_by; /* an attachment's id: it is a child that this follows; 0: none does */
	uint64_t due_ns;     /* when it is looked at again … */
	uint64_t pause_ns;   /* … after so long */
};

/** An image that is being forgotten, one at a time. */
struct fleet_pruning {
	struct ng_job job;
	struct ng_uprobe *engine;
	struct ng_traced_image *image; /* the worker's while the job is posted; NULL: none is */
	uint64_t due_ns;
};

struct ng_fleet {
	struct ng_fleet_options options;
	struct ng_uprobe *engine;
	struct ng_gates *gates;
	struct ng_workers *workers;
	struct ng_records *records; /* NULL: calls are only counted … */
	struct ng_weigher *weigher; /* … likewise */
	uint64_t reader_cpu_ns;	    /* of the reader of records, when it has ended */
	struct ng_calibration calibration;
	struct ng_costs *costs;
	struct ng_catalogs catalogs;
	struct fleet_pruning pruning;
	struct fleet_attachment *attachments;
	size_t attachment_count;
	uint32_t last_id;
	struct fleet_entry *entries;
	size_t entry_count;
	struct fleet_loading *loading;
	size_t loading_count;
	int epoll_fd;
	uint64_t tick_ns; /* when the next one is due */
	uint64_t cpu_ns;  /* that turns have used */
	uint64_t windows; /* that were run, of all members */
};

/** Tells a person, if anybody listens. A long note is cut. */
void ng_fleet_note(struct ng_fleet *fleet, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
