/* core/image/site: real programs, built here by go and gcc, against what objdump reads in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/image/image.h"
#include "core/image/site.h"

static const char go_source[] =
	"package main\n"
	"import (\"fmt\"; \"syscall\"; \"time\")\n"
	"var sink int64\n"
	"//go:noinline\n"
	"func g(i int64) int64 { sink++; return i*3 + sink }\n"
	"func leaf(i int64) int64 { return g(i) + 1 }\n"
	"func kept(i int64) int64 { return g(i) + 2 }\n"
	"var pointer = kept\n"
	"func cond(i int64) int64 { if i&1 == 0 { return g(i) }; return i }\n"
	"func spin() { for g(5) != 5 { } }\n"
	"//go:noinline\n"
	"func big(n int) byte { var a [8192]byte; for i := range a { a[i] = byte(g(int64(n))) }\n"
	"	return a[n&8191] }\n"
	"//go:noinline\n"
	"func hot(n int) {\n"
	"	for i := 0; i < n; i++ {\n"
	"		sink += leaf(sink) + cond(sink) + kept(sink) + pointer(sink)\n"
	"		if i&7 == 3 { sink += leaf(7) }\n"
	"	}\n"
	"	spin()\n"
	"}\n"
	"func main() {\n"
	"	var tv syscall.Timeval\n"
	"	syscall.Gettimeofday(&tv)\n"
	"	t := time.Now()\n"
	"	hot(9)\n"
	"	fmt.Println(tv, time.Since(t), big(3))\n"
	"}\n";

static const char c_source[] =
	"#include <stdio.h>\n"
	"int loop(int n) { do putchar(n); while (--n > 0); return n; }\n"
	"int tail(int n) { return putchar(n + 1); }\n"
	"int pick(int n) { switch (n) { case 0: return puts(\"a\"); case 1: return puts(\"b\");\n"
	"	case 2: return 7; case 3: return puts(\"c\"); case 4: return 9; } return 3; }\n"
	"int count(const char *s) { int n = 0; while (*s++) n++; return n; }\n"
	"int main(int argc, char **argv) { return loop(argc) + tail(argc) + pick(argc) +\n"
	"	count(argv[0]); }\n";

static char folder[] = "/tmp/nowgate-sites-XXXXXX";

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* A command in the folder. @return whether it went well */
static bool run(const char *command)
{
	char line[1024];

	(void)snprintf(line, sizeof(line), "cd %s && (%s) >log 2>&1", folder, command);
	return system(line) == 0;
}

static void need(const char *program, const char *command)
{
	char line[64];

	(void)snprintf(line, sizeof(line), "command -v %s", program);
	if (!run(line)) {
		print_message("[  SKIPPED ] there is no %s here\n", program);
		skip();
	}
	if (!run(command))
		fail_msg("%s failed", command);
}

#define GO_BUILD "GO111MODULE=off GOFLAGS= CGO_ENABLED=0 go build "

static struct ng_image *open_image(const char *name)
{
	struct ng_image *image = NULL;
	struct ng_diag diag = NG_DIAG_INIT;
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	if (ng_image_open(fd, &image, &diag))
		fail_msg("%s: %s", name, diag.text);
	close(fd);
	return image;
}

static const struct ng_site *site_of(const struct ng_sites *sites, const char *source)
{
	const struct ng_site *found = NULL;

	for (size_t i = 0; i < sites->count; i++) {
		if (!sites->items[i].source || strcmp(sites->items[i].source, source) != 0)
			continue;
		assert_null(found); /* each once */
		found = &sites->items[i];
	}
	return found;
}

/* What go-internals.md has of each version. */
static uint32_t now_delta(const char *version)
{
	const int minor = strncmp(version, "go1.", 4) ? 0 : atoi(version + 4);

	if (minor >= 24)
		return 0xe;
	return minor >= 21 ? 0xa : 0x12;
}

