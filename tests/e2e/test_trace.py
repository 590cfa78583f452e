"""Each call by itself: none missing, none twice, in three formats, with its goroutine and its stack."""
import collections
import contextlib
import json
import pathlib
import re
import signal
import subprocess
import tempfile

import traced
from harness import (BOUND_S, NOWGATE, Beside, Target, check, check_in, go_program, newest, nowgate, test,
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


def check_calls(name, read):
    """Traces a command; what a reader finds in the trace are all its calls, each with its whole stack."""
    with folder() as where:
        truth, run = trace_command("-o", where / name)
        check(run.returncode, 0, run.stderr)
        trace = read(where / name)
    got = collections.Counter()
    for call in trace.calls:
        frames = [(function, file or "", line or 0) for function, file, line in call.stack]
        check((call.function, frames[0][0]), ("time.Now", "time.Now"), f"what was called, in {name}")
        check(call.caller.split()[0], frames[1][0], f"who called, in {name}")
        got[comparable(frames[1:])] += 1
    wanted = expected(truth)
    check({path: got[path] for path in wanted}, dict(wanted), f"paths in {name}")
    check((len(trace.calls), trace.lost), (sum(wanted.values()), {}), f"calls in {name}")
    check_in(f"{len(trace.calls):,} calls in", run.stderr, "the summary")
    threads = collections.defaultdict(list)
    for call in trace.calls:
        threads[call.tid].append(call.time_ns)
    check([tid for tid, times in threads.items() if times != sorted(times)], [], f"threads out of order in {name}")
    check((len({call.pid for call in trace.calls}), min(threads[tid][0] for tid in threads) > 0), (1, True),
          f"processes, and times, in {name}")
    check(all(call.goroutine > 0 for call in trace.calls), True, f"goroutines in {name}")
    return trace


@test()
def each_call_is_there_with_its_stack():
    trace = check_calls("calls.ndjson", traced.read_ndjson)
    check(trace.end["events"], len(trace.calls), "the trailer")


@test()
def babeltrace_reads_each():
    def read(path):
        check(traced.babeltrace(path).stderr, "", "what babeltrace2 complains of")
        return traced.read_ctf(path, 0)
    check_calls("calls", read)


@test()
def perfetto_gets_each():
    """By the field numbers of Perfetto's own definitions, not by ours."""
    check_calls("calls.pftrace", traced.read_perfetto)


@test()
def segments_follow_each_other():
    with folder() as where:
        truth, run = trace_command("-o", where / "calls.ndjson", "--segment", "256K")
        check(run.returncode, 0, run.stderr)
        parts = sorted(where.iterdir())
        sizes = [part.stat().st_size for part in parts]
        counts = [len(traced.read_ndjson(part).calls) for part in parts]
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
