"""The lower half of the inline engine: what it brings into a process comes out again, and does no harm.

The gates are the simplest there are (tests/inject): each counts, and goes on. The counts are compared with what the
programs say they called, while the gate is in and they begin and end at rest.
"""
import json
import os
import pathlib
import random
import signal
import subprocess

from harness import (BOUND_S, BUILD, MATRIX, Skip, c_program, check, check_in, go_program, need, test,
                     text_differences, until)

INJECT = BUILD / "asan" / "tests" / "unit" / "inject"
# Leaks are looked for at exit by ptrace, which the helper's descriptors and the test's own time do not need.
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")


def inject(*arguments):
    """Runs it to its end. @return its last line, as an object"""
    if not INJECT.exists():
        raise Skip("the programs of the unit tests are not built")
    run = subprocess.run([INJECT, *map(str, arguments)], capture_output=True, text=True, timeout=5 * BOUND_S, check=False,
                         env=ENVIRONMENT)
    if "Sanitizer" in run.stderr:
        raise AssertionError(run.stderr)
    lines = [line for line in run.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {"error": "none found", "text": run.stderr}


class Program:
    """A program that goes and rests by lines on its stdin."""

    def __init__(self, *command, go="", rest=""):
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.pid = int(self.process.stdout.readline().split()[1])
        self.words = {"go": go, "rest": rest}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    def say(self, word):
        self.process.stdin.write(self.words.get(word, word) + "\n")
        self.process.stdin.flush()

    def rest(self):
        self.say("rest")
        return json.loads(self.process.stdout.readline())

    def end(self):
        """Lets it end. @return its exit status, and what it said was wrong"""
        self.process.stdin.close()
        status = self.process.wait(timeout=BOUND_S)
        return status, self.process.stderr.read()


class Gate:
    """A gate that is in until its count is asked for."""

    def __init__(self, pid, function, kind):
        self.process = subprocess.Popen([INJECT, "once", str(pid), function, kind], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        line = self.process.stdout.readline()
        if line != "in\n":
            raise AssertionError(f"inject once: {line}")

    def count(self):
        out, _ = self.process.communicate("\n", timeout=BOUND_S)
        return json.loads(out.splitlines()[-1])["count"]


def mappings_of_ours(pid):
    return [line for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines() if "nowgate" in line]


def descriptors(pid):
    return sorted(os.listdir(f"/proc/{pid}/fd"))


def helpers():
    """The processes of ours that change others."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/exe"):
        try:
            found += [path] if os.readlink(path) == str(INJECT) else []
        except OSError:  # it has ended
            pass
    return found


def check_left_as_it_was(pid):
    check(text_differences(pid), [], "where the text differs from the file")
    check(mappings_of_ours(pid), [], "mappings of nowgate's")
    check("nowgate-inject" in pathlib.Path(f"/proc/{pid}/status").read_text(), False, "traced by nowgate")


def check_cycles(program, function, kind, cycles):
    report = inject("cycles", program.pid, function, kind, cycles, 2000)
    check(report.get("error"), None, f"the error of the cycles ({report.get('text')})")
    check(report["cycles"], cycles, "cycles")
    check_left_as_it_was(program.pid)


def count_from_rest_to_rest(program, function, kind):
    """@return calls by the gate, by the program itself"""
    before = program.rest()["calls"]
    gate = Gate(program.pid, function, kind)
    program.say("go")
    inject("nothing")  # takes its while
    after = program.rest()["calls"]
    counted = gate.count()
    check_left_as_it_was(program.pid)
    return counted, after - before


@test()
def go_programs_survive_it_and_each_call_is_counted():
    for version in MATRIX:
        with Program(go_program(version, "churn"), go="go", rest="rest") as program:
            program.say("go")
            check_cycles(program, "time.Now", "call", 40)
            check_cycles(program, "time.now", "clock", 40)
            counted, truth = count_from_rest_to_rest(program, "time.Now", "call")
            check(counted, truth, f"calls by the gate, against the program's own count (Go {version})")
            program.say("end")
            status, errors = program.end()
            check(status, 0, f"the exit status ({errors})")
            check("wrong" in errors, False, f"a check failed: {errors}")


@test()
def what_waits_goes_on_waiting_and_signals_come_once():
    with Program(c_program("waits"), "run") as program:
        before = descriptors(program.pid)
        check_cycles(program, "beat", "call", 60)
        check(descriptors(program.pid), before, "its descriptors")
        counted, truth = count_from_rest_to_rest(program, "beat", "call")
        check(counted, truth, "calls by the gate, against the program's own count")
        program.say("go")
        said = program.rest()
        check(said["signals"] > 100, True, "signals came")
        status, errors = program.end()
        check((status, said["wrong"], errors), (0, 0, ""), "status, wrong, errors")


@test()
def a_seccomp_filter_is_suspended_for_the_calls_alone():
    with Program(c_program("waits"), "run", "filter") as program:
        check_cycles(program, "beat", "call", 10)
        check(program.process.poll(), None, "its end")
        status = pathlib.Path(f"/proc/{program.pid}/status").read_text()
        check_in("Seccomp:\t2", status, "its filter")
        check(program.end()[0], 0, "its exit status")


@test()
def a_stopped_process_stays_stopped():
    with Program(c_program("waits"), "run") as program:
        os.kill(program.pid, signal.SIGSTOP)

        def state():
            return pathlib.Path(f"/proc/{program.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

        until(lambda: state() == "T", "the process to stop")
        check_cycles(program, "beat", "call", 10)
        until(lambda: state() == "T", "the process to be stopped still")
        os.kill(program.pid, signal.SIGCONT)
        counted, truth = count_from_rest_to_rest(program, "beat", "call")
        check(counted, truth, "calls by the gate, against the program's own count")
        program.say("go")
        check(program.rest()["wrong"] <= 2, True, "only the stop itself ended waits (signal(7))")


@test()
def a_traced_process_is_refused():
    with Program(c_program("waits"), "run") as program:
        with subprocess.Popen([need("strace"), "-f", "-o", "/dev/null", "-p", str(program.pid)],
                              stderr=subprocess.PIPE, text=True) as strace:
            strace.stderr.readline()
            until(lambda: "TracerPid:\t0" not in pathlib.Path(f"/proc/{program.pid}/status").read_text(),
                  "strace to be there")
            report = inject("cycles", program.pid, "beat", "call", 1, 0)
            strace.terminate()
            strace.wait(timeout=BOUND_S)
        check(report["error"], "EBUSY", "the error")
        check_in("is traced by strace", report["text"], "why")
        check_left_as_it_was(program.pid)
        check_cycles(program, "beat", "call", 1)


@test()
def other_bytes_are_refused():
    """A breakpoint of somebody else's stands at the site."""
    with Program(c_program("waits"), "run") as program:
        gate = Gate(program.pid, "beat", "call")  # as somebody else's
        report = inject("cycles", program.pid, "beat", "call", 1, 0)
        check(report["error"], "ESTALE", "the error")
        check_in("should be e8", report["text"], "what was seen")
        gate.count()
        check_left_as_it_was(program.pid)


@test()
def what_a_dead_run_left_is_taken_out():
    with Program(c_program("waits"), "run") as program:
        gate = Gate(program.pid, "beat", "call")
        gate.process.kill()
        gate.process.wait()
        check(len(mappings_of_ours(program.pid)), 2, "mappings of the dead run")
        check(inject("repair", program.pid), {"patches": 1}, "what the repair says")
        check_left_as_it_was(program.pid)
        check(inject("repair", program.pid)["error"], "ENOENT", "a second repair")
        check(program.process.poll(), None, "its end")


@test()
def processes_that_end_meanwhile_end_as_they_would():
    """Their ends: exec of themselves by a thread, exit, SIGKILL."""
    waits = c_program("waits")
    with subprocess.Popen([waits, "exec", "60"]) as program:
        while program.poll() is None:
            inject("cycles", program.pid, "beat", "call", 1000, 200)
        check(program.returncode, 7, "the status after 60 execs")
    with subprocess.Popen([waits, "exit", "40"], stdout=subprocess.PIPE, text=True) as program:
        for line in program.stdout:
            inject("cycles", int(line), "beat", "call", 1000, 200)
        program.wait(timeout=BOUND_S)
        check(program.returncode, 7, "the status after 40 children's exits")
    for _ in range(20):
        with Program(waits, "run") as program:
            with subprocess.Popen([INJECT, "cycles", str(program.pid), "beat", "call", "1000", "200"],
                                  stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as cycles:
                check(cycles.stdout.readline(), "at it\n", "what it says first")
                for _ in range(random.randrange(2000)):
                    os.getpid()
                program.process.kill()
                check(program.process.wait(timeout=BOUND_S), -9, "the status of who was killed")
                report = json.loads(cycles.stdout.read().splitlines()[-1])
                check(report["error"] in ("ESRCH", "EAGAIN"), True, f"the error: {report}")


@test()
def killed_at_any_time_it_leaves_the_process_running():
    """nowgate is killed; its short-lived helper ends what it began."""
    with Program(c_program("waits"), "run") as program:
        for _ in range(40):
            cycles = subprocess.Popen([INJECT, "cycles", str(program.pid), "beat", "call", "1000", "200"],
                                      stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
            check(cycles.stdout.readline(), "at it\n", "what it says first")
            for _ in range(random.randrange(200000)):
                os.getpid()
            cycles.kill()
            cycles.wait()
            cycles.stdout.close()
            until(lambda: not helpers(), "the helper to end")  # it may not have met its target yet
            report = inject("repair", program.pid)
            check(report.get("error", "ENOENT"), "ENOENT", f"the repair's error: {report}")
            check_left_as_it_was(program.pid)
        program.say("rest")
        said = json.loads(program.process.stdout.readline())
        check(said["wrong"], 0, "wrong")
        check(program.end()[0], 0, "its exit status")
