"""Trace files: what was written is what others read, also where the disk, a limit, a pipe or a kill -9 ended it. They are
written by a program that does nothing else (tests/out/trace.c, built with AddressSanitizer)."""
import contextlib
import json
import os
import pathlib
import re
import resource
import subprocess
import tempfile

import harness
import traced
from harness import BUILD, Skip, check, check_in, test
from traced import Call

TRACE = BUILD / "asan" / "tests" / "unit" / "trace"
FORMATS = ("ctf", "perfetto", "ndjson")
UNIT_BYTES = 128 << 10  # that are written at once, and a little

# What tests/out/trace.c writes, as it should be read.
BEGAN_NS, OFFSET_NS, PID, LATE = 5_000_000_000_000, 1_700_000_000_123_456_789, 4711, 4000
LOST = {"ring full": 7, "map full": 3}
NOW, MAIN = ("time.Now", "/go/src/time/time.go", 1160), ("main.main", "/src/main.go", 60)
STACKS = (
    (),
    (NOW, ('main.work[go.shape.struct { A "x"; B <-chan\\int }]', "/src/main.go", 25), MAIN),
    (NOW, ("0x7f0000001234", None, None), MAIN),
    (("odd   \ufffd\u00e9 name", "/src/  odd .go", 3),),
)
CALLERS = (None, 'main.work[go.shape.struct { A "x"; B <-chan\\int }] main.go:25', "0x7f0000001234",
           "odd   \ufffd\u00e9 name   odd .go:3")


def is_late(i):
    return i % LATE == LATE - 1


def call(i):
    time_ns = BEGAN_NS + (1000 * (i - LATE + 1) + 1 if is_late(i) else 1000 * (i ^ 1))
    return Call(time_ns, PID, PID + i % 3, i % 5 or None, "time.Now", CALLERS[i % 4], STACKS[i % 4])


def calls(count, begin=0):
    return [call(i) for i in range(begin, count)]


def by_time(some):
    return sorted(some, key=lambda one: one.time_ns)


@contextlib.contextmanager
def folder(size=None):
    """A folder; with a size, a file system of its own."""
    with tempfile.TemporaryDirectory(prefix="nowgate-trace-") as path:
        if not size:
            yield pathlib.Path(path)
            return
        if os.geteuid() != 0:
            raise Skip("needs root: a small file system is mounted")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "nowgate-test", path], check=True)
        try:
            yield pathlib.Path(path)
        finally:
            subprocess.run(["umount", path], check=True)


def write(kind, path, count, *options, status=0, **rest):
    """@return (the totals, stderr)"""
    if not TRACE.exists():
        raise Skip("build/asan is not built: ./dev test does it")
    run = subprocess.run([TRACE, *options, kind, path, str(count)], capture_output=True, text=True,
                         timeout=harness.BOUND_S, check=False, **rest)
    check(run.returncode, status, f"trace {options} {kind}: {run.stderr}")
    return harness.last_json(run.stdout or run.stderr), run.stderr


def segments(kind, path, totals):
    """The files that there are, oldest first."""
    numbers = range(totals["first_segment"], totals["first_segment"] + totals["segments"])
    if kind == "ctf":
        files = [path / f"stream_{number}" for number in numbers]
        check(sorted(path.iterdir()), sorted([path / "metadata", *files]), "the directory")
    else:
        files = [path.with_name(path.name + f".{number}") if number else path for number in numbers]
        check(sorted(path.parent.iterdir()), sorted(files), "the files")
    return files


def read_alone(kind, file):
    if kind == "ctf":
        return traced.read_ctf_segment(file, OFFSET_NS)
    return traced.read_perfetto(file) if kind == "perfetto" else traced.read_ndjson(file)


def read_all(kind, path, totals):
    """Each file by itself; CTF as a whole as well, which has to come to the same."""
    parts = [read_alone(kind, file) for file in segments(kind, path, totals)]
    check({part.offset_ns for part in parts}, {OFFSET_NS}, f"{kind}: from one clock to the other")
    if kind == "ctf":
        whole = traced.read_ctf(path, OFFSET_NS)
        check(whole.calls, [one for part in parts for one in part.calls], "together and alone")
        check(whole.lost, sum((part.lost for part in parts), start=type(whole.lost)()), "together and alone: lost")
    return parts


