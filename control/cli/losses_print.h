/* What was lost, by cause: a line each. */
#ifndef NG_CONTROL_CLI_LOSSES_PRINT_H
#define NG_CONTROL_CLI_LOSSES_PRINT_H

#include <stdint.h>
#include <stdio.h>

#include "bpf/abi.h"

void ng_losses_print(FILE *file, const uint64_t lost[NG_LOST_CAUSES]);

#endif
