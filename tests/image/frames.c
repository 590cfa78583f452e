/* The frames of addresses, for tests/e2e/test_frames.py: FILE, and addresses in hex on stdin. For
 * each a line: the address, and for each frame its function, that as it is printed, file and line.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/image/frames.h"

#define FRAMES 64

int main(int argc, char **argv)
{
	struct ng_code_frame frames[FRAMES];
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_image *image;
	uint64_t address;
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0 || ng_image_open(fd, &image, &diag)) {
		fprintf(stderr, "frames: %s\n", diag.text);
		return 1;
	}
	while (scanf("%" SCNx64, &address) == 1) {
		const int count = ng_image_frames(image, address, frames, FRAMES);

		printf("%" PRIx64, address);
		if (count < 0)
			printf("\t%s", strerror(-count));
		for (int i = 0; i < count && i < FRAMES; i++) {
			char name[NG_IMAGE_NAME_MAX];

			ng_code_print_name(frames[i].function, name, sizeof(name));
			printf("\t%s\t%s\t%s\t%u", frames[i].function, name, frames[i].file,
				frames[i].line);
		}
		putchar('\n');
	}
	ng_image_free(image);
	return 0;
}
