#include "control/plane/images.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/image/goroutine.h"
#include "core/image/insn.h"

void ng_traced_image_free(struct ng_traced_image *image)
{
	if (!image)
		return;
	ng_sites_release(&image->sites);
	ng_image_free(image->image);
	free(image->numbers);
	free(image->errors);
	free(image->path);
	free(image);
}

void ng_images_release(struct ng_images *images)
{
	for (size_t i = 0; i < images->count; i++)
		ng_traced_image_free(images->items[i]);
	free(images->items);
	*images = (struct ng_images)NG_IMAGES_INIT;
}

struct ng_traced_image *ng_images_by_key(const struct ng_images *images, dev_t device, ino_t inode)
{
	for (size_t i = 0; i < images->count; i++) {
		struct ng_traced_image *image = images->items[i];

		if (image->key_inode == inode && image->key_device == device &&
			!image->is_rewritten)
			return image;
	}
	return NULL;
}

size_t ng_images_site_count(const struct ng_images *images)
{
	size_t count = 0;

	for (size_t i = 0; i < images->count; i++)
		count += images->items[i]->sites.count;
	return count;
}

static struct ng_traced_image *find_image(const struct ng_images *images, const struct stat *file)
{
	for (size_t i = 0; i < images->count; i++) {
		struct ng_traced_image *image = images->items[i];

		if (image->inode == file->st_ino && image->device == file->st_dev &&
			!image->is_rewritten)
			return image;
	}
	return NULL;
}

bool ng_traced_image_is_contested(const struct ng_traced_image *image)
{
	return image->is_leased && fcntl(ng_image_fd(image->image), F_GETLEASE) != F_RDLCK;
}

void ng_traced_image_let_go(struct ng_traced_image *image)
{
	if (!image->is_leased)
		return;
	image->is_rewritten = ng_traced_image_is_contested(image);
	image->is_leased = false;
	(void)fcntl(ng_image_fd(image->image), F_SETLEASE, F_UNLCK); /* we hold it: cannot fail */
}

struct ng_text_file ng_traced_image_file(const struct ng_traced_image *image)
{
	return (struct ng_text_file){.device = image->device,
		.inode = image->inode,
		.key_device = image->key_device,
		.key_inode = image->key_inode};
}

struct ng_site_numbers ng_traced_image_numbers(const struct ng_traced_image *image)
{
	return (struct ng_site_numbers){.items = image->numbers, .count = image->sites.count};
}

int ng_traced_image_explain(
	const struct ng_traced_image *image, const char *function, struct ng_diag *diag)
{
	struct ng_sites sites = NG_SITES_INIT;
	struct ng_diag why = NG_DIAG_INIT;
	int error;

	if (!image->image)
		return ng_diag_set(diag, image->error, "%s: %s", image->path, image->diag.text);
	error = ng_sites_find(image->image, function, &sites, &why);
	ng_sites_release(&sites);
	return error ? ng_diag_set(diag, error, "%s: %s", image->path,
			       why.text[0] ? why.text : strerror(-error))
		     : 0;
}

/* Keeps the first cause: a later function's absence says no more than the first's. */
static void note_missing(struct ng_traced_image *image, int error, const struct ng_diag *diag)
{
	if (image->error)
		return;
	image->error = error;
	image->diag = *diag;
}

/* Moves a site to its function's first byte. What the probe then counts is not the calls. */
static void move_to_symbol(const struct ng_image *image, struct ng_site *site)
{
	struct ng_insn insn = {0};

	if (site->kind != NG_SITE_FUNCTION || !site->delta)
		return;
	site->offset -= site->delta;
	site->address = site->entry;
	site->delta = 0;
	site->exact = false;
	/* Both worked when the site was chosen from here. */
	(void)ng_image_read(image, site->address, site->bytes, sizeof(site->bytes));
	(void)ng_insn_decode(site->bytes, sizeof(site->bytes), site->address, &insn);
	site->class = insn.emulated ? NG_SITE_EMULATED : NG_SITE_STEPPED;
	site->length = insn.length;
	(void)snprintf(site->insn, sizeof(site->insn), "%.15s", insn.mnemonic);
}

