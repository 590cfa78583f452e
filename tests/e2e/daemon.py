"""A daemon of one's own, what steers it, and what it holds."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import tempfile

from beside import differing, events_of, site_of
from harness import BOUND_S, NOWGATE, check, nowgate, until

NOBODY = 65534
LOOPBACK = "[daemon]\nmetrics = 127.0.0.1:0\n"


class Client:
    """A client of the socket, by the protocol's own lines."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        # Where the queue is full, connect() waits as long as sending may; with settimeout() it would not.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", BOUND_S, 0))
        self.socket.connect(str(path))
        self.socket.settimeout(BOUND_S)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def line(self):
        """The next line; b"" at the end."""
        try:
            return self.file.readline()
        except ConnectionResetError:
            return b""

    def ask(self, **request):
        self.socket.sendall(json.dumps({"v": 1, **request}).encode() + b"\n")
        return json.loads(self.line())

    def error(self):
        answer = json.loads(self.line())
        check(answer["ok"], False, "ok")
        return answer["error"]["code"], answer["error"]["text"]


class Daemon:
    """`nowgate daemon` with a socket, a state folder and a log of its own; it listens when this exists."""

    def __init__(self, config=None, state_dir=None, environment=None):
        """@param config the text of its configuration; None: the defaults"""
        self.folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        here = pathlib.Path(self.folder.name)
        here.chmod(0o755)  # for others than root
        self.socket = here / "socket"
        self.state_dir = pathlib.Path(state_dir or here / "state")
        self.config = here / "nowgate.conf"
        self.config.write_text(config or "[daemon]\n")
        self.log_path = here / "log"
        self.environment = environment
        self.process = None
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def command(self):
        return [NOWGATE, "daemon", "-c", self.config, "--socket", self.socket, "--state-dir", self.state_dir]

    def start(self):
        """Starts it, again after it has ended: with the same socket and state."""
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.environment)
        until(lambda: "listening on" in self.log() or self.process.poll() is not None, "the daemon to listen")
        check(self.process.poll(), None, f"it runs; {self.log()}")
        self.pid = self.process.pid

    def log(self):
        return self.log_path.read_text(encoding="utf-8")

    def has_logged(self, text, count=1):
        until(lambda: self.log().count(text) >= count, f"{text!r} in the log, {count} times")

    def ask(self, *arguments, code=0, uid=None):
        """Runs a command that steers it. @return its answer; its complaint where the code is not 0"""
        options = {"user": uid, "group": uid, "extra_groups": []} if uid else {}
        run = nowgate(*arguments, "--socket", self.socket, "--json", **options)
        check(run.returncode, code, f"status of {arguments}: {run.stderr}{self.log()[-2000:]}")
        return run.stderr if code else json.loads(run.stdout)

    def ask_line(self, op, pid):
        """Asks by the socket itself. @return the answer's line"""
        with Client(self.socket) as peer:
            return json.dumps(peer.ask(op=op, select={"pid": pid}))

    def status(self, *arguments):
        return self.ask("status", *arguments)

    def targets(self, pid=None, ended=False):
        """The targets that live, or those that have ended."""
        return [target for target in self.status()["targets"]
                if target["ended"] == ended and pid in (None, target["pid"])]

    def target(self, pid):
        """The one target of a pid that lives."""
        found = self.targets(pid)
        check(len(found), 1, f"targets of pid {pid}; {self.log()[-2000:]}")
        return found[0]

    def delivered(self, pid):
        return self.target(pid)["delivered"]

    def until_armed(self, pid, offsets):
        until(lambda: differing(pid) == offsets, f"the text of {pid} to differ at {offsets}")

    def until_clean(self, pid):
        self.until_armed(pid, [])

    def reload(self, text, says="reloaded"):
        """Another configuration; returns when it holds, or was refused."""
        before = self.log().count(says)
        self.config.write_text(text)
        self.process.send_signal(signal.SIGHUP)
        self.has_logged(says, before + 1)

    def end(self, number=signal.SIGTERM):
        """@return its status"""
        self.process.send_signal(number)
        return self.process.wait(timeout=BOUND_S)

    def leaves_nothing(self):
        """What must hold once it has ended as it was told to."""
        check(self.end(), 0, f"status; {self.log()}")
        check(self.socket.exists(), False, "its socket")
        check(events_of(self.pid), [], "its tracefs events")


class Served(Daemon):
    """A daemon that serves by HTTP, at a port that the kernel chose."""

    def __init__(self, config=LOOPBACK, host="127.0.0.1"):
        super().__init__(config)
        self.host = host
        self.port = int(re.search(r"metrics at http://(\S+):(\d+)/metrics\n", self.log())[2])

    def get(self, path="/metrics", method="GET", headers=None):
        """@return (status, headers, body)"""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=BOUND_S)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def dial(self, said=b""):
        client = socket.create_connection((self.host, self.port), timeout=BOUND_S)
        client.sendall(said)
        return client


def adds_up(target):
    """Always: hits = delivered + sampled out + lost."""
    check(target["hits"], target["delivered"] + target["sampled_out"] + target["lost"], f"hits of {target['pid']}")


def counted(target):
    """A target's calls by its counts."""
    return sum(function["calls"] for function in target["functions"])


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(text.split("VmRSS:")[1].split()[0])


def site(target):
    """The offset at which a target's text differs while it is armed."""
    return site_of(target.program)[0]
