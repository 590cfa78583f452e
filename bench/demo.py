#!/usr/bin/env python3
"""Counts 100,000 calls of time.Now in three ways, side by side."""
import subprocess
import sys

from runs import build_program, by_bpftrace, by_nowgate, machine, median, untraced

ROUNDS = 5


def main():
    ways = [("untraced", untraced), ("bpftrace, at the symbol", by_bpftrace), ("nowgate stat", by_nowgate)]
    print("demo: building the Go program", file=sys.stderr)
    build_program()
    print(f"demo: running it {ROUNDS} times in each way", file=sys.stderr)
    runs = {name: [] for name, _ in ways}
    for _ in range(ROUNDS):  # interleaved: what the machine does meanwhile hits all alike
        for name, way in ways:
            runs[name].append(way())
    base = median([run.ns for run in runs["untraced"]])
    print(f"time.Now in a loop; medians of {ROUNDS} runs each; {machine()}\n")
    print(f"{'':<26}{'ns/call':>10}{'slowdown':>10}{'counted':>11}{'truth':>10}")
    for name, _ in ways:
        ns = median([run.ns for run in runs[name]])
        last = runs[name][-1]
        counted = "–" if last.count is None else f"{last.count:,}"
        print(f"{name:<26}{ns:>10,.0f}{ns / base:>9.1f}x{counted:>11}{last.truth:>10,}")
    print("\ntruth: how often the program called time.Now, as it says itself")
    wrong = [run for run in runs["nowgate stat"] if run.count != run.truth]
    for run in wrong:
        print(f"nowgate stat counted {run.count:,} of {run.truth:,} in one run: that must not be", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        sys.exit(f"demo: {error}")
