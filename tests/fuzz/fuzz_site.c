/*
 * Any bytes as a function's code: ng_site_choose() must answer within it, and what it calls exact
 * must hold by another, simpler reading of the same bytes.
 *
 * The input's first byte: bit 0 Go or not, bit 1 an address where the code wraps around.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>

#include <Zydis/Zydis.h>

#include "core/image/insn.h"
#include "core/image/site.h"
#include "tests/fuzz/must.h"

#define CODE_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
	const uint8_t *code;
	size_t size_bytes;
	ZydisDecodedInstruction insn; /* the one at `offset` */
	size_t offset;
	size_t next;
	size_t target; /* of a direct jump or call; SIZE_MAX for none, or outside */
};

static bool read_at(struct reading *reading, size_t offset)
{
	ZydisDecoder decoder;
	uint64_t target;

	if (offset >= reading->size_bytes)
		return false;
	(void)ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, reading->code + offset,
		    reading->size_bytes - offset, &reading->insn)))
		return false;
	reading->offset = offset;
	reading->next = offset + reading->insn.length;
	reading->target = SIZE_MAX;
	if (reading->insn.raw.imm[0].is_relative) {
		target = reading->next + (uint64_t)reading->insn.raw.imm[0].value.s;
		if (target < reading->size_bytes)
			reading->target = (size_t)target;
	}
	return true;
}

static bool ends(const ZydisDecodedInstruction *insn)
{
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_JMP:
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_INT1:
	case ZYDIS_MNEMONIC_INT3:
		return true;
	default:
		return insn->meta.category == ZYDIS_CATEGORY_RET ||
		       insn->meta.category == ZYDIS_CATEGORY_SYSRET;
	}
}

/** Where the branches of the stack check lead. */
struct tails {
	size_t items[8];
	size_t count;
};

static bool is_tail(const struct tails *tails, size_t offset)
{
	for (size_t i = 0; i < tails->count; i++) {
		if (tails->items[i] == offset)
			return true;
	}
	return false;
}

/* Before the tail Go puts calls that never return, and a nop behind them. */
static bool is_panic(const ZydisDecodedInstruction *insn)
{
	return insn->meta.category == ZYDIS_CATEGORY_CALL || insn->mnemonic == ZYDIS_MNEMONIC_NOP;
}

/* Can control, by direct jumps, come from behind the site to it again, within one call? */
static bool comes_again(
	const uint8_t *code, size_t size_bytes, size_t site, const struct tails *tails)
{
	struct reading reading = {.code = code, .size_bytes = size_bytes};
	static size_t todo[2 * CODE_MAX + 4];
	static bool seen[CODE_MAX];
	size_t count = 0;

	memset(seen, 0, sizeof(seen));
	todo[count++] = site;
	while (count) {
		const size_t offset = todo[--count];

		if (!read_at(&reading, offset))
			continue;
		if (!ends(&reading.insn) && reading.next < size_bytes &&
			!(is_tail(tails, reading.next) && is_panic(&reading.insn))) {
			if (reading.next == site)
				return true;
			if (!seen[reading.next]) {
				seen[reading.next] = true;
				todo[count++] = reading.next;
			}
		}
		if (reading.target == SIZE_MAX ||
			(reading.insn.mnemonic == ZYDIS_MNEMONIC_CALL && reading.target == 0))
			continue;
		if (reading.target == site)
			return true;
		if (!seen[reading.target]) {
			seen[reading.target] = true;
			todo[count++] = reading.target;
		}
	}
	return false;
}

/* From the entry, one instruction after the other, to the site: no jump and no call in between,
 * and branches in Go's stack check only. */
