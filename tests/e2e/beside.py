"""What stands beside nowgate in these tests: a target that works in steps, bpftrace, perf."""
import json
import os
import re
import subprocess
import tempfile
import time

from harness import (BOUND_S, NOWGATE, Target, check, go_program, need, newest, nowgate, text_differences,
                     uprobe_events)

CLEAN_WITHIN_S = 0.2  # a killed nowgate's breakpoints are gone


class Steps(Target):
    """tests/go/steps: calls time.Now when it is told to, and says how often."""

    def __init__(self, goroutines=2, program=None, environment=None):
        self.program = program or go_program(newest(), "steps")
        super().__init__(self.program, str(goroutines), env={**os.environ, **(environment or {})})

    def say(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def step(self, calls):
        """@return what it says it did: {"time.Now": calls, "ns": a call}"""
        self.say(calls)
        return json.loads(self.process.stdout.readline())

    def go(self):
        self.say("go")
        check(self.process.stdout.readline(), "going\n", "a target's answer")

    def rest(self):
        """@return the calls since go()"""
        self.say("rest")
        return json.loads(self.process.stdout.readline())["time.Now"]

    def again(self, word):
        """Has it begin anew by "exec", or hand its lines to a child by "spawn". @return the pid that answers"""
        self.say(word)
        return int(self.process.stdout.readline().split()[1])

    def leave(self):
        """Lets it end. @return its exit status"""
        self.process.stdin.close()
        return self.process.wait(timeout=BOUND_S)


def site_of(program, function="time.Now"):
    """The one site of a function: offset in the file, and its entry's."""
    run = nowgate("site", "--json", program, function)
    check(run.returncode, 0, run.stderr)
    sites = json.loads(run.stdout)["sites"]
    check(len(sites), 1, f"sites of {function}")
    return sites[0]["offset"], sites[0]["offset"] - sites[0]["delta"]


def differing(pid):
    """The offsets at which a process's text is not its files'."""
    return [offset for _, offset in text_differences(pid)]


def until_differing(pid, offsets, bound_s):
    """Waits until a process's text differs from its files at these offsets and no others.
    @return how long that took, in seconds"""
    began = time.monotonic()
    while differing(pid) != offsets:
        took = time.monotonic() - began
        if took > bound_s:
            raise AssertionError(f"after {took:.3f} s the text differs at {differing(pid)}, not {offsets}")
        time.sleep(0.001)
    return time.monotonic() - began


def start_nowgate(*arguments, **options):
    """nowgate stat, started and not waited for."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
    return subprocess.Popen([NOWGATE, "stat", "--json", *map(str, arguments)], text=True, **streams)


def kill(process):
    """kill -9, as seen by the one who must clean up: the process is gone when this returns."""
    process.kill()
    process.wait()


def events_of(pid):
    """Uprobe events that a nowgate of this pid defined."""
    return [line for line in uprobe_events() if re.search(rf":nowgate_{pid}_", line)]


class Bpftrace:
    """A one-liner at the symbol's address of a running target; attached when this exists."""

    def __init__(self, target, offsets):
        """@param offsets where the text differs once it is attached"""
        need("bpftrace")
        # /proc/PID/exe: neither bpftrace nor tracefs takes a path with spaces
        # Each hit is told: `@++` reads and writes, and where a thread is preempted in between it undoes whatever others
        # counted meanwhile. The second probe is attached after the first: a breakpoint stands before its hits are told.
        script = f'uprobe:/proc/{target.pid}/exe:"time.Now" {{ printf("h\\n") }} interval:ms:20 {{ printf("attached\\n") }}'
        self.process = subprocess.Popen(["bpftrace", "-B", "none", "-p", str(target.pid), "-e", script],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            until_differing(target.pid, sorted(offsets), BOUND_S)
        except AssertionError as error:
            self.process.kill()
            raise AssertionError(f"{error}; {self.process.communicate()[0]}") from error
        line = " "
        while line and line != "attached\n":
            line = self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def finish(self):
        """@return its count"""
        self.process.send_signal(2)
        text, _ = self.process.communicate(timeout=BOUND_S)
        return text.count("h\n")


TRACEFS = "/sys/kernel/tracing"

# perf finds events in a mounted tracefs only. In a mount namespace of its own nobody else sees it.
PERF = """
set -e
mount -t tracefs nowgate-test "$4"
echo "p:$1/site $2:$3" >>"$4/uprobe_events"
shift 4
exec "$@"
"""


class Perf:
    """perf stat at any instruction of a running target; counting has begun when this exists."""

    def __init__(self, target, offset):
        need("perf")
        need("unshare")
        self.group = f"beside_{os.getpid()}_{target.pid}"
        self.report = tempfile.NamedTemporaryFile("r", prefix="nowgate-perf-")
        commands, self.control = os.pipe()
        self.answers, answer = os.pipe()
        perf = ["perf", "stat", "-x", ",", "-o", self.report.name, "-e", f"{self.group}:site",
                "-p", str(target.pid), "--delay", "-1", "--control", f"fd:{commands},{answer}"]
        self.process = subprocess.Popen(["unshare", "-m", "sh", "-c", PERF, "sh", self.group,
                                         f"/proc/{target.pid}/exe", hex(offset), TRACEFS, *perf],
                                        pass_fds=[commands, answer], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        os.close(commands)
        os.close(answer)
        self._say("enable")

    def _say(self, command):
        os.write(self.control, f"{command}\n".encode())
        if not os.read(self.answers, 16).startswith(b"ack"):
            raise AssertionError(f"perf: {self.process.communicate(timeout=BOUND_S)[1]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for end in (self.control, self.answers):
            os.close(end)
        self.process.stderr.close()
        self.report.close()
        remove_event(f"{self.group}/site")

    def finish(self):
        """@return its count"""
        self.process.send_signal(2)
        self.process.wait(timeout=BOUND_S)
        return int(re.search(rf"^(\d+),,{self.group}:site", self.report.read(), re.MULTILINE).group(1))


def remove_event(name):
    """Takes a uprobe event of ours away; the kernel keeps it for a moment after its last user."""
    script = 'mount -t tracefs t "$2" && echo "-:$1" >>"$2/uprobe_events"'
    end = time.monotonic() + BOUND_S
    while subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", name, TRACEFS],
                         capture_output=True, check=False).returncode:
        if time.monotonic() > end:
            raise AssertionError(f"the event {name} cannot be removed")
        time.sleep(0.05)
