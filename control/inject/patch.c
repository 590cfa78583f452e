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
#define STACK_MAX_BYTES 65536ull
#define USER_64_CS	0x33
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

/* Where words of a signal's frame stand: struct rt_sigframe's ucontext, by words. */
enum {
	FRAME_ALT_STACK = 2, /* where it begins, and, two words on, how long it is */
	FRAME_PC = 21,
	FRAME_SEGMENTS = 23, /* of the lowest two bytes: cs */
};

/*
 * Is a word, at words[at], the program counter in the frame of a signal that is being handled? A
 * frame of one that was handled before may stand on another stack in reach: on an alternate stack,
 * which the thread is not on now.
 */
static bool is_interrupted(const uint64_t *words, size_t count, size_t at, uint64_t sp)
{
	const uint64_t *frame;
	uint64_t start, end, here;

	if (at < FRAME_PC || at + FRAME_SEGMENTS - FRAME_PC >= count)
		return false;
	frame = words + at - FRAME_PC;
	start = frame[FRAME_ALT_STACK];
	end = start + frame[FRAME_ALT_STACK + 2];
	here = (sp & ~7ull) + (at - FRAME_PC) * sizeof(*words);
	if ((frame[FRAME_SEGMENTS] & 0xffff) != USER_64_CS)
		return false;
	return here < start || here >= end || (sp >= start && sp < end);
}

/* Is a thread's counter in a span, or one on its stack: of what a signal has interrupted, or, with
 * returns, whatever word may be one. */
static bool is_inside(
	int mem_fd, const struct ng_tracee *tracee, const struct ng_span *span, bool with_returns)
{
	NG_CLEANUP_FREE uint64_t *words = malloc(STACK_MAX_BYTES);
	size_t count;

	if (is_in(span, tracee->pc) || !words)
		return true;
	count = read_stack(mem_fd, tracee->sp, words);
	for (size_t i = 0; i < count; i++) {
		if (is_in(span, words[i]) &&
			(with_returns || is_interrupted(words, count, i, tracee->sp)))
			return true;
	}
	return false;
}

pid_t ng_stopped_inside(
	const struct ng_stopped *stopped, int mem_fd, const struct ng_span *span, bool with_returns)
{
	for (size_t i = 0; i < stopped->count; i++) {
		const struct ng_tracee *tracee = &stopped->items[i];

		if (tracee->stop != NG_STOP_GONE && is_inside(mem_fd, tracee, span, with_returns))
			return tracee->tid;
	}
	return 0;
}

/* In the middle of one instruction no counter ever is, but the processor's own. */
static pid_t middle_of_one(const struct ng_stopped *stopped, const struct ng_span *span)
{
	for (size_t i = 0; i < stopped->count; i++) {
		const struct ng_tracee *tracee = &stopped->items[i];

		if (tracee->stop != NG_STOP_GONE && is_in(span, tracee->pc))
			return tracee->tid;
	}
	return 0;
}

int ng_patches_clear(const struct ng_stopped *stopped, int mem_fd, const struct ng_patch *patches,
	size_t count, struct ng_diag *diag)
{
	for (size_t i = 0; i < count; i++) {
		const struct ng_patch *patch = &patches[i];
		const struct ng_span span = {patch->address + 1, patch->address + patch->length};
		const pid_t tid = patch->is_one ? middle_of_one(stopped, &span)
						: ng_stopped_inside(stopped, mem_fd, &span, true);

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
