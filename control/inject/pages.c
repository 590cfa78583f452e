#include "control/inject/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/cleanup.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define JUMP_REACH   0x7fff0000ull     /* a little less than a rel32 does, for its own length */
#define LOWEST	     0x10000ull	       /* the default of vm.mmap_min_addr */
#define HIGHEST	     0x7ffffffff000ull /* the end of user space with 4 levels of page tables */
#define GAP_BYTES    0x10000ull	       /* kept free beside other mappings */
#define GROWTH_BYTES 0x40000000ull     /* kept free above a heap, and below a stack */

/* The free space between two mappings. */
struct hole {
	uint64_t start;
	uint64_t end;
	bool is_above_heap;
	bool is_below_stack;
};

struct search {
	const struct ng_reach *reach;
	uint64_t below; /* 0: none yet */
	uint64_t above;
};

static void consider(struct search *search, const struct hole *hole)
{
	const struct ng_reach *reach = search->reach;
	uint64_t lowest = reach->last > JUMP_REACH ? reach->last - JUMP_REACH : 0;
	uint64_t highest = reach->first + JUMP_REACH; /* the end of the area, at the most */
	const uint64_t start = hole->start + (hole->is_above_heap ? GROWTH_BYTES : GAP_BYTES);
	const uint64_t end = hole->end - (hole->is_below_stack ? GROWTH_BYTES : GAP_BYTES);
	uint64_t address;

	if (lowest < start)
		lowest = start;
	if (highest > end)
		highest = end;
	if (hole->end < hole->start + GAP_BYTES || end > hole->end || highest < lowest ||
		highest - lowest < reach->size_bytes)
		return;
	address = (highest - reach->size_bytes) & ~(NG_PAGE_BYTES - 1);
	if (address < lowest)
		return;
	if (hole->end <= reach->first)
		search->below = address; /* the nearest is the last one */
	else
		search->above = address;
}

int ng_pages_find_hole(
	FILE *maps, const struct ng_reach *reach, uint64_t *ret_address, struct ng_diag *diag)
{
	struct search search = {.reach = reach};
	NG_CLEANUP_FREE char *line = NULL;
	struct hole hole = {.start = LOWEST - GAP_BYTES};
	size_t room = 0;
	bool is_writable = false;

	while (getline(&line, &room, maps) > 0) {
		uint64_t start, end;
		char write;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*c%c", &start, &end, &write) != 3 ||
			end > HIGHEST)
			continue;
		hole.end = start;
		hole.is_below_stack = strstr(line, "[stack]");
		/* A heap grows from the end of the program's data, also where there is none yet. */
		hole.is_above_heap = is_writable && hole.start > reach->last;
		consider(&search, &hole);
		hole.start = end;
		is_writable = write == 'w';
	}
	hole.end = HIGHEST;
	hole.is_below_stack = false;
	consider(&search, &hole);
	if (!search.below && !search.above)
		return ng_diag_set(diag, -ENOSPC,
			"no %" PRIu64 " bytes of free address space are within the reach of a jump "
			"(2 GiB) from 0x%" PRIx64,
			reach->size_bytes, reach->last);
	*ret_address = search.below ? search.below : search.above;
	return 0;
}

/* Makes of the target's new memfd what it shall be. */
static int fill(pid_t tid, int target_fd, const struct ng_area *area, int *ret_fd)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	char path[64];
	int fd, error = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, target_fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)area->size_bytes) ||
		(area->content_bytes && pwrite(fd, area->content, area->content_bytes, 0) !=
						(ssize_t)area->content_bytes) ||
		fcntl(fd, F_ADD_SEALS, area->is_code ? seals | F_SEAL_WRITE : seals))
		error = errno ? -errno : -EIO;
	if (error || !ret_fd)
		close(fd);
	else
		*ret_fd = fd;
	return error;
}

static int map(
	struct ng_remote *remote, const struct ng_area *area, int target_fd, struct ng_diag *diag)
{
	const int protection = area->is_code ? PROT_READ | PROT_EXEC : PROT_READ | PROT_WRITE;
	const int flags = area->is_code ? MAP_PRIVATE : MAP_SHARED;
	const uint64_t arguments[6] = {area->address, area->size_bytes, (uint64_t)protection,
		(uint64_t)(flags | MAP_FIXED_NOREPLACE), (uint64_t)target_fd, 0};
	int64_t mapped;
	int error = ng_remote_call(remote, SYS_mmap, arguments, &mapped, diag);

