/* write(2), to the end. */
#ifndef NG_CORE_BASE_WRITE_H
#define NG_CORE_BASE_WRITE_H

#include <stddef.h>

/**
 * Writes all of it, also where that takes several calls.
 *
 * @return 0; what write() said, -EIO where it wrote nothing: a part may have been written
 */
int ng_write_all(int fd, const void *bytes, size_t length);

#endif