/* Two patterns can name one function; its site must count once. */
static void drop_repeated(struct ng_sites *sites, size_t old_count)
{
	size_t kept = old_count;

	for (size_t i = old_count; i < sites->count; i++) {
		struct ng_site site = sites->items[i];
		bool repeated = false;

		for (size_t k = 0; k < kept && !repeated; k++)
			repeated = sites->items[k].offset == site.offset &&
				   !strcmp(sites->items[k].function, site.function);
		if (repeated) {
			free(site.function);
			free(site.caller);
		} else {
			sites->items[kept++] = site;
		}
	}
	sites->count = kept;
}

static int find_sites(struct ng_traced_image *image, const struct ng_wanted *wanted)
{
	struct ng_diag diag = NG_DIAG_INIT;
	int error;

	if (wanted->clock) {
		error = ng_sites_clock(image->image, wanted->clock_set, &image->sites, &diag);
		if (error)
			note_missing(image, error, &diag);
		return error == -ENOMEM ? error : 0;
	}
	for (size_t i = 0; i < wanted->function_count; i++) {
		size_t old_count = image->sites.count;

		diag = (struct ng_diag)NG_DIAG_INIT;
		error = ng_sites_find(image->image, wanted->functions[i], &image->sites, &diag);
		if (error == -ENOMEM)
			return error;
		if (error)
			note_missing(image, error, &diag);
		image->errors[i] = error;
		drop_repeated(&image->sites, old_count);
	}
	return 0;
}

/* Functions set up their frame by "push %rbp; mov %rsp,%rbp" behind the stack check, or by what
 * stands first. */
static bool is_frameless(const struct ng_site *site)
{
	return !site->delta || !strcmp(site->insn, "push");
}

/* Where its goroutine cannot be told, its calls have none. */
static void describe_site(struct ng_traced_image *image, struct ng_uprobe *engine, size_t index)
{
	const struct ng_site *site = &image->sites.items[index];
	struct ng_site_facts facts = {.is_frameless = is_frameless(site)};

	(void)ng_goroutine_at(image->image, site->address, &facts.goroutine, NULL);
	ng_uprobe_describe_site(engine, image->numbers[index], &facts);
}

/* A lead comes behind its site in the list, which has its number by then. */
static int define_site(
	struct ng_traced_image *image, struct ng_uprobe *engine, size_t index, struct ng_diag *diag)
{
	const struct ng_site *site = &image->sites.items[index];
	const int fd = ng_image_fd(image->image);
	int error;

	if (site->kind == NG_SITE_LEAD)
		return ng_uprobe_add_lead(engine, fd, site->offset, image->numbers[site->leads_to],
			&image->numbers[index], diag);
	error = ng_uprobe_add_site(engine, fd, site->offset, &image->numbers[index], diag);
	if (!error)
		describe_site(image, engine, index);
	return error;
}

static int define_sites(struct ng_traced_image *image, struct ng_uprobe *engine, bool at_symbol,
	struct ng_diag *diag)
{
	image->numbers = calloc(image->sites.count + 1, sizeof(*image->numbers));
	if (!image->numbers)
		return -ENOMEM;
	for (size_t i = 0; i < image->sites.count; i++) {
		int error;

		if (at_symbol)
			move_to_symbol(image->image, &image->sites.items[i]);
		error = define_site(image, engine, i, diag);
		if (error)
			return error;
	}
	return 0;
}

static int add_image(struct ng_images *images, struct ng_traced_image *image)
{
	struct ng_traced_image **grown =
		reallocarray(images->items, images->count + 1, sizeof(struct ng_traced_image *));

	if (!grown)
		return -ENOMEM;
	images->items = grown;
	images->items[images->count++] = image;
	return 0;
}

/* One system call, as a site of the kernel's. */
static int add_syscall(struct ng_traced_image *kernel, struct ng_uprobe *engine, const char *name,
	const char *source, struct ng_diag *diag)
{
	struct ng_site *site = &kernel->sites.items[kernel->sites.count];

	*site = (struct ng_site){.source = source, .class = NG_SITE_SYSCALL, .exact = true};
	(void)snprintf(site->insn, sizeof(site->insn), "syscall");
	site->function = strdup(name);
	if (!site->function)
		return -ENOMEM;
	return ng_uprobe_add_syscall(engine, name, &kernel->numbers[kernel->sites.count++], diag);
}