	if (error)
		return error;
	if (mapped < 0 && mapped > -(int64_t)NG_PAGE_BYTES)
		return ng_diag_set(diag, (int)mapped,
			"process %d cannot map %" PRIu64 " bytes %s at 0x%" PRIx64 ": %s",
			remote->stopped->pid, area->size_bytes,
			area->is_code ? "of code" : "of data", area->address,
			strerror(-(int)mapped));
	if ((uint64_t)mapped == area->address)
		return 0;
	/* Kernels before 4.17 take the address for a wish. */
	(void)ng_area_unmap(remote,
		&(struct ng_area){.address = (uint64_t)mapped, .size_bytes = area->size_bytes},
		diag);
	return ng_diag_set(diag, -EEXIST, "the address 0x%" PRIx64 " of process %d is taken",
		area->address, remote->stopped->pid);
}

int ng_area_map(
	struct ng_remote *remote, const struct ng_area *area, int *ret_fd, struct ng_diag *diag)
{
	int64_t target_fd, closed;
	int fd = -1, error, close_error;

	error = ng_remote_call_with_text(remote, SYS_memfd_create,
		area->is_code ? NG_CODE_NAME : NG_DATA_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING,
		&target_fd, diag);
	if (error)
		return error;
	if (target_fd < 0)
		return ng_diag_set(diag, (int)target_fd, "process %d cannot make a memfd: %s",
			remote->stopped->pid, strerror(-(int)target_fd));
	error = fill(remote->thread->tid, (int)target_fd, area, &fd);
	if (error)
		error = ng_diag_set(diag, error, "the memfd of process %d cannot be filled: %s",
			remote->stopped->pid, strerror(-error));
	if (!error)
		error = map(remote, area, (int)target_fd, diag);
	close_error = ng_remote_call(
		remote, SYS_close, (const uint64_t[6]){(uint64_t)target_fd}, &closed, diag);
	if (error || close_error || !ret_fd) {
		if (fd >= 0)
			close(fd);
		return error ? error : close_error;
	}
	*ret_fd = fd;
	return 0;
}

int ng_area_unmap(struct ng_remote *remote, const struct ng_area *area, struct ng_diag *diag)
{
	int64_t result;
	const int error = ng_remote_call(remote, SYS_munmap,
		(const uint64_t[6]){area->address, area->size_bytes}, &result, diag);

	if (error || !result)
		return error;
	return ng_diag_set(diag, (int)result, "process %d cannot unmap 0x%" PRIx64 ": %s",
		remote->stopped->pid, area->address, strerror(-(int)result));
}

int ng_own_page_map(struct ng_remote *remote, const struct ng_area *data, struct ng_diag *diag)
{
	const uint64_t address = data->address - NG_PAGE_BYTES, is_owner = 1;
	int64_t result;
	int error = ng_remote_call(remote, SYS_mmap,
		(const uint64_t[6]){address, NG_PAGE_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0},
		&result, diag);

	if (error)
		return error;
	if ((uint64_t)result != address)
		return ng_diag_set(diag, -EEXIST,
			"the address 0x%" PRIx64 " of process %d is taken", address,
			remote->stopped->pid);
	error = ng_remote_call(remote, SYS_madvise,
		(const uint64_t[6]){address, NG_PAGE_BYTES, MADV_WIPEONFORK}, &result, diag);
	if (!error && result)
		error = ng_diag_set(diag, (int)result, "process %d: madvise: %s",
			remote->stopped->pid, strerror(-(int)result));
	if (!error && pwrite(remote->mem_fd, &is_owner, sizeof(is_owner), (off_t)address) !=
			      sizeof(is_owner))
		error = ng_diag_set(diag, -EIO, "the memory of process %d cannot be written",
			remote->stopped->pid);
	if (error)
		(void)ng_own_page_unmap(remote, data, NULL);
	return error;
}

int ng_own_page_unmap(struct ng_remote *remote, const struct ng_area *data, struct ng_diag *diag)
{
	return ng_area_unmap(remote,
		&(struct ng_area){
			.address = data->address - NG_PAGE_BYTES, .size_bytes = NG_PAGE_BYTES},
		diag);
}

bool ng_area_is_there(pid_t pid, const struct ng_area *area)
{
	const char *name = area->is_code ? "/memfd:" NG_CODE_NAME : "/memfd:" NG_DATA_NAME;
	NG_CLEANUP_FCLOSE FILE *file = NULL;
	NG_CLEANUP_FREE char *line = NULL;
	char path[32];
	size_t room = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "re");
	while (file && getline(&line, &room, file) > 0) {
		uint64_t start, end;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2 &&
			start == area->address && end >= start + area->size_bytes)
			return strstr(line, name);
	}
	return false;
}
