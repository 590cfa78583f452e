"""On which goroutine each call is: as the runtime prints its id, and as DWARF tells where it stands."""
import collections
import re
import subprocess

from harness import (BOUND_S, BUILD, MATRIX, Beside, Skip, Target, c_program, check, go_program, need, newest,
                     test)

UNIT = BUILD / "asan" / "tests" / "unit"
CALLS, GOROUTINES = 20, 6  # 20 calls on the first goroutine and on main's, 120 on the last
CGO = ("-tags=cgocalls",)


class Goroutines(Beside):
    """The program beside that adds calls up by goroutine."""

    def __init__(self, pid, *functions):
        super().__init__("stdout", UNIT / "goroutines", pid, *functions)
        if self.lines[0] != "ready\n":
            raise AssertionError(f"goroutines: {self.lines[0]}{self.process.communicate()[1]}")

    def finish(self):
        """Waits for its end. @return {(id, function): calls}"""
        out, errors = self.process.communicate(timeout=BOUND_S)
        check(self.process.returncode, 0, f"its status: {errors}")
        sums = collections.Counter()
        for line in out.splitlines():
            goroutine, function, calls = line.split()
            sums[goroutine, function.removesuffix(".abi0")] += int(calls)
        return dict(sums)


def run(program, *functions):
    """@return (what it says that its goroutines called, what was recorded)"""
    with Target(program, CALLS, GOROUTINES, "hold") as target:
        with Goroutines(target.pid, *functions) as beside:
            target.begin()
            truth = target.truth()
            target.end()
            told = {(goroutine, function): calls for goroutine, sums in truth.items() for function, calls in sums.items()
                    if function in functions}
            return told, beside.finish()


def check_calls(program, *functions):
    told, recorded = run(program, *functions)
    check({function for _, function in told}, set(functions), f"{program}: functions that are called")
    check(len({goroutine for goroutine, _ in told} - {"0"}), GOROUTINES + 1, f"{program}: goroutines")
    check(recorded, told, str(program))


@test()
def each_goroutine_has_its_own_calls():
    for version in MATRIX:
        for variant in ("default", "stripped", "pie"):
            check_calls(go_program(version, "goroutines", variant), "time.Now", "time.now", "syscall.gettimeofday",
                        "main.touch", "main.touchThrough")


@test()
def with_c_in_the_program_too():
    for version in MATRIX:
        for variant in ("default", "pie"):
            check_calls(go_program(version, "goroutines", variant, CGO), "time.Now", "time.now", "syscall.gettimeofday",
                        "touch_c")


def renamed(program, version):
    """The program, built by a version of another name; nothing else is changed."""
    changed = program.with_name(program.name + "-other")
    old = re.search(rb"go1\.\d\d\.\d+", program.read_bytes()[program.read_bytes().index(b"\xff Go buildinf:"):])[0]
    if len(old) != len(version):
        raise Skip(f"{old.decode()} is not as long as {version.decode()}")
    changed.write_bytes(program.read_bytes().replace(old, version))
    changed.chmod(0o755)
    return changed


@test()
def of_a_version_that_is_not_known_there_are_none():
    program = renamed(go_program(newest(), "goroutines"), b"go1.28.1")
    told, recorded = run(program, "time.Now", "main.touch")
    program.unlink()
    sums = collections.Counter()
    for (_, function), calls in told.items():
        sums["0", function] += calls
    check(recorded, dict(sums), "calls without goroutines")


def by_dwarf(program):
    """The offset of goid in runtime.g, by the program's debugging information."""
    expression = "print (long)&(('runtime.g' *)0)->goid"
    text = subprocess.run([need("gdb"), "-nx", "-batch", "-ex", "set language c", "-ex", expression, program],
                          capture_output=True, text=True, timeout=BOUND_S, check=True).stdout
    return int(re.search(r"^\$1 = (\d+)$", text, re.MULTILINE)[1])


def asked(program, *functions):
    out = subprocess.run([UNIT / "goroutine", program, *functions], capture_output=True, text=True, timeout=BOUND_S,
                         check=True).stdout
    return [line.split() for line in out.splitlines()]


@test(bpf=False)
def its_place_is_as_dwarf_tells_it():
    for version in MATRIX:
        for variant in ("default", "pie"):
            for extra in ((), CGO):
                program = go_program(version, "goroutines", variant, extra)
                offset = str(by_dwarf(program))
                r14, tls = ["r14", "0", offset], ["tls", "-16" if extra else "-8", offset]
                check(asked(program, "time.Now", "time.now", "runtime.nanotime1", "syscall.gettimeofday", "main.all"),
                      [r14, r14, r14, tls, r14], str(program))
                check(asked(program, "touch_c" if extra else "main.touch"),
                      [["nowhere", "0", "0"] if extra else tls], str(program))


@test(bpf=False)
def a_librarys_assembly_has_none():
    for version in MATRIX:
        library = go_program(version, "shared", "c-shared")
        places = asked(library, "time.Now", "time.now", "syscall.gettimeofday")
        check([place[0] for place in places], ["r14", "r14", "nowhere"], str(library))


@test(bpf=False)
def code_takes_it_from_there():
    """The place in the threads' memory is the one that the program's own instructions read."""
    for version in MATRIX:
        for variant, extra in (("default", ()), ("default", CGO), ("pie", CGO)):
            program = go_program(version, "goroutines", variant, extra)
            where = asked(program, "syscall.gettimeofday")[0][1]
            text = subprocess.run([need("objdump"), "-d", "--disassemble=runtime.rt0_go.abi0", program],
                                  capture_output=True, text=True, timeout=BOUND_S, check=True).stdout
            places = {int(place, 16) - (1 << 64)
                      for place in re.findall(r"(?:%fs:|\smov +\$)0x(f{8}[0-9a-f]{8})", text)}
            check(places, {int(where)}, f"{program}: what rt0_go reads of its thread")


@test()
def in_a_library_that_c_loaded():
    """A thread of C's has a goroutine while it is in Go, always the same."""
    for version in MATRIX:
        library = go_program(version, "shared", "c-shared")
        with Target(c_program("loads"), library, CALLS) as target:
            with Goroutines(target.pid, "time.Now", "syscall.gettimeofday") as beside:
                target.begin()
                target.truth()
                target.end()
                recorded = beside.finish()
        ids = {goroutine for goroutine, function in recorded if function == "time.Now"}
        check(len(ids) == 1 and "0" not in ids, True, f"{library}: goroutines {ids}")
        check(recorded, {(ids.pop(), "time.Now"): CALLS, ("0", "syscall.gettimeofday"): CALLS}, str(library))
