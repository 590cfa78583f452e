"""Several at once: untouched neighbours, two nowgates, bpftrace and perf, and one killed at any moment."""
import json
import os
import pathlib
import random
import select
import statistics
import subprocess
import time

import harness
from beside import (CLEAN_WITHIN_S, Bpftrace, Perf, Steps, differing, events_of, kill, site_of, start_nowgate, until_differing)
from harness import Stat, Target, all_exact, calls, check, go_program, newest, test, until

KILLS = 25


def total_of(stat):
    total = stat.interrupt()
    check(stat.process.returncode, 0, f"status, {stat.errors}")
    check(all_exact(total), True, "exact")
    return calls(total, "time.Now", key="total")


def until_counting(stat):
    """Until a run has seen calls: an interval that is not empty."""
    while not calls(json.loads(stat.lines[-1])):
        stat.lines.append(stat.process.stdout.readline())


@test()
def arming_one_leaves_another_untouched():
    with Steps() as armed, Steps() as other:
        other.step(1000)
        before = statistics.median(other.step(100000)["ns"] for _ in range(5))
        site, _ = site_of(armed.program)
        with Stat("-p", armed.pid) as stat:
            check(differing(armed.pid), [site], "text of the armed one")
            check(differing(other.pid), [], "text of the other")
            during = statistics.median(other.step(100000)["ns"] for _ in range(5))
            slow = armed.step(10000)
            check(total_of(stat), slow["time.Now"], "calls of the armed one alone")
        # Armed it would be 14 times slower; twice leaves room for a busy machine.
        check(during < 2 * before, True, f"{during:.0f} ns a call while another is armed, {before:.0f} before")
        check(slow["ns"] > 2 * before, True, f"{slow['ns']:.0f} ns a call while armed, {before:.0f} before")
        check(differing(armed.pid), [], "text afterwards")


@test()
def two_runs_count_the_same():
    with Steps(8) as target, Stat("-p", target.pid) as one:
        done = target.step(5000)["time.Now"]
        with Stat("-p", target.pid) as two:
            both = target.step(5000)["time.Now"]
            check(total_of(two), both, "the second, in the middle")
        done += both + target.step(5000)["time.Now"]
        check(total_of(one), done, "the first, all the time")
        check(differing(target.pid), [], "text afterwards")


@test()
def two_runs_on_two_functions_count_apart():
    """Other sites of the same file and process: each run sees its own calls."""
    with Target(harness.c_program("lives"), "plain", "700", "hold") as target, \
            Stat("-f", "tick", "-p", target.pid) as one, Stat("-f", "main", "-p", target.pid) as two:
        target.begin()
        target.truth()
        check([calls(stat.interrupt(), key="total") for stat in (one, two)], [700, 0], "calls of tick and main")


@test()
def a_killed_run_leaves_the_other_exact():
    with Steps(4) as target, Stat("-p", target.pid) as stays, Stat("-p", target.pid) as killed:
        target.go()
        until_counting(killed)
        killed.process.kill()
        killed.process.wait()
        until_counting(stays)
        truth = target.rest() + target.step(1000)["time.Now"]
        check(total_of(stays), truth, "calls")
        check(differing(target.pid), [], "text afterwards")
        check(target.leave(), 0, "the target's status")


@test()
def a_killed_run_leaves_a_later_one_exact():
    """The kernel takes a dead run's breakpoint away while the next one arms the same byte."""
    with Steps() as target:
        truth = counted = 0
        for _ in range(10):
            first = start_nowgate("-p", target.pid)
            until(lambda: differing(target.pid), "the breakpoint")
            first.kill()
            with Stat("-p", target.pid) as second:
                truth += target.step(2000)["time.Now"]
                counted += total_of(second)
            kill(first)
        check(counted, truth, "calls")
        until_differing(target.pid, [], CLEAN_WITHIN_S)


@test()
def bpftrace_stands_beside_it():
    with Steps() as target:
        site, entry = site_of(target.program)
        with Stat("-p", target.pid) as stat:
            with Bpftrace(target, [entry, site]) as other:
                truth = target.step(2000)["time.Now"]
                seen = other.finish()
                # At the entry it sees retries as well: near, but no more.
                check(0.9 * truth < seen < 1.1 * truth, True, f"bpftrace saw {seen} of {truth}")
            until_differing(target.pid, [site], harness.BOUND_S)
            truth += target.step(2000)["time.Now"]
            check(total_of(stat), truth, "calls")
        with Bpftrace(target, [entry]) as other:
            with Stat("-p", target.pid) as stat:
                truth = target.step(2000)["time.Now"]
                check(total_of(stat), truth, "calls, the second to come")
            check(differing(target.pid), [entry], "bpftrace's breakpoint stays")
            truth += target.step(2000)["time.Now"]
            check(other.finish() > 0.9 * truth, True, "bpftrace counts on")
        until_differing(target.pid, [], harness.BOUND_S)


