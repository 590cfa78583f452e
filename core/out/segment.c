#include "core/out/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/base/write.h"

#define MODE 0666 /* the umask decides, as for any output */

/* To be freed; NULL where memory is out. */
static char *path_of(const struct ng_segment *segment, uint32_t number)
{
	char *path = NULL;
	int length;

	if (segment->options.names == NG_SEGMENT_DIRECTORY)
		length = asprintf(&path, "%s/stream_%" PRIu32, segment->path, number);
	else if (number)
		length = asprintf(&path, "%s.%" PRIu32, segment->path, number);
	else
		length = asprintf(&path, "%s", segment->path);
	return length < 0 ? NULL : path;
}

/* Is it a file that may be cut and followed by others? */
static int look_at(struct ng_segment *segment, const char *path, struct ng_diag *diag)
{
	struct stat status;

	if (fstat(segment->fd, &status))
		return ng_diag_set(diag, -errno, "%s: %s", path, strerror(errno));
	segment->is_file = S_ISREG(status.st_mode);
	segment->has_room = segment->is_file;
	return 0;
}

static int open_number(struct ng_segment *segment, uint32_t number, struct ng_diag *diag)
{
	NG_CLEANUP_FREE char *path = path_of(segment, number);
	int error;

	if (!path)
		return ng_diag_set(diag, -ENOMEM, "no memory for the name of a file");
	segment->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_CLOEXEC, MODE);
	if (segment->fd < 0)
		return ng_diag_set(diag, -errno, "%s: %s", path, strerror(errno));
	error = look_at(segment, path, diag);
	if (error) {
		(void)close(segment->fd); /* nothing was written */
		segment->fd = -1;
		return error;
	}
	segment->number = number;
	segment->bytes = 0;
	segment->taken_bytes = 0;
	segment->is_torn = false;
	return 0;
}

int ng_segment_open(
	struct ng_segment *segment, const struct ng_segment_options *options, struct ng_diag *diag)
{
	int error;

	*segment = (struct ng_segment){.options = *options, .fd = -1};
	if (!segment->options.step_bytes)
		segment->options.step_bytes = NG_SEGMENT_STEP_BYTES;
	if (!options->path) {
		segment->fd = options->fd;
		return 0;
	}
	segment->path = strdup(options->path);
	segment->options.path = segment->path;
	if (!segment->path)
		return ng_diag_set(diag, -ENOMEM, "no memory for the name of a file");
	error = open_number(segment, 0, diag);
	if (error)
		free(segment->path);
	return error;
}

/*
 * Takes blocks ahead of the file's end. Its size stays what was written, so that it is whole even
 * if nobody lives to close it. Where there are no steps to be had there may be single blocks: then
 * write() decides.
 */
static void take_room(struct ng_segment *segment, uint64_t end_bytes)
{
	while (segment->has_room && segment->taken_bytes < end_bytes) {
		const off_t at = (off_t)segment->taken_bytes;

		if (fallocate(segment->fd, FALLOC_FL_KEEP_SIZE, at, segment->options.step_bytes)) {
			if (errno == EINTR)
				continue;
			segment->has_room = false;
			return;
		}
		segment->taken_bytes += segment->options.step_bytes;
	}
}

int ng_segment_write(
	struct ng_segment *segment, const void *bytes, size_t length, struct ng_diag *diag)
{
	int error;

	if (segment->fd < 0)
		return ng_diag_set(diag, -EBADF, "the trace has no open file");
	if (segment->is_torn)
		return ng_diag_set(diag, -EIO, "the trace is cut short");
	take_room(segment, segment->bytes + length);
	error = ng_write_all(segment->fd, bytes, length);
	if (!error) {
		segment->bytes += length;
		segment->all_bytes += length;
		return 0;
	}
	(void)ng_diag_set(diag, error, "%s cannot be written: %s",
		segment->path ? segment->path : "the trace", strerror(-error));
	segment->is_torn = !segment->is_file || ftruncate(segment->fd, (off_t)segment->bytes) ||
			   lseek(segment->fd, (off_t)segment->bytes, SEEK_SET) < 0;
	segment->taken_bytes = segment->bytes;
	return error; /* the first cause is kept */
}

bool ng_segment_is_full(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

/* Network file systems tell here that there was no room. */
static int close_file(struct ng_segment *segment, struct ng_diag *diag)
{
	const int fd = segment->fd;
	int error = 0;

	segment->fd = -1;
	if (fd < 0 || !segment->path)
		return 0;
	if (segment->is_file && ftruncate(fd, (off_t)segment->bytes))
		error = -errno;
	if (close(fd) && !error && errno != EINTR)
		error = -errno;
	if (error)
		return ng_diag_set(
			diag, error, "%s may not be whole: %s", segment->path, strerror(-error));
	return 0;
}

int ng_segment_next(struct ng_segment *segment, struct ng_diag *diag)
{
	const uint32_t next = segment->number + 1;
	NG_CLEANUP_FREE char *oldest = NULL;
	int error = close_file(segment, diag);

	if (error)
		return error;
	if (segment->options.keep && next - segment->first >= segment->options.keep) {
		oldest = path_of(segment, segment->first);
		if (!oldest)
			return ng_diag_set(diag, -ENOMEM, "no memory for the name of a file");
		if (unlink(oldest) && errno != ENOENT)
			return ng_diag_set(
				diag, -errno, "%s cannot be removed: %s", oldest, strerror(errno));
		segment->first++;
	}
	return open_number(segment, next, diag);
}

int ng_segment_close(struct ng_segment *segment, struct ng_diag *diag)
{
	int error = close_file(segment, diag);

	free(segment->path);
	segment->path = NULL;
	return error;
}
