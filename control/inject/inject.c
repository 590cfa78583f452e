#include "control/inject/inject.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "control/inject/helper.h"
#include "control/target/process.h"
#include "core/base/cleanup.h"
#include "core/base/clock.h"

#define ATTEMPTS	3 /* to find address space that is free still when all stands */
#define DEFAULT_STOP_NS (200 * NG_NS_PER_MS)
#define RECORD_MAGIC	0x656e696c6e69676eull /* "nginline" */
#define RECORD_VERSION	2u

/* The last pages of the code area: what was replaced, sealed against writing as the code is. */
struct record {
	uint64_t magic;
	uint32_t version;
	uint32_t patch_count;
	uint64_t owner_pid;
	uint64_t owner_start_ticks;
	uint64_t data_address;
	uint64_t data_bytes;
	struct ng_patch patches[NG_INJECT_PATCHES_MAX];
};

#define RECORD_BYTES whole_pages(sizeof(struct record))

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + NG_PAGE_BYTES - 1) & ~(NG_PAGE_BYTES - 1);
}

static int check_machine(pid_t pid, struct ng_diag *diag)
{
	Elf64_Ehdr header;
	NG_CLEANUP_CLOSE int fd = ng_process_open_image(pid, diag);

	if (fd < 0)
		return fd;
	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
		header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64)
		return ng_diag_set(diag, -ENOTSUP,
			"process %d is no 64-bit x86 program: the inline engine knows no other. "
			"Use "
			"the uprobe engine",
			pid);
	return 0;
}

/* Who may not be changed. */
static int check_target(pid_t pid, struct ng_process *ret_process, struct ng_diag *diag)
{
	char comm[NG_COMM_MAX * 4];
	int error, tracer;

#ifndef __x86_64__
	return ng_diag_set(diag, -ENOTSUP, "the inline engine knows x86-64 only");
#endif
	if (pid == getpid())
		return ng_diag_set(diag, -EINVAL, "process %d is nowgate itself", pid);
	error = ng_process_find(pid, ret_process, diag);
	if (!error)
		error = check_machine(pid, diag);
	if (error)
		return error;
	tracer = ng_process_tracer(pid, comm);
	if (tracer > 0 && !strcmp(comm, NG_HELPER_NAME))
		return ng_diag_set(diag, -EAGAIN,
			"another nowgate is at work in process %d (pid %d). Try again", pid,
			tracer);
	if (tracer > 0)
		return ng_diag_set(diag, -EBUSY,
			"process %d is traced by %s (pid %d): a process has one tracer only. End "
			"that one first",
			pid, comm, tracer);
	return 0;
}

static int open_memory(pid_t pid, struct ng_diag *diag)
{
	char path[64];
	const int tid = ng_process_live_thread(pid);
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", pid, tid);
	fd = tid < 0 ? tid : open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	fd = tid < 0 ? tid : -errno;
	return ng_diag_set(
		diag, fd, "the memory of process %d cannot be opened: %s", pid, strerror(-fd));
}

