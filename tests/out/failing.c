#include "tests/out/failing.h"

#include <errno.h>
#include <stdbool.h>

static bool is_counting;
static size_t allocations; /* so far */
static size_t failing;	   /* the one that does */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
int __real_posix_memalign(void **ret_memory, size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
int __wrap_posix_memalign(void **ret_memory, size_t alignment, size_t size);

void failing_begin(size_t n)
{
	allocations = 0;
	failing = n;
	is_counting = true;
}

size_t failing_end(void)
{
	is_counting = false;
	return allocations;
}

static bool fails(void)
{
	return is_counting && allocations++ == failing;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return fails() ? NULL : __real_reallocarray(old, count, size);
}

int __wrap_posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
	return fails() ? ENOMEM : __real_posix_memalign(ret_memory, alignment, size);
}

void *failing_malloc(size_t size)
{
	return __wrap_malloc(size);
}
