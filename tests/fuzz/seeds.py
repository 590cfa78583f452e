#!/usr/bin/env python3
"""Writes the seeds of fuzz_image, each layout of tests/image/made.c with code worth finding; of fuzz_call; of fuzz_inline."""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"
FOLDER = CORPUS / "image"
MAIN, NOW, NANOTIME, NANO, NANOTIME1, C, END = 0x00, 0x60, 0xA0, 0xC0, 0xE0, 0x100, 0x180
PIE, SECTIONS, SYMTAB, DYNSYM, MERGED, DECOY, RELA, NO_BUILD = (1 << bit for bit in range(8))
CLOCK, CUT = 1, 2
TABLE, ROWS, SYMBOL_NAMES, SECTION_HEADERS = 2, 3, 11, 12
CXX_NAME = 1 + sum(len(name) + 1 for name in (
    "clock_gettime", "__clock_gettime", "unsized_one", "time"))


def call(at, target):
    return b"\xe8" + struct.pack("<i", target - at - 5)


def code():
    """main.main calls time.Now within its copy, and all others; each of them has a frame."""
    frame, end = bytes.fromhex("554889e5"), bytes.fromhex("5dc3")
    text = bytearray(b"\x90" * END)

    def put(at, *parts):
        for part in parts:
            text[at:at + len(part)] = part
            at += len(part)

    put(MAIN, bytes.fromhex("493b661076474889e5"), b"\x90" * 7, call(0x10, NOW), b"\x90" * 11)
    put(0x30, call(0x30, NANOTIME), call(0x35, NANO), call(0x3A, C), end)
    put(0x4B, call(0x4B, NANOTIME1), b"\xeb" + struct.pack("<b", -0x52))
    put(NOW, frame, call(NOW + 4, NANOTIME1), end)
    put(NANOTIME, frame, call(NANOTIME + 4, NANOTIME1), end)
    put(NANO, frame, call(NANO + 4, NANOTIME), end)
    put(NANOTIME1, frame, end)
    put(C, bytes.fromhex("f30f1efa5348 83ec08".replace(" ", "")), call(C + 9, NANOTIME1), end)
    return bytes(text)


def nameless():
    """The bodies of time.now and nanotime1 as the linker leaves them, behind enough code."""
    load, test = bytes.fromhex("488b0500000000"), bytes.fromhex("4883f8007410ffd0")
    realtime = bytes.fromhex("bf00000000488d742410")
    monotonic = bytes.fromhex("bf01000000488d3424")
    new, old = bytes.fromhex("554889e54883ec10"), bytes.fromhex("4883ec1848896c2410")
    now = new + realtime + load + test + monotonic + load + bytes.fromhex("ffd0c9c3")
    nanotime1 = old + monotonic + bytes.fromhex("4c8b3d00000000498b07") + test + b"\xc3"
    return (b"\x90" * 0x98 + now).ljust(0xF0, b"\x90") + nanotime1 + b"\x90" * 0x20


def edit(part, offset, value, width=4, add=False):
    size = {1: 0, 2: 1, 4: 2, 8: 3}[width] | (4 if add else 0)
    return struct.pack("<BBHi", part, size, offset, value)


def seed(name, minor, options, flags=0, edits=(), text=None):
    head = bytes([minor - 15 if minor else 0, options, flags, len(edits)])
    (FOLDER / name).write_bytes(head + b"".join(edits) + (code() if text is None else text))


def record(*frames, tgid=1, site=0, window=0):
    """A struct ng_record (bpf/abi.h) behind its length, as fuzz_call takes it."""
    head = struct.pack("<QQIIIIQII", 10, 20, tgid, 1, site, tgid + 1, 7, window, 0)
    body = head + struct.pack(f"<{len(frames)}Q", *frames)
    return struct.pack("<H", len(body)) + body


