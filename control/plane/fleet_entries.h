/* The processes that a fleet holds: how they come in, and go. */
#ifndef NG_CONTROL_PLANE_FLEET_ENTRIES_H
#define NG_CONTROL_PLANE_FLEET_ENTRIES_H

#include "control/plane/fleet_inside.h"
#include "control/target/process.h"

/** @return NULL: there is none of that id */
struct fleet_attachment *ng_fleet_attachment(const struct ng_fleet *fleet, uint32_t id);

/** The entry of a process that lives, or NULL; it may have been detached, and not be let go of
 * yet. */
struct fleet_entry *ng_fleet_entry(const struct ng_fleet *fleet, pid_t pid);

/**
 * Takes a process in, as its attachment says.
 *
 * @return 0, and it is the last entry; -ENOENT nothing wanted; -ESRCH it has exited; -EMFILE,
 * -E2BIG too many processes or sites; what ng_inspect() gave: with the text
 */
int ng_fleet_add(struct ng_fleet *fleet, const struct fleet_attachment *attachment,
	const struct ng_process *process, struct ng_diag *diag);

/**
 * Takes a process in by the first attachment that selects it and has something wanted in it.
 *
 * @return 0 it is taken in, or will be when it has been let go of; -ENOENT selected, with nothing
 * wanted; -ESRCH not selected, or exited; -EEXIST it is held already; else it was told why
 */
int ng_fleet_add_if_selected(struct ng_fleet *fleet, pid_t pid);

/** One that was detached, and is not let go of yet, is attached when it is. @return is it one? */
bool ng_fleet_lets_go_of(struct ng_fleet *fleet, pid_t pid);

/** Forgets an entry, whose member must be idle. */
void ng_fleet_drop(struct ng_fleet *fleet, size_t index);

#endif
