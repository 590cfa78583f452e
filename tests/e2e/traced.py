"""Trace files as others read them: babeltrace2, protoc with Perfetto's public fields, Python's json.

All three give the same: a Trace of calls in the order of the file, whose stacks are (function, file, line), innermost first,
with None for what is not known.
"""
import ast
import collections
import json
import os
import re
import shutil
import subprocess
import tempfile

import harness
from harness import check

Call = collections.namedtuple("Call", "time_ns pid tid goroutine function caller stack")


class Trace:
    """What is in one file, or a whole CTF trace."""

    def __init__(self):
        self.calls = []
        self.lost = collections.Counter()  # by cause
        self.gaps = []  # in which nobody looked: when they begin, and how long they are, ns
        self.late = []  # calls that say so
        self.discarded = 0  # as babeltrace2 warns
        self.end = None  # an NDJSON file's last line
        self.offset_ns = None  # from the monotonic clock to 1970's


def place(frame):
    """A caller: "main.work main.go:25"."""
    function, file, line = frame
    return function + (f" {os.path.basename(file)}" if file else "") + (f":{line}" if file and line else "")


# --- CTF --------------------------------------------------------------------------------------------

_TEXT = r'"(?:[^"\\]|\\.)*"'
_FIELD = re.compile(rf"(\w+) = ({_TEXT}|\w+)")
_FRAME = re.compile(rf"function = ({_TEXT}), file = ({_TEXT}), line = (\d+), address = (\w+)")


def _known(text):
    """A text as babeltrace2 prints it; None for what stands where nothing is known."""
    value = json.loads(text)
    check(bool(value), True, "a text of CTF: babeltrace2 2.0 shows an empty one as what was there before")
    return None if value == "[unknown]" else value


def babeltrace(folder):
    """Its run: one line an event, with nanoseconds since 1970."""
    return subprocess.run([harness.need("babeltrace2"), "--clock-seconds", "--no-delta", folder], capture_output=True,
                          text=True, timeout=harness.BOUND_S, check=False)


def read_ctf(folder, offset_ns):
    run = babeltrace(folder)
    check(run.returncode, 0, f"babeltrace2: {run.stderr[:2000]}")
    trace, stacks, before_ns = Trace(), {"0": ()}, 0
    for line in run.stdout.splitlines():
        seconds, nanoseconds, kind, rest = re.match(r"\[(\d+)\.(\d{9})\] (\w+): (.*)$", line).groups()
        at_ns = int(seconds + nanoseconds) - offset_ns
        check(at_ns >= before_ns, True, f"times do not go back: {line}")
        before_ns = at_ns
        fields = dict(_FIELD.findall(rest))
        if kind == "lost":
            trace.lost[_known(fields["cause"])] += int(fields["events"])
        elif kind == "gap":
            trace.gaps.append((at_ns, int(fields["gap_ns"])))
        elif kind == "stack":
            frames = tuple((_known(function), _known(file), int(number) or None)
                           for function, file, number, _ in _FRAME.findall(rest))
            check(len(frames), int(fields["depth"]), f"frames of a stack: {line}")
            stacks[fields["stack"]] = frames
        else:
            caller, at = _known(fields["caller"]), _known(fields["at"])
            call = Call(at_ns - int(fields.get("late_ns", 0)), int(fields["pid"]), int(fields["tid"]),
                        int(fields["goroutine"]) or None, _known(fields["function"]),
                        f"{caller} {at}" if at else caller, stacks[fields["stack"]])
            trace.calls.append(call)
            if kind == "late_call":
                trace.late.append(call)
    trace.discarded = sum(map(int, re.findall(r"Tracer discarded (\d+) event", run.stderr)))
    trace.offset_ns = offset_ns
    return trace


def read_ctf_segment(path, offset_ns):
    """A file of the trace by itself, with the metadata."""
    with tempfile.TemporaryDirectory(prefix="nowgate-ctf-") as folder:
        for file in (path, os.path.join(os.path.dirname(path), "metadata")):
            shutil.copy(file, folder)
        return read_ctf(folder, offset_ns)


# --- Perfetto ---------------------------------------------------------------------------------------

def _messages(text):
    """protoc's text: a dictionary of lists, by field."""
    root = collections.defaultdict(list)
    above = [root]
    for line in map(str.strip, text.splitlines()):
        if line.endswith(" {"):
            message = collections.defaultdict(list)
            above[-1][line[:-2]].append(message)
            above.append(message)
        elif line == "}":
            above.pop()
        else:
            name, value = line.split(": ", 1)
            if value.startswith('"'):
                value = ast.literal_eval("b" + value).decode()
            above[-1][name].append(int(value) if isinstance(value, str) and value.isdecimal() else value)
    return root


