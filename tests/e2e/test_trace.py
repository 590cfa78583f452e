"""Each call by itself: none missing, none twice, in three formats, with its goroutine and its stack."""
import collections
import contextlib
import json
import pathlib
import re
import signal
import subprocess
import tempfile

from harness import (BOUND_S, NOWGATE, Beside, Target, check, check_in, go_program, need, newest, nowgate, test,
                     text_differences)
from paths import CALLS, comparable, expected


@contextlib.contextmanager
def folder(size=None):
    """A directory for traces; with a size it is a disk that has no more."""
    with tempfile.TemporaryDirectory(prefix="nowgate-trace-") as name:
        if size:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "nowgate-test", name], check=True)
        try:
            yield pathlib.Path(name)
        finally:
            if size:
                subprocess.run(["umount", name], check=True)


def trace_command(*options, program="paths", arguments=(CALLS,)):
    """Traces a command. @return (what it says of its calls, the run)"""
    run = nowgate("trace", *options, "--", go_program(newest(), program), *arguments)
    return (json.loads(run.stdout) if run.stdout.strip() else None), run


def lines_of(path):
    """@return (header, calls, losses, trailer) of an NDJSON file"""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    check(lines[0]["kind"], "nowgate-trace", "the header")
    check(lines[-1].get("end"), True, "the trailer")
    inner = lines[1:-1]
    return (lines[0], [line for line in inner if "stack" in line], [line for line in inner if "lost" in line],
            lines[-1])


def by_caller(truth):
    sums = collections.Counter()
    for path, calls in expected(truth).items():
        sums[path[0][0]] += calls
    return sums


@test()
def each_call_is_there_with_its_stack():
    with folder() as where:
        truth, run = trace_command("-o", where / "calls.ndjson")
        check(run.returncode, 0, run.stderr)
        _, events, losses, end = lines_of(where / "calls.ndjson")
    got = collections.Counter()
    for event in events:
        frames = [(f["function"], f["file"] or "", f["line"] or 0) for f in event["stack"]]
        check((event["function"], frames[0][0]), ("time.Now", "time.Now"), "what was called")
        got[comparable(frames[1:])] += 1
    wanted = expected(truth)
    check({path: got[path] for path in wanted}, dict(wanted), "paths")
    check((len(events), losses, end["events"]), (sum(wanted.values()), [], len(events)), "calls")
    check_in(f"{len(events):,} calls in", run.stderr, "the summary")
    threads = collections.defaultdict(list)
    for event in events:
        threads[event["tid"]].append(event["time_ns"])
    check([tid for tid, times in threads.items() if times != sorted(times)], [], "threads out of order")
    check(len({event["pid"] for event in events}), 1, "processes")
    check(all(event["goroutine"] > 0 for event in events), True, "goroutines")


@test()
def babeltrace_reads_as_many():
    need("babeltrace2")
    with folder() as where:
        truth, run = trace_command("-o", where / "trace")
        check(run.returncode, 0, run.stderr)
        read = subprocess.run(["babeltrace2", where / "trace"], capture_output=True, text=True, timeout=BOUND_S,
                              check=True)
    check(read.stderr, "", "what babeltrace2 complains of")
    callers = collections.Counter(re.findall(r' call: .*caller = "([^"]*)"', read.stdout))
    check(callers, by_caller(truth), "calls by caller")


def fields_of(lines):
    """A message as `protoc --decode_raw` prints it: {number: [value or message]}."""
    message = collections.defaultdict(list)
    for line in lines:
        word = line.strip()
        if word == "}":
            break
        if word.endswith(" {"):
            message[int(word.split()[0])].append(fields_of(lines))
        else:
            number, value = word.split(": ", 1)
            message[int(number)].append(json.loads(value) if value.startswith('"') else int(value, 0))
    return message


