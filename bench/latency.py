#!/usr/bin/env python3
"""How fast modes reach a target: bench/latency.py [CHANGES [OTHERS]]

A daemon samples OTHERS processes (20) that call a function every millisecond, while one more that calls it all the time is
switched between full and off. Times are from the request, and the target's own: to the first call that is dear in full mode;
to the last one that was recorded, for off, and to the answer, after which none may be; and to the last call that is dear, when
the breakpoint is gone. Exits 1 where full takes more than 20 ms (median), the last recorded call more than 2 ms (99th
percentile), or a call is recorded after the answer.
"""
import contextlib
import mmap
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from paced import Daemon
from runs import BUILD, TOP, machine

EDGES = BUILD / "bench" / "edges"
FULL_MS, OFF_MS = 20, 2
BOUND_S = 10
THRESHOLD_NS = 250  # an untraced call takes 50, a hit 450 or more
TIMES, TIMES_AT = 262144, 64


class Edges:
    """bench/edges, running."""

    def __init__(self, pause_ns=0):
        with tempfile.NamedTemporaryFile(prefix="nowgate-edges-") as file:
            file.truncate(TIMES_AT + 8 * TIMES)
            self.shared = mmap.mmap(file.fileno(), TIMES_AT + 8 * TIMES)
            self.process = subprocess.Popen([EDGES, file.name, str(THRESHOLD_NS), str(pause_ns)], stdout=subprocess.PIPE, text=True)
            self.process.stdout.readline()
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def look(self):
        """@return (first, last) of the latest row of dear calls in s, how many rows there were, and the calls in the latest"""
        first, last, rows, calls = struct.unpack_from("4Q", self.shared)
        return first / 1e9, last / 1e9, rows, calls

    def time_of(self, number):
        """@return when the latest row's call of this number, from 1 on, was over, in s"""
        if not 0 < number <= self.look()[3]:
            raise RuntimeError(f"{number} calls were recorded, and the target saw {self.look()[3]} that were dear")
        return struct.unpack_from("Q", self.shared, TIMES_AT + (number - 1) % TIMES * 8)[0] / 1e9


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def measure(daemon, edges, changes, chance):
    full, answered, off, gone, late = [], [], [], [], 0
    for _ in range(changes):
        rows, before = edges.look()[2], daemon.target(edges.pid)["delivered"]
        asked = time.monotonic()
        daemon.mode(edges.pid, "full", lease_ns=10 * 10**9)
        end = asked + BOUND_S
        while edges.look()[2] == rows:
            if time.monotonic() > end:
                raise RuntimeError(f"full mode does not reach the target: {daemon.target(edges.pid)}")
            time.sleep(0.0005)
        full.append((edges.look()[0] - asked) * 1e3)
        time.sleep(chance.uniform(0.02, 0.1))
        asked = time.monotonic()
        daemon.mode(edges.pid, "off")
        answered.append((time.monotonic() - asked) * 1e3)
        recorded = daemon.target(edges.pid)["delivered"]
        time.sleep(chance.uniform(0.08, 0.15))
        late += daemon.target(edges.pid)["delivered"] - recorded
        off.append(max(edges.time_of(recorded - before) - asked, 0) * 1e3)
        gone.append(max(edges.look()[1] - asked, 0) * 1e3)
    return {"full": full, "off": off, "answered": answered, "gone": gone}, late


def main():
    changes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    others = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    chance = random.Random(1)
    EDGES.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-O2", "-o", EDGES, TOP / "bench" / "edges" / "main.c"], check=True)
    print(f"{machine()}; {changes} changes, {others} other targets sampled")
    # In memory: the answer to a request waits for its state to be on disk, which is not what is measured.
    with Daemon("/dev/shm") as daemon, contextlib.ExitStack() as stack:
        for _ in range(others):
            other = stack.enter_context(Edges(pause_ns=10**6))
            daemon.attach(other.pid, ["tick"], mode="sampled")
        edges = stack.enter_context(Edges())
        daemon.attach(edges.pid, ["tick"], mode="off")
        time.sleep(1)
        times, late = measure(daemon, edges, changes, chance)
    print(f"{'':>8} {'median':>8} {'p90':>8} {'p99':>8} {'max':>8}  ms")
    for name, values in times.items():
        print(f"{name:>8} {statistics.median(values):>8.2f} {percentile(values, 0.9):>8.2f}"
              f" {percentile(values, 0.99):>8.2f} {max(values):>8.2f}")
    print(f"calls recorded after the answer to off: {late}")
    return 1 if late or statistics.median(times["full"]) > FULL_MS or percentile(times["off"], 0.99) > OFF_MS else 0


if __name__ == "__main__":
    sys.exit(main())
