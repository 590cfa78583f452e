#!/usr/bin/env python3
"""How well rates are estimated: bench/rates.py [RUNS [SECONDS]]

Each run is of a program that knows its own rate, sampled within 1 % of its CPU time. Tells for each kind the errors, the
width of the 95 % intervals and how many of them held the truth. Exits 1 where fewer than 17 of 20 intervals did.
"""
import json
import statistics
import subprocess
import sys
import time

from paced import Paced, build_pace
from runs import NOWGATE, machine

KINDS = [(1, 1e4, "busy"), (1, 1e5, "busy"), (1, 1e6, "busy"), (1, 0, "busy"), (8, 1e4, "busy"), (8, 1e5, "busy"),
         (8, 1e6, "busy"), (8, 0, "busy"), (1, 1e5, "onoff"), (1, 1e5, "asleep"), (1, 1e6, "onoff"), (8, 1e6, "asleep")]


def estimate(threads, rate, kind, seconds):
    """@return (estimated / true, low / true, high / true or None)"""
    with Paced(threads, rate, kind) as program:
        time.sleep(0.3)
        began, _, before = program.look()
        run = subprocess.run([NOWGATE, "stat", "--mode", "sampled", "--json", "-p", str(program.pid), "-d", f"{seconds}s"],
                             capture_output=True, text=True, check=True)
        ended, _, after = program.look()
    truth = (after - before) / (ended - began)
    function = json.loads(run.stdout)["targets"][0]["functions"][0]
    high = function["rate_high_hz"]
    return function["rate_hz"] / truth, function["rate_low_hz"] / truth, high and high / truth


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10
    build_pace()
    print(f"{machine()}; {runs} runs of {seconds:g} s each, budget 1 %")
    print(f"{'threads':>7} {'calls/s':>8} {'kind':>7} {'off by (median)':>16} {'worst':>8} {'interval':>18} {'held the truth':>15}")
    held_in_all = 0
    for threads, rate, kind in KINDS:
        got = [estimate(threads, rate, kind, seconds) for _ in range(runs)]
        off = [abs(value - 1) for value, _, _ in got]
        held = sum(low <= 1 and (high is None or high >= 1) for _, low, high in got)
        held_in_all += held
        low = statistics.median(low for _, low, _ in got)
        high = statistics.median(high or float("inf") for _, _, high in got)
        print(f"{threads:>7} {rate or 'all':>8} {kind:>7} {statistics.median(off):>16.1%} {max(off):>8.1%}"
              f" {low:>8.2f} to {high:>6.2f} {held:>8} of {runs}", flush=True)
    print(f"held the truth in all: {held_in_all} of {runs * len(KINDS)}")
    return 1 if held_in_all < 0.85 * runs * len(KINDS) else 0


if __name__ == "__main__":
    sys.exit(main())
