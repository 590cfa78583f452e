#include "control/engine/calibration_file.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "probe.skel.h"
#include "core/base/cleanup.h"

#define FORMAT_VERSION 2
#define FILE_MAX_BYTES 65536
#define COST_MAX_NS    1e9 /* no hit costs a second */

#define TIME_FORMAT "%Y-%m-%dT%H:%M:%SZ"

/* FNV-1a: tells builds apart, keeps nobody out. */
static uint64_t hash_bytes(const unsigned char *bytes, size_t count)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < count; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	return hash;
}

static void read_cpu(char *name, size_t name_bytes)
{
	unsigned int words[3][4] = {{0}};
	char text[sizeof(words) + 1];

	for (unsigned int i = 0; i < 3; i++) {
		if (!__get_cpuid(
			    0x80000002 + i, &words[i][0], &words[i][1], &words[i][2], &words[i][3]))
			break; /* a CPU without a name: an empty one */
	}
	memcpy(text, words, sizeof(words));
	text[sizeof(words)] = '\0';
	(void)snprintf(name, name_bytes, "%s", text + strspn(text, " "));
}

int ng_machine_read(struct ng_machine *ret_machine)
{
	struct ng_machine machine = {.version = NG_VERSION};
	NG_CLEANUP_FCLOSE FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	struct utsname kernel;
	const void *program;
	size_t program_bytes;

	if (!file)
		return -errno;
	if (fscanf(file, "%39s", machine.boot_id) != 1)
		return -ENODATA;
	if (uname(&kernel))
		return -errno;
	(void)snprintf(
		machine.kernel, sizeof(machine.kernel), "%s %s", kernel.release, kernel.version);
	read_cpu(machine.cpu, sizeof(machine.cpu));
	program = ng_probe__elf_bytes(&program_bytes);
	machine.program_id = hash_bytes(program, program_bytes);
	*ret_machine = machine;
	return 0;
}

