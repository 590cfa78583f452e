#include "control/target/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define BREAKPOINT 0xcc /* int3 */

static int check_byte(pid_t pid, uint64_t address, const struct ng_site *site, struct ng_diag *diag)
{
	char comm[NG_COMM_MAX * 4];
	uint8_t byte;
	ssize_t length = ng_process_read_memory(pid, address, &byte, 1);
	int tracer;

	if (length == -ESRCH)
		return -ESRCH;
	if (length != 1 || byte == site->bytes[0])
		return 0; /* not paged in or not readable: then the kernel compares it itself */
	tracer = ng_process_tracer(pid, comm);
	if (byte != BREAKPOINT)
		return ng_diag_set(diag, -EBUSY,
			"the code of process %d at %s+%" PRIu32
			" is not what its file holds (0x%02x instead of 0x%02x): something has "
			"patched "
			"it, so it is left alone",
			pid, site->function, site->delta, byte, site->bytes[0]);
	if (tracer > 0 && tracer != getpid())
		return ng_diag_set(diag, -EBUSY,
			"process %d is traced by %s (pid %d), and a breakpoint stands at "
			"%s+%" PRIu32
			" already: ours would erase it. Remove that breakpoint or end the tracer",
			pid, comm, tracer, site->function, site->delta);
	return 0;
}

/* Overlay and btrfs show devices of their own making (major 0) here, others in stat(). */
static bool is_of_file(const struct ng_mapping *mapping, const struct ng_text_file *file)
{
	if (mapping->inode == file->key_inode && mapping->device == file->key_device)
		return true;
	return mapping->inode == file->inode &&
	       (mapping->device == file->device || !major(mapping->device) || !major(file->device));
}

static bool holds(const struct ng_mapping *mapping, const struct ng_site *site)
{
	return site->offset >= mapping->offset &&
	       site->offset - mapping->offset < mapping->end - mapping->start;
}

static uint64_t address_in(const struct ng_mapping *mapping, const struct ng_site *site)
{
	return mapping->start + (site->offset - mapping->offset);
}

uint64_t ng_text_find(const struct ng_mappings *mappings, const struct ng_text_file *file,
	const struct ng_site *site)
{
	for (size_t i = 0; i < mappings->count; i++) {
		if (is_of_file(&mappings->items[i], file) && holds(&mappings->items[i], site))
			return address_in(&mappings->items[i], site);
	}
	return 0;
}

/* What to do with a site at its address; not 0 ends the round. */
typedef int (*visit_site)(
	pid_t pid, uint64_t address, const struct ng_site *site, struct ng_diag *diag);

static int for_each_mapped(pid_t pid, const struct ng_mappings *mappings,
	const struct ng_text_file *file, const struct ng_sites *sites, visit_site visit,
	struct ng_diag *diag)
{
	for (size_t i = 0; i < mappings->count; i++) {
		const struct ng_mapping *mapping = &mappings->items[i];

		if (!is_of_file(mapping, file))
			continue;
		for (size_t k = 0; k < sites->count; k++) {
			const struct ng_site *site = &sites->items[k];
			int error;

			if (!holds(mapping, site))
				continue;
			error = visit(pid, address_in(mapping, site), site, diag);
			if (error)
				return error;
		}
	}
	return 0;
}

int ng_text_check(pid_t pid, const struct ng_mappings *mappings, const struct ng_text_file *file,
	const struct ng_sites *sites, struct ng_diag *diag)
{
	return for_each_mapped(pid, mappings, file, sites, check_byte, diag);
}

/* What stands at an armed site may differ (a breakpoint, or a call where the kernel knows better),
 * but it is never the original. */
static int find_original(
	pid_t pid, uint64_t address, const struct ng_site *site, struct ng_diag *diag)
{
	uint8_t byte;

	(void)diag;
	return ng_process_read_memory(pid, address, &byte, 1) == 1 && byte == site->bytes[0];
}

bool ng_text_is_bare(pid_t pid, const struct ng_mappings *mappings, const struct ng_text_file *file,
	const struct ng_sites *sites)
{
	return for_each_mapped(pid, mappings, file, sites, find_original, NULL);
}
