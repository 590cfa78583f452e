#include "tests/out/written.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <zlib.h>

#include "core/out/pprof.h"

static int new_file(void)
{
	int fd = memfd_create("out", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

char *written(writer *write_it, const struct ng_profile *profile, size_t *ret_bytes)
{
	const size_t room = 64 << 20;
	struct ng_diag diag = NG_DIAG_INIT;
	char *text = malloc(room);
	int fd = new_file(), bytes;
	gzFile file;

	assert_non_null(text);
	assert_int_equal(write_it(profile, fd, &diag), 0);
	assert_string_equal(diag.text, "");
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	file = gzdopen(fd, "rb");
	assert_non_null(file);
	bytes = gzread(file, text, (unsigned int)room - 1);
	assert_true(bytes >= 0);
	assert_int_equal(gzdirect(file), write_it != ng_pprof_write);
	assert_int_equal(gzclose_r(file), Z_OK); /* its checksum is right */
	text[bytes] = '\0';
	*ret_bytes = (size_t)bytes;
	return text;
}
