#include "core/base/write.h"

#include <errno.h>
#include <unistd.h>

int ng_write_all(int fd, const void *bytes, size_t length)
{
	const char *from = bytes;

	while (length) {
		const ssize_t written = write(fd, from, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written ? -errno : -EIO;
		from += written;
		length -= (size_t)written;
	}
	return 0;
}
