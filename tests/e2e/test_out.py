"""Profiles as others read them: go tool pprof, protoc, an XML parser, a browser. They are written by a program that does
nothing else (tests/out/write.c, built with AddressSanitizer)."""
import gzip
import json
import os
import re
import subprocess
import tempfile
import xml.etree.ElementTree

import harness
from harness import BUILD, Skip, check, check_in, test

WRITE = BUILD / "asan" / "tests" / "unit" / "write"
SVG = "{http://www.w3.org/2000/svg}"


def written(*arguments):
    """What it writes, as bytes."""
    if not WRITE.exists():
        raise Skip("build/asan is not built: ./dev test does it")
    run = subprocess.run([WRITE, *arguments], capture_output=True, timeout=harness.BOUND_S, check=False)
    check((run.returncode, run.stderr), (0, b""), f"write {arguments}")
    return run.stdout


def pprof(profile, *options):
    """What go tool pprof says of it."""
    go = list(harness.MATRIX.values())[-1] if harness.MATRIX else harness.need("go")
    with tempfile.TemporaryDirectory(prefix="nowgate-pprof-") as folder:
        file = os.path.join(folder, "profile.pb.gz")
        with open(file, "wb") as output:
            output.write(profile)
        run = subprocess.run([go, "tool", "pprof", *options, file], capture_output=True, text=True,
                             timeout=harness.BOUND_S, check=False,
                             env=dict(os.environ, PPROF_TMPDIR=folder, GOTOOLCHAIN="local"))
    check(run.returncode, 0, f"pprof {options}: {run.stderr}")
    return run.stdout


def rows(top):
    """The table of -top: name -> (flat, cum)."""
    found = re.findall(r"^ *(\S+) +\S+% +\S+% +(\S+) +\S+%  (.*)$", top, re.MULTILINE)
    return {name: (flat, cum) for flat, cum, name in found}


@test(bpf=False)
def pprof_shows_calls_and_cost():
    profile = written("pprof")
    top = pprof(profile, "-top")
    check_in("Type: calls", top, "the default type")
    check_in("100% of 1900 total", top, "calls")
    check(rows(top), {
        "time.Now (partial-inline)": ("1600", "1600"),
        "[libc.so.6]": ("200", "200"),
        "[no stack]": ("100", "100"),
        "main.main": ("0", "1600"),
        'main.other[go.shape.struct { A int; B <-chan "x" }]': ("0", "500"),
        "main.work": ("0", "1100"),
        "runtime.main": ("0", "1800"),
    }, "calls")
    cost = pprof(profile, "-top", "-unit=ns", "-sample_index=cost")
    check_in("100% of 15200ns total", cost, "cost")
    check(rows(cost)["main.work"], ("0", "8800ns"), "cost of main.work")


@test(bpf=False)
def pprof_reads_stacks_lines_and_mappings():
    raw = pprof(written("pprof"), "-raw")
    check(re.findall(r"^ +(\d+) +(\d+): ([\d ]+?) *$", raw, re.MULTILINE), [
        ("1000", "8000", "1 2 3"), ("500", "4000", "4 5 2 3"), ("100", "800", "6 2 3"), ("200", "1600", "7 3"),
        ("100", "800", "8")], "samples")
    for part in ("PeriodType: calls count", "Period: 100", "Time: 2023-11-14 22:13:20 +0000 UTC", "Duration: 2.5s",
                 "calls/count[dflt] cost/nanoseconds",
                 "Comment: calls: 1900, an estimate: 1700 to 2101 (95 %); hits recorded: 19",
                 "Comment: lost: 7 calls: the ring was full",
                 "1: 0x400000/0x500000/0x1000 /usr/bin/server 0123abcd [FN][FL][LN][IN]",
                 "2: 0x7f0000000000/0x7f0000100000/0x0 /usr/lib/libc.so.6"):
        check_in(part, raw, "raw")
    location = re.search(r"^ +1: 0x401000 M=1 (.*)\n +(.*)$", raw, re.MULTILINE)
    check(tuple(line.replace(":0 s=", " s=") for line in location.groups()),  # newer ones show columns
          ("time.Now /go/src/time/time.go:1160 s=1150", "main.work /src/main.go:25 s=20"), "inlined")


