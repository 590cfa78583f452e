/*
 * The images of a session: each file read once, however many processes run it, and its sites
 * defined at the engine.
 */
#ifndef NG_CONTROL_PLANE_IMAGES_H
#define NG_CONTROL_PLANE_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/engine/uprobe.h"
#include "control/target/text.h"
#include "core/base/diag.h"
#include "core/image/image.h"
#include "core/image/site.h"

/** Sites of a session. Each takes 0.08 s to take away at its end: the kernel waits for a grace
 * period a site. */
#define NG_SITES_MAX ((size_t)1024)

/** What is to be traced, in whatever image. Borrowed by the session; must outlive it. */
struct ng_wanted {
	const char *const *functions; /* patterns, as ng_image_find(); none with clock */
	size_t function_count;
	bool clock; /* every clock read, by its leaves */
	enum ng_clock_set clock_set;
	bool syscalls;	  /* with clock: the system calls that read it, too */
	bool at_symbol;	  /* at the function's first byte, as other tools do: counts too much */
	size_t sites_max; /* in one image; 0: NG_SITES_MAX in all */
	size_t leads_max; /* in one image: ng_sites_add_leads() */
};

/** A file that processes run or map. */
struct ng_traced_image {
	struct ng_image *image; /* NULL where it could not be read */
	char *path;		/* as first seen */
	dev_t device;		/* the file, as stat() tells it … */
	ino_t inode;
	dev_t key_device; /* … and as the kernel tells it of mappings and execs: not the same on …
			   */
	ino_t key_inode;       /* … overlay and btrfs */
	bool is_leased;	       /* whoever would write to the file waits until we let go of it */
	bool is_rewritten;     /* they did: the file holds something else now, and is read anew */
	struct ng_sites sites; /* empty where it has nothing wanted */
	uint32_t *numbers;     /* of the sites, at the engine */
	int *errors;	       /* for each wanted function: 0, or why it is not in here */
	int error;	       /* why something wanted is missing, 0 where nothing is … */
	struct ng_diag diag;   /* … in words */
};

struct ng_images {
	struct ng_traced_image **items;
	size_t count;
};

#define NG_IMAGES_INIT                                                                             \
	{                                                                                          \
		.items = NULL, .count = 0                                                          \
	}

void ng_images_release(struct ng_images *images);

/** Frees an image that was taken off its list. NULL does nothing. */
void ng_traced_image_free(struct ng_traced_image *image);

/** Can no process begin to run it any more? It has been deleted, or written to; or it could not be
 * read, and its inode may be another's by now. */
bool ng_traced_image_is_stale(const struct ng_traced_image *image);

/**
 * Finds an image by its file, or reads it and defines its sites.
 *
 * A file with sites is leased, where its file system can: who opens it for writing waits until
 * ng_traced_image_let_go(). The kernel says so by SIGIO, which the caller must have blocked.
 *
 * An image that has nothing wanted, or cannot be read, is remembered too, with the error in it.
 *
 * @param fd borrowed
 * @param path for people
 * @return 0; -ENOMEM; -E2BIG more sites than are allowed; what the engine gave when defining one
 */
int ng_images_prepare(struct ng_images *images, struct ng_uprobe *engine,
	const struct ng_wanted *wanted, int fd, const char *path,
	struct ng_traced_image **ret_image, struct ng_diag *diag);

/**
 * The kernel as an image: its sites are the system calls that read the clock. Made once, on demand.
 *
 * @return 0; -ENOMEM; what ng_uprobe_add_syscall() gave
 */
int ng_images_prepare_kernel(struct ng_images *images, struct ng_uprobe *engine,
	struct ng_traced_image **ret_image, struct ng_diag *diag);

/** The image with this file, as the kernel tells it of mappings and execs; NULL. */
struct ng_traced_image *ng_images_by_key(const struct ng_images *images, dev_t device, ino_t inode);

/** Is somebody about to write to the file? */
bool ng_traced_image_is_contested(const struct ng_traced_image *image);

/** Lets whoever wants to write to the file, with no breakpoint left in it. */
void ng_traced_image_let_go(struct ng_traced_image *image);

struct ng_text_file ng_traced_image_file(const struct ng_traced_image *image);

/** Says why a wanted function is not in an image; returns that error. */
int ng_traced_image_explain(
	const struct ng_traced_image *image, const char *function, struct ng_diag *diag);

/** Sites of all images together. */
size_t ng_images_site_count(const struct ng_images *images);

/** Its sites' numbers, for arming. */
struct ng_site_numbers ng_traced_image_numbers(const struct ng_traced_image *image);

#endif
