#!/usr/bin/env python3
"""What the aggregator takes in, beside a table behind one lock: bench/agg.py [ROUNDS [SECONDS]]

Readers add calls of 1,000 stacks of 16 frames as fast as they can. One reader, two, and as the machine's own limit two
processes of one each, by turns; scaling is the ratio within a round, by wall-clock time and by CPU time, which other work
on the machine shortens less. Then the memory that 100,000 stacks and two readers take. Exits 1 where a bar is missed.
"""
import statistics
import subprocess
import sys

from runs import BUILD, TOP, machine

PROGRAM = BUILD / "release" / "bench" / "agg"
RATE_BAR, SCALING_BAR, MIB_BAR = 10e6, 1.7, 64


def start(*arguments):
    return subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def numbers(process):
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"bench/agg: exit {process.returncode}")
    return [float(word) for word in out.split()]


def speed(kind, processes, readers, seconds):
    """@return events/s of all of them, by (wall-clock, CPU) time"""
    running = [start(kind, readers, seconds) for _ in range(processes)]
    return [sum(rates) for rates in zip(*map(numbers, running))]


def spread(values, form="{:.2f}"):
    low, middle, high = (form.format(value) for value in statistics.quantiles(values, n=4, method="inclusive"))
    return f"{middle} ({low} to {high})"


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 1
    subprocess.run(["ninja", "--quiet", "-C", BUILD / "release", "bench/agg"], cwd=TOP, check=True)
    print(f"{machine()}; {rounds} rounds of {seconds:g} s; median (quartiles)")
    runs = {"table": [], "mutex": []}
    for _ in range(rounds):
        for kind, of_kind in runs.items():
            of_kind.append([speed(kind, processes, readers, seconds) for processes, readers in ((1, 1), (1, 2), (2, 1))])
    missed = False
    print(f"{'':22}{'one reader, M/s':>22} {'two, M/s':>22} {'scaling':>22} {'of two processes':>22}")
    for kind, of_kind in runs.items():
        for i, clock in enumerate(("wall", "CPU")):
            scaling = [two[i] / one[i] for one, two, _ in of_kind]
            print(f"{kind}, by {clock} time".ljust(22)
                  + f"{spread([one[i] / 1e6 for one, _, _ in of_kind], '{:.1f}'):>22}"
                  + f" {spread([two[i] / 1e6 for _, two, _ in of_kind], '{:.1f}'):>22}"
                  + f" {spread(scaling):>22} {spread([both[i] / one[i] for one, _, both in of_kind]):>22}")
            if kind == "table":
                missed |= statistics.median(one[i] for one, _, _ in of_kind) < RATE_BAR
                missed |= statistics.median(scaling) < SCALING_BAR
    memory = [numbers(start("memory")) for _ in range(min(rounds, 5))]
    for i, what in enumerate(("resident, MiB", "by its own account, MiB", "a rotation, ms", "a snapshot, ms", "a removal, ms")):
        print(f"100,000 stacks: {what:<24}{spread([run[i] for run in memory], '{:.1f}')}")
    missed |= statistics.median(run[0] for run in memory) > MIB_BAR
    print(f"bars: {RATE_BAR / 1e6:g} M/s a reader, scaling {SCALING_BAR}, {MIB_BAR} MiB: {'missed' if missed else 'kept'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
