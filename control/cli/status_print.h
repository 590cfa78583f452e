/* A daemon's status as a table. */
#ifndef NG_CONTROL_CLI_STATUS_PRINT_H
#define NG_CONTROL_CLI_STATUS_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

/** Prints the targets of an answer. @param again the screen is cleared before, on a terminal */
void ng_status_print(FILE *file, json_t *answer, bool again);

#endif
