#!/usr/bin/env python3
"""What recording every call costs beside counting it: bench/record.py [ROUNDS [SECONDS]]

For programs that call at 1 M/s and at full speed, by turns counted and recorded. Tells the calls/s that each leaves
(medians), the cost of a recorded call to that of a counted one (the median of the rounds, the least and the most), what was
lost, and what the reader takes (median and most).
"""
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time

from paced import Paced, build_pace
from runs import NOWGATE, machine

KINDS = [(1, 1e6), (1, 0), (2, 0), (8, 0)]


def progress(program, seconds, *command):
    """@return (calls/s by the program itself, from the command's first line on; all that it says)"""
    with subprocess.Popen([NOWGATE, *command, "-p", str(program.pid), "-d", f"{seconds}s"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as run:
        first = run.stdout.readline()
        began, _, before = program.look()
        time.sleep(seconds - 1)
        ended, _, after = program.look()
        out = first + run.communicate()[0]
    if run.returncode not in (0, 7):
        raise RuntimeError(out)
    return (after - before) / (ended - began), out


def counted(program, seconds):
    return progress(program, seconds, "stat", "--json", "-I", "100ms")[0]


def recorded(program, seconds):
    """@return (calls/s, the recording, percent of a CPU that the reader took)"""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        rate, out = progress(program, seconds, "record", "--json", file.name)
        return rate, json.load(file), float(re.search(r"reader took ([0-9.]+) %", out)[1])


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5
    build_pace()
    print(f"{machine()}; {rounds} rounds of {seconds:g} s")
    print(f"{'threads':>7} {'calls/s':>9} {'counted/s':>10} {'recorded/s':>10} {'cost':>17} {'recorded':>11} {'lost':>9} {'reader':>13}")
    for threads, rate in KINDS:
        rates, hits, lost, reader = [], 0, 0, []
        with Paced(threads, rate) as program:
            time.sleep(0.3)
            for _ in range(rounds):
                before = counted(program, seconds)
                after, document, percent = recorded(program, seconds)
                rates.append((before, after))
                hits += document["hits"]
                lost += sum(document["lost"].values())
                reader.append(percent)
        costs = [before / after for before, after in rates]
        before, after = map(statistics.median, zip(*rates))
        print(f"{threads:>7} {rate or 'all':>9} {before:>10.0f} {after:>10.0f}"
              f" {statistics.median(costs):>5.2f} ({min(costs):.2f}-{max(costs):.2f}) {hits:>11} {lost:>9}"
              f" {statistics.median(reader):>5.1f} ({max(reader):.1f}) %", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