int ng_images_prepare_kernel(struct ng_images *images, struct ng_uprobe *engine,
	struct ng_traced_image **ret_image, struct ng_diag *diag)
{
	static const char *const calls[][2] = {{"clock_gettime", "syscall clock_gettime"},
		{"gettimeofday", "syscall gettimeofday"}, {"time", "syscall time"}};
	const size_t count = sizeof(calls) / sizeof(calls[0]);
	struct ng_traced_image *kernel = calloc(1, sizeof(*kernel));
	int error;

	if (!kernel)
		return -ENOMEM;
	kernel->path = strdup("[kernel]");
	kernel->errors = calloc(1, sizeof(*kernel->errors));
	kernel->numbers = calloc(count, sizeof(*kernel->numbers));
	kernel->sites.items = calloc(count, sizeof(*kernel->sites.items));
	error = kernel->path && kernel->errors && kernel->numbers && kernel->sites.items ? 0
											 : -ENOMEM;
	for (size_t i = 0; !error && i < count; i++)
		error = add_syscall(kernel, engine, calls[i][0], calls[i][1], diag);
	if (!error)
		error = add_image(images, kernel);
	if (error) {
		ng_traced_image_free(kernel);
		return error;
	}
	*ret_image = kernel;
	return 0;
}

/* An image that cannot be read has none of what is wanted. @return 0 */
static int fail_all(struct ng_traced_image *image, const struct ng_wanted *wanted, int error,
	const struct ng_diag *why)
{
	for (size_t i = 0; i < wanted->function_count; i++)
		image->errors[i] = error;
	note_missing(image, error, why);
	return 0;
}

bool ng_traced_image_is_stale(const struct ng_traced_image *image)
{
	struct stat file;

	return !image->image || image->is_rewritten ||
	       (!fstat(ng_image_fd(image->image), &file) && !file.st_nlink);
}

static bool has_too_many_sites(const struct ng_images *images, const struct ng_traced_image *image,
	const struct ng_wanted *wanted)
{
	if (wanted->sites_max)
		return image->sites.count > wanted->sites_max;
	return ng_images_site_count(images) + image->sites.count > NG_SITES_MAX;
}

int ng_images_prepare(struct ng_images *images, struct ng_uprobe *engine,
	const struct ng_wanted *wanted, int fd, const char *path,
	struct ng_traced_image **ret_image, struct ng_diag *diag)
{
	struct ng_traced_image *image;
	struct ng_diag why = NG_DIAG_INIT;
	struct stat file;
	int error;

	if (fstat(fd, &file))
		return -errno;
	image = find_image(images, &file);
	if (image) {
		*ret_image = image;
		return 0;
	}
	image = calloc(1, sizeof(*image));
	if (!image)
		return -ENOMEM;
	image->device = file.st_dev;
	image->inode = file.st_ino;
	ng_file_key(fd, &image->key_device, &image->key_inode);
	/* Before it is read: so what is read is what stays. Not every file system can. */
	image->is_leased = !fcntl(fd, F_SETLEASE, F_RDLCK);
	image->path = strdup(path);
	image->errors = calloc(wanted->function_count + 1, sizeof(*image->errors));
	error = image->path && image->errors ? ng_image_open(fd, &image->image, &why) : -ENOMEM;
	if (!error)
		error = find_sites(image, wanted);
	else if (error != -ENOMEM)
		error = fail_all(image, wanted, error, &why);
	if (!error && has_too_many_sites(images, image, wanted))
		error = ng_diag_set(diag, -E2BIG,
			"what is asked for takes more than %zu probes (%zu in %s). Name fewer "
			"functions",
			wanted->sites_max ? wanted->sites_max : NG_SITES_MAX, image->sites.count,
			path);
	if (!error && image->image)
		error = ng_sites_add_leads(image->image, &image->sites, wanted->leads_max);
	if (!error)
		error = define_sites(image, engine, wanted->at_symbol, diag);
	if (!error)
		error = add_image(images, image);
	if (error || !image->sites.count) {
		image->is_leased = false;
		(void)fcntl(fd, F_SETLEASE, F_UNLCK); /* there may be none */
	}
	if (error) {
		/* Sites defined so far stay at the engine, which borrows the descriptor only to
		 * define or link: they are never armed, and go with it. */
		ng_traced_image_free(image);
		return error;
	}
	*ret_image = image;
	return 0;
}
