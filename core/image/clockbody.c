#include "core/image/clockbody.h"

#include <string.h>

/* A body before its `mov $clock,%edi` is shorter than this. */
#define WALK_BACK_BYTES 0x90

/* Skips the load of the vDSO's entry point into rax, in either of its forms; 0 where it is none. */
static size_t skip_load(const uint8_t *bytes, size_t size_bytes)
{
	static const uint8_t direct[] = {0x48, 0x8b, 0x05};   /* mov rel32(%rip),%rax */
	static const uint8_t by_got[] = {0x4c, 0x8b, 0x3d};   /* mov rel32(%rip),%r15 … */
	static const uint8_t by_got_2[] = {0x49, 0x8b, 0x07}; /* … mov (%r15),%rax */

	if (size_bytes >= 7 && !memcmp(bytes, direct, sizeof(direct)))
		return 7;
	if (size_bytes >= 10 && !memcmp(bytes, by_got, sizeof(by_got)) &&
		!memcmp(bytes + 7, by_got_2, sizeof(by_got_2)))
		return 10;
	return 0;
}

/* Skips `cmp $0,%rax; je …; call *%rax`: the call where there is a vDSO. */
static size_t skip_test_and_call(const uint8_t *bytes, size_t size_bytes)
{
	static const uint8_t test[] = {0x48, 0x83, 0xf8, 0x00}, call[] = {0xff, 0xd0};
	size_t at = sizeof(test);

	if (size_bytes < 12 || memcmp(bytes, test, sizeof(test)))
		return 0;
	at += bytes[at] == 0x74 ? 2 : bytes[at] == 0x0f && bytes[at + 1] == 0x84 ? 6 : 12;
	return at + 2 <= size_bytes && !memcmp(bytes + at, call, sizeof(call)) ? at + 2 : 0;
}

static const uint8_t realtime[] = {0xbf, 0, 0, 0, 0, 0x48, 0x8d, 0x74, 0x24, 0x10};
static const uint8_t monotonic[] = {0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x34, 0x24};

/* `mov $0,%edi; lea 0x10(%rsp),%rsi`, the call, and the same for the monotonic clock. */
bool ng_clockbody_is_now(const uint8_t *bytes, size_t size_bytes)
{
	size_t at = sizeof(realtime), skipped;

	if (size_bytes < NG_CLOCKBODY_SIGNATURE_BYTES || memcmp(bytes, realtime, sizeof(realtime)))
		return false;
	skipped = skip_load(bytes + at, size_bytes - at);
	at += skipped;
	if (!skipped || !(skipped = skip_test_and_call(bytes + at, size_bytes - at)))
		return false;
	at += skipped;
	return !memcmp(bytes + at, monotonic, sizeof(monotonic));
}

bool ng_clockbody_is_nanotime1(const uint8_t *bytes, size_t size_bytes)
{
	size_t at = sizeof(monotonic), skipped;

	if (size_bytes < NG_CLOCKBODY_SIGNATURE_BYTES ||
		memcmp(bytes, monotonic, sizeof(monotonic)))
		return false;
	skipped = skip_load(bytes + at, size_bytes - at);
	/* In time.now the second read is called without a test. */
	return skipped && skip_test_and_call(bytes + at + skipped, size_bytes - at - skipped);
}

/* Walks back from the signature to where the frame is set up: Go >= 1.21, and <= 1.20. */
uint64_t ng_clockbody_entry_before(const struct ng_image *image, uint64_t address)
{
	static const uint8_t new_frame[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10};
	static const uint8_t old_frame[] = {0x48, 0x83, 0xec, 0x18, 0x48, 0x89, 0x6c, 0x24, 0x10};
	uint8_t bytes[WALK_BACK_BYTES + sizeof(old_frame)];

	if (ng_image_read(image, address - WALK_BACK_BYTES, bytes, sizeof(bytes)) !=
		(int64_t)sizeof(bytes))
		return 0;
	for (size_t at = WALK_BACK_BYTES; at > 0; at--) {
		if (!memcmp(bytes + at, new_frame, sizeof(new_frame)) ||
			!memcmp(bytes + at, old_frame, sizeof(old_frame)))
			return address - WALK_BACK_BYTES + at;
	}
	return 0;
}