def check_calls(kind, parts, wanted):
    """In the order in which they were added; CTF's by their times, but for those that say that they are late: behind the
    end of a file, one of a pair is."""
    got = [one for part in parts for one in part.calls]
    if kind != "ctf":
        check(got, wanted, f"{kind}: calls")
        return
    late = [one for part in parts for one in part.late]
    too_late = [one for one in wanted if one.time_ns % 1000]
    check((set(too_late) - set(late), len(late) < len(too_late) + len(parts)), (set(), True), f"late calls: {late}")
    check(by_time(got), by_time(wanted), "calls")
    check([one for one in got if one not in late], by_time(one for one in wanted if one not in late), "calls in time")


def check_totals(totals, count, lost, ended_by=""):
    check((totals["events"] + sum(totals["lost"].values()), totals["ended_by"]), (count + sum(LOST.values()), ended_by),
          f"events: written and lost: {totals}")
    check(totals["lost"], {**LOST, **lost}, "lost, by cause")


@test(bpf=False)
def each_reader_reads_each_call():
    for kind in FORMATS:
        with folder() as place:
            totals, _ = write(kind, place / "trace", 10000)
            check_totals(totals, 10000, {})
            check((totals["segments"], totals["removed_events"]), (1, 0), "segments")
            parts = read_all(kind, place / "trace", totals)
            check_calls(kind, parts, calls(10000))
            check(parts[0].lost, LOST, f"{kind}: lost")


@test(bpf=False)
def babeltrace_warns_of_what_was_lost():
    with folder() as place:
        write("ctf", place / "trace", 10000)
        run = traced.babeltrace(place / "trace")
        check(re.findall(r"Tracer discarded (\d+) events between", run.stderr), ["7", "3"], "warnings")
        lost = [line.split("] ")[1] for line in run.stdout.splitlines() if " lost: " in line]
        check(lost, ['lost: { events = 7, cause = "ring full" }', 'lost: { events = 3, cause = "map full" }'], "events")


@test(bpf=False)
def a_trace_says_of_what_it_is():
    with folder() as place:
        write("ctf", place / "ctf", 1)
        metadata = (place / "ctf" / "metadata").read_text()
        check_in('\ttracer_name = "nowgate";\n\texe = "/usr/bin/a \\"server\\"\\\\";\n\tfunction = "time.Now";\n\tpid = 4711;\n',
                 metadata, "CTF: the environment")
        write("ndjson", place / "ndjson", 1)
        header = json.loads((place / "ndjson").read_text().splitlines()[0])
        check(header, {"version": 1, "kind": "nowgate-trace", "segment": 0, "clock_offset_ns": OFFSET_NS, "pid": PID,
                       "exe": '/usr/bin/a "server"\\', "function": "time.Now", "mode": None}, "NDJSON: the header")


@test(bpf=False)
def segments_are_read_alone_and_together():
    for kind in FORMATS:
        with folder() as place:
            totals, _ = write(kind, place / "trace", 10000, "-s", "100000")
            check_totals(totals, 10000, {})
            check(totals["segments"] > 3, True, f"{kind}: segments: {totals}")
            files = segments(kind, place / "trace", totals)
            check(sum(file.stat().st_size for file in files), totals["bytes"], "bytes")
            parts = read_all(kind, place / "trace", totals)
            check([bool(part.calls) for part in parts], [True] * len(parts), f"{kind}: each has some")
            check_calls(kind, parts, calls(10000))
            check(sum((part.lost for part in parts), start=type(parts[0].lost)()), LOST, f"{kind}: lost")


