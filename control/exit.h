/* What nowgate exits with, and what the daemon's answers say: one set of codes for both. */
#ifndef NG_CONTROL_EXIT_H
#define NG_CONTROL_EXIT_H

/** With `-- COMMAND` it is the command's own status instead, 128 + signal where one ended it, or
 * one of the last three. */
enum ng_exit {
	NG_EXIT_DONE = 0,
	NG_EXIT_FAILED = 1,
	NG_EXIT_USAGE = 2,
	NG_EXIT_NO_DAEMON = 3,
	NG_EXIT_DENIED = 4,
	NG_EXIT_REFUSED = 5,
	NG_EXIT_NOT_FOUND = 6, /* no such target or function */
	NG_EXIT_LOST = 7,      /* done, but events were lost */
	NG_EXIT_OWN_FAILURE = 125,
	NG_EXIT_NOT_EXECUTABLE = 126,
	NG_EXIT_NO_COMMAND = 127,
};

/** The exit code that says a negative errno. */
int ng_exit_code(int error);

#endif
