"""Unlucky moments, and many at once: nobody is harmed, and what can be counted is."""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from beside import (Bpftrace, CLEAN_WITHIN_S, Perf, Steps, differing, kill, site_of, start_nowgate,
                    until_differing)
from harness import (BOUND_S, Skip, Stat, Target, all_exact, calls, check, go_program, last_json, newest, nowgate,
                     test, until)


def truth_program():
    return go_program(newest(), "truth")


@test()
def ended_by_any_signal_it_leaves_clean_text():
    chance = random.Random(5)
    ends = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, None]  # None: stopped, then killed
    with Steps(8) as target:
        target.go()
        for number in range(25):
            run = start_nowgate("-p", target.pid)
            if number % 2:
                time.sleep(chance.uniform(0, 0.15))
            else:
                until(lambda: differing(target.pid), "the breakpoint")
            end = ends[number % len(ends)]
            if end is None:
                run.send_signal(signal.SIGSTOP)
                time.sleep(chance.uniform(0, 0.05))
                kill(run)
            else:
                run.send_signal(end)
                run.wait(timeout=BOUND_S)
            until_differing(target.pid, [], CLEAN_WITHIN_S)
        check(target.rest() > 0, True, "it ran on")
        check(target.leave(), 0, "the target's status")


class Storm:
    """A program started over and over, four at a time, until told to stop."""

    def __init__(self, *command, expected):
        self.command, self.expected = [str(part) for part in command], expected
        self.ended, self.runs, self.wrong = threading.Event(), 0, []
        self.threads = [threading.Thread(target=self._run) for _ in range(4)]

    def _run(self):
        while not self.ended.is_set():
            run = subprocess.run(self.command, capture_output=True, text=True, check=False, timeout=BOUND_S)
            self.runs += 1
            if run.returncode or run.stdout != self.expected:
                self.wrong.append((run.returncode, run.stdout, run.stderr[:500]))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()


@test()
def processes_that_come_and_go_while_it_does_are_not_harmed():
    chance = random.Random(6)
    with Storm(truth_program(), "loop", 50, 2, expected='{"time.Now": 100}\n') as storm:
        for number in range(20):
            run = start_nowgate("--exe", truth_program())
            time.sleep(chance.uniform(0, 0.2))
            if number % 2:
                kill(run)
            else:
                run.send_signal(signal.SIGINT)
                run.wait(timeout=BOUND_S)
    check(storm.wrong, [], f"of {storm.runs} processes those that ended otherwise")
    check(storm.runs > 40, True, f"{storm.runs} processes, more than 40")


@test()
def a_process_that_execs_while_it_is_armed_is_not_harmed():
    chance = random.Random(7)
    with Steps(4) as target:
        for _ in range(20):
            run = start_nowgate("-p", target.pid)
            time.sleep(chance.uniform(0, 0.15))
            for _ in range(3):
                check(target.again("exec"), target.pid, "the pid after an exec")
            check(target.step(100)["time.Now"], 402, "its own count")
            kill(run)
            until_differing(target.pid, [], CLEAN_WITHIN_S)
        check(target.leave(), 0, "the target's status")


@test()
def an_executable_in_memory_is_counted():
    content = truth_program().read_bytes()
    memory = os.memfd_create("program")
    os.write(memory, content)
    arguments = ["loop", "500", "2", "hold"]
    with Target(f"/proc/self/fd/{memory}", *arguments, pass_fds=[memory]) as target, Stat("-p", target.pid) as stat:
        target.begin()
        check(target.truth()["time.Now"], 1000, "the truth")
        target.end()
        total = stat.finish()
    os.close(memory)
    check((calls(total, key="total"), all_exact(total)), (1000, True), "calls from a memfd")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        program = shutil.copy(truth_program(), folder)
        with Target(program, *arguments) as target, Stat("--exe", program) as stat:
            target.begin()
            target.truth()
            target.end()
            total = stat.interrupt()
    check((calls(total, key="total"), all_exact(total)), (1000, True), "calls from a tmpfs")


@test()
def two_runs_bpftrace_and_perf_stand_side_by_side():
    with Steps(4) as target:
        site, entry = site_of(target.program)
        with Stat("-p", target.pid) as first, Stat("-p", target.pid) as second, Perf(target, site) as perf, \
                Bpftrace(target, [entry, site]) as bpftrace:
            truth = target.step(2000)["time.Now"]
            check(bpftrace.finish() > 0, True, "bpftrace counted")
            truth += target.step(2000)["time.Now"]
            check(perf.finish(), truth, "perf's count")
            for stat in (first, second):
                total = stat.interrupt()
                check((calls(total, key="total"), all_exact(total)), (truth, True), "nowgate's count")
        until_differing(target.pid, [], BOUND_S)
        check(target.leave(), 0, "the target's status")


@test()
def a_frozen_process_is_counted_when_it_thaws():
    tops = [top for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if os.path.exists(f"{top}/cgroup.procs")]
    group = pathlib.Path((tops or ["/sys/fs/cgroup"])[0]) / f"nowgate-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise Skip(f"no cgroup can be made: {error}") from error
    freeze = group / "cgroup.freeze"
    if not freeze.exists():
        group.rmdir()
        raise Skip("cgroups cannot be frozen here")
    with Steps(2) as target:
        (group / "cgroup.procs").write_text(str(target.pid))
        freeze.write_text("1")
        until(lambda: "frozen 1" in (group / "cgroup.events").read_text(), "the freeze")
        with Stat("-p", target.pid) as stat:
            freeze.write_text("0")
            truth = target.step(1000)["time.Now"]
            freeze.write_text("1")
            until(lambda: "frozen 1" in (group / "cgroup.events").read_text(), "the freeze")
            total = stat.interrupt()
        check((calls(total, key="total"), all_exact(total)), (truth, True), "calls")
        check(differing(target.pid), [], "breakpoints left in a frozen process")
        freeze.write_text("0")
        check(target.leave(), 0, "the target's status")
    group.rmdir()


@test()
def thirty_two_threads_run_on_under_many_runs():
    with Steps(32, environment={"GOMAXPROCS": "32"}) as target:
        target.go()
        for _ in range(15):
            run = nowgate("stat", "--json", "-p", target.pid, "-d", "10ms")
            check(run.returncode, 0, run.stderr)
            report = last_json(run.stdout.replace("\n", "") + "\n")
            check((calls(report) > 0, all_exact(report)), (True, True), "calls, exact")
            check(differing(target.pid), [], "breakpoints left")
        check(target.rest() > 0, True, "it ran on")
        check(target.leave(), 0, "the target's status")