static json_t *cost_to_json(enum ng_loop_number number, const struct ng_cost *cost)
{
	const struct ng_loop *loop = ng_loop_get(number);
	json_t *object = json_pack("{s:s, s:s, s:f, s:f, s:f, s:I}", "class",
		ng_site_class_name(loop->class), "insn", loop->insn, "cost_ns", cost->median_ns,
		"low_ns", cost->low_ns, "high_ns", cost->high_ns, "batches",
		(json_int_t)cost->batches);

	if (!object || !cost->windows)
		return object;
	if (json_object_update_new(object,
		    json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "window_cost_ns",
			    cost->window_ns.median, "window_low_ns", cost->window_ns.low,
			    "window_high_ns", cost->window_ns.high, "edge_cost_ns",
			    cost->edge_ns.median, "edge_low_ns", cost->edge_ns.low, "edge_high_ns",
			    cost->edge_ns.high, "windows", (json_int_t)cost->windows))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

json_t *ng_calibration_to_json(const struct ng_calibration *calibration)
{
	const time_t measured_at = (time_t)calibration->measured_at_s;
	json_t *classes = json_array();
	char text[sizeof("YYYY-MM-DDThh:mm:ssZ") + 8];
	struct tm utc;

	if (!gmtime_r(&measured_at, &utc) || !strftime(text, sizeof(text), TIME_FORMAT, &utc))
		text[0] = '\0';
	for (int i = 0; i < NG_LOOP_COUNT; i++) {
		/* NULL is passed on as an error, and so is an array that there is not. */
		if (json_array_append_new(classes, cost_to_json(i, &calibration->costs[i]))) {
			json_decref(classes);
			return NULL;
		}
	}
	return json_pack("{s:s, s:I, s:I, s:f, s:o}", "measured_at", text, "took_ns",
		(json_int_t)calibration->took_ns, "hits", (json_int_t)calibration->hits,
		"lead_cost_ns", calibration->lead_ns, "classes", classes);
}

char *ng_calibration_format(
	const struct ng_calibration *calibration, const struct ng_machine *machine)
{
	char program[17];
	json_t *root;
	char *text;

	(void)snprintf(program, sizeof(program), "%016" PRIx64, machine->program_id);
	root = json_pack("{s:i, s:{s:s, s:s, s:s, s:s, s:s}, s:o}", "v", FORMAT_VERSION, "machine",
		"boot_id", machine->boot_id, "cpu", machine->cpu, "kernel", machine->kernel,
		"version", machine->version, "program", program, "calibration",
		ng_calibration_to_json(calibration));
	text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	return text;
}

static bool is_same(json_t *machine, const char *key, const char *value)
{
	const char *stored = json_string_value(json_object_get(machine, key));

	return stored && !strcmp(stored, value);
}

static int parse_machine(json_t *stored, const struct ng_machine *machine)
{
	char program[17];

	if (!json_is_object(stored))
		return -EINVAL;
	(void)snprintf(program, sizeof(program), "%016" PRIx64, machine->program_id);
	return is_same(stored, "boot_id", machine->boot_id) &&
			       is_same(stored, "cpu", machine->cpu) &&
			       is_same(stored, "kernel", machine->kernel) &&
			       is_same(stored, "version", machine->version) &&
			       is_same(stored, "program", program)
		       ? 0
		       : -ESTALE;
}

/* Rising, and such as a cost can be. Written so that a NaN fails. */
static bool is_spread(double low, double median, double high, double least)
{
	return low >= least && low <= median && median <= high && high <= COST_MAX_NS;
}

static int parse_cost(json_t *object, enum ng_loop_number number, struct ng_cost *ret_cost)
{
	const struct ng_loop *loop = ng_loop_get(number);
	struct ng_cost cost = {0};
	json_int_t batches, windows;

	if (!json_is_object(object) || !is_same(object, "class", ng_site_class_name(loop->class)) ||
		!is_same(object, "insn", loop->insn) ||
		json_unpack(object, "{s:F, s:F, s:F, s:I}", "cost_ns", &cost.median_ns, "low_ns",
			&cost.low_ns, "high_ns", &cost.high_ns, "batches", &batches) ||
		batches < 1 || batches > UINT32_MAX ||
		!is_spread(cost.low_ns, cost.median_ns, cost.high_ns, 1))
		return -EINVAL;
	cost.batches = (uint32_t)batches;
	if (json_object_get(object, "windows")) {
		if (json_unpack(object, "{s:F, s:F, s:F, s:F, s:F, s:F, s:I}", "window_cost_ns",
			    &cost.window_ns.median, "window_low_ns", &cost.window_ns.low,
			    "window_high_ns", &cost.window_ns.high, "edge_cost_ns",
			    &cost.edge_ns.median, "edge_low_ns", &cost.edge_ns.low, "edge_high_ns",
			    &cost.edge_ns.high, "windows", &windows) ||
			windows < 1 || windows > UINT32_MAX ||
			!is_spread(cost.window_ns.low, cost.window_ns.median, cost.window_ns.high,
				1) ||
			!is_spread(cost.edge_ns.low, cost.edge_ns.median, cost.edge_ns.high, 0))
			return -EINVAL;
		cost.windows = (uint32_t)windows;
	}
	*ret_cost = cost;
	return 0;
}

static int parse_calibration(json_t *object, uint64_t now_s, struct ng_calibration *calibration)
{
	json_t *classes = json_object_get(object, "classes");
	json_int_t took_ns, hits;
	const char *text, *rest;
	struct tm utc = {0};

	if (json_unpack(object, "{s:s, s:I, s:I, s:F}", "measured_at", &text, "took_ns", &took_ns,
		    "hits", &hits, "lead_cost_ns", &calibration->lead_ns) ||
		!(calibration->lead_ns >= 0 && calibration->lead_ns <= COST_MAX_NS) ||
		took_ns < 0 || hits < 1 || json_array_size(classes) != NG_LOOP_COUNT)
		return -EINVAL;
	rest = strptime(text, TIME_FORMAT, &utc);
	if (!rest || *rest || timegm(&utc) < 0)
		return -EINVAL;
	calibration->measured_at_s = (uint64_t)timegm(&utc);
	calibration->took_ns = (uint64_t)took_ns;
	calibration->hits = (uint64_t)hits;
	for (int i = 0; i < NG_LOOP_COUNT; i++) {
		int error =
			parse_cost(json_array_get(classes, (size_t)i), i, &calibration->costs[i]);

		if (error)
			return error;
	}
	/* From the future: the clock was set. It says nothing of the age then. */
	return calibration->measured_at_s > now_s ||
			       now_s - calibration->measured_at_s > NG_CALIBRATION_AGE_S
		       ? -ESTALE
		       : 0;
}

int ng_calibration_parse(const char *text, size_t size_bytes, const struct ng_machine *machine,
	uint64_t now_s, struct ng_calibration *ret_calibration)
{
	struct ng_calibration calibration = {0};
	json_t *root = json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES, NULL);
	json_t *version;
	int error;

	if (!json_is_object(root)) {
		json_decref(root);
		return -EINVAL;
	}
	version = json_object_get(root, "v");
	if (!json_is_integer(version))
		error = -EINVAL;
	else if (json_integer_value(version) != FORMAT_VERSION)
		error = -ESTALE;
	else
		error = parse_machine(json_object_get(root, "machine"), machine);
	if (!error)
		error = parse_calibration(
			json_object_get(root, "calibration"), now_s, &calibration);
	json_decref(root);
	if (!error)
		*ret_calibration = calibration;
	return error;
}

