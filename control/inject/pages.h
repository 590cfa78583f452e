/*
 * Pages of ours in a foreign process: code that it cannot write to, and data that it shares with
 * us.
 *
 * Both are memfds that the process itself makes, in a call of ours (remote.h), and closes again:
 * then they need no path that it could open, whatever its namespaces and rights, and its table of
 * descriptors is as it was. Nothing is ever writable and executable.
 */
#ifndef NG_CONTROL_INJECT_PAGES_H
#define NG_CONTROL_INJECT_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "control/inject/remote.h"
#include "core/base/diag.h"

#define NG_PAGE_BYTES 4096ull

/* The mappings' names, as /proc/PID/maps shows them: by these, what a dead run left is found. */
#define NG_CODE_NAME "nowgate-inline-code"
#define NG_DATA_NAME "nowgate-inline-data"

struct ng_area {
	uint64_t address;
	uint64_t size_bytes; /* whole pages */
	bool is_code;	     /* read and execute, private, sealed against writing; else data: read
				and write, shared, sealed against changes of its size */
	const void *content; /* of its beginning; the rest is zero */
	size_t content_bytes;
};

/** Where the sites are, and what has to be within the reach of a jump of all of them. */
struct ng_reach {
	uint64_t first; /* lowest and highest address of the sites */
	uint64_t last;
	uint64_t size_bytes; /* whole pages */
};

/**
 * Finds free address space in a reach: below the sites, else as far above them as jumps reach,
 * where neither heap nor stack grows to.
 *
 * @param maps the text of a /proc/PID/maps
 * @return 0; -ENOSPC there is none: with the text
 */
int ng_pages_find_hole(
	FILE *maps, const struct ng_reach *reach, uint64_t *ret_address, struct ng_diag *diag);

/**
 * Maps an area. On failure none is mapped.
 *
 * @param ret_fd a descriptor of ours of the memfd, read and write; NULL: closed
 * @return 0; -EEXIST the address is taken by now; -EMFILE the process has no descriptor to spare;
 * what the kernel said; the errors of ng_remote_call(): with the text
 */
int ng_area_map(
	struct ng_remote *remote, const struct ng_area *area, int *ret_fd, struct ng_diag *diag);

/**
 * Maps the page before a data area, which is the process's own: private, its first word 1, and
 * wiped in its children by fork.
 *
 * @return as ng_area_map()
 */
int ng_own_page_map(struct ng_remote *remote, const struct ng_area *data, struct ng_diag *diag);
int ng_own_page_unmap(struct ng_remote *remote, const struct ng_area *data, struct ng_diag *diag);

/** Unmaps an area. @return as ng_area_map() */
int ng_area_unmap(struct ng_remote *remote, const struct ng_area *area, struct ng_diag *diag);

/** Is there a mapping of a name at a place, as large or larger? */
bool ng_area_is_there(pid_t pid, const struct ng_area *area);

#endif