@test(bpf=False)
def the_last_line_of_ndjson_sums_up():
    with folder() as place:
        totals, _ = write("ndjson", place / "trace", 10000, "-s", "100000")
        parts = read_all("ndjson", place / "trace", totals)
        events = lost = 0
        for number, part in enumerate(parts):
            events, lost = events + len(part.calls), lost + sum(part.lost.values())
            check((part.end["is_last"], part.end["segment_events"], part.end["events"], sum(part.end["lost"].values())),
                  (number == len(parts) - 1, len(part.calls), events, lost), f"segment {number}")
        check((events, parts[-1].end["lost"]), (totals["events"], totals["lost"]), "the last one")


@test(bpf=False)
def a_ring_keeps_the_newest():
    for kind in FORMATS:
        with folder() as place:
            totals, _ = write(kind, place / "trace", 10000, "-s", "100000", "-n", "2", "-r")
            check_totals(totals, 10000, {})
            check((totals["segments"], totals["first_segment"] > 0), (2, True), f"{kind}: segments")
            got = [one for part in read_all(kind, place / "trace", totals) for one in part.calls]
            check(len(got), totals["events"] - totals["removed_events"], f"{kind}: calls that are left")
            newest = calls(10000, begin=10000 - len(got))
            check(set(got) - set(newest), set(), f"{kind}: calls that are older")
            check(len(set(got)), len(got), f"{kind}: each once")


def check_cut_short(kind, path, totals, count, ended_by, cause):
    """What was written is there, and all else was counted; in the files, too, where there was room."""
    check(totals["events"] > 1000, True, f"{kind}: {totals}")
    check_totals(totals, count, {cause: count - totals["events"]}, ended_by)
    parts = read_all(kind, path, totals)
    got = [one for part in parts for one in part.calls]
    if kind == "ctf":
        check((len(set(got)), set(got) - set(calls(count))), (totals["events"], set()), "calls")
    else:
        check(got, calls(totals["events"]), f"{kind}: calls")
    check(sum((part.lost for part in parts), start=type(parts[0].lost)()), totals["lost"], f"{kind}: lost, as it tells")
    if kind == "ndjson":
        check((parts[-1].end["is_last"], parts[-1].end["lost"]), (True, totals["lost"]), "the last line")


@test(bpf=False)
def a_full_disk_ends_a_trace():
    for kind in FORMATS:
        with folder("1m") as place:
            totals, _ = write(kind, place / "trace", 40000)
            check_cut_short(kind, place / "trace", totals, 40000, "ENOSPC", "disk full")


@test(bpf=False)
def a_full_disk_ends_segments():
    for kind in FORMATS:
        with folder("1m") as place:
            totals, _ = write(kind, place / "trace", 40000, "-s", "150000")
            check(totals["segments"] > 3, True, f"{kind}: segments: {totals}")
            check_cut_short(kind, place / "trace", totals, 40000, "ENOSPC", "disk full")


@test(bpf=False)
def a_ring_fits_onto_a_small_disk():
    for kind in FORMATS:
        with folder("1m") as place:
            totals, _ = write(kind, place / "trace", 40000, "-s", "150000", "-n", "5", "-r")
            check_totals(totals, 40000, {})
            check(totals["segments"], 5, f"{kind}: segments")
            got = sum(len(part.calls) for part in read_all(kind, place / "trace", totals))
            check(got, totals["events"] - totals["removed_events"], f"{kind}: calls that are left")


@test(bpf=False)
def a_limit_of_the_process_ends_a_trace():
    for kind in FORMATS:
        with folder() as place:
            totals, _ = write(kind, place / "trace", 20000,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300000, 300000)))
            check_cut_short(kind, place / "trace", totals, 20000, "EFBIG", "disk full")


@test(bpf=False)
def a_number_of_segments_ends_a_trace():
    for kind in FORMATS:
        with folder() as place:
            totals, _ = write(kind, place / "trace", 20000, "-s", "100000", "-n", "3")
            check(totals["segments"], 3, f"{kind}: segments")
            check_cut_short(kind, place / "trace", totals, 20000, "E2BIG", "size limit")