int ng_calibration_load(struct ng_calibration *ret_calibration)
{
	NG_CLEANUP_CLOSE int fd =
		open(NG_CALIBRATION_PATH, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	NG_CLEANUP_FREE char *text = NULL;
	struct ng_machine machine;
	struct stat facts;
	ssize_t length;
	int error;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &facts))
		return -errno;
	if (!S_ISREG(facts.st_mode) || facts.st_uid || (facts.st_mode & (S_IWGRP | S_IWOTH)))
		return -EPERM;
	text = malloc(FILE_MAX_BYTES);
	if (!text)
		return -ENOMEM;
	length = read(fd, text, FILE_MAX_BYTES);
	if (length < 0)
		return -errno;
	if (length == FILE_MAX_BYTES)
		return -EINVAL;
	error = ng_machine_read(&machine);
	return error ? error
		     : ng_calibration_parse(text, (size_t)length, &machine, (uint64_t)time(NULL),
			       ret_calibration);
}

static int write_file(int folder_fd, const char *name, const char *text)
{
	const size_t length = strlen(text);
	NG_CLEANUP_CLOSE int fd =
		openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t written;

	if (fd < 0)
		return -errno;
	written = write(fd, text, length);
	if (written < 0)
		return -errno;
	return (size_t)written == length ? 0 : -ENOSPC;
}

int ng_calibration_save(const struct ng_calibration *calibration)
{
	NG_CLEANUP_FREE char *text = NULL;
	struct ng_machine machine;
	char name[48];
	int error;

	if (mkdir(NG_CALIBRATION_FOLDER, 0755) && errno != EEXIST)
		return -errno;
	NG_CLEANUP_CLOSE int folder_fd =
		open(NG_CALIBRATION_FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder_fd < 0)
		return -errno;
	error = ng_machine_read(&machine);
	if (error)
		return error;
	text = ng_calibration_format(calibration, &machine);
	if (!text)
		return -ENOMEM;
	(void)snprintf(name, sizeof(name), NG_CALIBRATION_NAME ".%d", getpid());
	(void)unlinkat(folder_fd, name, 0); /* of a dead process with our pid, if there is one */
	error = write_file(folder_fd, name, text);
	/* No fsync: after a crash the boot id is another, and the file of no use. */
	if (!error && renameat(folder_fd, name, folder_fd, NG_CALIBRATION_NAME))
		error = -errno;
	if (error)
		(void)unlinkat(folder_fd, name, 0); /* the first error counts */
	return error;
}
