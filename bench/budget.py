#!/usr/bin/env python3
"""What tracing within a budget takes from a program: bench/budget.py [BUDGET [SECONDS [SLICE_MS]]]

For 1 and 8 threads, at several rates: traced and untraced slices alternate in ABBA order in one run, and the progress of
the program in them is compared. Beside it the same with two untraced halves, which is the noise: least in slices of 20 ms,
the default. Longer ones show better whether what the daemon tells is true: it works out what a window takes of its own
CPU time each 20 windows, and changes of mode count there. Exits 1 where a program loses more than half as much again as
its budget.
"""
import statistics
import sys

from paced import Daemon, Paced, build_pace
from runs import machine

import time

ORDER = (True, False, False, True)
RATES = (1e3, 1e5, 1e6, 0)


def slices(program, switch, groups, slice_s):
    """Runs ABBA slices. @return the relative loss of each group of four"""
    losses = []
    for _ in range(groups):
        speed = {True: [], False: []}
        for traced in ORDER:
            switch(traced)
            began, before, _ = program.look()
            time.sleep(slice_s)
            ended, after, _ = program.look()
            speed[traced].append((after - before) / (ended - began))
        losses.append(1 - sum(speed[True]) / sum(speed[False]))
    return losses


def told(values):
    middle = statistics.fmean(values)
    error = statistics.stdev(values) / len(values) ** 0.5
    return middle, error


def measure(daemon, threads, rate, budget, groups, slice_s):
    with Paced(threads, rate) as program:
        daemon.attach(program.pid, mode="off", budget_ratio=budget)
        daemon.mode(program.pid, "sampled", budget_ratio=budget)
        time.sleep(1)  # it learns the rate
        before = daemon.target(program.pid)
        losses = slices(program, lambda traced: daemon.mode(
            program.pid, "sampled" if traced else "off", budget_ratio=budget), groups, slice_s)
        daemon.mode(program.pid, "off")
        after = daemon.target(program.pid)
        noise = slices(program, lambda traced: daemon.mode(program.pid, "off"), groups, slice_s)
        # What the daemon says it took, over the half of the CPU time in which it was on.
        lost = after["overhead_ratio"] * after["cpu_ns"] - before["overhead_ratio"] * before["cpu_ns"]
        predicted = lost / ((after["cpu_ns"] - before["cpu_ns"]) / 2)
        windows = after["windows"] - before["windows"]
        daemon.ask("detach", select={"pid": program.pid})
    return told(losses), told(noise), predicted, windows


def main():
    budget = float(sys.argv[1].rstrip("%")) / 100 if len(sys.argv) > 1 else 0.01
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 20
    slice_s = float(sys.argv[3]) / 1e3 if len(sys.argv) > 3 else 0.02
    groups = int(seconds / (slice_s * len(ORDER)))
    build_pace()
    print(f"{machine()}; budget {budget:.1%}, slices of {slice_s * 1e3:.0f} ms, {groups} groups of ABBA; mean and standard error")
    print(f"{'threads':>7} {'calls/s':>10} {'lost':>16} {'untraced':>16} {'predicted':>10} {'windows':>8}")
    bad = 0
    with Daemon() as daemon:
        for threads in (1, 8):
            for rate in RATES:
                loss, noise, predicted, windows = measure(daemon, threads, rate, budget, groups, slice_s)
                bad += loss[0] > 1.5 * budget
                print(f"{threads:>7} {rate or 'all':>10} {loss[0]:>8.2%} ±{loss[1]:.2%} {noise[0]:>8.2%} ±{noise[1]:.2%}"
                      f" {predicted:>10.2%} {windows:>8}", flush=True)
    print(f"over one and a half budgets: {bad}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
