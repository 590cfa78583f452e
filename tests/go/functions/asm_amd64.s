#include "funcdata.h"
#include "textflag.h"

// func asmLeaf(i int) int
TEXT ·asmLeaf(SB), NOSPLIT, $0-16
	MOVQ i+0(FP), AX
	INCQ AX
	MOVQ AX, ret+8(FP)
	RET

// Its loop's head is its entry.
//
// func asmLoop(i int) int
TEXT ·asmLoop(SB), NOSPLIT, $0-16
again:
	DECQ i+0(FP)
	JNZ again
	MOVQ $7, ret+8(FP)
	RET

// func asmTail(i int) int
TEXT ·asmTail(SB), NOSPLIT, $0-16
	JMP ·asmNosplit(SB)

// With a stack check and a frame.
//
// func asmFrame(i int) int
TEXT ·asmFrame(SB), 0, $256-16
	NO_LOCAL_POINTERS
	MOVQ i+0(FP), AX
	MOVQ AX, x-8(SP)
	MOVQ x-8(SP), BX
	ADDQ BX, AX
	MOVQ AX, ret+8(FP)
	RET

// func asmCallsGo(i int) int
TEXT ·asmCallsGo(SB), 0, $16-16
	NO_LOCAL_POINTERS
	MOVQ i+0(FP), AX
	MOVQ AX, 0(SP)
	CALL ·calledFromAsm(SB)
	MOVQ 8(SP), AX
	MOVQ AX, ret+8(FP)
	RET

// func asmNosplit(i int) int
TEXT ·asmNosplit(SB), NOSPLIT, $8-16
	MOVQ i+0(FP), AX
	MOVQ AX, 0(SP)
	CMPQ AX, $3
	JLT small
	SUBQ $3, AX
small:
	MOVQ AX, ret+8(FP)
	RET
