/* Functions that cannot carry a probe. They are never called. */
asm(" .text\n"
    " .globl no_code, trap, undefined\n"
    " .type no_code, @function\n"
    " .type trap, @function\n"
    " .type undefined, @function\n"
    "no_code: .zero 16\n"
    " .size no_code, 16\n"
    "trap: int3\n"
    " .size trap, 1\n"
    "undefined: ud2\n"
    " .size undefined, 2\n");

int main(void)
{
	return 0;
}
