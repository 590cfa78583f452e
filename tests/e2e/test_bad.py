"""Bad input: each with its clear error and exit code, nothing crashed, hung or left behind; and what
looks bad, but is not."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import threading

import beside
import harness
from harness import (BOUND_S, NOWGATE, Stat, Target, all_exact, c_program, calls, check, check_in, go_program,
                     need, newest, test, text_differences)

NOBODY = 65534
NO_PID = "4194304"  # the kernel's highest pid is one below
SHORT = ("-d", "50ms")


# --- running it, and looking at what it leaves --------------------------------------------------------

def own_processes():
    """Pids that run this nowgate."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.path.samefile(folder / "exe", NOWGATE):
                found.append(folder.name)
    return found


class Ended:
    """A run that has ended: its exit code, texts, and pid."""

    def __init__(self, *arguments, program=(NOWGATE,), stdin=subprocess.DEVNULL, **options):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        with subprocess.Popen([*map(str, program), *map(str, arguments)], stdin=stdin, text=True,
                              errors="replace", **streams) as process:
            try:
                self.out, self.err = process.communicate(timeout=BOUND_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        self.what = f"{[str(argument)[:60] for argument in arguments]}"
        self.pid = process.pid
        self.code = process.returncode


def nothing_left(run, *targets):
    """No event, no child, no breakpoint."""
    check(beside.events_of(run.pid), [], f"{run.what}: events left")
    check(own_processes(), [], f"{run.what}: processes left")
    for target in targets:
        check(text_differences(target.pid), [], f"{run.what}: text")


def refused(code, parts, *arguments, targets=(), **options):
    """Runs it; it must end with this code, say these things, and leave nothing."""
    run = Ended(*arguments, **options)
    check(run.code, code, f"{run.what}: exit code, with {run.err!r}")
    for part in parts:
        check_in(part, run.err, run.what)
    nothing_left(run, *targets)
    return run


def done(*arguments, targets=(), code=0, **options):
    """Runs it; it must do its work."""
    return refused(code, (), *arguments, targets=targets, **options)


def counted(report, number, name="tick"):
    """A report in JSON, with this count, exact."""
    report = json.loads(report)
    check(calls(report, name=name), number, f"calls of {name}")
    check(all_exact(report), True, "exact")
    return report


@contextlib.contextmanager
def folder():
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="nowgate-bad-") as path:
        os.chmod(path, 0o755)
        yield pathlib.Path(path)


def waiting():
    """A C program whose tick() can be counted, waiting for a line."""
    return Target(c_program("lives"), "plain", "50", "hold")


def counts_while_it_runs(target, note=None):
    """Counts the 50 calls that a waiting program makes, by its pid."""
    with Stat("-f", "tick", "-p", target.pid) as stat:
        target.begin()
        check(target.truth()["tick"], 50, "its own count")
        total = stat.interrupt()
        check(calls(total, key="total"), 50, "calls")
        check(all_exact(total), True, "exact")
        if note:
            check_in(note, stat.errors, "note")
    check(text_differences(target.pid), [], "text")


# --- which process ------------------------------------------------------------------------------------

@test()
def no_such_process():
    refused(6, ["no process", "4194303"], "stat", "-p", "4194303", *SHORT)
    refused(6, ["no process", "4194303"], "site", "-p", "4194303", "time.Now")
    refused(2, ["out of range"], "stat", "-p", "4194305")
    with waiting() as target:  # the one that is there is let go again
        refused(6, ["no process", "4194303"], "stat", "-f", "tick", "-p", target.pid, "-p", "4194303",
                targets=[target])


@test()
def a_process_that_exits_in_between():
    """It is killed at moments spread over the time that arming takes."""
    for moment in range(8):
        with waiting() as target:
            killer = threading.Timer(moment * 0.02, target.process.kill)
            killer.start()
            run = Ended("stat", "-f", "tick", "-p", target.pid, "--json")
            killer.join()
        check(run.code in (0, 6), True, f"exit code {run.code}: {run.err!r}")
        if run.code:
            check(bool(re.search(r"no process|has exited|just exited", run.err)), True, run.err)
        else:
            counted(run.out, 0)
        nothing_left(run)


