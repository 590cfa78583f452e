"""What the measurements share: the demo program, and one run of it in each way of counting."""
import json
import os
import pathlib
import re
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[1]
BUILD = TOP / "build"
NOWGATE = pathlib.Path(os.environ.get("NOWGATE", BUILD / "release" / "control" / "nowgate"))
PROGRAM = BUILD / "demo" / "main"
BOUND_S = 120


def build_program():
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ, GO111MODULE="off", GOFLAGS="", GOTOOLCHAIN="local",
                       GOCACHE=str(BUILD / "gocache" / "demo"))
    subprocess.run(["go", "build", "-o", PROGRAM, "."], cwd=TOP / "bench" / "demo", env=environment, check=True)


def _run(command):
    run = subprocess.run([str(part) for part in command], cwd=PROGRAM.parent, capture_output=True, text=True,
                         timeout=BOUND_S, check=False)
    own = re.search(r"calls (\d+) ns (\d+)", run.stdout)
    if run.returncode or not own:
        raise RuntimeError(f"{command[0]}: exit {run.returncode}: {run.stdout}{run.stderr}")
    return run, int(own.group(1)), int(own.group(2))


class Run:
    """One run: ns per call, what was counted (None: nothing counted), and the program's own truth."""

    def __init__(self, truth, took_ns, count):
        self.truth = truth
        self.ns = took_ns / truth
        self.count = count


def untraced():
    _, truth, took = _run(["./main"])
    return Run(truth, took, None)


def by_bpftrace():
    """The usual one-liner, at the symbol."""
    run, truth, took = _run(["bpftrace", "-e", 'uprobe:./main:"time.Now" { @++ }', "-c", "./main"])
    count = re.search(r"@: (\d+)", run.stdout)
    return Run(truth, took, int(count.group(1)) if count else None)


def by_nowgate(*options):
    output = PROGRAM.parent / "stat.json"
    _, truth, took = _run([NOWGATE, "stat", "--json", "-o", output, *options, "--", "./main"])
    report = json.loads(output.read_text())
    count = sum(function["calls"] for target in report["targets"] for function in target["functions"])
    return Run(truth, took, count)


# perf finds events in a mounted tracefs only; in a mount namespace of its own nobody else sees that.
FLOOR = '''
mount -t tracefs nowgate-bench /sys/kernel/tracing
echo "p:$1/site $PWD/main:$2" >>/sys/kernel/tracing/uprobe_events
perf stat -x , -e "$1:site" ./main
until echo "-:$1/site" >>/sys/kernel/tracing/uprobe_events; do sleep 0.05; done 2>/dev/null
'''


def by_kernel():
    """The kernel's own uprobe and counter, no BPF, at nowgate's instruction: no tool that uses a breakpoint there
    can be cheaper."""
    site = subprocess.run([NOWGATE, "site", "--json", PROGRAM, "time.Now"], capture_output=True, text=True, check=True)
    offset = json.loads(site.stdout)["sites"][0]["offset"]
    run, truth, took = _run(["unshare", "-m", "sh", "-c", FLOOR, "sh", f"floor_{os.getpid()}", hex(offset)])
    return Run(truth, took, int(re.search(r"^(\d+),,floor", run.stderr, re.MULTILINE).group(1)))


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def machine():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text()).group(1)
    return f"{cpu}, {os.cpu_count()} CPUs, Linux {os.uname().release}"