@test(bpf=False)
def pprof_takes_large_and_deep_profiles():
    many = pprof(written("pprof", "many"), "-top", "-nodecount=1")
    check_in("of 10000 total", many, "many")
    check(rows(pprof(written("pprof", "deep"), "-top")), {"main.f": ("1", "1")}, "deep")


@test(bpf=False)
def fields_have_the_numbers_of_pprofs_format():
    """By a definition that is not ours: none, only numbers and types on the wire."""
    harness.need("protoc")
    run = subprocess.run(["protoc", "--decode_raw"], input=gzip.decompress(written("pprof")), capture_output=True,
                         timeout=harness.BOUND_S, check=True)
    text = run.stdout.decode()
    top = re.findall(r"^(\d+)[: ]", text, re.MULTILINE)
    check({number: top.count(number) for number in sorted(set(top), key=int)}, {
        "1": 2, "2": 5, "3": 2, "4": 8, "5": 6, "6": len(set(re.findall(r'^6: "(.*)"$', text, re.MULTILINE))),
        "9": 1, "10": 1, "11": 1, "12": 1, "13": 8, "14": 1}, "fields")
    strings = re.findall(r'^6: "(.*)"$', text, re.MULTILINE)
    for part in ("9: 1700000000000000000\n", "10: 2500000000\n", "12: 100\n",
                 f"14: {strings.index('calls')}\n",
                 f"1 {{\n  1: {strings.index('cost')}\n  2: {strings.index('nanoseconds')}\n}}\n",
                 f"3 {{\n  1: 1\n  2: {0x400000}\n  3: {0x500000}\n  4: {0x1000}\n"
                 f"  5: {strings.index('/usr/bin/server')}\n  6: {strings.index('0123abcd')}\n"
                 "  7: 1\n  8: 1\n  9: 1\n  10: 1\n}\n",
                 "4 {\n  1: 1\n  2: 1\n" f"  3: {0x401000}\n"
                 "  4 {\n    1: 1\n    2: 1160\n  }\n  4 {\n    1: 2\n    2: 25\n  }\n}\n",
                 f"5 {{\n  1: 1\n  2: {strings.index('time.Now')}\n  3: {strings.index('time.Now')}\n"
                 f"  4: {strings.index('/go/src/time/time.go')}\n  5: 1150\n}}\n"):
        check_in(part, text, "decoded")


@test(bpf=False)
def our_definition_decodes_it():
    harness.need("protoc")
    folder = harness.TOP / "core" / "out"
    run = subprocess.run(["protoc", f"--proto_path={folder}", "--decode=perftools.profiles.Profile", "pprof.proto"],
                         input=gzip.decompress(written("pprof")), capture_output=True, timeout=harness.BOUND_S, check=True)
    text = run.stdout.decode()
    check(re.findall(r"^\d|^  \d", text, re.MULTILINE), [], "fields without a name")
    check_in("sample {\n  location_id: 1\n  location_id: 2\n  location_id: 3\n  value: 1000\n  value: 8000\n}\n", text,
             "a sample")


@test(bpf=False)
def all_formats_agree():
    report = json.loads(written("json"))
    check((report["v"], report["hits"], report["calls"], report["cost_ns"]), (1, 19, 1900, 15200), "json")
    check(sum(stack["calls"] for stack in report["stacks"]), 1900, "json: stacks")
    folded = written("folded").decode().splitlines()
    check(sum(int(line.rsplit(" ", 1)[1]) for line in folded), 1900, "folded")
    check(len(written("folded", "many").splitlines()), 10000, "folded: many")
    many = json.loads(written("json", "many"))
    check((many["calls"], len(many["stacks"]), {len(stack["frames"]) for stack in many["stacks"]}), (10000, 10000, {64}),
          "json: many")


