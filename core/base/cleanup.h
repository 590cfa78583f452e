/* Cleanup attributes for temporaries that live in one function. */
#ifndef NG_CORE_BASE_CLEANUP_H
#define NG_CORE_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void ng_cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

static inline void ng_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void ng_cleanup_fclose(FILE **file)
{
	if (*file)
		fclose(*file);
}

#define NG_CLEANUP_FREE	  __attribute__((cleanup(ng_cleanup_free)))
#define NG_CLEANUP_CLOSE  __attribute__((cleanup(ng_cleanup_close)))
#define NG_CLEANUP_FCLOSE __attribute__((cleanup(ng_cleanup_fclose)))

#endif