@test()
def a_zombie_and_a_kernel_thread():
    with subprocess.Popen(["sleep", "0"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        for command in (["stat", "-p", process.pid], ["site", "-p", process.pid, "time.Now"]):
            refused(6, [str(process.pid), "has exited"], *command)
    if pathlib.Path("/proc/2/comm").read_text() != "kthreadd\n":
        raise harness.Skip("process 2 is no kernel thread here")
    for command in (["stat", "-p", 2], ["site", "-p", 2, "time.Now"]):
        refused(6, ["kthreadd", "kernel thread"], *command)


@test()
def the_first_process():
    """Not this machine's own: that of a pid namespace."""
    need("unshare")
    script = f"{NOWGATE} stat -p 1 -d 50ms"
    refused(1, ["namespace", "container", "machine itself"], "-pf", "--mount-proc", "sh", "-c", script,
            program=["unshare"])
    script = f"{NOWGATE} stat -f tick -- {c_program('lives')} plain 5"
    run = refused(125, ["namespace", "not started"], "-pf", "--mount-proc", "sh", "-c", script,
                  program=["unshare"])
    check(run.out, "", "the command's output")


@test()
def a_thread_is_no_process():
    program = c_program("lives")
    with Target(program, "main-exits", "50", "hold") as target:
        target.begin()
        target.truth()  # now there is a second thread
        thread = next(name for name in os.listdir(f"/proc/{target.pid}/task") if name != str(target.pid))
        for command in (["stat", "-f", "tick", "-p", thread], ["site", "-p", thread, "tick"]):
            refused(6, [f"no process {thread}", "thread of process", f"-p {target.pid}"], *command,
                    targets=[])
        target.end()


@test()
def itself():
    script = 'exec "$0" "$@" -p $$'
    refused(1, ["does not trace itself"], "-c", script, NOWGATE, "stat", "-f", "main", program=["sh"])


@test()
def many_processes():
    pids = [part for pid in range(1000, 2000) for part in ("-p", pid)]
    refused(2, ["--pid", "256 times"], "stat", *pids)
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(waiting()) for _ in range(20)]
        options = [part for target in targets for part in ("-p", target.pid)]
        run = done("stat", "-f", "tick", *options, *SHORT, "--json", targets=targets)
        check(len(counted(run.out, 0)["targets"]), 20, "targets")


@test()
def a_process_without_its_main_thread():
    """Its other threads still count; test_life has the same with calls."""
    with Target(c_program("lives"), "main-exits", "50", "hold") as target:
        target.begin()
        target.truth()
        run = done("site", "-p", target.pid, "tick")
        check_in("tick: ", run.out, "site")
        run = done("stat", "-f", "tick", "-p", target.pid, *SHORT, "--json")
        counted(run.out, 0)
        check(target.end(), 0, "exit status of the target")


# --- without privileges -------------------------------------------------------------------------------

@test()
def not_root():
    need("setpriv")
    with folder() as place, waiting() as target:
        shutil.copy(NOWGATE, place / "nowgate")
        shutil.copy(c_program("lives"), place / "lives")
        (place / "lives").chmod(0o755)
        (place / "closed").write_bytes((place / "lives").read_bytes())
        (place / "closed").chmod(0)
        nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", place / "nowgate"]
        for where in (["-p", target.pid], ["--exe", place / "lives"]):
            refused(4, ["run as root", "doctor"], "stat", "-f", "tick", *where, *SHORT, program=nobody,
                    targets=[target])
        run = refused(125, ["run as root", "doctor", "not started"], "stat", "-f", "tick", "--",
                      place / "lives", "plain", "5", program=nobody)
        check(run.out, "", "the command ran uncounted")
        refused(4, ["not yours", "run as root"], "site", "-p", target.pid, "tick", program=nobody)
        refused(4, [str(place / "closed"), "Permission denied"], "site", place / "closed", "tick",
                program=nobody)
        run = done("site", place / "lives", "tick", program=nobody)  # a file needs no privilege
        check_in("tick: ", run.out, "site")


# --- which file ---------------------------------------------------------------------------------------

def executable(path, content):
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def patched(content, offset, value):
    return content[:offset] + value + content[offset + len(value):]


@test()
def what_is_no_program():
    """For a file, for every process of a file, and, where the kernel runs none of these, as a command."""
    lives = c_program("lives").read_bytes()
    header32 = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 3, 1, 0, 0, 0, 0, 52, 32, 0, 40, 0, 0)
    with folder() as place:
        for name, content, parts in (
                ("text", b"no program", ["not an ELF file"]),
                ("empty", b"", ["empty"]),
                ("cut", lives[:3000], ["truncated"]),
                ("header-cut", lives[:40], ["truncated", "header"]),
                ("32-bit", header32, ["32-bit", "64-bit x86 only"]),
                ("arm64", patched(lives, 18, struct.pack("<H", 183)), ["arm64", "64-bit x86 only"]),
                ("big-endian", patched(lives, 5, b"\x02"), ["big-endian", "64-bit x86 only"]),
                ("object", patched(lives, 16, b"\x01\0"), ["object file"]),
                ("script", b"#!/bin/sh\nexit 3\n", ["script", "/bin/sh", "-p"])):
            path = executable(place / name, content)
            refused(1, [str(path), *parts], "site", path, "tick")
            refused(1, [str(path), *parts], "stat", "-f", "tick", "--exe", path, *SHORT)
            if name in ("cut", "big-endian", "script"):
                continue  # these the kernel runs
            run = refused(126, [str(path), "Exec format error"], "stat", "--", path)
            check(run.out, "", f"{name} was run by a shell")
        run = refused(3, ["no process", "time.Now"], "stat", "--", place / "script")