static void finds_time_now(void **state)
{
	static const char *const names[] = {"plain", "stripped", "pie"};

	(void)state;
	write_file("main.go", go_source);
	need("go", GO_BUILD "-o plain main.go && " GO_BUILD
			    "-ldflags='-s -w' -o stripped main.go && " GO_BUILD
			    "-buildmode=pie -o pie main.go");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct ng_image *image = open_image(names[i]);
		struct ng_sites sites = NG_SITES_INIT;

		assert_int_equal(ng_sites_find(image, "time.Now", &sites, NULL), 0);
		assert_int_equal(sites.count, 1);
		assert_int_equal(sites.gap_count, 0);
		assert_int_equal(sites.items[0].delta, now_delta(ng_image_info(image)->go_version));
		assert_string_equal(sites.items[0].insn, "call");
		assert_int_equal(sites.items[0].class, NG_SITE_EMULATED);
		assert_true(sites.items[0].exact);
		ng_sites_release(&sites);
		ng_image_free(image);
	}
}

/* The check's branch, in all builds; and it is the only lead that is added. */
static void finds_the_lead_of_time_now(void **state)
{
	static const char *const names[] = {"plain", "stripped", "pie"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct ng_image *image = open_image(names[i]);
		struct ng_sites sites = NG_SITES_INIT;
		const struct ng_site *site, *lead;

		assert_int_equal(ng_sites_find(image, "time.Now", &sites, NULL), 0);
		assert_int_equal(ng_sites_add_leads(image, &sites, 0), 0);
		assert_int_equal(sites.count, 1);
		assert_int_equal(ng_sites_add_leads(image, &sites, 4), 0);
		assert_int_equal(sites.count, 2);
		site = &sites.items[0];
		lead = &sites.items[1];
		assert_int_equal(lead->kind, NG_SITE_LEAD);
		assert_string_equal(lead->insn, "jbe");
		assert_true(lead->length == 2 || lead->length == 6);
		assert_int_equal(lead->lead, 0);
		assert_int_equal(lead->leads_to, 0);
		assert_true(lead->delta == site->delta - site->lead);
		assert_true(lead->offset == site->offset - site->lead);
		assert_true(lead->address == site->address - site->lead);
		assert_int_equal(lead->delta, 4); /* behind cmp 0x10(%r14),%rsp */
		assert_string_equal(lead->function, site->function);
		ng_sites_release(&sites);
		ng_image_free(image);
	}
}

static void finds_inlined_copies(void **state)
{
	struct ng_image *image;
	struct ng_sites sites = NG_SITES_INIT;
	struct ng_diag diag = NG_DIAG_INIT;

	(void)state;
	need("go", "test -e plain");
	image = open_image("plain");
	assert_int_equal(ng_sites_find(image, "main.leaf", &sites, NULL), 0);
	assert_int_equal(sites.count, 2);
	/* Nothing is left of main.leaf that tells what each copy must do. */
	assert_non_null(strstr(ng_sites_gap(&sites, "main.leaf"), "main.hot"));
	assert_null(ng_sites_gap(&sites, "main.other"));
	for (size_t i = 0; i < sites.count; i++) {
		assert_int_equal(sites.items[i].kind, NG_SITE_INLINED_COPY);
		assert_string_equal(sites.items[i].caller, "main.hot");
		assert_string_equal(sites.items[i].insn, "call");
		assert_false(sites.items[i].exact);
	}
	assert_true(sites.items[0].address != sites.items[1].address);
	ng_sites_release(&sites);
	/* main.kept has a body, whose first call each copy makes as well. */
	assert_int_equal(ng_sites_find(image, "main.kept", &sites, NULL), 0);
	assert_int_equal(sites.count, 2);
	assert_int_equal(sites.gap_count, 0);
	assert_true(sites.items[0].exact && sites.items[1].exact);
	/* A call that is made sometimes, and one that is made again and again. */
	assert_int_equal(ng_sites_find(image, "main.cond", &sites, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "main.hot"));
	assert_int_equal(ng_sites_find(image, "main.spin", &sites, NULL), -ENOENT);
	assert_int_equal(sites.count, 2);
	ng_sites_release(&sites);
	ng_image_free(image);
}

