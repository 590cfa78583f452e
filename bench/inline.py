#!/usr/bin/env python3
"""What the inline engine's code costs a call, in a process of ours: bench/inline.py [ROUNDS [MILLIONS]]

Each mode by turns, for each round; ns of the caller's CPU time a call more than not entered, median (quartiles).
Once with a call that does nothing else, and once with one that reads the clock twice, as time.Now does. Stacks of 8
frames, a ring of 4 MiB, one reader each millisecond. Exits 1 where a bar is missed.
"""
import statistics
import subprocess
import sys

from runs import BUILD, TOP, machine

PROGRAM = BUILD / "release" / "bench" / "inline"
MODES = ("none", "off", "count", "sampled", "full")
BARS = {"off": 2, "count": 5, "full": 30}  # ns more a call
DEPTH, INTERVAL, RING_KIB = 8, 1000, 4096


def run(site, mode, work, millions):
    out = subprocess.run([PROGRAM, site, mode, str(INTERVAL), str(DEPTH), work, str(millions * 1000000), str(RING_KIB)],
                         capture_output=True, text=True, check=True).stdout
    ns, calls, delivered, lost, reader = out.split()
    return {"ns": float(ns), "calls": int(calls), "delivered": int(delivered), "lost": int(lost), "reader": float(reader)}


def spread(values):
    if len(values) < 2:
        return f"{values[0]:.1f}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def show(site, work, rounds):
    """@return whether a bar is missed"""
    missed = False
    for mode in MODES:
        more = [each[mode]["ns"] - each["none"]["ns"] for each in rounds]
        ratio = statistics.median(each[mode]["ns"] / each["none"]["ns"] for each in rounds)
        base = statistics.median(each[mode]["ns"] for each in rounds)
        line = f"{site:<9} {work:<6} {mode:<8} {base:>7.1f} ns"
        if mode != "none":
            line += f"  {'+' + spread(more):>24}  {ratio:.2f} times"
        if mode == "full":
            calls = sum(each[mode]["calls"] for each in rounds)
            lost = sum(each[mode]["lost"] for each in rounds)
            reader = statistics.median(each[mode]["reader"] for each in rounds)
            line += f"  {1e3 / base:.0f} M/s, lost {lost} of {calls}, the reader {reader:.2f} of a CPU"
            missed |= any(each[mode]["calls"] != each[mode]["delivered"] + each[mode]["lost"] for each in rounds)
        print(line, flush=True)
        missed |= mode in BARS and statistics.median(more) > BARS[mode]
    return missed


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    millions = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    subprocess.run(["ninja", "--quiet", "-C", BUILD / "release", "bench/inline"], cwd=TOP, check=True)
    print(f"{machine()}; {rounds} rounds of {millions} million calls; median (quartiles)")
    missed = False
    for site in ("clock", "call", "prologue"):
        for work in ("none", "clock"):
            measured = [{mode: run(site, mode, work, millions) for mode in MODES} for _ in range(rounds)]
            missed |= show(site, work, measured)
    print(f"bars: off +{BARS['off']}, count +{BARS['count']}, full +{BARS['full']} ns; every call delivered or lost by "
          f"name: {'missed' if missed else 'kept'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
