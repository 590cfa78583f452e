#!/usr/bin/env python3
"""What counting costs a call, beside bpftrace's one-liner: bench/count.py [ROUNDS]

Runs alternate; the cost is ns per call above the untraced run of the same round. Beside them the least that any
breakpoint there can cost on this machine: the kernel's own counter at nowgate's instruction, without BPF. Exits 1
where nowgate's cost is more than 1/8 of bpftrace's, or a count is not the truth.
"""
import sys

from runs import build_program, by_bpftrace, by_kernel, by_nowgate, machine, median, untraced

BAR = 1 / 8


def spread(values):
    ordered = sorted(values)
    return f"{median(ordered):.3g} ({ordered[len(ordered) // 4]:.3g} to {ordered[(3 * len(ordered)) // 4]:.3g})"


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    build_program()
    base, peer, own, floor, wrong = [], [], [], [], 0
    for _ in range(rounds):
        base.append(untraced().ns)
        peer.append(by_bpftrace().ns - base[-1])
        run = by_nowgate()
        own.append(run.ns - base[-1])
        wrong += run.count != run.truth
        floor.append(by_kernel().ns - base[-1])
    ratios = [ours / theirs for ours, theirs in zip(own, peer)]
    print(f"{machine()}; {rounds} rounds; median (quartiles)")
    print(f"untraced, ns/call           {spread(base)}")
    print(f"bpftrace adds, ns/call      {spread(peer)}")
    print(f"nowgate stat adds, ns/call  {spread(own)}")
    print(f"the kernel alone, ns/call   {spread(floor)}")
    print(f"kernel alone / bpftrace     {spread([least / theirs for least, theirs in zip(floor, peer)])}")
    print(f"nowgate / kernel alone      {spread([ours / least for ours, least in zip(own, floor)])}")
    print(f"nowgate / bpftrace          {spread(ratios)}; the bar is {BAR}")
    print(f"counts that were wrong      {wrong} of {rounds}")
    return 1 if median(ratios) > BAR or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