@test()
def what_is_no_file():
    with folder() as place:
        os.mkfifo(place / "fifo")
        for path, code, parts in ((place, 1, ["folder"]), (place / "fifo", 1, ["pipe"]),
                                  ("/dev/null", 1, ["device"]), ("/dev/zero", 1, ["device"]),
                                  (place / "absent", 6, ["No such file"]),
                                  (place / "n/a", 6, ["No such file"])):
            refused(code, [str(path), *parts], "site", path, "tick")
            refused(code, [str(path), *parts], "stat", "-f", "tick", "--exe", path, *SHORT)
    long_path = "/tmp/long" + 1000 * "x"
    refused(1, ["/tmp/long", "File name too long"], "stat", "--exe", long_path, *SHORT)
    refused(1, ["/tmp/long", "File name too long"], "site", long_path, "tick")
    for command in ("", " ", "nowgate-no-such-program", "x" * 100000):
        refused(127, [f"'{command}'", "not found in PATH"], "stat", "--", command)
    refused(127, ["'/nowgate-no-such-folder/x'", "not found"], "stat", "--", "/nowgate-no-such-folder/x")
    refused(126, ["'/dev/null'", "Permission denied"], "stat", "--", "/dev/null")
    refused(126, ["'/'", "Permission denied"], "stat", "--", "/")
    refused(2, ["nothing to trace"], "stat", "--")


@test()
def paths_with_spaces():
    with folder() as place:
        program, output = place / "a path" / "its program", place / "a path" / "the result"
        program.parent.mkdir()
        shutil.copy(c_program("lives"), program)
        done("stat", "--json", "-f", "tick", "-o", output, "--", program, "plain", "77")
        report = counted(output.read_text(), 77)
        check(report["targets"][0]["exe"], str(program), "exe")
        check_in("tick: ", done("site", program, "tick").out, "site")
        with Target(program, "plain", "50", "hold") as target:
            counts_while_it_runs(target)
        with Stat("-f", "tick", "--exe", program) as stat:
            subprocess.run([program, "plain", "60"], stdout=subprocess.DEVNULL, check=True)
            check(calls(stat.interrupt(), key="total"), 60, "calls by --exe")
        nothing_left(done("stat", "-f", "tick", "--exe", program, *SHORT))


@test()
def a_deleted_executable():
    with folder() as place:
        shutil.copy(c_program("lives"), place / "lives")
        with Target(place / "lives", "plain", "50", "hold") as target:
            (place / "lives").unlink()
            check_in("tick: ", done("site", "-p", target.pid, "tick").out, "site")
            counts_while_it_runs(target)