static int find_space(
	const struct ng_inject_plan *plan, struct ng_helper_job *job, struct ng_diag *diag)
{
	struct ng_reach reach = {.first = UINT64_MAX,
		.size_bytes = job->code.size_bytes + NG_PAGE_BYTES + job->data.size_bytes};
	char path[32];
	int error;

	for (size_t i = 0; i < plan->patch_count; i++) {
		const uint64_t address = plan->patches[i].address;

		reach.first = address < reach.first ? address : reach.first;
		reach.last = address > reach.last ? address : reach.last;
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/maps", plan->pid);
	NG_CLEANUP_FCLOSE FILE *maps = fopen(path, "re");
	if (!maps)
		return ng_diag_set(diag, -ESRCH, "process %d has exited", plan->pid);
	error = ng_pages_find_hole(maps, &reach, &job->code.address, diag);
	job->data.address = job->code.address + job->code.size_bytes + NG_PAGE_BYTES;
	return error;
}

/* Builds the code for the places that were found, with its record behind it. */
static int build(const struct ng_inject_plan *plan, struct ng_helper_job *job, uint8_t *code,
	uint8_t *data_head, struct ng_diag *diag)
{
	const struct ng_inject_places places = {job->code.address, job->data.address};
	struct ng_process owner;
	struct record record = {.magic = RECORD_MAGIC,
		.version = RECORD_VERSION,
		.patch_count = (uint32_t)plan->patch_count,
		.owner_pid = (uint64_t)getpid(),
		.data_address = job->data.address,
		.data_bytes = job->data.size_bytes};
	int error;

	memset(code, 0, job->code.size_bytes);
	memset(data_head, 0, NG_PAGE_BYTES);
	error = plan->build(plan->context, &places, code, data_head, diag);
	if (!error)
		error = ng_process_read(getpid(), &owner);
	if (error)
		return error;
	record.owner_start_ticks = owner.start_ticks;
	memcpy(record.patches, plan->patches, plan->patch_count * sizeof(*plan->patches));
	memcpy(job->patches, plan->patches, plan->patch_count * sizeof(*plan->patches));
	memcpy(code + job->code.size_bytes - RECORD_BYTES, &record, sizeof(record));
	job->code.content = code;
	job->code.content_bytes = job->code.size_bytes;
	job->data.content = data_head;
	job->data.content_bytes = NG_PAGE_BYTES;
	return 0;
}

static int check_plan(const struct ng_inject_plan *plan, struct ng_diag *diag)
{
	if (!plan->patch_count || plan->patch_count > NG_INJECT_PATCHES_MAX || !plan->code_bytes ||
		!plan->data_bytes)
		return ng_diag_set(diag, -EINVAL, "a plan without code, data or places");
	return ng_patches_check(plan->patches, plan->patch_count, diag);
}

/* Readies a job for a process that may be changed. */
static int prepare(
	struct ng_helper_job *job, pid_t pid, uint64_t *ret_start_ticks, struct ng_diag *diag)
{
	struct ng_process process;
	int error = check_target(pid, &process, diag);

	if (error)
		return error;
	job->pid = pid;
	job->mem_fd = open_memory(pid, diag);
	if (job->mem_fd < 0)
		return job->mem_fd;
	job->syscall_address = ng_remote_find_syscall(pid, job->mem_fd);
	if (!job->syscall_address)
		return ng_diag_set(diag, -EAGAIN,
			"no `syscall` instruction is in the text of process %d: it is just "
			"beginning or ending",
			pid);
	*ret_start_ticks = process.start_ticks;
	return 0;
}

static int try_install(const struct ng_inject_plan *plan, struct ng_helper_job *job, uint8_t *code,
	struct ng_helper_result *result, struct ng_diag *diag)
{
	uint8_t data_head[NG_PAGE_BYTES];
	int error;

	error = find_space(plan, job, diag);
	if (!error)
		error = build(plan, job, code, data_head, diag);
	if (!error)
		error = ng_patches_match(job->mem_fd, job->patches, job->patch_count, false, diag);
	return error ? error : ng_helper_run(job, result, diag);
}

static int install(const struct ng_inject_plan *plan, struct ng_helper_job *job,
	struct ng_helper_result *result, struct ng_diag *diag)
{
	NG_CLEANUP_FREE uint8_t *code = NULL;
	int error = -EEXIST;

	job->code.is_code = true;
	job->code.size_bytes = whole_pages(plan->code_bytes) + RECORD_BYTES;
	job->data.size_bytes = whole_pages(plan->data_bytes);
	job->patch_count = plan->patch_count;
	job->max_stop_ns = plan->max_stop_ns ? plan->max_stop_ns : DEFAULT_STOP_NS;
	code = malloc(job->code.size_bytes);
	if (!code)
		return -ENOMEM;
	for (int attempt = 0; error == -EEXIST && attempt < ATTEMPTS; attempt++) {
		if (diag)
			diag->text[0] = '\0'; /* what the attempt before said */
		error = try_install(plan, job, code, result, diag);
	}
	return error;
}

int ng_inject_install(const struct ng_inject_plan *plan, struct ng_injected *ret_injected,
	struct ng_inject_report *ret_report, struct ng_diag *diag)
{
	struct ng_helper_job job = {.what = NG_HELPER_INSTALL, .mem_fd = -1};
	struct ng_helper_result result = {.data_fd = -1};
	uint64_t start_ticks;
	int error;

	error = check_plan(plan, diag);
	if (!error)
		error = prepare(&job, plan->pid, &start_ticks, diag);
	if (!error)
		error = install(plan, &job, &result, diag);
	if (job.mem_fd >= 0)
		close(job.mem_fd);
	if (ret_report)
		*ret_report = result.report;
	if (error)
		return error;
	*ret_injected = (struct ng_injected){.pid = plan->pid,
		.start_ticks = start_ticks,
		.code = job.code,
		.data = job.data,
		.data_fd = result.data_fd,
		.patch_count = job.patch_count};
	ret_injected->code.content = ret_injected->data.content = NULL;
	ret_injected->code.content_bytes = ret_injected->data.content_bytes = 0;
	memcpy(ret_injected->patches, job.patches, sizeof(job.patches));
	return 0;
}

int ng_inject_remove(const struct ng_injected *injected, struct ng_inject_report *ret_report,
	struct ng_diag *diag)
{
	struct ng_helper_job job = {.what = NG_HELPER_REMOVE,
		.mem_fd = -1,
		.max_stop_ns = DEFAULT_STOP_NS,
		.code = injected->code,
		.data = injected->data,
		.patch_count = injected->patch_count};
	struct ng_helper_result result = {.data_fd = -1};
	uint64_t start_ticks = 0;
	int error = prepare(&job, injected->pid, &start_ticks, diag);

	memcpy(job.patches, injected->patches, sizeof(job.patches));
	if (!error && (start_ticks != injected->start_ticks ||
			      !ng_area_is_there(injected->pid, &injected->code)))
		error = ng_diag_set(diag, -ESRCH,
			"process %d does not hold it any more: it runs another program",
			injected->pid);
	if (!error)
		error = ng_helper_run(&job, &result, diag);
	if (job.mem_fd >= 0)
		close(job.mem_fd);
	if (ret_report)
		*ret_report = result.report;
	return error;
}

/* Finds our code by its name. @return its area; size 0: none */
static struct ng_area find_code(pid_t pid)
{
	struct ng_area area = {.is_code = true};
	NG_CLEANUP_FCLOSE FILE *file = NULL;
	NG_CLEANUP_FREE char *line = NULL;
	char path[32];
	size_t room = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "re");
	while (file && !area.size_bytes && getline(&line, &room, file) > 0) {
		uint64_t start, end;

		if (strstr(line, "/memfd:" NG_CODE_NAME) &&
			sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2) {
			area.address = start;
			area.size_bytes = end - start;
		}
	}
	return area;
}

