#include "control/plane/selector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ng_selector_release(struct ng_selector *selector)
{
	free(selector->exe);
	free(selector->comm);
	free(selector->cgroup);
	*selector = (struct ng_selector){0};
}

static int copy_text(const char *text, char **ret_copy)
{
	*ret_copy = text ? strdup(text) : NULL;
	return text && !*ret_copy ? -ENOMEM : 0;
}

int ng_selector_copy(const struct ng_selector *selector, struct ng_selector *ret_selector)
{
	struct ng_selector copy = *selector;
	int error;

	copy.exe = copy.comm = copy.cgroup = NULL;
	error = copy_text(selector->exe, &copy.exe);
	if (!error)
		error = copy_text(selector->comm, &copy.comm);
	if (!error)
		error = copy_text(selector->cgroup, &copy.cgroup);
	if (error) {
		ng_selector_release(&copy);
		return error;
	}
	*ret_selector = copy;
	return 0;
}

bool ng_selector_is_empty(const struct ng_selector *selector)
{
	return !selector->all && !selector->pid && !selector->exe && !selector->comm &&
	       !selector->cgroup && !selector->has_uid;
}

static bool is_same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

bool ng_selector_equals(const struct ng_selector *a, const struct ng_selector *b)
{
	return a->all == b->all && a->pid == b->pid && is_same(a->exe, b->exe) &&
	       is_same(a->comm, b->comm) && is_same(a->cgroup, b->cgroup) &&
	       a->has_uid == b->has_uid && (!a->has_uid || a->uid == b->uid);
}

bool ng_selector_means(const struct ng_selector *asked, const struct ng_selector *held)
{
	const struct ng_selector by_pid = {.pid = asked->pid};

	if (asked->all)
		return !asked->has_uid || (held->has_uid && held->uid == asked->uid);
	if (asked->pid && ng_selector_equals(asked, &by_pid))
		return held->pid == asked->pid;
	return ng_selector_equals(asked, held);
}

/* Does a set like "[a-z]" or "[!a]" take the letter? Its end goes to ret_end; NULL where the '[' is
 * no set but itself. */
static bool set_takes(const char *set, char letter, const char **ret_end)
{
	const char *at = set + 1;
	const bool negated = *at == '!' || *at == '^';
	bool found = false;

	*ret_end = NULL;
	at += negated;
	/* A ']' that comes first belongs to the set. */
	for (const char *first = at; *at && (*at != ']' || at == first); at++) {
		unsigned char low = (unsigned char)*at, high = low;

		if (at[1] == '-' && at[2] && at[2] != ']') {
			at += 2;
			high = (unsigned char)*at;
		}
		if ((unsigned char)letter >= low && (unsigned char)letter <= high)
			found = true;
	}
	if (*at != ']')
		return letter == '[';
	*ret_end = at + 1;
	return found != negated;
}

/* One letter against the pattern's next element; the pattern after it goes to ret_next. */
static bool element_takes(const char *glob, char letter, const char **ret_next)
{
	const char *end;
	bool taken;

	*ret_next = glob + 1;
	switch (*glob) {
	case '\0':
		return false;
	case '?':
		return true;
	case '[':
		taken = set_takes(glob, letter, &end);
		if (end)
			*ret_next = end;
		return taken;
	case '\\':
		if (glob[1]) {
			*ret_next = glob + 2;
			return glob[1] == letter;
		}
		return letter == '\\';
	default:
		return *glob == letter;
	}
}

/*
 * Not fnmatch(): anybody can send a glob to the daemon, and glibc's takes exponential time for some
 * of them ("*a*a*a…"). Going back to the last star only is enough, for what an earlier star could
 * take more of the last one can, too; that bounds it by the product of the lengths.
 */
static bool glob_matches(const char *glob, const char *text)
{
	const char *star = NULL, *star_text = NULL, *next;

	while (*text) {
		if (*glob == '*') {
			star = ++glob;
			star_text = text;
		} else if (element_takes(glob, *text, &next)) {
			glob = next;
			text++;
		} else if (star) {
			glob = star;
			text = ++star_text;
		} else {
			return false;
		}
	}
	while (*glob == '*')
		glob++;
	return !*glob;
}

/* Is it that group, or one below it? Slashes at the ends do not matter. */
static bool cgroup_holds(const char *group, const char *cgroup)
{
	size_t length;

	group += strspn(group, "/");
	cgroup += strspn(cgroup, "/");
	length = strlen(group);
	while (length && group[length - 1] == '/')
		length--;
	return !length || (!strncmp(group, cgroup, length) &&
				  (cgroup[length] == '/' || cgroup[length] == '\0'));
}

bool ng_selector_matches(const struct ng_selector *selector, const struct ng_candidate *candidate)
{
	if (ng_selector_is_empty(selector))
		return false;
	if (selector->pid && selector->pid != candidate->pid)
		return false;
	if (selector->has_uid && selector->uid != candidate->uid)
		return false;
	if (selector->comm && !is_same(selector->comm, candidate->comm))
		return false;
	if (selector->cgroup &&
		(!candidate->cgroup || !cgroup_holds(selector->cgroup, candidate->cgroup)))
		return false;
	return !selector->exe || (candidate->exe && glob_matches(selector->exe, candidate->exe));
}