static void finds_the_clock(void **state)
{
	struct ng_image *image;
	struct ng_sites sites = NG_SITES_INIT;
	const char *monotonic;

	(void)state;
	need("go", "test -e plain");
	image = open_image("plain");
	monotonic = now_delta(ng_image_info(image)->go_version) == 0xe ? "time.runtimeNano"
								       : "runtime.nanotime";
	assert_int_equal(ng_sites_clock(image, NG_CLOCK_PROGRAM, &sites, NULL), 0);
	assert_int_equal(sites.count, 3);
	assert_int_equal(sites.gap_count, 0);
	assert_non_null(site_of(&sites, "time.now"));
	assert_non_null(site_of(&sites, monotonic));
	assert_non_null(site_of(&sites, "syscall.gettimeofday"));
	ng_sites_release(&sites);
	assert_int_equal(ng_sites_clock(image, NG_CLOCK_ALL, &sites, NULL), 0);
	assert_int_equal(sites.count, 3);
	assert_non_null(site_of(&sites, "runtime.nanotime1"));
	for (size_t i = 0; i < sites.count; i++)
		assert_true(sites.items[i].exact && sites.items[i].class == NG_SITE_EMULATED);
	ng_sites_release(&sites);
	ng_image_free(image);
}

/* Takes from a file what tells that it is Go: the build information and the function table. */
static void erase_names(const char *name)
{
	static const char magics[][9] = {
		"\xff Go buil", "\xf0\xff\xff\xff\0\0\1\x8", "\xf1\xff\xff\xff\0\0\1\x8"};
	char path[128];
	uint8_t *bytes;
	FILE *file;
	long size;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "r+");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size = ftell(file);
	bytes = malloc((size_t)size);
	assert_non_null(bytes);
	rewind(file);
	assert_int_equal(fread(bytes, 1, (size_t)size, file), size);
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		for (uint8_t *at = bytes;
			(at = memmem(at, (size_t)(bytes + size - at), magics[i], 8)) != NULL;)
			memset(at, 0x55, 4);
	}
	rewind(file);
	assert_int_equal(fwrite(bytes, 1, (size_t)size, file), size);
	assert_int_equal(fclose(file), 0);
	free(bytes);
}

static void finds_the_clock_without_names(void **state)
{
	struct ng_image *named, *nameless;
	struct ng_sites by_name = NG_SITES_INIT, by_bytes = NG_SITES_INIT;

	(void)state;
	need("go", "cp stripped nameless");
	erase_names("nameless");
	named = open_image("plain");
	nameless = open_image("nameless");
	assert_false(ng_image_info(nameless)->is_go);
	assert_int_equal(ng_sites_clock(named, NG_CLOCK_ALL, &by_name, NULL), 0);
	assert_int_equal(ng_sites_clock(nameless, NG_CLOCK_ALL, &by_bytes, NULL), 0);
	assert_int_equal(by_bytes.count, 2);
	assert_true(by_bytes.gap_count > 0);
	assert_true(
		site_of(&by_bytes, "time.now")->address == site_of(&by_name, "time.now")->address);
	assert_true(site_of(&by_bytes, "runtime.nanotime1")->address ==
		    site_of(&by_name, "runtime.nanotime1")->address);
	ng_sites_release(&by_bytes);
	assert_int_equal(ng_sites_clock(nameless, NG_CLOCK_PROGRAM, &by_bytes, NULL), 0);
	assert_int_equal(by_bytes.count, 1);
	assert_true(by_bytes.gap_count > 0);
	assert_non_null(strstr(ng_sites_gap(&by_bytes, "time.now"), "time.Since"));
	ng_sites_release(&by_name);
	ng_sites_release(&by_bytes);
	ng_image_free(named);
	ng_image_free(nameless);
}

struct dump {
	struct {
		uint64_t address;
		char mnemonic[16];
	} * lines; /* by address */
	size_t count;
};

