"""Profiles by the daemon's HTTP, as pprof asks for them."""
import http.client
import os
import re
import signal
import subprocess
import tempfile
import threading

from beside import Steps, events_of
from daemon import Served, counted
from harness import BOUND_S, MATRIX, Target, check, check_in, go_program, newest, test, text_differences, until


def children(pid):
    """What a process has started, but for its watchdog."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += [int(child) for child in file.read().split()]
    return [child for child in found if "record" in command_of(child)]


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode().split("\0")
    except FileNotFoundError:
        return []


def words_of(pid):
    """What it has said: its standard error is a file."""
    try:
        with open(f"/proc/{pid}/fd/2", encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


class Asked(threading.Thread):
    """A question that is answered when a recording is over."""

    def __init__(self, daemon, path):
        super().__init__(daemon=True)
        self.ask = lambda: daemon.get(path)
        self.answer = None
        self.start()

    def run(self):
        try:
            self.answer = self.ask()
        except (OSError, http.client.HTTPException) as error:
            self.answer = error

    def take(self):
        self.join(timeout=BOUND_S)
        return self.answer


@test()
def pprof_gets_it():
    """By its own URL; the callers are those of the program, and the daemon's budget is a second one."""
    with Served() as daemon, Target(go_program(newest(), "mix")) as target, tempfile.TemporaryDirectory() as folder:
        target.begin()
        daemon.ask("attach", "-p", target.pid, "--budget", "1%")
        url = f"http://{daemon.host}:{daemon.port}/profile?pid={target.pid}&seconds=3"
        run = subprocess.run([MATRIX[newest()], "tool", "pprof", "-top", "-nodefraction=0", url], capture_output=True, text=True,
                             timeout=BOUND_S, check=False, env=dict(os.environ, PPROF_TMPDIR=folder))
        check(run.returncode, 0, run.stderr)
        check_in("Type: calls", run.stdout, "the default type")
        cumulated = re.findall(r"(\d+) +\S+%  main\.(\w+)$", run.stdout, re.MULTILINE)
        check(children(daemon.pid), [], "recordings that are left")
        target.end()
        truth = target.truth()
    found = {name: int(calls) for calls, name in cumulated if name in truth}
    check(sorted(found, key=found.get, reverse=True), sorted(truth, key=truth.get, reverse=True),
          f"callers: {run.stdout}")


@test()
def what_is_asked_wrongly():
    with Served() as daemon, Steps(2) as target:
        for path, status, text in (("/profile", 400, "Ask for /profile?pid=PID"),
                                   ("/profile?pid=x", 400, "'x' is not a number"),
                                   ("/profile?pid=1&seconds=0", 400, "it can be 1 to 300"),
                                   ("/profile?pid=1&seconds=301", 400, "it can be 1 to 300"),
                                   (f"/profile?pid={target.pid}", 404, "nowgate traces no such process")):
            got, _, body = daemon.get(path)
            check(got, status, path)
            check_in(text, body.decode(), path)
        check(children(daemon.pid), [], "recordings")


@test()
def so_many_at_a_time():
    with Served() as daemon:
        targets = [Steps(2) for _ in range(5)]
        for target in targets:
            daemon.ask("attach", "-p", target.pid)
        asked = [Asked(daemon, f"/profile?pid={target.pid}&seconds=4") for target in targets[:4]]
        until(lambda: len(children(daemon.pid)) == 4, "four recordings")
        check(daemon.get(f"/profile?pid={targets[0].pid}&seconds=1")[0], 503, "the same process again")
        status, _, body = daemon.get(f"/profile?pid={targets[4].pid}&seconds=1")
        check((status, body), (503, b"Enough profiles are being taken. Ask again later.\n"), "a fifth")
        check(daemon.get("/metrics")[0], 200, "metrics meanwhile")
        for one in asked:
            status, headers, body = one.take()
            check((status, headers["Content-Type"], body[:2]), (200, "application/octet-stream", b"\x1f\x8b"), "an answer")
        for target in targets:
            check((target.process.poll(), text_differences(target.pid)), (None, []), "a target's status and text")
            target.__exit__()


@test()
def a_target_that_ends_has_no_more_to_say():
    with Served() as daemon, Steps(2) as target:
        daemon.ask("attach", "-p", target.pid)
        asked = Asked(daemon, f"/profile?pid={target.pid}&seconds=60")
        until(lambda: any("are recorded" in words_of(child) for child in children(daemon.pid)), "a recording's begin")
        target.process.kill()
        check(asked.take()[0], 200, "an answer long before its time")


@test()
def it_ends_with_the_daemon():
    """However that ends: nothing is left of a recording, and the target's text is clean."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with Served() as daemon, Steps(2) as target:
            daemon.ask("attach", "-p", target.pid)
            asked = Asked(daemon, f"/profile?pid={target.pid}&seconds=60")
            until(lambda daemon=daemon: len(children(daemon.pid)) == 1, "a recording")
            child = children(daemon.pid)[0]
            daemon.process.send_signal(how)
            daemon.process.wait(timeout=BOUND_S)
            until(lambda child=child: "record" not in command_of(child), "the recording's end")
            check(isinstance(asked.take(), tuple), False, "is there an answer")
            check(events_of(child), [], "its tracefs events")
            until(lambda target=target: not text_differences(target.pid), "clean text")


@test()
def a_recording_that_stands_still_keeps_nobody():
    """Somebody has stopped it: the daemon ends all the same, and takes it along."""
    with Served() as daemon, Steps(2) as target:
        daemon.ask("attach", "-p", target.pid)
        asked = Asked(daemon, f"/profile?pid={target.pid}&seconds=60")
        until(lambda: any("are recorded" in words_of(child) for child in children(daemon.pid)), "a recording's begin")
        child = children(daemon.pid)[0]
        os.kill(child, signal.SIGSTOP)
        daemon.leaves_nothing()
        check(isinstance(asked.take(), tuple), False, "is there an answer")
        check((events_of(child), text_differences(target.pid)), ([], []), "what is left of it")
