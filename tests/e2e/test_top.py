"""The screen of the daemon's targets, in a real terminal; and the same without one."""
import contextlib
import json
import os
import re
import subprocess

from beside import Steps
from daemon import Daemon
from harness import NOWGATE, Target, check, check_in, go_program, need, newest, nowgate, test, until


class Terminal:
    """A command in a terminal of its own, by tmux."""

    def __init__(self, command, columns=80, lines=24):
        need("tmux")
        self.name = f"nowgate-test-{os.getpid()}"
        self.tmux("new-session", "-d", "-x", columns, "-y", lines, f"{command}; echo status $?; exec sleep 600")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")

    def tmux(self, *arguments):
        run = subprocess.run(["tmux", "-L", self.name, *map(str, arguments)], capture_output=True, text=True, check=False)
        return run.stdout

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def resize(self, columns, lines):
        self.tmux("resize-window", "-x", columns, "-y", lines)

    def until(self, pattern):
        """Waits until the screen shows it."""
        until(lambda: re.search(pattern, self.screen(), re.MULTILINE), f"'{pattern}' on the screen:\n{self.screen()}")


@contextlib.contextmanager
def watched():
    """A daemon with a busy target and an idle one."""
    with Daemon() as daemon, Target(go_program(newest(), "mix")) as busy, Steps(2) as idle:
        busy.begin()
        daemon.ask("attach", "-p", busy.pid)
        daemon.ask("attach", "-p", idle.pid, "--mode", "count")
        until(lambda: (daemon.target(busy.pid)["functions"][0]["rate_hz"] or 0) > 0, "a rate")
        yield daemon, busy, idle


@test()
def without_a_screen_it_is_a_table():
    with watched() as (daemon, busy, idle):
        run = nowgate("top", "--once", "--socket", daemon.socket)
        check((run.returncode, run.stderr), (0, ""), "status")
        lines = run.stdout.splitlines()
        check([line.split()[0] for line in lines], ["PID", str(busy.pid), str(idle.pid)], "rows, by rate")
        run = nowgate("top", "--once", "--json", "--socket", daemon.socket)
        document = json.loads(run.stdout)
        check([(row["pid"], row["mode"]) for row in document["targets"]], [(busy.pid, "sampled"), (idle.pid, "count")],
              "targets")
        run = nowgate("top", "--once", "-p", idle.pid, "--socket", daemon.socket)
        check(len(run.stdout.splitlines()), 2, "one target and the heading")
        run = nowgate("top", "--once", "-p", 1, "--socket", daemon.socket)
        check(run.returncode, 6, "status of what is not attached")
        check_in("process 1 is not attached: `nowgate attach -p 1` does that", run.stderr, "why")
        run = nowgate("top", "--socket", daemon.socket)
        check(run.returncode, 1, "status without a terminal")
        check_in("--once prints a table", run.stderr, "why")
    check(nowgate("top", "--json").returncode, 2, "status of --json alone")
    check(nowgate("top", "--once", "--socket", "/nonexistent/socket").returncode, 3, "status without a daemon")


@test()
def keys_steer_it():
    with watched() as (daemon, busy, idle):
        with Terminal(f"{NOWGATE} top --socket {daemon.socket}") as terminal:
            terminal.until(r"^nowgate top: 2 targets, by rate")
            terminal.until(rf"^ *{busy.pid} +~\S+ \S +.*sampled")
            terminal.press("f")
            terminal.until("f once more")
            check(daemon.target(busy.pid)["mode"], "sampled", "mode before it is confirmed")
            terminal.press("f")
            until(lambda: daemon.target(busy.pid)["mode"] == "full", "full")
            terminal.until(rf"^ *{busy.pid} .* full \d+ s")
            terminal.press("s")
            until(lambda: daemon.target(busy.pid)["mode"] == "sampled", "sampled")
            terminal.press("+")
            until(lambda: daemon.target(busy.pid)["budget_ratio"] == 0.02, "twice the budget")
            terminal.press("t", "t")
            terminal.until("^nowgate top: 2 targets, by pid")
            terminal.press("Down", "Down", "o")
            last = max(busy.pid, idle.pid)
            until(lambda: daemon.target(last)["mode"] == "off", "off")
            terminal.press("q")
            terminal.until("^status 0")


@test()
def callers_have_their_names():
    with watched() as (daemon, busy, _):
        with Terminal(f"{NOWGATE} top --socket {daemon.socket} -p {busy.pid}") as terminal:
            terminal.until("1 target,")
            terminal.press("Enter")
            terminal.until(r"^ +\S+( k)? +2\d\.\d\d %  main\.ten  main\.go:\d+$")
            terminal.press("Escape")
            terminal.until("^nowgate top: 1 target,")
            terminal.press("Enter")
            terminal.until(r"2\d\.\d\d %  main\.ten")
            terminal.press("C-c")
            terminal.until("^status 0")


@test()
def any_size_will_do():
    with watched() as (daemon, busy, _):
        with Terminal(f"{NOWGATE} top --socket {daemon.socket}", 20, 5) as terminal:
            terminal.until(rf"^ *{busy.pid} ")
            for columns, lines in ((1, 1), (2, 3), (200, 60), (80, 24)):
                terminal.resize(columns, lines)
            terminal.until("^nowgate top: 2 targets, by rate")
            terminal.until("^q quit .*mode")
            daemon.process.kill()
            terminal.until("^status 3")