@test()
def perfetto_gets_as_many():
    """By the field numbers of Perfetto's own definitions, not by ours."""
    with folder() as where:
        truth, run = trace_command("-o", where / "trace.pftrace")
        check(run.returncode, 0, run.stderr)
        with open(where / "trace.pftrace", "rb") as file:
            raw = subprocess.run([need("protoc"), "--decode_raw"], stdin=file, capture_output=True, text=True,
                                 timeout=BOUND_S, check=True).stdout
    names, frames, stacks, events = {}, {}, {}, []
    for packet in fields_of(iter(raw.splitlines()))[1]:  # Trace.packet
        for interned in packet[12]:  # TracePacket.interned_data
            names.update((name[1][0], name[2][0]) for name in interned[5])  # function_names: iid, str
            frames.update((frame[1][0], names[frame[2][0]]) for frame in interned[6])  # frames: iid, function_name_id
            stacks.update((stack[1][0], [frames[iid] for iid in stack[2]]) for stack in interned[7])  # outermost first
        events += [(packet[8][0], event) for event in packet[11]]  # timestamp, track_event
    check({event[9][0] for _, event in events}, {3}, "types: TYPE_INSTANT")
    check(min(time for time, _ in events) > 0, True, "times")
    callers = collections.Counter(stacks[event[56][0]][-2] for _, event in events)  # callstack_iid
    check(callers, by_caller(truth), "calls by caller")


@test()
def segments_follow_each_other():
    with folder() as where:
        truth, run = trace_command("-o", where / "calls.ndjson", "--segment", "256K")
        check(run.returncode, 0, run.stderr)
        parts = sorted(where.iterdir())
        sizes = [part.stat().st_size for part in parts]
        counts = [len(lines_of(part)[1]) for part in parts]
        check(sum(counts), sum(expected(truth).values()), f"calls in {len(parts)} files")
        check(len(parts) > 3 and max(sizes) < 300 << 10, True, f"sizes {sizes}")
    with folder() as where:
        _, run = trace_command("-o", where / "calls.ndjson", "--segment", "256K", "--keep", "2")
        check(run.returncode, 0, run.stderr)
        check(len(list(where.iterdir())), 2, "files that are kept")
        check_in("without the oldest", run.stderr, "the summary")


@test()
def a_full_disk_ends_it_readably():
    """What was written and what was lost are all there was; the target goes on, and its text is clean."""
    with folder("1m") as where, Target(go_program(newest(), "paths"), 40, "hold") as target:
        with Beside("stderr", NOWGATE, "trace", "-p", target.pid, "-o", where / "calls.ndjson") as run:
            run.process.send_signal(signal.SIGSTOP)  # the ring takes all of them, before one is written
            target.begin()
            truth = target.truth()
            run.process.send_signal(signal.SIGCONT)
            out, errors = run.process.communicate(timeout=BOUND_S)
        check(run.process.returncode, 7, errors)
        check(text_differences(target.pid), [], "text")
        check(target.end(), 0, "the target's status")
        kept = (where / "calls.ndjson").read_text().splitlines()
    events = sum("stack" in json.loads(line) for line in kept)
    lost = sum(int(count) for count in re.findall(r"^LOST: (\d+) calls", out, re.MULTILINE))
    check_in("it ended early", errors, "why")
    check_in("disk full", out, "the cause")
    check(events > 0 and events + lost, sum(path["calls"] for path in truth), f"{events} written, {lost} lost")


@test()
def a_reader_that_has_gone_ends_it():
    with Target(go_program(newest(), "mix")) as target:
        target.begin()
        run = subprocess.run(["sh", "-c", f"'{NOWGATE}' trace -p {target.pid} -d 20s -o - | head -n 3"],
                             capture_output=True, text=True, timeout=BOUND_S, check=True)
        check(len(run.stdout.splitlines()), 3, "lines")
        check_in("Broken pipe", run.stderr, "why")
        check(text_differences(target.pid), [], "text")
        target.end()


@test()
def what_does_not_go_together_is_said():
    some = ("-p", 1)
    for options, text in (((*some,), "Name a directory or file by --output"),
                          ((*some, "-o", "-", "--format", "ctf"), "CTF needs a directory"),
                          ((*some, "-o", "x", "--format", "xml"), "it can be ctf, perfetto or ndjson"),
                          ((*some, "-o", "x", "--keep", 3), "--keep goes with --segment"),
                          ((*some, "-o", "x", "--segment", "1K"), "it can be 64K to 1024G"),
                          ((*some, "-o", "-", "--segment", "1M"), "--segment goes with files"),
                          (("-o", "x"), "")):
        run = nowgate("trace", *options)
        check(run.returncode, 2, run.stderr)
        check_in(text, run.stderr, f"of {options}")
    with folder() as where:
        (where / "old").write_text("something")
        run = nowgate("trace", *some, "-o", where)
        check(run.returncode != 0 and (where / "old").read_text(), "something", "what was there")
        check_in("is not empty", run.stderr, "why")