def drawn(*arguments):
    """A flame graph's frames: name -> (x, y, width)."""
    root = xml.etree.ElementTree.fromstring(written("flame", *arguments))
    return [(frame.find(SVG + "text").text, float(frame.get("x")), int(frame.get("y")), float(frame.get("width")))
            for frame in root.find(SVG + "g")]


@test(bpf=False)
def frames_lie_within_their_parents():
    for arguments in ((), ("many",), ("deep",)):
        frames = drawn(*arguments)
        rows_of = {}
        for _, x, y, width in frames:
            rows_of.setdefault(y, []).append((x, x + width))
        for y, spans in rows_of.items():
            spans.sort()
            for (_, end), (begin, _) in zip(spans, spans[1:]):
                check(begin >= end - 0.0001, True, f"{arguments}: beside each other, row {y}")
            above = sorted(rows_of.get(y - 16, [(0, 1200)]))
            for begin, end in spans:
                check(any(left - 0.0001 <= begin and end <= right + 0.0001 for left, right in above), True,
                      f"{arguments}: within one above, row {y}")


DRIVER = """<script><![CDATA[
const frame = [...document.querySelectorAll("#frames > svg")].find((f) => f.textContent.startsWith("main.other"));
const report = document.documentElement.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "desc"));
const say = () => report.append(JSON.stringify([
  document.getElementById("found").textContent, document.getElementById("reset").style.visibility,
  ...["main.main", "runtime.main", "[no stack]", "main.work"].map((name) => {
    const f = [...document.querySelectorAll("#frames > svg")].find((f) => f.textContent.startsWith(name));
    return [name, Math.round(f.getAttribute("x")), Math.round(f.getAttribute("width")), f.classList.value.replace(/h\\d+ ?/, "")];
  })]) + "\\n");
const steps = [
  () => { say(); frame.querySelector("text").dispatchEvent(new MouseEvent("click", {bubbles: true})); },
  () => { say(); const input = document.querySelector("input"); input.value = "^main\\\\.wo|Now";
          input.dispatchEvent(new Event("input")); },
  () => { say(); const input = document.querySelector("input"); input.value = "(";
          input.dispatchEvent(new Event("input")); },
  () => { say(); document.getElementById("reset").dispatchEvent(new MouseEvent("click", {bubbles: true})); },
  () => { say(); report.append("end"); },
];
window.addEventListener("hashchange", () => steps.shift()());
steps.shift()();
]]></script></svg>"""


@test(bpf=False)
def a_browser_zooms_searches_and_resets():
    chromium = harness.need("chromium")
    with tempfile.TemporaryDirectory(prefix="nowgate-flame-") as folder:
        file = os.path.join(folder, "flame.svg")
        with open(file, "w", encoding="utf-8") as output:
            output.write(written("flame").decode().rsplit("</svg>", 1)[0] + DRIVER)
        run = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={folder}/profile", "--virtual-time-budget=10000", "--dump-dom", f"file://{file}"],
            capture_output=True, text=True, timeout=harness.BOUND_S, check=False)
    said = re.search(r"<desc>(.*)end</desc>", run.stdout, re.DOTALL)
    check(bool(said), True, f"the browser ran the script: {run.stdout[-300:]!r} {run.stderr[-300:]!r}")
    whole = [["main.main", 0, 1011, ""], ["runtime.main", 0, 1137, ""], ["[no stack]", 1137, 63, ""],
             ["main.work", 0, 695, ""]]
    zoomed = [["main.main", 0, 1200, "outer"], ["runtime.main", 0, 1200, "outer"], ["[no stack]", 1680, 240, "elsewhere"],
              ["main.work", -2643, 2643, "elsewhere"]]
    check([json.loads(line) for line in said.group(1).splitlines()], [
        ["", "hidden", *whole],
        ["", "visible", *zoomed],
        ["3 frames match, with 84.2 % of all calls", "visible", *zoomed[:3],
         ["main.work", -2643, 2643, "elsewhere found"]],
        ["Invalid regular expression: /(/: Unterminated group", "visible", *zoomed],
        ["", "hidden", *whole]], "steps")
