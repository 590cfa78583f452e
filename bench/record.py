#!/usr/bin/env python3
"""What recording every call costs beside counting it: bench/record.py [ROUNDS [SECONDS]]

For programs that call at 1 M/s and at full speed, by turns counted and recorded. Tells the calls/s that each leaves, the
cost of a recorded call to that of a counted one, what was lost, and what the reader takes.
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


def traced(program, seconds, word):
    """@return (calls/s by the program itself, the run)"""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        more = ["--json", file.name] if word == "record" else ["--json", "-o", file.name]
        with subprocess.Popen([NOWGATE, word, "-p", str(program.pid), "-d", f"{seconds}s", *more],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            time.sleep(0.5)  # until it is armed
            began, _, before = program.look()
            time.sleep(seconds - 1)
            ended, _, after = program.look()
            out, errors = run.communicate()
        if run.returncode not in (0, 7):
            raise RuntimeError(errors)
        return (after - before) / (ended - began), out, json.load(file)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5
    build_pace()
    print(f"{machine()}; {rounds} rounds of {seconds:g} s")
    print(f"{'threads':>7} {'calls/s':>9} {'counted/s':>10} {'recorded/s':>10} {'cost':>6} {'recorded':>11} {'lost':>9} {'reader':>7}")
    for threads, rate in KINDS:
        counted, recorded, hits, lost, reader = [], [], 0, 0, []
        with Paced(threads, rate) as program:
            time.sleep(0.3)
            for _ in range(rounds):
                counted.append(traced(program, seconds, "stat")[0])
                rate_recorded, out, document = traced(program, seconds, "record")
                recorded.append(rate_recorded)
                hits += document["hits"]
                lost += sum(document["lost"].values())
                reader.append(float(re.search(r"reader took ([0-9.]+) %", out)[1]))
        cost = statistics.median(counted) / statistics.median(recorded)
        print(f"{threads:>7} {rate or 'all':>9} {statistics.median(counted):>10.0f} {statistics.median(recorded):>10.0f}"
              f" {cost:>6.2f} {hits:>11} {lost:>9} {statistics.median(reader):>6.1f}%", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
