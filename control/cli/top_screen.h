/* The screen of `nowgate top`: draws what the model holds, on a terminal of any size. */
#ifndef NG_CONTROL_CLI_TOP_SCREEN_H
#define NG_CONTROL_CLI_TOP_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "control/cli/top_model.h"

/** What is shown beside the model. Texts are borrowed. */
struct ng_top_view {
	const struct ng_top_callers *callers; /* NULL: the targets are shown */
	double callers_s;		      /* for how long they were recorded */
	const char *message;		      /* of what was done, or went wrong; "": none */
	size_t first; /* row that is shown first; the screen keeps it so that the
			 selected one can be seen */
};

/** Takes the terminal over. @return 0; -ENOTTY it is none, or of an unknown kind */
int ng_top_screen_open(void);
void ng_top_screen_close(void);

/** Waits for a key. @return the key, as ncurses has it; -1: none in so many ms */
int ng_top_screen_key(int wait_ms);

/** Lines of targets or callers that there is room for. */
int ng_top_screen_lines(void);

void ng_top_screen_draw(const struct ng_top *top, struct ng_top_view *view);

/** The targets as a table, where there is no screen. @return 0; what writing gave */
int ng_top_print(FILE *file, const struct ng_top *top);

#endif
