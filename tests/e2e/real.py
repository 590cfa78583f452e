"""Programs that nobody here wrote, as Debian ships them: unpacked, started on loopback, driven.

They are stripped, built by Debian's Go, and do real work. Each is unpacked once under build/debian and
installed nowhere; its data is in a directory that goes with it.
"""
import importlib.machinery
import importlib.util
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from harness import BOUND_S, BUILD, TOP, Skip

WHERE = BUILD / "debian"
_apt = None


def _load_matrix():
    """tests/go/matrix, which knows how to download without installing; it has no .py at its end."""
    loader = importlib.machinery.SourceFileLoader("matrix", str(TOP / "tests" / "go" / "matrix"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("matrix", loader))
    loader.exec_module(module)
    return module


def unpacked(package, suite):
    """The directory of a package's files, as this suite of Debian ships it."""
    global _apt
    where = WHERE / suite / package
    if where.exists():
        return where
    _apt = _apt or _load_matrix().Apt()
    try:
        _apt.unpack([f"{package}/{suite}"], where)
    except (subprocess.CalledProcessError, LookupError, OSError) as error:
        why = getattr(error, "stderr", None) or str(error)
        raise Skip(f"{package} of {suite} cannot be had: {why.strip()}") from error
    return where


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(port, path, body=None):
    """One HTTP request. @return (status, body)"""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body)
    with urllib.request.urlopen(request, timeout=BOUND_S) as answer:
        return answer.status, answer.read()


class Server:
    """One such program, serving. A subclass says how it is started, asked and judged."""

    package = ""
    binary = ""

    def __init__(self, suite):
        self.executable = unpacked(self.package, suite) / self.binary
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="nowgate-real-"))
        self.port = free_port()
        self.log = open(self.directory / "log", "w+b")
        environment = {"HOME": str(self.directory), "PATH": "/usr/bin:/bin"}
        self.process = subprocess.Popen([str(self.executable), *map(str, self.arguments())],
                                        cwd=self.directory, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=subprocess.STDOUT)
        self.pid = self.process.pid

    def __enter__(self):
        end = time.monotonic() + BOUND_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise AssertionError(f"{self.package} does not serve: {self.tail}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.seek(0)
        self.tail = self.log.read()[-2000:].decode(errors="replace")
        self.log.close()
        shutil.rmtree(self.directory)

    def _answers(self):
        try:
            return self.is_healthy()
        except OSError:  # also urllib's errors
            return False

    def arguments(self):
        raise NotImplementedError

    def is_healthy(self):
        raise NotImplementedError

    def drive(self, requests):
        """Makes it answer so many requests, one after another; raises where it does not."""
        raise NotImplementedError


class Nats(Server):
    package = "nats-server"
    binary = "usr/sbin/nats-server"

    def arguments(self):
        return ["-a", "127.0.0.1", "-p", self.port]

    def _talk(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=BOUND_S)
        stream = connection.makefile("rwb")
        return connection, stream, stream.readline()

    def is_healthy(self):
        connection, stream, greeting = self._talk()
        with connection, stream:
            stream.write(b"PING\r\n")
            stream.flush()
            return greeting.startswith(b"INFO ") and b"PONG" in stream.readline()

    def drive(self, requests):
        connection, stream, _ = self._talk()
        with connection, stream:
            stream.write(b'CONNECT {"verbose":false}\r\nSUB here 1\r\n')
            for number in range(requests):
                text = f"message {number}".encode()
                stream.write(b"PUB here %d\r\n%s\r\n" % (len(text), text))
                stream.flush()
                head, got = stream.readline(), stream.readline()
                if got.rstrip(b"\r\n") != text:
                    raise AssertionError(f"nats-server answered {head!r} {got!r}")


class _Http(Server):
    health = "/"
    request = "/"
    body = None
    answer = b""

    def is_healthy(self):
        try:
            return fetch(self.port, self.health)[0] == 200
        except urllib.error.HTTPError:
            return False

    def drive(self, requests):
        for _ in range(requests):
            status, text = fetch(self.port, self.request, self.body)
            if status != 200 or self.answer not in text:
                raise AssertionError(f"{self.package} answered {status} {text[:200]!r}")


class Caddy(_Http):
    package = "caddy"
    binary = "usr/bin/caddy"
    answer = b"hello"

    def arguments(self):
        config = self.directory / "caddy.json"
        route = {"handle": [{"handler": "static_response", "body": "hello"}]}
        server = {"listen": [f"127.0.0.1:{self.port}"], "routes": [route], "logs": {},
                  "automatic_https": {"disable": True}}
        config.write_text(json.dumps({"admin": {"disabled": True}, "apps": {"http": {"servers": {"one": server}}}}))
        return ["run", "--config", config]


class Etcd(_Http):
    package = "etcd-server"
    binary = "usr/bin/etcd"
    health = "/health"
    request = "/v3/kv/put"
    body = b'{"key": "aGVyZQ==", "value": "bm93"}'
    answer = b"revision"

    def arguments(self):
        client, peer = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{free_port()}"
        return ["--data-dir", self.directory / "data", "--listen-client-urls", client,
                "--advertise-client-urls", client, "--listen-peer-urls", peer,
                "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]


class Prometheus(_Http):
    package = "prometheus"
    binary = "usr/bin/prometheus"
    health = "/-/ready"
    request = "/api/v1/query?query=vector(1)"
    answer = b"success"

    def arguments(self):
        config = self.directory / "prometheus.yml"
        config.write_text("global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: itself\n    static_configs:\n"
                          f"      - targets: ['127.0.0.1:{self.port}']\n")
        return [f"--config.file={config}", f"--storage.tsdb.path={self.directory}/data",
                f"--web.listen-address=127.0.0.1:{self.port}"]


SERVERS = [Nats, Caddy, Etcd, Prometheus]