int ng_injected_find(pid_t pid, struct ng_injected *ret_injected, struct ng_diag *diag)
{
	struct ng_injected found = {.pid = pid, .data_fd = -1, .code = find_code(pid)};
	struct ng_process process;
	struct record record;
	const int error = ng_process_find(pid, &process, diag);

	if (error)
		return error;
	if (!found.code.size_bytes)
		return ng_diag_set(diag, -ENOENT, "process %d holds nothing of nowgate", pid);
	if (found.code.size_bytes <= RECORD_BYTES ||
		ng_process_read_memory(pid,
			found.code.address + found.code.size_bytes - RECORD_BYTES, &record,
			sizeof(record)) != sizeof(record) ||
		record.magic != RECORD_MAGIC || record.version != RECORD_VERSION ||
		!record.patch_count || record.patch_count > NG_INJECT_PATCHES_MAX ||
		ng_patches_check(record.patches, record.patch_count, NULL))
		return ng_diag_set(diag, -EBADMSG,
			"what process %d holds at 0x%" PRIx64
			" bears nowgate's name, but not its record",
			pid, found.code.address);
	found.start_ticks = process.start_ticks;
	found.owner_pid = (pid_t)record.owner_pid;
	found.owner_start_ticks = record.owner_start_ticks;
	found.data.address = record.data_address;
	found.data.size_bytes = record.data_bytes;
	found.patch_count = record.patch_count;
	memcpy(found.patches, record.patches, sizeof(found.patches));
	*ret_injected = found;
	return 0;
}

bool ng_injected_has_owner(const struct ng_injected *injected)
{
	struct ng_process owner;

	return !ng_process_read(injected->owner_pid, &owner) &&
	       owner.start_ticks == injected->owner_start_ticks;
}

bool ng_injected_is_there(const struct ng_injected *injected)
{
	for (size_t i = 0; i < injected->patch_count; i++) {
		const struct ng_patch *patch = &injected->patches[i];
		uint8_t seen[NG_PATCH_MAX];

		if (ng_process_read_memory(injected->pid, patch->address, seen, patch->length) !=
				patch->length ||
			memcmp(seen, patch->after, patch->length) != 0)
			return false;
	}
	return true;
}

void ng_injected_release(struct ng_injected *injected)
{
	if (injected->data_fd >= 0)
		close(injected->data_fd);
	injected->data_fd = -1;
}