static void read_dump(const char *name, struct dump *dump)
{
	char text[512], line[256];
	FILE *pipe;

	(void)snprintf(
		text, sizeof(text), "objdump -d --no-show-raw-insn -M intel %s/%s", folder, name);
	pipe = popen(text, "r");
	assert_non_null(pipe);
	*dump = (struct dump){0};
	while (fgets(line, sizeof(line), pipe)) {
		unsigned long address;
		char mnemonic[32];

		if (sscanf(line, " %lx: %31s", &address, mnemonic) != 2)
			continue;
		if (!(dump->count & (dump->count - 1))) {
			dump->lines = realloc(dump->lines,
				(dump->count ? 2 * dump->count : 1) * sizeof(*dump->lines));
			assert_non_null(dump->lines);
		}
		dump->lines[dump->count].address = address;
		(void)snprintf(dump->lines[dump->count++].mnemonic, 16, "%.15s", mnemonic);
	}
	assert_int_equal(pclose(pipe), 0);
}

static const char *mnemonic_at(const struct dump *dump, uint64_t address)
{
	size_t low = 0, high = dump->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (dump->lines[middle].address == address)
			return dump->lines[middle].mnemonic;
		if (dump->lines[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	return "nothing";
}

/* Every function's site is an instruction, and the same one, to objdump too. */
static void compare_with_objdump(const char *name, const char *pattern, size_t least)
{
	struct ng_image *image = open_image(name);
	struct ng_sites sites = NG_SITES_INIT;
	struct dump dump;
	size_t exact = 0, bodies = 0;

	read_dump(name, &dump);
	assert_int_equal(ng_sites_find(image, pattern, &sites, NULL), 0);
	assert_true(sites.count >= least);
	for (size_t i = 0; i < sites.count; i++) {
		const struct ng_site *site = &sites.items[i];
		const char *theirs = mnemonic_at(&dump, site->address);

		bodies += site->kind == NG_SITE_FUNCTION;
		exact += site->kind == NG_SITE_FUNCTION && site->exact;
		/* cmovz and the like have two names; what is emulated must have the same. */
		if (site->class == NG_SITE_EMULATED
				? strcmp(theirs, site->insn) != 0 &&
					  (strcmp(site->insn, "nop") || strcmp(theirs, "xchg"))
				: !strcmp(theirs, "nothing"))
			fail_msg("%s %s+%#x: %s, to objdump %s", name, site->function, site->delta,
				site->insn, theirs);
	}
	assert_true(exact * 100 >= bodies * 95);
	free(dump.lines);
	ng_sites_release(&sites);
	ng_image_free(image);
}

static void agrees_with_objdump_on_go(void **state)
{
	(void)state;
	need("objdump", "true");
	need("go", "test -e plain && test -e pie");
	compare_with_objdump("plain", "runtime.*", 800);
	compare_with_objdump("plain", "fmt.*", 30);
	compare_with_objdump("pie", "runtime.*", 800);
}

static void agrees_with_objdump_on_c(void **state)
{
	(void)state;
	write_file("main.c", c_source);
	need("objdump", "true");
	need("gcc", "gcc -O0 -o c0 main.c && gcc -O2 -o c2 main.c && "
		    "gcc -O2 -fcf-protection=full -o cet main.c");
	compare_with_objdump("c0", "????", 4);
	compare_with_objdump("c2", "tail", 1);
	compare_with_objdump("cet", "main", 1);
}

/* A function N with a part, and with neighbours that lead to its label 1, by these instructions. */
#define JOINED(name, head, tail, part, neighbour)                                                  \
	"void " name "(void);\n"                                                                   \
	"asm(\".type " name ", @function\\n.globl " name "\\n" name ": push %rbx\\n " head         \
	"\\n1: call x\\n pop %rbx\\n " tail "\\n ret\\n .size " name ", . - " name                 \
	"\\n .skip 300\\n"                                                                         \
	".type " name ".cold, @function\\n" name ".cold: " part "\\n .size " name                  \
	".cold, . - " name ".cold\\n"                                                              \
	".type " name "_next, @function\\n" name "_next: " neighbour "\\n ret\\n .size " name      \
	"_next, . - " name "_next\");\n"

static const char joined_source[] = "void x(void) {}\n"		       /* what leads where */
	JOINED("alone", "nop", "je alone.cold", "jmp x", "call alone") /* nothing, back */
	JOINED("back", "nop", "je back.cold", "jmp 1b", "jmp back") JOINED("to_entry", "nop",
		"je to_entry.cold", "jmp to_entry",
		"nop") JOINED("wandering", "nop", "je wandering.cold", "jmp *%rax", "nop")
		JOINED("jumped_into", "nop", "je jumped_into.cold", "jmp x", "jmp 1b") JOINED(
			"called_into", "nop", "je called_into.cold", "jmp x", "call 1b")
			JOINED("looks_so", "nop", "je looks_so.cold", "jmp x",
				"nop; nop; push %rax; pop %rax; ret; .skip 60, 0x90; mov $0, %eax; "
				".byte 0x48,0xb8,0x90; jmp 1b; .byte 0x90,0x90") /* in a constant */
	"int main(void) { alone(); back(); to_entry(); wandering(); jumped_into();\n"
	"	called_into(); looks_so(); return 0; }\n";

static struct ng_site site_in(const struct ng_image *image, const char *name)
{
	struct ng_sites sites = NG_SITES_INIT;
	struct ng_site site;

	assert_int_equal(ng_sites_find(image, name, &sites, NULL), 0);
	assert_int_equal(sites.count, 1);
	site = sites.items[0];
	ng_sites_release(&sites);
	return site;
}

/* What leads into a function from outside of it: its cold part, and others. */
static void heeds_what_leads_into_a_function(void **state)
{
	static const struct {
		const char *name;
		uint32_t delta; /* push 0, nop 1, call 2 */
		uint32_t stripped_delta;
		bool exact, stripped_exact;
	} wanted[] = {
		{"alone", 2, 2, true, true},
		{"back", 1, 1, true, false}, /* without names its part may be anybody */
		{"to_entry", 2, 2, false, false},
		{"wandering", 0, 2, true, true}, /* … and what it does is not known */
		{"jumped_into", 1, 1, false, false},
		{"called_into", 1, 1, false, false},
		{"looks_so", 2, 2, true, true},
	};
	struct ng_image *image, *stripped;

	(void)state;
	write_file("joined.c", joined_source);
	need("gcc", "gcc -O1 -rdynamic -o joined joined.c && strip -o joined-s joined");
	image = open_image("joined");
	stripped = open_image("joined-s");
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		const struct ng_site named = site_in(image, wanted[i].name);
		const struct ng_site bare = site_in(stripped, wanted[i].name);

		if (named.delta != wanted[i].delta || named.exact != wanted[i].exact)
			fail_msg("%s: +%u, exact %d", wanted[i].name, named.delta, named.exact);
		if (bare.delta != wanted[i].stripped_delta ||
			bare.exact != wanted[i].stripped_exact)
			fail_msg("%s, stripped: +%u, exact %d", wanted[i].name, bare.delta,
				bare.exact);
	}
	ng_image_free(image);
	ng_image_free(stripped);
}

/* Go's functions that are called in their midst. */
static void knows_what_is_called_in_its_midst(void **state)
{
	struct ng_image *image;

	(void)state;
	need("go", "test -e plain");
	image = open_image("plain");
	assert_false(site_in(image, "runtime.duffzero").exact);
	assert_false(site_in(image, "runtime.duffcopy").exact);
	assert_true(site_in(image, "time.now").exact);
	ng_image_free(image);
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
	(void)state;
	(void)run("rm -rf ../\"$(basename \"$PWD\")\""); /* it is in /tmp anyway */
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_time_now),
		cmocka_unit_test(finds_the_lead_of_time_now),
		cmocka_unit_test(finds_inlined_copies),
		cmocka_unit_test(finds_the_clock),
		cmocka_unit_test(finds_the_clock_without_names),
		cmocka_unit_test(agrees_with_objdump_on_go),
		cmocka_unit_test(agrees_with_objdump_on_c),
		cmocka_unit_test(heeds_what_leads_into_a_function),
		cmocka_unit_test(knows_what_is_called_in_its_midst),
	};

	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