@test()
def a_replaced_executable():
    """By a program that does not have the function."""
    with folder() as place:
        shutil.copy(c_program("lives"), place / "lives")
        with Target(place / "lives", "plain", "50", "hold") as target:
            shutil.copy(c_program("odd"), place / "new")
            (place / "new").rename(place / "lives")
            check_in("tick: ", done("site", "-p", target.pid, "tick").out, "site")
            counts_while_it_runs(target)
        refused(6, ["no function tick"], "site", place / "lives", "tick")


@test()
def a_hidden_executable():
    """In a mount namespace: where nobody else sees it, and where something else stands in its place."""
    need("unshare")
    program = c_program("lives")
    inside = 'mount -t tmpfs nowgate-test "$0" && cp "$1" "$0/inner" && exec "$0/inner" plain 50 hold'
    over = 'cp "$1" "$0/inner" && exec 3<"$0/inner" && mount --bind /etc/passwd "$0/inner" && ' \
           'exec /proc/self/fd/3 plain 50 hold'
    for script in (inside, over):
        with folder() as place, Target("unshare", "-m", "sh", "-c", script, place, program) as target:
            check_in("tick: ", done("site", "-p", target.pid, "tick").out, "site")
            counts_while_it_runs(target)


# --- which function -----------------------------------------------------------------------------------

@test()
def no_such_function():
    program = c_program("lives")
    with waiting() as target:
        for where in (["stat", "-f", "tack", "-p", target.pid], ["stat", "-f", "tack", "--exe", program],
                      ["site", program, "tack"], ["site", "-p", target.pid, "tack"]):
            refused(6, [str(program), "no function tack", "tick"], *where, targets=[target])
        refused(6, ["no function time.Now"], "stat", "-p", target.pid, targets=[target])
        # Of several the one that is missing, also where another one is in a library.
        refused(6, ["no function tack", "tick"], "stat", "-f", "clock_gettime", "-f", "tack", "-p", target.pid,
                targets=[target])
        refused(6, ["no function tack", "tick"], "stat", "-f", "tick", "-f", "tack", "-p", target.pid,
                targets=[target])


@test()
def no_such_function_in_a_command():
    """It runs to its end, with its own status, and the report says what is missing."""
    program = c_program("lives")
    for script, code in (('exec "$0" plain 5', 0), ('"$0" plain 5; exit 9', 9)):
        refused(code, [str(program), "no function tack", "tick"], "stat", "-f", "tack", "--", "sh", "-c",
                script, program)
    run = refused(0, ["no function tack", "5 "], "stat", "-f", "tick", "-f", "tack", "--", program, "plain", "5")
    check(run.err.count("tack"), 1, "notes")


@test()
def a_function_that_cannot_carry_a_probe():
    program = c_program("odd")
    for name, part in (("no_code", "zeros"), ("trap", "too short"), ("undefined", "too short")):
        refused(1, [name, "cannot be probed", part], "site", program, name)
        refused(1, [name, "cannot be probed", part], "stat", "-f", name, "--exe", program, *SHORT)
        refused(0, [name, "cannot be probed", part], "stat", "-f", name, "--", program)


@test()
def a_function_that_is_inlined_everywhere():
    program = go_program(newest(), "inlined")
    parts = ["main.everywhere", "inlined everywhere", "main.caller", "-gcflags=-l"]
    refused(6, parts, "site", program, "main.everywhere")
    refused(6, parts, "stat", "-f", "main.everywhere", "--exe", program, *SHORT)
    refused(0, parts, "stat", "-f", "main.everywhere", "--", program)
    with Target(program) as target:
        refused(6, parts, "stat", "-f", "main.everywhere", "-p", target.pid, targets=[target])


@test()
def odd_globs():
    program = c_program("lives")
    for glob in ("*?" * 50000, "*a" * 50000, "[" * 1000, "[...]", "?[", "\\", "x" * 120000, "%s%n", "(*", "-"):
        run = refused(6, ["no function"], "site", program, glob)
        check(len(run.err) < 4000, True, "a message that can be read")
    refused(6, ["none with a name like it"], "stat", "-f", "x" * 120000, "--exe", program)
    big = go_program(newest(), "truth")
    refused(1, ["more than 4096 functions", "name fewer"], "stat", "-f", "main.main", "-f", "*", "--exe",
            harness.MATRIX[newest()], *SHORT)
    refused(1, ["more than 1024 probes", "Name fewer"], "stat", "-f", "*a*", "--exe", big, *SHORT)
    refused(0, ["more than 1024 probes", "Name fewer"], "stat", "-f", "*a*", "--", big, "loop", "5", "1")
    with Target(big, "loop", "5", "1", "hold") as target:
        refused(1, ["more than 1024 probes", "Name fewer"], "stat", "-f", "*a*", "-p", target.pid, targets=[target])
    with waiting() as target:
        run = done("stat", "-f", "t?c*", "-p", target.pid, *SHORT, "--json", targets=[target])
        counted(run.out, 0)


