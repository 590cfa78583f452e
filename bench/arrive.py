#!/usr/bin/env python3
"""How soon a new process of an attached executable is armed: bench/arrive.py [PROCESSES]

One after the other starts, calls all the time, and sees since when its calls are dear. Told is the time from before the
fork to the first call that was. Exits 1 where it was more than 100 ms in one of them.
"""
import statistics
import subprocess
import sys
import time

from latency import EDGES, Edges, percentile
from paced import Daemon
from runs import TOP, machine

ARMED_MS = 100
BOUND_S = 10


def arrive():
    """@return ms from before the fork to the first dear call"""
    began = time.monotonic()
    with Edges() as edges:
        while not edges.look()[2]:
            if time.monotonic() > began + BOUND_S:
                raise RuntimeError("a new process is not armed")
            time.sleep(0.0005)
        return (edges.look()[0] - began) * 1e3


def main():
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    EDGES.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-O2", "-o", EDGES, TOP / "bench" / "edges" / "main.c"], check=True)
    with Daemon() as daemon:
        daemon.ask("attach", select={"exe": str(EDGES)}, functions=["tick"], settings={"mode": "count", "exact": True})
        times = [arrive() for _ in range(processes)]
    print(f"{machine()}; {processes} processes of an attached executable, one after the other")
    print(f"armed after {statistics.median(times):.1f} ms (median), {percentile(times, 0.9):.1f} (p90), {max(times):.1f} at most")
    return 1 if max(times) > ARMED_MS else 0


if __name__ == "__main__":
    sys.exit(main())
