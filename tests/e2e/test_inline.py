"""The inline engine: code of ours in the process itself."""
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time

from beside import Steps, site_of
from harness import BOUND_S, MATRIX, NOWGATE, check, check_in, go_program, need, newest, nowgate, test, until
from traced import read_ndjson


def maps_of(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        return [line.split() for line in file]


def mappings(pid):
    """What nowgate has mapped there."""
    return [mapping[5] for mapping in maps_of(pid) if len(mapping) > 5 and "/memfd:nowgate" in mapping[5]]


def text(pid, program):
    """The bytes of its text."""
    spans = [mapping[0].split("-") for mapping in maps_of(pid) if mapping[1] == "r-xp" and program in mapping[-1]]
    with open(f"/proc/{pid}/mem", "rb") as file:
        parts = []
        for begin, end in spans:
            file.seek(int(begin, 16))
            parts.append(file.read(int(end, 16) - int(begin, 16)))
    return b"".join(parts)


@contextlib.contextmanager
def at_work(*arguments):
    """A run of nowgate that has begun."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as words:
        with subprocess.Popen([NOWGATE, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words,
                              text=True) as run:

            def said():
                return os.pread(words.fileno(), 65536, 0).decode()

            until(lambda: "was stopped for" in said() or run.poll() is not None, "it to begin")
            check(run.poll(), None, said())
            time.sleep(0.2)  # the gates open
            yield run, said
            if run.poll() is None:
                run.kill()


def end(run):
    run.send_signal(signal.SIGINT)
    return run.communicate(timeout=BOUND_S)[0]


def calls_of(report):
    function, = json.loads(report)["targets"][0]["functions"]
    check(function["exact"], True, "exact")
    return function["calls"]


def count_exactly(program, goroutines=4):
    with Steps(goroutines, program) as target:
        before = text(target.pid, program.name)
        with at_work("stat", "--engine", "inline", "--json", "-p", target.pid) as (run, _):
            check(text(target.pid, program.name) != before, True, "its text is changed")
            done = sum(target.step(calls)["time.Now"] for calls in (1, 1000, 50000))
            check(calls_of(end(run)), done, f"calls of {program}")
        check(text(target.pid, program.name) == before, True, "its text is as before")
        check(mappings(target.pid), [], "what is mapped")
        target.step(1000)
        check(target.leave(), 0, "its status")


@test()
def every_call_counts_in_every_version():
    for version in MATRIX:
        count_exactly(go_program(version, "steps"))


@test()
def stripped_and_position_independent_too():
    for build in ("stripped", "pie"):
        count_exactly(go_program(newest(), "steps", build))


@test()
def a_recording_has_each_caller():
    with Steps(4) as target, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "calls.ndjson")
        with at_work("trace", "--engine", "inline", "-p", target.pid, "-o", path) as (run, said):
            done = sum(target.step(calls)["time.Now"] for calls in (1, 1000, 50000))
            end(run)
            check(run.returncode, 0, said())
        trace = read_ndjson(path)
        check((len(trace.calls), sum(trace.lost.values())), (done, 0), "calls, and lost ones")
        for call in trace.calls:
            check((call.pid, call.function), (target.pid, "time.Now"), "whose call, of what")
            check_in("main.", call.caller, "the caller")
            check(bool(call.goroutine), True, "the goroutine is known")
        check(mappings(target.pid), [], "what is mapped")


@test()
def what_a_killed_run_left_is_repaired():
    with Steps(4) as target:
        before = text(target.pid, target.program.name)
        with at_work("stat", "--engine", "inline", "-p", target.pid) as (run, _):
            target.step(1000)
            run.kill()
            run.wait(timeout=BOUND_S)
            target.step(1000)  # it goes on
            check(len(mappings(target.pid)), 2, "what is mapped")
            again = nowgate("stat", "--engine", "inline", "-p", target.pid, "-d", "100ms")
            check(again.returncode != 0, True, "its text is not the file's")
            repaired = nowgate("repair", "-p", target.pid)
            check(repaired.returncode, 0, repaired.stderr)
            check_in(f"process {target.pid}: taken out", repaired.stdout, "what it says")
        check(text(target.pid, target.program.name) == before, True, "its text is as before")
        check(mappings(target.pid), [], "what is mapped")
        target.step(1000)
        check_in("nothing", nowgate("repair", "-p", target.pid).stdout, "what it says")
        check(target.leave(), 0, "its status")


@test()
def who_is_at_work_is_not_repaired():
    with Steps(4) as target:
        with at_work("stat", "--engine", "inline", "--json", "-p", target.pid) as (run, _):
            done = target.step(1000)["time.Now"]
            repaired = nowgate("repair")
            check(repaired.returncode, 0, repaired.stderr)
            check_in(f"process {target.pid}: nowgate is at work there (pid {run.pid})", repaired.stdout, "what it says")
            done += target.step(1000)["time.Now"]
            check(calls_of(end(run)), done, "calls")


@test()
def what_somebody_takes_out_is_not_called_exact():
    with Steps(4) as target:
        offset, _ = site_of(target.program)
        with at_work("stat", "--engine", "inline", "--json", "-p", target.pid) as (run, _):
            address = next(int(mapping[0].split("-")[0], 16) - int(mapping[2], 16) + offset for mapping in maps_of(target.pid)
                           if "x" in mapping[1] and mapping[-1] == str(target.program))
            with open(target.program, "rb") as file, open(f"/proc/{target.pid}/mem", "r+b", buffering=0) as memory:
                file.seek(offset)
                memory.seek(address)
                memory.write(file.read(5))
            target.step(1000)
            function, = json.loads(end(run))["targets"][0]["functions"]
            check(function["exact"], False, "exact")
            check_in("took nowgate's code out", function["missing"], "why")
        check(mappings(target.pid), [], "what is mapped")
        check(target.leave(), 0, "its status")


@test()
def a_traced_process_is_left_alone():
    with Steps() as target, subprocess.Popen([need("strace"), "-f", "-o", "/dev/null", "-p", str(target.pid)],
                                             stderr=subprocess.PIPE, text=True) as strace:
        check_in("attached", strace.stderr.readline(), "what strace says")
        run = nowgate("stat", "--engine", "inline", "-p", target.pid, "-d", "100ms")
        check(run.returncode, 5, run.stderr)
        check_in("is traced by strace", run.stderr, "what it says")
        strace.terminate()
        strace.wait(timeout=BOUND_S)
        check(target.step(100)["time.Now"] > 0, True, "it goes on")


@test()
def what_it_cannot_do_it_says():
    for arguments, words in ((("--engine", "magic", "-p", 1), "uprobe, inline or inline=prologue"),
                             (("--engine", "inline", "--", "true"), "goes with --pid"),
                             (("--engine", "inline", "--exe", "/bin/true"), "goes with --pid"),
                             (("--engine", "inline", "--mode", "sampled", "-p", 1), "goes with engine uprobe")):
        run = nowgate("stat", *arguments)
        check(run.returncode, 2, run.stderr)
        check_in(words, run.stderr, "what it says")
