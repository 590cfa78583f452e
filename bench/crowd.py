#!/usr/bin/env python3
"""What a daemon takes for many targets: bench/crowd.py [TARGETS [SECONDS]]

First TARGETS (100) idle Go processes, attached and sampled for SECONDS (30): the daemon's share of a core and its memory. Then
a soak: 1,000 processes that come and go under an attachment by file, and 10,000 changes of mode of the idle ones. Exits 1
above 0.5 % of a core or 32 MiB, or where memory or descriptors grow in the second half of the soak.
"""
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time

from paced import BOUND_S, Daemon
from runs import TOP, machine

sys.path.insert(0, str(TOP / "tests" / "e2e"))
import harness  # noqa: E402

CORE_RATIO, MEMORY_MIB = 0.005, 32
COMERS, CHANGES = 1000, 10000


class Use:
    """What a process takes, with its children."""

    def __init__(self, pid):
        self.pids = [pid] + [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def cpu_s(self):
        ticks = 0
        for pid in self.pids:
            parts = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(parts[11]) + int(parts[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mib(self):
        """Its own, and of all that share it its part."""
        return sum(int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M).group(1))
                   for pid in self.pids) / 1024

    def descriptors(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids)


def idle(daemon, use, program, targets, seconds):
    with contextlib.ExitStack() as stack:
        pids = [stack.enter_context(harness.Target(program, "loop", "10", "1", "hold")).pid for _ in range(targets)]
        daemon.ask("attach", select={"exe": str(program)}, settings={"mode": "sampled"})
        end = time.monotonic() + BOUND_S
        # They get windows first; then each call counts, for there are none.
        while sum(target["arming"] == "always" for target in daemon.ask("status")["targets"]) < len(pids):
            if time.monotonic() > end:
                raise RuntimeError("not every target is armed all the time")
            time.sleep(0.2)
        before, began = use.cpu_s(), time.monotonic()
        time.sleep(seconds)
        ratio, memory = (use.cpu_s() - before) / (time.monotonic() - began), use.memory_mib()
        print(f"{targets} idle targets: {ratio:.2%} of a core, {memory:.1f} MiB", flush=True)
        soak = [soak_round(daemon, use, program, pids, part) for part in range(4)]
    return ratio, memory, soak


def soak_round(daemon, use, program, pids, part):
    """A quarter of the soak. @return (MiB, descriptors) when the comers have been forgotten"""
    modes = ["off", "count", "sampled", "full"]
    for number in range(COMERS // 4):
        subprocess.run([program, "loop", "50", "1"], stdout=subprocess.DEVNULL, check=True)
        for change in range(CHANGES // COMERS):
            mode = modes[(number + change) % len(modes)]
            lease = {"lease_ns": 50 * 10**6} if mode == "full" else {}
            daemon.mode(pids[(number * 7 + change) % len(pids)], mode, **lease)
    for _ in range(13):  # what has ended is told of for a minute, and a silent client is hung up on after one
        time.sleep(5)
        daemon.ask("ping")
    memory, descriptors = use.memory_mib(), use.descriptors()
    print(f"after {COMERS // 4 * (part + 1)} targets and {CHANGES // 4 * (part + 1)} changes:"
          f" {memory:.1f} MiB, {descriptors} descriptors", flush=True)
    return memory, descriptors


def main():
    targets = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 30
    matrix = subprocess.run([TOP / "tests" / "go" / "matrix", "quick"], capture_output=True, text=True, check=True)
    for line in matrix.stdout.splitlines():
        version, go = line.split()
        harness.MATRIX[version] = go
    program = harness.go_program(harness.newest(), "truth")
    print(machine())
    with Daemon() as daemon:
        ratio, memory, soak = idle(daemon, Use(daemon.process.pid), program, targets, seconds)
    grown = soak[3][0] - soak[1][0]
    print(f"grown from the half to the end: {grown:.2f} MiB, {soak[3][1] - soak[1][1]} descriptors")
    return 1 if ratio > CORE_RATIO or memory > MEMORY_MIB or grown > 0.5 or soak[3][1] > soak[1][1] else 0


if __name__ == "__main__":
    sys.exit(main())
