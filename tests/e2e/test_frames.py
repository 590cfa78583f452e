"""Functions, files and lines of addresses, inlined ones first: as Go's runtime tells them, and as a reader that shares
no code with ours does (tests/oracle/pcln.py)."""
import subprocess
import sys

from harness import BUILD, MATRIX, TOP, check, go_program, test

sys.path.insert(0, str(TOP / "tests" / "oracle"))
from pcln import Pcln  # noqa: E402

FRAMES = BUILD / "asan" / "tests" / "unit" / "frames"
STEP = 61  # bytes from one address to the next: odd, so that they fall on all places of instructions


def ask(command, addresses):
    run = subprocess.run([str(part) for part in command], input="\n".join(f"{a:x}" for a in addresses) + "\n",
                         capture_output=True, text=True, check=False)
    check(run.returncode, 0, run.stderr[-400:])
    return {int(line.split("\t")[0], 16): line.split("\t")[1:] for line in run.stdout.splitlines()}


def addresses_of(table):
    """@return addresses all over the functions that have lines, and that of main.main"""
    found, start = [], 0
    for i, (entry, _) in enumerate(table.ents[:-1]):
        function = table.func(entry)
        if table.name(function["nameoff"]) == "main.main":
            start = entry
        if function["pcln"]:
            # Not the last byte: the runtime looks at the one behind it.
            found += range(entry + i % STEP, table.ents[i + 1][0] - 1, STEP)
    return found, start


def all_agree(program):
    table = Pcln(str(program))
    addresses, start = addresses_of(table)
    ours, runtime = ask([FRAMES, program], addresses), ask([program, f"{start:x}"], addresses)
    inlined = told = 0
    for address in addresses:
        name, printed, file, line = ours[address][:4]
        if runtime[address][0]:  # it has no name at place 0 of the table up to Go 1.19, and nothing behind a function
            told += 1
            check([printed, file or "?", line], runtime[address], f"{program.name} at {address:x}, by the runtime")
        frames = [(ours[address][i], ours[address][i + 2] or "?", int(ours[address][i + 3]))
                  for i in range(0, len(ours[address]), 4)]
        check(frames, [(name, file, max(line, 0)) for name, file, line in table.inl(address)],
              f"{program.name} at {address:x}, by the other reader")
        inlined += len(frames) > 1
    check(told > 0.9 * len(addresses) > 4500 and inlined > 500, True,
          f"{len(addresses)} addresses, {told} told by the runtime, {inlined} in inlined code")


@test(bpf=False)
def addresses_are_told_as_the_runtime_tells_them():
    for version in MATRIX:
        for variant in ("default", "stripped", "pie"):
            all_agree(go_program(version, "frames", variant))


@test(bpf=False)
def the_version_does_not_matter_where_the_table_tells_it():
    for version in MATRIX:
        for variant in ("default", "pie"):
            program = go_program(version, "frames", variant)
            unnamed = program.with_name(program.name + "-unnamed")
            unnamed.write_bytes(program.read_bytes().replace(b"\xff Go buildinf:", bytes(14)))
            unnamed.chmod(0o755)
            all_agree(unnamed)
            unnamed.unlink()