# --- whose code ---------------------------------------------------------------------------------------

class Tracer:
    """tests/c/tracer: traces a process, maybe with a breakpoint of its own."""

    def __init__(self, target, address=None):
        self.traced = Target(c_program("tracer"), target.pid, *([hex(address)] if address else []))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.traced.end()
        self.traced.__exit__()


def address_of_site(target, program):
    offset, _ = beside.site_of(program, "tick")
    for line in pathlib.Path(f"/proc/{target.pid}/maps").read_text().splitlines():
        part = re.match(r"(\w+)-(\w+) ..x. (\w+) \S+ \d+\s+(.*)", line)
        if part and part[4] == str(program):
            start, end, at = (int(part[i], 16) for i in (1, 2, 3))
            if at <= offset < at + end - start:
                return start + offset - at
    raise AssertionError("its site is not mapped")


@test()
def a_debuggers_breakpoint():
    program = c_program("lives")
    with waiting() as target:
        address = address_of_site(target, program)
        with Tracer(target, address):
            before = text_differences(target.pid)
            check(len(before), 1, "the debugger's breakpoint")
            for where in (["-p", target.pid], ["--exe", program]):
                run = Ended("stat", "-f", "tick", *where)
                check(run.code, 5, run.err)
                for part in (f"{target.pid} is traced by tracer", "tick", "Remove that breakpoint"):
                    check_in(part, run.err, "refused")
                nothing_left(run)
                check(text_differences(target.pid), before, f"the debugger's breakpoint, {where}")
        check(text_differences(target.pid), [], "text")
        counts_while_it_runs(target)


