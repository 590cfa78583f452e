/*
 * Files of one recording that are written one after the other: each is filled up to a size, takes
 * its blocks from the disk ahead of what is written, and holds whole units only.
 */
#ifndef NG_CORE_OUT_SEGMENT_H
#define NG_CORE_OUT_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/diag.h"

#define NG_SEGMENT_STEP_BYTES (16u << 20) /* that are asked of the disk at once */

/* How its files are called, by their number. */
enum ng_segment_names {
	NG_SEGMENT_SUFFIX,    /* PATH, PATH.1, PATH.2 */
	NG_SEGMENT_DIRECTORY, /* PATH/stream_0, PATH/stream_1; PATH is there already */
};

struct ng_segment_options {
	enum ng_segment_names names;
	const char *path;    /* NULL: the descriptor is written to */
	int fd;		     /* borrowed, with path NULL; one segment, whatever it is */
	uint32_t keep;	     /* so many of the newest stay, others are removed; 0: all */
	uint32_t step_bytes; /* 0: NG_SEGMENT_STEP_BYTES */
};

/** One thread uses it at a time. */
struct ng_segment {
	struct ng_segment_options options;
	char *path;	 /* of options.path, a copy */
	int fd;		 /* -1: none is open */
	bool is_file;	 /* a regular one, of ours: it has a size, and may be followed by others */
	bool has_room;	 /* may the disk be asked for blocks ahead? */
	bool is_torn;	 /* it ends with a part of a unit: nothing may follow */
	uint32_t number; /* of the one that is open, or was, from 0 */
	uint32_t first;	 /* the oldest one that was not removed */
	uint64_t bytes;	 /* in it, of whole units */
	uint64_t taken_bytes; /* from the disk for it, at the least */
	uint64_t all_bytes;   /* of all, also those that were removed */
};

/**
 * Opens the first one; what is there by its name is overwritten.
 *
 * @return 0; -ENOMEM; what open() said
 */
int ng_segment_open(
	struct ng_segment *segment, const struct ng_segment_options *options, struct ng_diag *diag);

/**
 * Writes a unit, all of it or nothing: a file is cut where the unit would have begun. Of a pipe
 * nothing can be taken back.
 *
 * @return 0; what write() said: -ENOSPC, -EDQUOT, -EFBIG where there is no room, -EPIPE, -EIO;
 * -EBADF where none is open, -EIO behind a part of a unit
 */
int ng_segment_write(
	struct ng_segment *segment, const void *bytes, size_t length, struct ng_diag *diag);

/** Is it an error that says that there is no room? */
bool ng_segment_is_full(int error);

/**
 * Closes it and opens the next one; with options.keep the oldest one is removed.
 *
 * @return 0; what open(), ftruncate() or close() said: then none is open
 */
int ng_segment_next(struct ng_segment *segment, struct ng_diag *diag);

/**
 * Gives back the blocks that are not needed, and closes it.
 *
 * @return 0; what ftruncate() or close() said: what was written may be lost
 */
int ng_segment_close(struct ng_segment *segment, struct ng_diag *diag);

#endif