class _Perfetto:
    """Reads the packets of one file, in their order."""

    def __init__(self):
        self.trace = Trace()
        self.tracks = {}  # uuid -> descriptor
        self.interned = None  # by field and iid; None: nothing may refer to any
        self.clock = None
        self.begun_ns = None  # a gap

    def packet(self, packet):
        check(packet["trusted_packet_sequence_id"], [1], "the sequence")
        if packet["sequence_flags"] == [1]:
            self.interned, self.tracks = collections.defaultdict(dict), {}
            self.clock = packet["trace_packet_defaults"][0]["timestamp_clock_id"]
        else:
            check(packet["sequence_flags"], [2], "flags")
        for data in packet["interned_data"]:
            for kind, messages in data.items():
                for message in messages:
                    check(message["iid"][0] in self.interned[kind], False, f"{kind}: defined once")
                    self.interned[kind][message["iid"][0]] = message
        for snapshot in packet["clock_snapshot"]:
            clocks = {clock["clock_id"][0]: clock["timestamp"][0] for clock in snapshot["clocks"]}
            check((set(clocks), snapshot["primary_trace_clock"]), ({1, 3}, ["BUILTIN_CLOCK_MONOTONIC"]), "clocks")
            self.trace.offset_ns = clocks[1] - clocks[3]
        for track in packet["track_descriptor"]:
            self.tracks[track["uuid"][0]] = track
        for event in packet["track_event"]:
            self.event(packet["timestamp"][0], event)

    def text(self, kind, iid, field="str"):
        return self.interned[kind][iid][field][0]

    def frame(self, iid):
        frame = self.interned["frames"][iid]
        file = frame["source_path_iid"]
        return (self.text("function_names", frame["function_name_id"][0]),
                self.text("source_paths", file[0]) if file else None, (frame["line_number"] or [None])[0])

    def gap(self, time_ns, event):
        """The begin or the end of one."""
        check(self.tracks[event["track_uuid"][0]]["name"], ["nowgate: nobody looked"], "a gap's track")
        if event["type"] == ["TYPE_SLICE_BEGIN"]:
            check(self.text("event_names", event["name_iid"][0], "name"), "gap", "its name")
            self.begun_ns = time_ns
        else:
            check(event["type"], ["TYPE_SLICE_END"], "an event's type")
            self.trace.gaps.append((self.begun_ns, time_ns - self.begun_ns))

    def event(self, time_ns, event):
        check(self.clock, [3], "an event's clock")
        check(self.trace.offset_ns is not None, True, "the clocks come before")
        if event["type"] != ["TYPE_INSTANT"]:
            self.gap(time_ns, event)
            return
        name = self.text("event_names", event["name_iid"][0], "name")
        track = self.tracks[event["track_uuid"][0]]
        notes = {self.text("debug_annotation_names", note["name_iid"][0], "name"): note for note in event["debug_annotations"]}
        if track["name"]:
            check((track["name"], name[:6], list(notes)), (["nowgate: calls lost"], "lost: ", ["events"]), "a loss")
            self.trace.lost[name[6:]] += notes["events"]["uint_value"][0]
            return
        stack = ()
        if event["callstack_iid"]:
            frames = self.interned["callstacks"][event["callstack_iid"][0]]["frame_ids"]
            stack = tuple(self.frame(iid) for iid in reversed(frames))
        thread = track["thread"][0]
        process = next(other["process"][0] for other in self.tracks.values() if other["process"])
        check(process["pid"], thread["pid"], "the thread's process is there")
        caller = notes["caller"]["string_value_iid"][0] if "caller" in notes else None
        self.trace.calls.append(Call(
            time_ns, thread["pid"][0], thread["tid"][0],
            notes["goroutine"]["uint_value"][0] if "goroutine" in notes else None, name,
            self.text("debug_annotation_string_values", caller) if caller else None, stack))


def read_perfetto(path):
    with open(path, "rb") as file:
        run = subprocess.run([harness.need("protoc"), f"--proto_path={harness.TOP}/tests/out",
                              "--decode=perfetto.protos.Trace", "perfetto_public.proto"], stdin=file, capture_output=True,
                             text=True, timeout=harness.BOUND_S, check=False)
    check(run.returncode, 0, f"protoc: {run.stderr}")
    check(re.findall(r"^ *\d+[:{ ].*$", run.stdout, re.MULTILINE), [], "fields that Perfetto does not have there")
    reader = _Perfetto()
    for packet in _messages(run.stdout)["packet"]:
        reader.packet(packet)
    return reader.trace


# --- NDJSON -----------------------------------------------------------------------------------------

def read_ndjson(path):
    """Each line by itself; the header comes first and, where the file was ended, the trailer last."""
    trace = Trace()
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    check((lines[0]["version"], lines[0]["kind"]), (1, "nowgate-trace"), "the header")
    trace.offset_ns = lines[0]["clock_offset_ns"]
    if "end" in lines[-1]:
        trace.end = lines.pop()
    for line in lines[1:]:
        if "lost" in line:
            trace.lost[line["cause"]] += line["lost"]
            continue
        if "gap_ns" in line:
            trace.gaps.append((line["time_ns"], line["gap_ns"]))
            continue
        stack = tuple((frame["function"] or frame["address"], frame["file"], frame["line"]) for frame in line["stack"])
        callers = stack[1:] if stack and stack[0][0] == line["function"] else stack
        trace.calls.append(Call(line["time_ns"], line["pid"], line["tid"], line["goroutine"], line["function"],
                                place(callers[0]) if callers else None, stack))
    return trace