@test()
def code_that_something_has_patched():
    program = c_program("lives")
    with waiting() as target:
        address = address_of_site(target, program)
        with open(f"/proc/{target.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(address)
            old = memory.read(1)
            memory.seek(address)
            memory.write(b"\x90")
            before = text_differences(target.pid)
            run = Ended("stat", "-f", "tick", "-p", target.pid)
            check(run.code, 5, run.err)
            check_in("not what its file holds", run.err, "refused")
            check(text_differences(target.pid), before, "the patch")
            nothing_left(run)
            memory.seek(address)
            memory.write(old)


@test()
def a_process_that_is_merely_traced():
    with waiting() as target, Tracer(target):
        counts_while_it_runs(target, note="is traced by tracer")


# --- where to, and how long ---------------------------------------------------------------------------

@test()
def nowhere_to_write():
    program = c_program("lives")
    with folder() as place, waiting() as target:
        count = ["stat", "-f", "tick", "-p", target.pid, *SHORT]
        for path, part in ((place, "Is a directory"), (place / "n/a", "No such file"),
                           ("/proc/self/status", "cannot be written")):
            run = Ended(*count, "-o", path)
            check(run.code != 0, True, f"-o {path}")
            check_in(str(path), run.err, run.what)
            check_in(part, run.err, run.what)
            nothing_left(run, target)
        for form in ([], ["--json"], ["-I", "10ms"], ["-I", "10ms", "--json"]):
            refused(1, ["/dev/full", "No space left"], *count, *form, "-o", "/dev/full", targets=[target])
            with open("/dev/full", "w", encoding="ascii") as full:
                refused(1, ["standard output", "No space left"], *count, *form, targets=[target], stdout=full)
        refused(125, ["/dev/full", "No space left"], "stat", "-f", "tick", "-o", "/dev/full", "--", program,
                "plain", "5")
        for command in (["site", program, "tick"], ["site", "--json", program, "tick"], ["--version"], ["--help"],
                        ["stat", "--help"], ["site", "--help"]):
            with open("/dev/full", "w", encoding="ascii") as full:
                refused(1, ["No space left"], *command, stdout=full)


@test()
def a_reader_that_has_gone():
    reader, writer = os.pipe()
    os.close(reader)
    with waiting() as target:
        for form in ([], ["--json"], ["-I", "10ms"], ["-I", "10ms", "--json"]):
            refused(1, ["standard output", "Broken pipe"], "stat", "-f", "tick", "-p", target.pid, *SHORT, *form,
                    targets=[target], stdout=writer)
    os.close(writer)
    # The command's own signals are what they were.
    done("stat", "--", "sh", "-c", "kill -PIPE $$; exit 7", code=141)


@test()
def a_file_that_may_not_grow():
    with folder() as place, waiting() as target:
        script = f'ulimit -f 0; exec "$0" stat -f tick -p {target.pid} -d 50ms -o {place}/result'
        refused(1, [f"{place}/result", "File too large"], "-c", script, NOWGATE, program=["sh"], targets=[target])


@test()
def a_pipe_that_nobody_reads():
    """^C leaves it."""
    with folder() as place, waiting() as target:
        os.mkfifo(place / "pipe")
        with beside.start_nowgate("-f", "tick", "-p", target.pid, "-o", place / "pipe") as process:
            harness.until(lambda: own_processes() == [str(process.pid)], "it to start")
            process.send_signal(2)
            check(process.wait(timeout=BOUND_S), -2, "ended by the signal")
        check(beside.events_of(process.pid), [], "events left")
        check(text_differences(target.pid), [], "text")


@test()
def a_result_is_kept_until_there_is_another():
    with folder() as place:
        (place / "result").write_text("the last one")
        refused(6, ["no process"], "stat", "-p", "4194303", "-o", place / "result")
        check((place / "result").read_text(), "the last one", "the file")
        done("stat", "--json", "-f", "tick", "-o", place / "result", "--", c_program("lives"), "plain", "5")
        counted((place / "result").read_text(), 5)


@test()
def closed_streams():
    """What nowgate opens must not take the place of a stream that is closed."""
    program = c_program("lives")
    with waiting() as target:
        for form in ("", "--json", "-I 10ms"):
            script = f'exec "$0" stat -f tick -p {target.pid} -d 50ms {form} >&-'
            refused(1, ["standard output", "Bad file descriptor"], "-c", script, NOWGATE, program=["sh"],
                    targets=[target])
        script = f'exec "$0" stat -f tick -p {target.pid} -d 50ms --json <&- 2>&-'
        run = done("-c", script, NOWGATE, program=["sh"], targets=[target])
        counted(run.out, 0)
        refused(1, ["Bad file descriptor"], "-c", f'exec "$0" site {program} tick >&-', NOWGATE, program=["sh"])
    # A command finds closed what was closed.
    inner = "for fd in 0 1 2 3 4 5; do [ ! -e /proc/$$/fd/$fd ] || echo open $fd >&2; done"
    run = done("-c", 'exec "$0" stat -- sh -c "$1" <&- >&-', NOWGATE, inner, program=["sh"])
    check(re.findall(r"open (\d)", run.err), ["2"], "open streams of the command")


@test(bpf=False)
def odd_times():
    for option, value, part in (
            ("-I", "1ns", "out of range: it can be 10ms to 8760h"), ("-d", "0", "out of range"),
            ("-d", "0s", "out of range"), ("-d", "8761h", "out of range"), ("-d", "-1s", "not a time"),
            ("-d", "99999999999999999999s", "out of range"), ("-d", "1e3s", "not a time"),
            ("-d", "nan", "not a time"), ("-d", "inf", "not a time"), ("-d", "", "not a time"),
            ("-d", "1.2.3s", "not a time"), ("-d", "1 s", "not a time"), ("-d", "9" * 100000, "not a time")):
        run = Ended("stat", "-p", NO_PID, option, value)
        check(run.code, 2, run.what)
        check_in(part, run.err, run.what)


@test()
def the_longest_time():
    with waiting() as target, Stat("-f", "tick", "-p", target.pid, "-d", "8760h") as stat:
        target.begin()
        target.truth()
        check(calls(stat.interrupt(), key="total"), 50, "calls")
