/* What was lost, by cause: a line each. */
#ifndef NG_CONTROL_CLI_LOSSES_PRINT_H
#define NG_CONTROL_CLI_LOSSES_PRINT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** @param lost by cause (control/plane/losses.h) @param count of causes */
void ng_losses_print(FILE *file, const uint64_t *lost, size_t count);

#endif
