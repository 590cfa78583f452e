#include "control/inject/patch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "core/base/cleanup.h"

#define PAGE_BYTES	4096ull
#define CALL		0xe8 /* rel32 … */
#define CALL_BYTES	5    /* … with its displacement */
#define USER_CS		0x33
#define STACK_MAX_BYTES 65536ull
#define HEX_BYTES	(3 * NG_PATCH_MAX + 1)

static const uint8_t *bytes_of(const struct ng_patch *patch, bool after)
{
	return after ? patch->after : patch->before;
}

static const char *as_hex(const uint8_t *bytes, size_t length, char text[HEX_BYTES])
{
	for (size_t i = 0; i < length; i++)
		(void)snprintf(text + 3 * i, 4, "%02x%s", bytes[i], i + 1 < length ? " " : "");
	return text;
}

int ng_patches_check(const struct ng_patch *patches, size_t count, struct ng_diag *diag)
{
	for (size_t i = 0; i < count; i++) {
		const struct ng_patch *patch = &patches[i];

		if (!patch->length || patch->length > NG_PATCH_MAX)
			return ng_diag_set(diag, -EINVAL, "a patch of %u bytes at 0x%" PRIx64,
				patch->length, patch->address);
		if (patch->address / PAGE_BYTES !=
			(patch->address + patch->length - 1) / PAGE_BYTES)
			return ng_diag_set(diag, -ERANGE,
				"the bytes at 0x%" PRIx64
				" cross a page's end, and cannot be replaced at once",
				patch->address);
	}
	return 0;
}

int ng_patches_match(int mem_fd, const struct ng_patch *patches, size_t count, bool is_after,
	struct ng_diag *diag)
{
	for (size_t i = 0; i < count; i++) {
		const struct ng_patch *patch = &patches[i];
		const uint8_t *wanted = bytes_of(patch, is_after);
		char seen_text[HEX_BYTES], wanted_text[HEX_BYTES];
		uint8_t seen[NG_PATCH_MAX];
		const ssize_t length = pread(mem_fd, seen, patch->length, (off_t)patch->address);

		if (!length) /* its memory is no more */
			return ng_diag_set(diag, -ESRCH,
				"the process has ended, or runs another program since this moment");
		if (length != patch->length)
			return ng_diag_set(diag, -EIO, "the text at 0x%" PRIx64 " cannot be read",
				patch->address);
		if (memcmp(seen, wanted, patch->length))
			return ng_diag_set(diag, -ESTALE,
				"the text at 0x%" PRIx64
				" is %s, should be %s: another tracer's, or not the file's",
				patch->address, as_hex(seen, patch->length, seen_text),
				as_hex(wanted, patch->length, wanted_text));
	}
	return 0;
}

/* A thread's stack from its pointer on, as far as it is mapped and we look. @return words */
static size_t read_stack(int mem_fd, uint64_t sp, uint64_t *words)
{
	const ssize_t length = pread(mem_fd, words, STACK_MAX_BYTES, (off_t)(sp & ~7ull));

	return length < 0 ? 0 : (size_t)length / sizeof(*words);
}

static bool is_in(const struct ng_span *span, uint64_t address)
{
	return address >= span->start && address < span->end;
}

/* Words of what the kernel puts on a stack for a signal's handler, before RIP: as in struct
 * rt_sigframe. */
enum {
	FRAME_ALT_SIZE = 17,
	FRAME_ALT_START = 19,
	FRAME_START = 22,
};

/* Is it RIP in a signal's frame, by the words around it? Flags follow it, of which bit 1 is set,
 * and the selectors, CS first. */
static bool is_frames_rip(const uint64_t *words, size_t count, size_t index)
{
	return index >= FRAME_START && index + 2 < count && (words[index + 1] & 2) &&
	       words[index + 1] < 1u << 22 && (uint16_t)words[index + 2] == USER_CS;
}

static bool is_within(uint64_t address, uint64_t start, uint64_t size)
{
	return address - start < size;
}

/*
 * Will the thread go on where a signal's frame says? Those of signals that are over stay behind: a
 * frame on a stack for signals is one of those unless the thread is on that stack.
 */
static bool is_frame_alive(const struct ng_tracee *tracee, const uint64_t *words, size_t index)
{
	const uint64_t address = (tracee->sp & ~7ull) + (index - FRAME_START) * sizeof(*words);
	const uint64_t start = words[index - FRAME_ALT_START], size = words[index - FRAME_ALT_SIZE];

	return !is_within(address, start, size) || is_within(tracee->sp, start, size);
}

