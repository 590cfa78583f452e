/*
 * Small images made in memory, with what Go's and C's linkers put into large ones: what the unit
 * tests poison and cut, and what the fuzzer starts from.
 */
#ifndef NG_TESTS_IMAGE_MADE_H
#define NG_TESTS_IMAGE_MADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NG_MADE_BYTES_MAX 8192

/** What to make. Zeros: a C library, ET_EXEC, without sections or symbols. */
struct ng_made_options {
	unsigned int go_minor; /* layouts as of go1.N, 16 to 27; 0: not Go */
	bool pie;
	bool has_sections;
	bool has_symtab;
	bool has_dynsym;
	bool merged_table;   /* the table has no section of its own */
	bool is_decoyed;     /* a header that is no table's stands before the table */
	bool has_rela;	     /* pointers are 0 in the file: .rela.dyn has them */
	bool is_unbuildinfo; /* no build information */
	bool has_clock;	     /* its functions have the names of those that read the clock */
};

/** Where its parts are: file offsets; 0 where there is none. */
struct ng_made_parts {
	size_t text;
	size_t table; /* pclntab */
	size_t function_rows;
	size_t function_records;
	size_t pc_tables;
	size_t tree; /* inline tree */
	size_t module;
	size_t build;
	size_t rela;
	size_t symbols;
	size_t symbol_names;
	size_t sections;
	size_t section_count;
};

struct ng_made {
	uint8_t bytes[NG_MADE_BYTES_MAX];
	size_t size_bytes;
	uint64_t text_address;
	struct ng_made_parts at;
};

/* The functions in each of them, by offset from text_address; all of them lie in
 * NG_MADE_TEXT_BYTES. With has_clock the three behind main.main are time.now, runtime.nanotime and
 * time.runtimeNano. */
#define NG_MADE_MAIN	   0x00	 /* main.main, 0x60 bytes */
#define NG_MADE_NOW	   0x60	 /* time.Now, 0x40 bytes */
#define NG_MADE_GENERIC	   0xa0	 /* main.Gen[go.shape.int], 0x20 bytes */
#define NG_MADE_METHOD	   0xc0	 /* net/http.(*conn).serve, 0x20 bytes */
#define NG_MADE_NANOTIME   0xe0	 /* runtime.nanotime1, in .symtab with .abi0, 0x20 bytes */
#define NG_MADE_C	   0x100 /* clock_gettime, 0x20 bytes */
#define NG_MADE_UNSIZED	   0x120 /* unsized_one, without a size; ends where the next begins */
#define NG_MADE_IFUNC	   0x130 /* time, an IFUNC, 0x10 bytes */
#define NG_MADE_CXX	   0x140 /* _ZN2ns5thing3getEi, 0x20 bytes */
#define NG_MADE_LAST	   0x160 /* unsized_last, without a size; ends where the text does */
#define NG_MADE_TEXT_BYTES 0x180
/* time.Now is inlined into main.main once, in two stretches around main.helper, which is inlined
 * into that copy and has no code of its own. */
#define NG_MADE_NOW_COPY                                                                           \
	{                                                                                          \
		{0x10, 0x20},                                                                      \
		{                                                                                  \
			0x28, 0x30                                                                 \
		}                                                                                  \
	}
#define NG_MADE_HELPER_COPY                                                                        \
	{                                                                                          \
		0x20, 0x28                                                                         \
	}

void ng_made_make(struct ng_made *made, const struct ng_made_options *options);

/** @return a memfd that holds these bytes, at its start; aborts where there is none to be had */
int ng_made_file(const void *bytes, size_t size_bytes);

#endif
