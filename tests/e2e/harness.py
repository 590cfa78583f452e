"""What the end-to-end tests share: programs that tell the truth, nowgate, and a process's text.

A test is a function marked by @test. It may raise Skip with a reason. Nothing here waits for a time to
pass: each wait is for something to happen, with a bound.
"""
import ctypes
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
TARGETS = BUILD / "targets"
NOWGATE = pathlib.Path(os.environ.get("NOWGATE", BUILD / "release" / "control" / "nowgate"))
BOUND_S = 60  # a bound for anything that is waited for; reached only when something hangs

TESTS = []
MATRIX = {}  # Go version -> path of its go command; the runner fills it


class Skip(Exception):
    """Why a test cannot run here."""


def test(bpf=True):
    """Marks a test; bpf: it arms probes, so it needs root and counts among the BPF tests."""
    def mark(function):
        TESTS.append((function, bpf))
        return function
    return mark


def check(got, wanted, what):
    """Compares two values."""
    if got != wanted:
        raise AssertionError(f"{what}: {got!r}, should be {wanted!r}")


def check_in(part, text, what):
    if part not in text:
        raise AssertionError(f"{what}: {part!r} is not in {text!r}")


def until(condition, what):
    """Waits for a condition."""
    end = time.monotonic() + BOUND_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {BOUND_S} s for {what}")
        time.sleep(0.002)


# --- programs ---------------------------------------------------------------------------------------

def newest():
    return list(MATRIX)[-1]


def go_environment(version):
    go = pathlib.Path(MATRIX[version])
    return dict(os.environ, GOROOT=str(go.parents[1]), GOTOOLCHAIN="local", GO111MODULE="off", GOFLAGS="",
                GOPATH=str(BUILD / "gopath"), GOCACHE=str(BUILD / "gocache" / version))


def _flags(version, variant):
    minor = int(version.split(".")[1])
    link = ["-checklinkname=0"] if minor >= 23 else []
    flags = {"default": [], "stripped": [], "pie": ["-buildmode=pie"], "noopt": ["-gcflags=-N -l"],
             "noinline": ["-gcflags=all=-l"], "pgo": [], "plugin": ["-buildmode=plugin"], "c-shared": ["-buildmode=c-shared"]}[variant]
    if variant == "stripped":
        link = ["-s", "-w"] + link
    return flags + (["-ldflags=" + " ".join(link)] if link else [])


@functools.lru_cache(maxsize=None)
def go_program(version, name, variant="default", extra=()):
    """Builds tests/go/NAME with one Go version; keeps it until the sources change."""
    source = TOP / "tests" / "go" / name
    flags = _flags(version, variant) + list(extra)
    digest = hashlib.sha256(repr(flags).encode())
    for file in sorted(source.iterdir()):
        digest.update(file.read_bytes())
    output = TARGETS / version / f"{name.replace('/', '-')}-{variant}-{digest.hexdigest()[:12]}"
    if output.exists():
        return output
    output.parent.mkdir(parents=True, exist_ok=True)
    run = subprocess.run([MATRIX[version], "build", *flags, "-o", output, "."], cwd=source,
                         env=dict(go_environment(version), CGO_ENABLED="1"),
                         capture_output=True, text=True, check=False)
    if run.returncode:
        raise AssertionError(f"go {version} build {name} {flags}: {run.stderr}")
    return output


PROFILED_CALLS = "8000000"  # about half a second, 50 samples: enough to be inlined by


@functools.lru_cache(maxsize=None)
def pgo_program(version, stripped=False):
    """The pgo program, built with a profile of itself."""
    if int(version.split(".")[1]) < 21:
        raise Skip(f"Go {version} knows no profile-guided builds")
    plain = go_program(version, "pgo")
    profile = plain.with_name(f"{plain.name}-{PROFILED_CALLS}.profile")  # of these sources
    if not profile.exists():
        fresh = profile.with_suffix(".new")  # cut short, it would be taken for a profile of nothing
        subprocess.run([plain, PROFILED_CALLS, "profile", fresh], check=True, timeout=BOUND_S)
        fresh.rename(profile)
    return go_program(version, "pgo", "stripped" if stripped else "pgo", (f"-pgo={profile}",))


@functools.lru_cache(maxsize=None)
def c_program(name, *flags, stripped=False):
    """Builds tests/c/NAME.c, or NAME.cc."""
    source = next((TOP / "tests" / "c").glob(f"{name}.c*"))
    digest = hashlib.sha256(source.read_bytes() + repr((flags, stripped)).encode()).hexdigest()[:12]
    output = TARGETS / "c" / f"{name}-{digest}"
    if not output.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
        compiler = need("g++" if source.suffix == ".cc" else "gcc")
        subprocess.run([compiler, "-O1", "-o", output, source, "-lpthread", *flags], check=True)
        if stripped:
            subprocess.run(["strip", output], check=True)
    return output


def compile_c(folder, name, text, *flags):
    source, output = pathlib.Path(folder, f"{name}.c"), pathlib.Path(folder, name)
    source.write_text(text)
    subprocess.run(["gcc", "-O1", "-o", output, source, *flags], check=True)
    return output


