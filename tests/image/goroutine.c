/* How goroutines are found in functions, for tests/e2e/test_goroutine.py: FILE FUNCTION... For each
 * a line: where g is, "r14", "tls" or "nowhere"; at which offset in TLS; and the id's in g. */
#include <fcntl.h>
#include <stdio.h>

#include "core/image/goroutine.h"

int main(int argc, char **argv)
{
	static const char *const places[] = {
		[NG_G_NOWHERE] = "nowhere", [NG_G_R14] = "r14", [NG_G_TLS] = "tls"};
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_image *image;
	int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0 || ng_image_open(fd, &image, &diag)) {
		fprintf(stderr, "goroutine: %s\n", diag.text);
		return 1;
	}
	for (int i = 2; i < argc; i++) {
		struct ng_functions functions = NG_FUNCTIONS_INIT;
		struct ng_goroutine where;

		if (ng_image_find(image, argv[i], &functions, &diag)) {
			fprintf(stderr, "goroutine: %s\n", diag.text);
			return 1;
		}
		(void)ng_goroutine_at(image, functions.items[0].address, &where, NULL);
		printf("%s %d %u\n", places[where.g], where.tls_bytes, where.id_offset);
		ng_functions_release(&functions);
	}
	ng_image_free(image);
	return 0;
}