static void check_path(
	const uint8_t *code, size_t size_bytes, bool go, size_t site, struct tails *tails)
{
	struct reading reading = {.code = code, .size_bytes = size_bytes};
	size_t offset = 0;

	while (offset < site) {
		MUST(read_at(&reading, offset));
		MUST(!ends(&reading.insn));
		MUST(reading.insn.meta.category != ZYDIS_CATEGORY_CALL);
		if (reading.insn.meta.category == ZYDIS_CATEGORY_COND_BR) {
			MUST(go && tails->count < sizeof(tails->items) / sizeof(tails->items[0]));
			tails->items[tails->count++] = reading.target;
		}
		offset = reading.next;
	}
	MUST(offset == site);
	MUST(read_at(&reading, offset));
	MUST(reading.insn.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY);
	MUST(!(reading.insn.attributes & ZYDIS_ATTRIB_HAS_LOCK));
}

static bool looks_emulated(const uint8_t *bytes, uint8_t length)
{
	uint8_t i = 0;

	/* rep, bnd, address size, fs, gs and REX do not matter to the kernel. */
	while (i + 1 < length &&
		(bytes[i] == 0xf2 || bytes[i] == 0xf3 || bytes[i] == 0x67 || bytes[i] == 0x64 ||
			bytes[i] == 0x65 || (bytes[i] & 0xf0) == 0x40))
		i++;
	if ((bytes[i] & 0xf8) == 0x50)
		return length == 1 || (length == 2 && bytes[0] == 0x41);
	if (bytes[i] == 0x0f)
		return (bytes[i + 1] & 0xf0) == 0x80;
	return bytes[i] == 0x90 || bytes[i] == 0xe8 || bytes[i] == 0xe9 || bytes[i] == 0xeb ||
	       (bytes[i] & 0xf0) == 0x70;
}

static void check_insn(const uint8_t *code, size_t size_bytes, uint64_t address)
{
	struct ng_insn insn;
	char text[NG_INSN_TEXT_MAX], cut[8];

	for (size_t offset = 0; offset < size_bytes && offset < 64; offset++) {
		const uint8_t *at = code + offset;
		const int error = ng_insn_decode(at, size_bytes - offset, address + offset, &insn);

		MUST(error == 0 || error == -EINVAL);
		ng_insn_format(at, size_bytes - offset, address + offset, text, sizeof(text));
		ng_insn_format(at, size_bytes - offset, address + offset, cut, sizeof(cut));
		MUST(memchr(text, '\0', sizeof(text)) && memchr(cut, '\0', sizeof(cut)));
		if (error)
			continue;
		MUST(insn.length >= 1 && insn.length <= 15 && insn.length <= size_bytes - offset);
		MUST(memchr(insn.mnemonic, '\0', sizeof(insn.mnemonic)));
		MUST(!insn.emulated || insn.probeable);
		MUST(!insn.emulated || looks_emulated(at, insn.length));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_site site = {0};
	struct tails tails = {.count = 0};
	uint8_t *code;
	uint64_t address = 0x401000;
	bool go;
	int error;

	if (size < 1 || size - 1 > CODE_MAX)
		return 0;
	go = data[0] & 1;
	size--;
	if (data[0] & 2)
		address = 0 - (uint64_t)(size / 2);
	code = malloc(size ? size : 1); /* of that size exactly, for ASan */
	MUST(code);
	memcpy(code, data + 1, size);
	check_insn(code, size, address);
	error = ng_site_choose(code, size, address, go, &site, &diag);
	MUST(error == 0 || error == -ENOEXEC || error == -ENOMEM);
	MUST((error != 0) == (diag.text[0] != '\0'));
	if (error == 0) {
		MUST(site.entry == address && site.address == address + site.delta);
		MUST((size_t)site.delta + site.length <= size);
		MUST(memcmp(site.bytes, code + site.delta, site.length) == 0);
		MUST(site.insn[0] && memchr(site.insn, '\0', sizeof(site.insn)));
		MUST(site.why[0] && memchr(site.why, '\0', sizeof(site.why)));
		MUST(site.class == NG_SITE_STEPPED || looks_emulated(site.bytes, site.length));
		check_path(code, size, go, site.delta, &tails);
		MUST(!site.exact || !comes_again(code, size, site.delta, &tails));
	}
	free(code);
	return 0;
}
