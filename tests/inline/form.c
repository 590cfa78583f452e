/* How the inline engine would enter functions, for tests/e2e/test_inline_form.py: FILE FUNCTION...;
 * "--clock" and "--clock=all" stand for the clock's leaves, and a '+' before a name asks for the
 * prologue form. For each site a line of JSON. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/inline/form.h"

static void print_site(const struct ng_image *image, const struct ng_site *site, bool prologue)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_form form;

	printf("{\"function\": \"%s\", \"caller\": \"%s\", ", site->function,
		site->caller ? site->caller : "");
	if (ng_form_choose(image, site, prologue, &form, &diag)) {
		printf("\"refused\": \"%s\"}\n", diag.text);
		return;
	}
	printf("\"form\": \"%s\", \"entry\": %llu, \"address\": %llu, \"offset\": %llu, "
	       "\"next\": %llu, \"clock\": %u, \"m_id\": %u, \"goid\": %u, \"tid\": %u, \"g\": %u, "
	       "\"exact\": %d, \"bare\": %d, \"plain\": %d, \"check\": %u, \"bytes\": \"",
		ng_form_kind_name(form.kind), (unsigned long long)site->entry,
		(unsigned long long)form.address, (unsigned long long)form.offset,
		(unsigned long long)form.next, form.clock_id, form.m_id_offset,
		form.goroutine.id_offset, form.tid_offset, form.goroutine.g, form.exact,
		form.is_bare, form.is_plain, form.check_bytes);
	for (size_t i = 0; i < sizeof(form.bytes); i++)
		printf("%02x", form.bytes[i]);
	printf("\"}\n");
}

static int print_all(const struct ng_image *image, const char *name, struct ng_diag *diag)
{
	struct ng_sites sites = NG_SITES_INIT;
	const bool prologue = *name == '+';
	int error;

	if (!strncmp(name, "--clock", 7))
		error = ng_sites_clock(
			image, name[7] ? NG_CLOCK_ALL : NG_CLOCK_PROGRAM, &sites, diag);
	else
		error = ng_sites_find(image, name + prologue, &sites, diag);
	for (size_t i = 0; !error && i < sites.count; i++)
		print_site(image, &sites.items[i], prologue);
	ng_sites_release(&sites);
	return error;
}

int main(int argc, char **argv)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_image *image = NULL;
	int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	int error = fd < 0 ? -1 : ng_image_open(fd, &image, &diag);

	for (int i = 2; !error && i < argc; i++)
		error = print_all(image, argv[i], &diag);
	if (error)
		fprintf(stderr, "form: %s\n", diag.text);
	ng_image_free(image);
	return error ? 1 : 0;
}
