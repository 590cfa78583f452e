/*
 * What stands at an address of code: Go's functions, files and lines, what was inlined there first,
 * as runtime.CallersFrames tells it. Source: Go's runtime/symtab.go and runtime/symtabinl.go.
 */
#ifndef NG_CORE_IMAGE_FRAMES_H
#define NG_CORE_IMAGE_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/image/image.h"

struct ng_code_frame {
	const char *function; /* as the table has it, "" where it cannot be read;
				 the image's, like the file; under NG_IMAGE_NAME_MAX */
	const char *file;     /* as the compiler was told it; "" where it is not known */
	uint32_t line;	      /* 0: not known */
	uint32_t start_line;  /* of the function, from Go 1.20 on; 0: not known */
	bool is_inlined;      /* into the next frame's function */
	bool is_wrapper;      /* of the compiler's or the runtime's making: Go's own stacks leave it
				 out, unless it stands behind runtime.gopanic or the like */
};

/**
 * The frames of one address, innermost first. Any number of threads may ask.
 *
 * @param address as linked; of a call, that of any of its bytes: a return address less one
 * @param ret_frames room for max; where there are more, the innermost are given
 * @return how many there are, at least 1; -ENOENT no Go function is there, or the image has no
 * function table of Go's; -EINVAL the table is damaged there; -EIO
 */
int ng_image_frames(const struct ng_image *image, uint64_t address,
	struct ng_code_frame *ret_frames, size_t max);

/**
 * A function's name as Go prints it: type arguments as "[...]".
 *
 * @param ret_name cut where size_bytes are not enough; terminated
 */
void ng_code_print_name(const char *function, char *ret_name, size_t size_bytes);

#endif