def call_seeds():
    folder = CORPUS / "call"
    folder.mkdir(parents=True, exist_ok=True)
    deep = range(1, 129)
    for name, records in {
            "short": [record(), record(1), record(1, 2, 3), record(1, 2, 3, window=4)],
            "same": [record(1, 2), record(1, 2), record(1, 2, tgid=2), record(1, 2, site=3)],
            "unfilled": [record(1, 2, 0, 0), record(1, 0, 2, 0), record(0, 0, 0), record(*[0] * 127)],
            "many": [record(i) for i in range(1, 6)],
            "deepest": [record(*deep[:127])],
            "too_deep": [record(*deep)],
            "lengths": [struct.pack("<H", n) + bytes(n) for n in (0, 1, 47, 48, 49, 55, 56)],
            "cut": [record(1, 2, 3)[:-5]]}.items():
        (folder / name).write_bytes(b"".join(records))


def inline_seeds():
    """Steps of fuzz_inline: a time, a stack of two frames, calls of it, published and read; and damaged."""
    folder = CORPUS / "inline"
    folder.mkdir(parents=True, exist_ok=True)

    def step(what, where=0, word=0):
        return struct.pack("<BHQ", what, where, word)

    begin = step(3, 0, 500) + step(7 | 8, 9, 1 << 32 | 2) + step(0, 0, 0x9000) + step(0, 0, 0x9001)
    call, publish = step(7, 9, 55 << 32 | 10), step(0x85)
    for name, steps in {"calls": begin + 3 * call + publish, "twice": begin + call + publish + call + publish,
                        "other_ring": begin + call + publish + step(6, 1) + begin + call + publish,
                        "deep": begin + call + step(7 | 8, 9, 127) + call + publish + call + publish,
                        "far_head": begin + call + step(0x8D, 0, 1 << 40) + call + publish,
                        "epoch": begin + call + publish + step(0x8D, 0, 7) + begin + call + publish}.items():
        (folder / name).write_bytes(steps)


def main():
    call_seeds()
    inline_seeds()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for minor in range(16, 28):
        seed(f"go_1_{minor}", minor, SECTIONS)
        seed(f"go_1_{minor}_clock", minor, SECTIONS | PIE, CLOCK)
    seed("go_symtab", 24, SECTIONS | SYMTAB | DYNSYM)
    seed("go_symtab_clock", 24, SECTIONS | SYMTAB, CLOCK)
    seed("go_merged", 19, SECTIONS | MERGED | DECOY)
    seed("go_headerless", 22, 0)
    seed("go_headerless_decoy", 26, PIE | MERGED | DECOY)
    seed("go_relocated", 27, PIE | SECTIONS | RELA, CLOCK)
    seed("go_unbuilt", 25, SECTIONS | NO_BUILD)
    seed("go_cut_later", 24, SECTIONS, CUT)
    seed("go_garbled", 21, 0, 0, [edit(TABLE, 0, 0x12345678)], nameless())
    seed("go_row_count", 21, SECTIONS, 0, [edit(TABLE, 8, 4)])
    seed("go_row_order", 21, SECTIONS, 0, [edit(ROWS, 8, 0x140)])
    seed("c_symtab", 0, SECTIONS | SYMTAB)
    seed("c_dynsym", 0, PIE | SECTIONS | DYNSYM)
    seed("c_nameless", 0, PIE | SECTIONS | DYNSYM, 0, (), nameless())
    seed("c_stripped", 0, 0)
    seed("c_sparse", 0, SECTIONS | SYMTAB, 0x80, [edit(SECTION_HEADERS, 3 * 64 + 32, 1 << 19, 8)])
    # _ZN2ns5thing3getEi becomes _ZNSt5thingD1Ev, its destructor
    name = b"_ZNSt5thingD1Ev\0"
    seed("c_destructor", 0, SECTIONS | SYMTAB, 0,
         [edit(SYMBOL_NAMES, CXX_NAME + i, char, 1) for i, char in enumerate(name)])
    (FOLDER / "truncated").write_bytes(b"\x7fELF\2\1\1")


if __name__ == "__main__":
    main()
