#!/usr/bin/env python3
"""Compiles the recording part to bytes that stand anywhere: blob.py SOURCE ROOT OUTPUT DEPFILE COMPILER...

Fails where the result has data, relocations or symbols of others, or is larger than the room that it has.
"""
import pathlib
import subprocess
import sys

BYTES_MAX = 4096
FLAGS = ["-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-mgeneral-regs-only", "-mno-red-zone", "-fPIC",
         "-fno-stack-protector", "-fcf-protection=none", "-fno-strict-aliasing", "-fno-asynchronous-unwind-tables",
         "-fno-unwind-tables", "-fno-jump-tables", "-fno-sanitize=all", "-fno-profile-arcs", "-fno-tree-loop-distribute-patterns",
         "-fomit-frame-pointer"]
SCRIPT = """ENTRY(ng_inline_take)
SECTIONS {
  . = 0;
  .text : { *(.text.entry) *(.text .text.*) }
  .others : { *(.data .data.* .bss .bss.* .rodata .rodata.* .got .got.* .plt COMMON) }
  ASSERT(SIZEOF(.others) == 0, "the recording part has data")
  ASSERT(ng_inline_take == 0, "the recording part does not begin with its entry")
  /DISCARD/ : { *(.comment) *(.note*) *(.eh_frame*) *(.llvm*) }
}
"""


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main():
    source, root, output, depfile, *compiler = sys.argv[1:]
    output = pathlib.Path(output)
    thing, script, linked, blob = (output.with_suffix(suffix) for suffix in (".o", ".ld", ".elf", ".bin"))
    flags = FLAGS if "clang" not in run(*compiler, "--version") else [flag for flag in FLAGS if "tree-loop" not in flag]
    try:
        run(*compiler, *flags, "-I", root, "-MD", "-MF", depfile, "-MT", output, "-c", source, "-o", thing)
        if "NOTYPE" not in run("nm", "-u", thing) and run("nm", "-u", thing).strip():
            sys.exit(f"{source}: it needs {run('nm', '-u', thing).strip()}")
        script.write_text(SCRIPT, encoding="ascii")
        run("ld", "-T", script, "--no-undefined", "--build-id=none", "-o", linked, thing)
        run("objcopy", "-O", "binary", "-j", ".text", linked, blob)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{source}: {error.stderr}")
    code = blob.read_bytes()
    if not 0 < len(code) <= BYTES_MAX:
        sys.exit(f"{source}: {len(code)} bytes of code; at most {BYTES_MAX}")
    lines = [", ".join(f"0x{byte:02x}" for byte in code[at:at + 16]) + "," for at in range(0, len(code), 16)]
    output.write_text("static const unsigned char handler_code[] = {\n\t" + "\n\t".join(lines) + "\n};\n", encoding="ascii")


if __name__ == "__main__":
    main()