def last_json(text):
    """The last line that is a JSON object."""
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


class Target:
    """A program that waits for a line before it begins and before it ends ("hold")."""

    def __init__(self, *command, **options):
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, **options)
        line = self.process.stdout.readline()
        if not line.startswith("ready"):
            raise AssertionError(f"{command}: {line!r} instead of ready")
        self.pid = int(line.split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def truth(self):
        """What it says it did, when it has done it."""
        return json.loads(self.process.stdout.readline())

    def end(self):
        """Lets it end; its exit status."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.wait(timeout=BOUND_S)


# --- nowgate ----------------------------------------------------------------------------------------

def nowgate(*arguments, **options):
    """Runs it to its end."""
    return subprocess.run([NOWGATE, *map(str, arguments)], capture_output=True, text=True, timeout=BOUND_S,
                          check=False, **options)


def stat_command(*command, options=()):
    """Counts in a command. @return (report, the command's stdout, exit status)"""
    output = BUILD / f"stat-{os.getpid()}.json"
    run = nowgate("stat", "--json", "-o", output, *options, "--", *command)
    if not output.exists() or not output.read_text().strip():
        raise AssertionError(f"no report: {run.stderr}")
    report = json.loads(output.read_text())
    output.unlink()
    return report, run.stdout, run.returncode


class Beside:
    """A command beside running targets; it has begun when this exists."""

    def __init__(self, begun, *command):
        """@param begun the name of the stream that says so in its first line"""
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.lines = [getattr(self.process, begun).readline()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


class Stat(Beside):
    """`nowgate stat` that counts."""

    def __init__(self, *arguments):
        super().__init__("stdout", NOWGATE, "stat", "--json", "-I", "20ms", *arguments)
        if not self.lines[0]:
            self.process.wait()
            raise AssertionError(f"nowgate stat: {self.process.stderr.read()}")

    def interrupt(self):
        self.process.send_signal(2)
        return self.finish()

    def finish(self):
        """Waits for its end. @return its last line: the totals"""
        out, self.errors = self.process.communicate(timeout=BOUND_S)
        self.lines += out.splitlines()
        return json.loads(self.lines[-1])


class Record(Beside):
    """`nowgate record` that records."""

    def __init__(self, *arguments):
        super().__init__("stderr", NOWGATE, "record", *arguments)
        if "is recorded" not in self.lines[0]:
            raise AssertionError(f"nowgate record: {self.lines[0]}{self.process.communicate()[1]}")

    def finish(self):
        """Waits for its end. @return its exit status"""
        self.out, self.errors = self.process.communicate(timeout=BOUND_S)
        return self.process.returncode


def calls(report, name=None, pid=None, key="calls"):
    """Sums the calls in a report."""
    return sum(function[key] for target in report["targets"] if pid in (None, target["pid"])
               for function in target["functions"] if name in (None, function["name"]))


def all_exact(report):
    return all(function["exact"] for target in report["targets"] for function in target["functions"])


def by_source(report, key="calls"):
    """Calls per clock source, with both names of the monotonic one as "mono"."""
    names = {"time.now": "now", "runtime.nanotime": "mono", "time.runtimeNano": "mono",
             "syscall.gettimeofday": "gettimeofday", "clock_gettime": "c"}
    sums = {}
    for target in report["targets"]:
        for function in target["functions"]:
            source = names.get(function["source"], function["source"])
            sums[source] = sums.get(source, 0) + function[key]
    return {source: count for source, count in sums.items() if count}


# --- a process's text, and tracefs ------------------------------------------------------------------

def text_differences(pid):
    """Where a process's executable file mappings differ from their files: [(path, offset)]."""
    found = []
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            part = re.match(r"(\w+)-(\w+) (\S+) (\w+) \S+ (\d+)\s*(.*)", line).groups()
            if "x" not in part[2] or part[4] == "0":
                continue
            start, end, offset = int(part[0], 16), int(part[1], 16), int(part[3], 16)
            memory.seek(start)
            here = memory.read(end - start)
            with open(f"/proc/{pid}/map_files/{part[0].lstrip('0')}-{part[1].lstrip('0')}", "rb") as file:
                file.seek(offset)
                there = file.read(end - start)
            if here[:len(there)] != there:
                found += [(part[5], offset + i) for i in range(len(there)) if here[i] != there[i]]
    return found


def uprobe_events():
    """The lines of tracefs's uprobe_events, read through an instance of our own."""
    libc = ctypes.CDLL(None, use_errno=True)
    context = libc.syscall(430, b"tracefs", 1)
    if context < 0 or libc.syscall(431, context, 6, None, None, 0) < 0:
        raise Skip("tracefs cannot be mounted")
    mount = libc.syscall(432, context, 1, 0)
    os.close(context)
    file = os.open("uprobe_events", os.O_RDONLY, dir_fd=mount)
    with os.fdopen(file) as events:
        lines = events.read().splitlines()
    os.close(mount)
    return lines


def need(command):
    if not shutil.which(command):
        raise Skip(f"{command} is not installed")
    return command
