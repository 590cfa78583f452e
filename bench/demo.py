#!/usr/bin/env python3
"""Counts 100,000 calls of time.Now in three ways, side by side."""
import shutil
import sys

from runs import build_program, by_bpftrace, by_nowgate, machine, median, untraced

ROUNDS = 5


def main():
    ways = [("untraced", untraced), ("bpftrace, at the symbol", by_bpftrace), ("nowgate stat", by_nowgate)]
    if not shutil.which("bpftrace"):
        del ways[1]
        print("bpftrace is not installed: it is left out", file=sys.stderr)
    build_program()
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
    wrong = [run for run in runs["nowgate stat"] if run.count != run.truth]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
