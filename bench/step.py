#!/usr/bin/env python3
"""A target that steps from 1,000 calls a second to all it can: bench/step.py [STEPS [BUDGET]]

The target counts its own rounds of work, so the share that it loses is known for each 20 ms after the step, against its speed
untraced before and after. One step's 20 ms are known to some percent only: the share at each time is the mean over all steps.
Tells when it is back inside its budget, the work lost until then, and the share from then on. Exits 1 where that takes more
than 300 ms.
"""
import statistics
import sys
import time

from paced import Daemon, Paced, build_pace
from runs import machine

BACK_MS = 300
LOOK_S = 0.02
BINS = 75  # looks after a step
BACK_BINS = 15  # back: the mean over so many is inside half as much again as the budget


def speeds(program, count):
    """@return rounds a second in each of so many looks"""
    last, before, _ = program.look()
    result = []
    for _ in range(count):
        time.sleep(LOOK_S)
        now, rounds, _ = program.look()
        result.append((rounds - before) / (now - last))
        last, before = now, rounds
    return result


def step_once(daemon, budget, threads):
    """@return the share lost in each look after a step"""
    with Paced(threads, 1e3, "step") as program:
        daemon.attach(program.pid, mode="off", budget_ratio=budget)

        def untraced():
            daemon.mode(program.pid, "off", budget_ratio=budget)
            time.sleep(0.2)
            return speeds(program, BINS)

        program.step()
        full = untraced()
        program.step()
        daemon.mode(program.pid, "sampled", budget_ratio=budget)
        time.sleep(3)
        program.step()
        after = speeds(program, BINS)
        full += untraced()
        daemon.ask("detach", select={"pid": program.pid})
    speed = statistics.fmean(full)  # as what is compared with it
    return [1 - value / speed for value in after]


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    budget = float(sys.argv[2].rstrip("%")) / 100 if len(sys.argv) > 2 else 0.01
    build_pace()
    print(f"{machine()}; {steps} steps from 1,000 calls/s to all, budget {budget:.1%}")
    bad = 0
    with Daemon() as daemon:
        for threads in (1, 2):
            runs = [step_once(daemon, budget, threads) for _ in range(steps)]
            lost = [statistics.fmean(run[i] for run in runs) for i in range(BINS)]
            error = statistics.fmean(statistics.stdev(run[i] for run in runs) for i in range(BINS)) / steps ** 0.5
            back = next((i for i in range(BINS - BACK_BINS)
                         if statistics.fmean(lost[i:i + BACK_BINS]) <= 1.5 * budget), None)
            if back is None:
                bad += 1
                print(f"{threads} threads: not back within {(BINS - BACK_BINS) * LOOK_S * 1e3:.0f} ms;"
                      f" {statistics.fmean(lost):.2%} lost", flush=True)
                continue
            print(f"{threads} threads: back after {back * LOOK_S * 1e3:.0f} ms; lost until then"
                  f" {sum(lost[:back]) * LOOK_S * 1e3:.1f} ms of work; from then on {statistics.fmean(lost[back:]):.2%};"
                  f" a look of 20 ms is known to {error:.2%}", flush=True)
            print("  lost in each: " + " ".join(f"{share:.1%}" for share in lost[:25]), flush=True)
            bad += back * LOOK_S * 1e3 > BACK_MS
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