@test()
def perf_stands_beside_it_on_the_same_byte():
    with Steps() as target:
        site, _ = site_of(target.program)
        with Stat("-p", target.pid) as stat:
            with Perf(target, site) as other:
                truth = target.step(2000)["time.Now"]
                check(other.finish(), truth, "perf's count")
            truth += target.step(2000)["time.Now"]
            check(total_of(stat), truth, "calls")
        with Perf(target, site) as other:
            with Stat("-p", target.pid) as stat:
                truth = target.step(2000)["time.Now"]
                check(total_of(stat), truth, "calls, the second to come")
            check(differing(target.pid), [site], "perf's breakpoint stays")
            killed = start_nowgate("-p", target.pid)
            until(lambda: events_of(killed.pid), "its event")
            kill(killed)
            truth += target.step(2000)["time.Now"]
            check(other.finish(), truth, "perf's count, another run killed beside it")
        until_differing(target.pid, [], harness.BOUND_S)


class Moments:
    """Random moments at which to kill, for each of KILLS runs: one half of them at any time from the start on,
    until well after the last run needed to get going; the other half shortly after it has.
    """

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.needed_s = 0.1

    def wait(self, number, has_begun, what):
        if number % 2:
            time.sleep(self.random.uniform(0, 1.2 * self.needed_s))
            return
        began = time.monotonic()
        until(has_begun, what)
        self.needed_s = time.monotonic() - began
        time.sleep(self.random.uniform(0, 0.03))


@test()
def killed_at_any_moment_it_leaves_clean_text():
    moments = Moments(1)
    armed = 0
    with Steps() as target:
        target.go()
        for number in range(KILLS):
            run = start_nowgate("-p", target.pid)
            moments.wait(number, lambda: differing(target.pid), "the breakpoint")
            armed += bool(differing(target.pid))
            kill(run)
            until_differing(target.pid, [], CLEAN_WITHIN_S)
        check(target.rest() > 0, True, "it ran on")
        check(target.step(1000)["time.Now"], 2002, "and runs on")
        check(target.leave(), 0, "the target's status")
    check(armed >= KILLS // 2, True, f"{armed} of {KILLS} kills met a breakpoint, half of them or more")


@test()
def killed_with_many_probes_it_leaves_clean_text():
    """The kernel takes a grace period for each probe's definition: that must not hold up the breakpoints."""
    program = go_program(newest(), "truth")
    with Target(program, "loop", "10", "2", "hold") as target, \
            Stat("-f", "runtime.ma*", "-p", target.pid) as stat:
        armed = len(differing(target.pid))
        check(armed >= 20, True, f"{armed} breakpoints, 20 or more")
        stat.process.kill()
        until_differing(target.pid, [], CLEAN_WITHIN_S)
        target.begin()
        check(target.truth()["time.Now"], 20, "the target's own count")
        check(target.end(), 0, "the target's status")


def commands_of(run, program):
    """The children of a nowgate that run this program already."""
    found = []
    for tid in os.listdir(f"/proc/{run.pid}/task"):
        for pid in pathlib.Path(f"/proc/{run.pid}/task/{tid}/children").read_text().split():
            try:
                if os.path.realpath(f"/proc/{pid}/exe") == str(program):
                    found.append(int(pid))
            except OSError:
                pass  # gone in between
    return found


@test()
def killed_at_any_moment_it_leaves_its_command_alone():
    """Some moments fall before the command's exec, some while it is held there, some after."""
    moments = Moments(2)
    program = go_program(newest(), "truth")
    begun = 0
    for number in range(KILLS):
        lines, keyboard = os.pipe()
        with os.fdopen(keyboard, "w") as keyboard:
            run = start_nowgate("--", program, "loop", "2000", "2", "hold", stdin=lines, stdout=subprocess.PIPE)
            os.close(lines)  # ours: the command has its own
            moments.wait(number, lambda run=run: commands_of(run, program), "the command")
            commands = commands_of(run, program)
            kill(run)
            for pid in commands:
                until_differing(pid, [], CLEAN_WITHIN_S)
            if commands:
                begun += 1
                keyboard.write("\n\n")
                keyboard.flush()
        # Its end, or that of whatever was to become the command, closes the pipe.
        said = ended_output(run)
        wanted = [f"ready {pid}" for pid in commands] + ['{"time.Now": 4000}'] * len(commands)
        check(said[:len(wanted)], wanted, "what the command says after nowgate's death")
    check(begun >= KILLS // 2, True, f"{begun} of {KILLS} commands had begun, half of them or more")


def ended_output(run):
    """All that a killed run's command writes, up to its end."""
    text = b""
    with run.stdout as stream:
        while select.select([stream], [], [], harness.BOUND_S)[0]:
            part = os.read(stream.fileno(), 4096)
            if not part:
                return text.decode().splitlines()
            text += part
    raise AssertionError(f"nowgate is dead, but something of it holds its stdout, and wrote {text!r}")


@test()
def what_a_killed_run_leaves_is_swept_by_the_next():
    with Steps() as target, Stat("-p", target.pid) as living:
        killed = start_nowgate("-p", target.pid)
        until(lambda: events_of(killed.pid), "its event")
        kill(killed)
        check(len(events_of(killed.pid)) > 0, True, "a killed run leaves its event's definition")
        with Stat("-p", target.pid) as later:
            check(events_of(killed.pid), [], "the dead run's events, the next one started")
            check(len(events_of(living.process.pid)), 1, "the living run's events")
            truth = target.step(3000)["time.Now"]
            check(total_of(later), truth, "calls of the later one")
            check(events_of(later.process.pid), [], "its events when it has ended")
        check(total_of(living), truth, "calls of the living one")
        check(events_of(living.process.pid), [], "its events when it has ended")
