#include "core/image/cxxname.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* A part of a path, in either spelling. */
struct part {
	const char *text;
	size_t length;
};

/* Takes the next part of "a::b::c". */
static bool next_qualified(const char **qualified, struct part *part)
{
	const char *end = strstr(*qualified, "::");

	part->text = *qualified;
	part->length = end ? (size_t)(end - *qualified) : strlen(*qualified);
	*qualified += part->length + (end ? 2 : 0);
	return part->length > 0;
}

/* Takes a length and so many bytes. */
static bool next_source_name(const char **mangled, struct part *part)
{
	size_t length = 0;

	while (isdigit((unsigned char)**mangled) && length < 4096)
		length = 10 * length + (size_t)(*(*mangled)++ - '0');
	if (!length || strnlen(*mangled, length) < length)
		return false;
	*part = (struct part){.text = *mangled, .length = length};
	*mangled += length;
	return true;
}

static bool is_same(const struct part *a, const struct part *b)
{
	return a->length == b->length && !memcmp(a->text, b->text, a->length);
}

static bool is_destructor_of(const struct part *name, const struct part *of)
{
	const struct part rest = {.text = name->text + 1, .length = name->length - 1};

	return name->text[0] == '~' && is_same(&rest, of);
}

/* Takes one part of a mangled path, which must be this one; `within` is the part before it. */
static bool take_part(const char **mangled, const struct part *wanted, const struct part *within)
{
	const char first = (*mangled)[0];
	const char second = first ? (*mangled)[1] : '\0';
	struct part found;

	if (isdigit((unsigned char)first))
		return next_source_name(mangled, &found) && is_same(wanted, &found);
	if (first == 'S' && second == 't')
		found = (struct part){.text = "std", .length = 3};
	else if ((first == 'C' || first == 'D') && isdigit((unsigned char)second) && within->length)
		found = *within;
	else
		return false;
	*mangled += 2;
	return first == 'D' ? is_destructor_of(wanted, &found) : is_same(wanted, &found);
}

bool ng_cxxname_match(const char *mangled, const char *qualified)
{
	struct part part = {0}, within;
	bool nested;

	if (strncmp(mangled, "_Z", 2) || !strncmp(qualified, "_Z", 2))
		return false;
	mangled += 2;
	nested = *mangled == 'N';
	mangled += nested;
	while (nested && *mangled && strchr("rVKRO", *mangled))
		mangled++; /* what `this` points to */
	do {
		if (!nested && *mangled == 'L')
			mangled++; /* static */
		within = part;
		if (!next_qualified(&qualified, &part) || !take_part(&mangled, &part, &within))
			return false;
		/* Of paths without an N only std's have two parts. */
		nested |= *qualified && is_same(&part, &(struct part){"std", 3});
	} while (*qualified && nested);
	/* The path has to end here; behind a '.' it is a part that the compiler split off. */
	return !*qualified && !isdigit((unsigned char)*mangled) && !strchr(mangled, '.');
}
