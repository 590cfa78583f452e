"""What the measurements of budgets and rates share: a program that shows its progress, and a daemon."""
import contextlib
import json
import mmap
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import time

from runs import BUILD, NOWGATE, TOP

PACE = BUILD / "bench" / "pace"
LINE = 64
LOOK_S = 50e-6
BOUND_S = 60


def build_pace():
    PACE.parent.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ, GO111MODULE="off", GOFLAGS="", GOTOOLCHAIN="local",
                       GOCACHE=str(BUILD / "gocache" / "bench"))
    subprocess.run(["go", "build", "-o", PACE, "."], cwd=TOP / "bench" / "pace", env=environment, check=True)


class Paced:
    """bench/pace, running."""

    def __init__(self, threads, rate, kind="busy"):
        self.threads = threads
        with tempfile.NamedTemporaryFile(prefix="nowgate-pace-") as file:
            file.truncate(threads * LINE)
            self.shared = mmap.mmap(file.fileno(), threads * LINE)
            self.process = subprocess.Popen([PACE, file.name, str(threads), str(rate), kind], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True)
            if not self.process.stdout.readline().startswith("ready"):
                raise RuntimeError("bench/pace does not start")
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=BOUND_S)
        self.process.stdout.close()

    def step(self):
        """Of kind "step": from its rate to all it can, or back."""
        self.process.send_signal(signal.SIGUSR1)

    def look(self):
        """@return (time in s, units of work, calls) so far"""
        while True:
            before = time.monotonic()
            words = struct.unpack(f"{self.threads * LINE // 8}Q", self.shared[:])
            after = time.monotonic()
            if after - before < LOOK_S:  # else this process was not on a CPU in between
                return (before + after) / 2, sum(words[0::LINE // 8]), sum(words[1::LINE // 8])


class Daemon:
    """nowgate daemon on a socket of its own."""

    def __init__(self, parent=None):
        """@param parent of its folder; None: that for temporary files"""
        self.directory = tempfile.TemporaryDirectory(prefix="nowgate-bench-", dir=parent)
        self.path = pathlib.Path(self.directory.name) / "socket"
        (pathlib.Path(self.directory.name) / "conf").touch()
        log = pathlib.Path(self.directory.name) / "log"  # a pipe that nobody reads would hold it up
        with log.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen([NOWGATE, "daemon", "--config", f"{self.directory.name}/conf", "--socket",
                                             self.path, "--state-dir", f"{self.directory.name}/state"], stderr=file)
        end = time.monotonic() + BOUND_S
        while "listening" not in log.read_text(encoding="utf-8"):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the daemon does not start: {log.read_text(encoding='utf-8')}")
            time.sleep(0.01)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(self.path))
        self.stream = self.socket.makefile("rw")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):  # it has hung up: all the more it is to end
            self.stream.close()
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=BOUND_S)
        self.directory.cleanup()

    def ask(self, op, **members):
        self.stream.write(json.dumps({"v": 1, "op": op, **members}) + "\n")
        self.stream.flush()
        answer = json.loads(self.stream.readline())
        if not answer["ok"]:
            raise RuntimeError(f"{op}: {answer['error']['text']}")
        return answer

    def attach(self, pid, functions=("time.Now",), **settings):
        self.ask("attach", select={"pid": pid}, functions=list(functions), settings=settings)

    def mode(self, pid, mode, **settings):
        self.ask("mode", select={"pid": pid}, settings={"mode": mode, **settings})

    def target(self, pid):
        return next(target for target in self.ask("status")["targets"] if target["pid"] == pid)
