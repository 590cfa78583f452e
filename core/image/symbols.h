/* Functions by name: one walk over whatever names an image has, and the ways to compare them. */
#ifndef NG_CORE_IMAGE_SYMBOLS_H
#define NG_CORE_IMAGE_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/image/buildid.h"
#include "core/image/gopclntab.h"
#include "core/image/image.h"

struct ng_image {
	struct ng_elf elf;
	struct ng_image_info info;
	char go_version[64];
	char module_path[512];
	char build_id[NG_BUILD_ID_TEXT_SIZE];
	struct ng_blob symbols;	    /* Elf64_Sym: .symtab, else .dynsym */
	struct ng_blob names;	    /* its strings, terminated */
	enum ng_name_source source; /* of these symbols */
	struct ng_pclntab pclntab;
};

/** A function as the walk meets it. */
struct ng_symbol {
	const char *name; /* with whatever suffix the table has */
	uint64_t address;
	uint64_t size_bytes; /* within its segment; 0: the table does not say */
	bool is_ifunc;
	enum ng_name_source source;
};

/** @return 0 to go on */
typedef int (*ng_symbols_on_symbol)(const struct ng_symbol *symbol, void *context);

/** Walks all functions in executable segments: .symtab or .dynsym; in a Go image without .symtab,
 * .gopclntab, and then .dynsym too. Names are not empty and not longer than NG_IMAGE_NAME_MAX.
 * @return 0; -EINVAL where the table is damaged: its rows share their names; or what the callback
 * gave */
int ng_symbols_walk(const struct ng_image *image, ng_symbols_on_symbol on_symbol, void *context);

/** Is this the name that was asked for? As a whole; ".abi0", "@VERSION" and a C++ name's parameters
 * may be left out, and "[...]" stands for any type arguments. */
bool ng_symbols_match(const char *name, const char *pattern);

/** Has the pattern a '*' (but not as in "(*T)") or a '?'? */
bool ng_symbols_is_glob(const char *pattern);
bool ng_symbols_match_glob(const char *name, const char *pattern);

/** How near a name is to one that was not found: 0 is nearest, NG_SYMBOLS_FAR not near at all.
 * @param work grows by the byte pairs that were compared */
unsigned int ng_symbols_distance(const char *name, const char *pattern, uint64_t *work);

#define NG_SYMBOLS_FAR 100u

#endif
