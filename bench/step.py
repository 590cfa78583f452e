#!/usr/bin/env python3
"""A target that steps from 1,000 calls a second to all it can: bench/step.py [STEPS [BUDGET]]

The target counts its own rounds of work, so the share that it loses is known for each 20 ms after the step. Tells when it is
back inside its budget for good, and the work lost in between. Exits 1 where that takes more than 300 ms (median).
"""
import statistics
import sys
import time

from paced import Daemon, Paced, build_pace
from runs import machine

BACK_MS = 300
LOOK_S = 0.02
AFTER_S = 2


def speeds(program, seconds):
    """@return [(end of the stretch in s since now, rounds a second in it)]"""
    began, before, _ = program.look()
    last, result = began, []
    while last - began < seconds:
        time.sleep(LOOK_S)
        now, rounds, _ = program.look()
        result.append((now - began, (rounds - before) / (now - last)))
        last, before = now, rounds
    return result


def step_once(daemon, budget, threads):
    with Paced(threads, 1e3, "step") as program:
        daemon.attach(program.pid, mode="off", budget_ratio=budget)
        program.step()
        time.sleep(0.2)
        full = statistics.median(speed for _, speed in speeds(program, 0.5))
        program.step()
        daemon.mode(program.pid, "sampled", budget_ratio=budget)
        time.sleep(3)
        program.step()
        after = speeds(program, AFTER_S)
        daemon.ask("detach", select={"pid": program.pid})
    lost = [(end, 1 - speed / full) for end, speed in after]
    # Back: from there on the mean loss is inside half as much again as the budget, noise of the machine left aside.
    back = next(end - LOOK_S for i, (end, _) in enumerate(lost)
                if statistics.fmean(share for _, share in lost[i:i + 15]) <= 1.5 * budget)
    early = sum(share * LOOK_S for end, share in lost if end <= back)
    return back * 1e3, early * 1e3


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    budget = float(sys.argv[2].rstrip("%")) / 100 if len(sys.argv) > 2 else 0.01
    build_pace()
    print(f"{machine()}; {steps} steps from 1,000 calls/s to all, budget {budget:.1%}")
    bad = 0
    with Daemon() as daemon:
        for threads in (1, 2):
            got = [step_once(daemon, budget, threads) for _ in range(steps)]
            back = [ms for ms, _ in got]
            print(f"{threads} threads: back after {statistics.median(back):.0f} ms (median), {max(back):.0f} at most;"
                  f" lost meanwhile {statistics.median(ms for _, ms in got):.1f} ms of work", flush=True)
            bad += statistics.median(back) > BACK_MS
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