@test(bpf=False)
def a_pipe_takes_a_trace():
    for kind in ("perfetto", "ndjson"):
        with folder() as place:
            with open(place / "trace", "wb") as output:
                run = subprocess.run([TRACE, kind, "-", "3000"], stdout=output, stderr=subprocess.PIPE, text=True,
                                     timeout=harness.BOUND_S, check=True)
            check_totals(json.loads(run.stderr), 3000, {})
            check_calls(kind, [read_alone(kind, place / "trace")], calls(3000))


@test(bpf=False)
def a_pipe_that_is_closed_ends_a_trace():
    for kind in ("perfetto", "ndjson"):
        with subprocess.Popen([TRACE, kind, "-", "20000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            os.read(run.stdout.fileno(), 4096)
            run.stdout.close()
            said = run.stderr.read()
        check(run.returncode, 1, f"{kind}: {said}")
        check_in("trace: the trace ended before: Broken pipe", said, kind)
        totals = harness.last_json(said)
        check_totals(totals, 20000, {"write error": 20000 - totals["events"]}, "EPIPE")


@test(bpf=False)
def what_was_flushed_outlives_a_kill():
    for kind in FORMATS:
        with folder() as place:
            with subprocess.Popen([TRACE, "-k", kind, place / "trace", "400"], stdout=subprocess.PIPE, text=True) as run:
                totals = json.loads(run.stdout.readline())
                run.kill()
            check((totals["events"], totals["lost"]), (400, LOST), f"{kind}: flushed")
            parts = read_all(kind, place / "trace", totals)
            check_calls(kind, parts, calls(400))
            check((parts[0].lost, parts[0].end), (LOST, None), f"{kind}: lost")


def mend(kind, file):
    """Takes away what is not whole at a file's end, as docs/traces.md says. @return bytes"""
    size = whole = file.stat().st_size
    content = file.read_bytes()
    if kind == "ctf":
        said = re.findall(r"packet-offset=(\d+)", traced.babeltrace(file.parent).stderr)
        whole = int(said[0]) if said else size
    elif kind == "ndjson":
        whole = content.rindex(b"\n") + 1
    else:
        whole = at = 0
        while at <= size:  # a packet: its field's number, its length, itself
            whole, at = at, at + 1
            length = shift = 0
            while at < size:
                length, shift, at = length | (content[at] & 127) << shift, shift + 7, at + 1
                if content[at - 1] < 128:
                    break
            at += length
            if whole == size:
                break
    os.truncate(file, whole)
    return size - whole


def check_mended(kind, path):
    """@return how many calls are there: the first ones"""
    file = path / "stream_0" if kind == "ctf" else path
    gone = mend(kind, file)
    check(gone < UNIT_BYTES + 2000, True, f"{kind}: {gone} bytes were not whole")
    got = read_alone(kind, file).calls
    if kind == "ctf":  # some were held back, to be sorted
        check((len(set(got)), set(got) - set(calls(len(got) + LATE))), (len(got), set()), "calls")
    else:
        check(got, calls(len(got)), f"{kind}: calls")
    return len(got)


@test(bpf=False)
def a_file_that_was_cut_can_be_mended():
    for kind in FORMATS:
        with folder() as place:
            write(kind, place / "trace", 20000)
            file = place / "trace" / "stream_0" if kind == "ctf" else place / "trace"
            os.truncate(file, file.stat().st_size // 2 + 1)
            left = check_mended(kind, place / "trace")
            check(7000 < left <= 10001, True, f"{kind}: {left} calls are left")


@test(bpf=False)
def a_kill_at_any_time_leaves_a_trace():
    for kind in FORMATS:
        with folder() as place:
            file = place / "trace" / "stream_0" if kind == "ctf" else place / "trace"
            with subprocess.Popen([TRACE, kind, place / "trace", "300000"], stdout=subprocess.DEVNULL) as run:
                harness.until(lambda: file.exists() and file.stat().st_size > 1 << 20, f"{kind}: a file of 1 MiB")
                run.kill()
            left = check_mended(kind, place / "trace")
            check(left > 4000, True, f"{kind}: {left} calls are left")
