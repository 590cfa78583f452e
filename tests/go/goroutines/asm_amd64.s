//go:build !cgocalls

#include "funcdata.h"
#include "textflag.h"

// func touch(i int) int
TEXT ·touch(SB), NOSPLIT, $8-16
	MOVQ i+0(FP), AX
	MOVQ AX, x-8(SP)
	CMPQ AX, $3
	JLT small
	SUBQ $3, AX
small:
	MOVQ AX, ret+8(FP)
	RET

// func touchThrough(i int) int
TEXT ·touchThrough(SB), 0, $16-16
	NO_LOCAL_POINTERS
	MOVQ i+0(FP), AX
	MOVQ AX, 0(SP)
	XORL R14, R14
	CALL ·touch(SB)
	MOVQ 8(SP), AX
	MOVQ AX, ret+8(FP)
	RET