/* Looks at a thread's stack. @return is a word of it an address in the span? */
static bool is_on_stack(const struct ng_tracee *tracee, int mem_fd, const struct ng_span *span,
	uint64_t *words, bool frames_only)
{
	const size_t count = read_stack(mem_fd, tracee->sp, words);

	for (size_t i = 0; i < count; i++) {
		if (!is_in(span, words[i]))
			continue;
		if (!frames_only ||
			(is_frames_rip(words, count, i) && is_frame_alive(tracee, words, i)))
			return true;
	}
	return false;
}

/* @param words room for a stack; NULL: stacks are not looked at */
static pid_t inside(const struct ng_stopped *stopped, int mem_fd, const struct ng_span *span,
	uint64_t *words, bool frames_only)
{
	for (size_t i = 0; i < stopped->count; i++) {
		const struct ng_tracee *tracee = &stopped->items[i];

		if (tracee->stop == NG_STOP_GONE)
			continue;
		if (is_in(span, tracee->pc) ||
			(words && is_on_stack(tracee, mem_fd, span, words, frames_only)))
			return tracee->tid;
	}
	return 0;
}

pid_t ng_stopped_inside(const struct ng_stopped *stopped, int mem_fd, const struct ng_span *span)
{
	NG_CLEANUP_FREE uint64_t *words = malloc(STACK_MAX_BYTES);

	if (!words)
		return stopped->pid; /* nobody knows */
	return inside(stopped, mem_fd, span, words, true);
}

int ng_patches_clear(const struct ng_stopped *stopped, int mem_fd, const struct ng_patch *patches,
	size_t count, struct ng_diag *diag)
{
	NG_CLEANUP_FREE uint64_t *words = malloc(STACK_MAX_BYTES);

	if (!words)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct ng_patch *patch = &patches[i];
		const struct ng_span span = {patch->address + 1, patch->address + patch->length};
		const pid_t tid =
			inside(stopped, mem_fd, &span, patch->is_one ? NULL : words, false);

		if (tid)
			return ng_diag_set(diag, -EAGAIN,
				"thread %d of process %d is within the bytes at 0x%" PRIx64
				": nothing was changed. Try again",
				tid, stopped->pid, patch->address);
	}
	return 0;
}

/* By ptrace, where the kernel lets nobody write read-only text through /proc/PID/mem. */
static int poke(
	const struct ng_stopped *stopped, uint64_t address, const uint8_t *bytes, size_t length)
{
	pid_t tid = 0;

	for (size_t i = 0; i < stopped->count && !tid; i++) {
		const enum ng_stop stop = stopped->items[i].stop;

		if (stop == NG_STOP_EVENT || stop == NG_STOP_GROUP || stop == NG_STOP_SIGNAL)
			tid = stopped->items[i].tid;
	}
	while (length) {
		const uint64_t word_address = address & ~7ull;
		const size_t skip = address - word_address;
		const size_t part = length < 8 - skip ? length : 8 - skip;
		long word;

		errno = 0;
		word = ptrace(PTRACE_PEEKTEXT, tid, word_address, NULL);
		if (errno)
			return -errno;
		memcpy((char *)&word + skip, bytes, part);
		if (ptrace(PTRACE_POKETEXT, tid, word_address, word))
			return -errno;
		address += part;
		bytes += part;
		length -= part;
	}
	return 0;
}

static int write_one(const struct ng_stopped *stopped, int mem_fd, const struct ng_patch *patch,
	bool after, struct ng_diag *diag)
{
	const uint8_t *bytes = bytes_of(patch, after);
	int error = 0;

	if (pwrite(mem_fd, bytes, patch->length, (off_t)patch->address) != patch->length)
		error = poke(stopped, patch->address, bytes, patch->length);
	if (error)
		return ng_diag_set(diag, error,
			"the text at 0x%" PRIx64 " of process %d cannot be written: %s",
			patch->address, stopped->pid, strerror(-error));
	return ng_patches_match(mem_fd, patch, 1, after, diag);
}

int ng_patches_write(const struct ng_stopped *stopped, int mem_fd, const struct ng_patch *patches,
	size_t count, bool after, struct ng_diag *diag)
{
	for (size_t i = 0; i < count; i++) {
		const int error = write_one(stopped, mem_fd, &patches[i], after, diag);

		if (!error)
			continue;
		for (size_t undone = 0; undone <= i; undone++)
			(void)write_one(stopped, mem_fd, &patches[undone], !after, diag);
		return error;
	}
	return 0;
}
