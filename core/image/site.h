/*
 * Where to put the probe: an address proven to be an instruction's first byte, that every call of
 * the function runs exactly once, and that costs least.
 *
 * x86 uprobes emulate nop, jmp, jcc, call rel32 and push of a register; all else is single-stepped
 * out of line, at several times the price. Go's stack check at a function's entry is
 * single-stepped, and runs again after each stack growth. So: the first emulated instruction after
 * the check that no branch can skip or repeat. docs/design.md has the measurements.
 */
#ifndef NG_CORE_IMAGE_SITE_H
#define NG_CORE_IMAGE_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/diag.h"
#include "core/image/flow.h"
#include "core/image/image.h"

/** What a hit costs, by how the kernel gets past the replaced instruction. */
enum ng_site_class {
	NG_SITE_EMULATED,
	NG_SITE_STEPPED,
	NG_SITE_SYSCALL, /* no instruction: the kernel's own event at a system call's entry */
};

/** "emulated", "single-stepped" or "syscall". */
const char *ng_site_class_name(enum ng_site_class class);

/** What kind of code the site stands in. */
enum ng_site_kind {
	NG_SITE_FUNCTION,     /* the function itself */
	NG_SITE_INLINED_COPY, /* an inlined copy of it: its own call of the next function */
	NG_SITE_LEAD,	      /* no call is counted there: see ng_sites_add_leads() */
};

#define NG_SITE_INSN_MAX 16 /* bytes for a mnemonic such as "call", with its NUL */
#define NG_SITE_WHY_MAX	 160

struct ng_site {
	char *function; /* the function that is counted; owned by the list */
	char *caller;	/* an inlined copy's physical function, else NULL; owned by the list */
	const char
		*source; /* for clock reads: which leaf ("time.now", …), a static text; else NULL */
	uint64_t entry;	   /* virtual address of the physical function's first byte */
	uint64_t address;  /* virtual address of the site */
	uint64_t offset;   /* file offset of the site */
	uint32_t delta;	   /* address - entry, bytes */
	uint8_t length;	   /* of the instruction, bytes */
	uint8_t bytes[15]; /* the instruction as the file holds it */
	enum ng_site_class class;
	enum ng_site_kind kind;
	bool exact;    /* runs exactly once a call, proven */
	uint32_t lead; /* bytes back to the branch that leads to it on a straight line; 0: none */
	uint32_t leads_to;	     /* of a lead: its site, by its place in the list */
	char insn[NG_SITE_INSN_MAX]; /* mnemonic: "call", "push", "je" … */
	char why[NG_SITE_WHY_MAX];   /* one sentence for a person */
};

/** What the sites of a list do not see. */
struct ng_gap {
	char *function; /* whose calls; NULL: any function's; owned by the list */
	char text[256]; /* for a person */
};

struct ng_sites {
	struct ng_site *items;
	size_t count;
	struct ng_gap *gaps; /* none: every call is seen by one of the sites */
	size_t gap_count;
	uint64_t work; /* spent on it so far: see ng_sites_spend() */
};

#define NG_SITES_INIT                                                                              \
	{                                                                                          \
		.items = NULL, .count = 0, .gaps = NULL, .gap_count = 0, .work = 0                 \
	}

void ng_sites_release(struct ng_sites *sites);

/** What is not seen of a function's calls: a text of the list's; NULL where all of them are. */
const char *ng_sites_gap(const struct ng_sites *sites, const char *function);

/**
 * Chooses the site in one function's code. Pure: works on the bytes alone.
 *
 * @param code the function's bytes, from its entry; size_bytes of them
 * @param address virtual address of code[0]
 * @param go whether to look for Go's stack check
 * @param ret_site entry, address, delta, length, bytes, class, exact, insn and why are filled; the
 *        rest is left as it was
 * @return 0; -ENOEXEC where no instruction of it can carry a probe: the text says why (too short,
 * not decodable, a function that is no more than a jump …)
 */
int ng_site_choose(const uint8_t *code, size_t size_bytes, uint64_t address, bool go,
	struct ng_site *ret_site, struct ng_diag *diag);

/** A function's code, with all that is known of it. */
struct ng_site_code {
	const uint8_t *bytes; /* from its entry */
	size_t size_bytes;
	uint64_t address;     /* of bytes[0] */
	bool go;	      /* whether to look for Go's stack check */
	bool outlives_faults; /* a fault is a panic, and the program may go on after it */
	const struct ng_flow_data
		*data; /* its jump tables and who leads into it; NULL: not at hand */
};

/** ng_site_choose() with more than the bytes. */
int ng_site_choose_in(
	const struct ng_site_code *code, struct ng_site *ret_site, struct ng_diag *diag);

/**
 * Finds a call that each run of a function makes, and makes once: the first on its straight line,
 * where its target is called nowhere else in it. Pure, as ng_site_choose().
 *
 * @return the call's target; 0 where there is none
 */
uint64_t ng_site_sure_call(const uint8_t *code, size_t size_bytes, uint64_t address, bool go);

/**
 * Chooses the sites that together see each call of the functions that a pattern names, once:
 * out-of-line bodies and, by their own calls, inlined copies. ABI wrappers, which only jump or call
 * on to the body of the same name, are left out, or each call would count twice.
 *
 * @param pattern as ng_image_find()
 * @param ret_sites appended to, sites and gaps
 * @return 0; the errors of ng_image_find() and ng_site_choose(); -ENOMEM
 */
int ng_sites_find(const struct ng_image *image, const char *pattern, struct ng_sites *ret_sites,
	struct ng_diag *diag);

/** Which clock reads ng_sites_clock() takes. */
enum ng_clock_set {
	NG_CLOCK_PROGRAM, /* the program's own reads, by leaf, none twice */
	NG_CLOCK_ALL, /* and the runtime's own: runtime.nanotime1 in place of runtime.nanotime */
};

/**
 * Chooses the sites that together see every read of the clock that an image's code makes, each
 * once: time.now; runtime.nanotime or time.runtimeNano; syscall.gettimeofday; a C library's
 * clock_gettime. Where names are gone, time.now and runtime.nanotime1 are found by the bytes of
 * their bodies.
 *
 * @param ret_sites appended to; an image that reads no clock adds none
 * @return 0; -ENOMEM; what reading the image gave
 */
int ng_sites_clock(const struct ng_image *image, enum ng_clock_set set, struct ng_sites *ret_sites,
	struct ng_diag *diag);

/**
 * Adds leads: of the first sites that have one, the branch of the stack check before them, as sites
 * of kind NG_SITE_LEAD. It is emulated and executed right before the site; armed together they tell
 * what a hit costs.
 *
 * @param max leads at most
 * @return 0; -ENOMEM; -EIO the image cannot be read
 */
int ng_sites_add_leads(const struct ng_image *image, struct ng_sites *sites, size_t max);

#endif
