/* Which processes a request speaks of. */
#ifndef NG_CONTROL_PLANE_SELECTOR_H
#define NG_CONTROL_PLANE_SELECTOR_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * A filter: every member that is set must hold. With none set and not `all` it selects nothing.
 * Texts are owned by it.
 */
struct ng_selector {
	bool all;     /* every process that is attached; for modes, never for attaching */
	pid_t pid;    /* 0: any */
	char *exe;    /* glob over the executable's path, '*' across slashes; NULL: any */
	char *comm;   /* the process's name, as a whole; NULL: any */
	char *cgroup; /* path below the cgroup root, and whatever is below it; NULL: any */
	bool has_uid;
	uid_t uid; /* the process's owner */
};

void ng_selector_release(struct ng_selector *selector);

/** Copies one. @return 0; -ENOMEM */
int ng_selector_copy(const struct ng_selector *selector, struct ng_selector *ret_selector);

/** Is nothing set, not even `all`? */
bool ng_selector_is_empty(const struct ng_selector *selector);

bool ng_selector_equals(const struct ng_selector *a, const struct ng_selector *b);

/**
 * Does a request mean what was asked for by `held`? By the same words; by a pid alone, whatever
 * else was said of that pid; by `all`, everything, or with a uid what is of that uid alone. Pure.
 */
bool ng_selector_means(const struct ng_selector *asked, const struct ng_selector *held);

/** What a process is, as far as selectors ask; texts are borrowed. */
struct ng_candidate {
	pid_t pid;
	uid_t uid;
	const char *exe;
	const char *comm;
	const char *cgroup;
};

/** Pure. `all` matches every candidate. */
bool ng_selector_matches(const struct ng_selector *selector, const struct ng_candidate *candidate);

#endif
