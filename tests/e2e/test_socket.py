"""The daemon's socket against clients of all kinds, by a program that is nothing but the socket (tests/daemon/serve.c,
built with AddressSanitizer)."""
import contextlib
import json
import os
import pathlib
import resource
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time

import harness
from daemon import NOBODY, Client, descriptors
from harness import BUILD, Skip, Target, check, check_in, test

SERVE = BUILD / "asan" / "tests" / "unit" / "serve"
PING = b'{"v":1,"op":"ping"}\n'


@contextlib.contextmanager
def served(*arguments):
    """A running server. @return (its Target, the socket's path)"""
    if not SERVE.exists():
        raise Skip("build/asan is not built: ./dev test does it")
    with tempfile.TemporaryDirectory(prefix="nowgate-socket-") as folder:
        os.chmod(folder, 0o755)
        path = pathlib.Path(folder) / "socket"
        with Target(SERVE, path, *arguments) as server:
            yield server, path


@test(bpf=False)
def bad_clients_get_errors_and_good_ones_answers():
    with served(300) as (server, path), Client(path) as good:
        check(good.ask(op="ping")["pid"], os.getpid(), "pid")
        with Client(path) as malformed, Client(path) as oversized, Client(path) as slow, Client(path) as half:
            malformed.socket.sendall(b"GET / HTTP/1.1\r\n" + PING)
            check(malformed.error()[0], 2, "malformed")
            check(json.loads(malformed.line())["ok"], True, "the line after it")
            with contextlib.suppress(BrokenPipeError):
                oversized.socket.sendall(b"x" * 1000000)
            check_in("too long", oversized.error()[1], "oversized")
            check(oversized.line(), b"", "oversized: closed")
            half.socket.sendall(PING + b"{")
            half.socket.shutdown(socket.SHUT_WR)
            check(json.loads(half.line())["ok"], True, "half-closed")
            check_in("without a newline", half.error()[1], "half-closed")
            check(half.line(), b"", "half-closed: closed")
            began = time.monotonic()
            slow.socket.sendall(b"{")
            check_in("took too long", slow.error()[1], "slow")
            check(time.monotonic() - began >= 0.3, True, "slow: its time is its own")
            check(slow.line(), b"", "slow: closed")
        check(good.ask(op="status")["op"], "status", "the good one")
        check(server.process.poll(), None, "the server lives")


@test(bpf=False)
def a_thousand_connections_at_once_get_one_line_each():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[1] < 1200:
        raise Skip("needs 1,200 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit[0], 1200), limit[1]))
    with served() as (server, path):
        before = descriptors(server.pid)
        clients = []
        try:
            for _ in range(1000):
                client = socket.socket(socket.AF_UNIX)
                client.connect(str(path))
                client.setblocking(False)
                clients.append(client)
            lines = read_all(clients)
        finally:
            for client in clients:
                client.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        served_count = sum(line["ok"] for line in lines)
        check(len(lines), 1000, "lines")
        # Those that are turned away free no slot; those that are served keep theirs until the end.
        check(served_count, 64 if os.geteuid() == 0 else 48, "served")
        check({line["error"]["code"] for line in lines if not line["ok"]}, {5}, "the others")
        harness.until(lambda: descriptors(server.pid) == before, "the server to close its ends")
        with Client(path) as client:
            check(client.ask(op="ping")["ok"], True, "afterwards")


def read_all(clients):
    """Each asks as soon as it may, and reads a line. @return the lines"""
    waiting = {client.fileno(): client for client in clients}
    texts = dict.fromkeys(waiting, b"")
    poll = select.poll()
    for fd, client in waiting.items():
        with contextlib.suppress(BrokenPipeError):
            client.send(PING)
        poll.register(fd, select.POLLIN)
    end = time.monotonic() + harness.BOUND_S
    while waiting and time.monotonic() < end:
        for fd, _ in poll.poll(1000):
            texts[fd] += waiting[fd].recv(4096)
            if texts[fd].endswith(b"\n"):
                poll.unregister(fd)
                del waiting[fd]
    return [json.loads(text) for text in texts.values() if text.endswith(b"\n")]


@test(bpf=False)
def ten_thousand_clients_leave_nothing_behind():
    with served() as (server, path):
        before = descriptors(server.pid)
        for i in range(10000):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                if i % 3:
                    client.sendall(PING[:i % len(PING)] if i % 3 == 1 else PING)
        with Client(path) as client:
            check(client.ask(op="ping")["ok"], True, "afterwards")
        harness.until(lambda: descriptors(server.pid) == before, "no growth of descriptors")
        check(server.process.poll(), None, "the server lives")


@test(bpf=False)
def the_peers_uid_decides():
    if os.geteuid() != 0:
        raise Skip("needs root, to be somebody else")
    requests = [
        {"op": "status"},
        {"op": "attach", "select": {"exe": "*"}, "settings": {"budget_ratio": 0.02}},
        {"op": "attach", "select": {"exe": "*"}},
        {"op": "attach", "select": {"exe": "*"}, "settings": {"budget_ratio": 0.03}},
        {"op": "mode", "select": {"all": True}, "settings": {"mode": "full"}},
        {"op": "mode", "select": {"uid": 0}, "settings": {"mode": "off"}},
        {"op": "detach", "select": {"uid": NOBODY}},
    ]
    with served() as (_, path):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                with Client(path) as client:
                    os.write(write, json.dumps([client.ask(**request) for request in requests]).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            answers = json.loads(pipe.read())
        os.waitpid(child, 0)
        with Client(path) as client:
            mine = [client.ask(**request) for request in requests]
    check([answer["error"]["code"] if "error" in answer else 0 for answer in answers], [0, 0, 0, 5, 5, 4, 0], "nobody's")
    check([answer.get("uid") for answer in answers if answer["ok"]], [NOBODY] * 4, "the uid is the kernel's word")
    check(answers[2]["budget_ratio"], 0.01, "the budget that nobody asked for")
    check([answer["ok"] for answer in mine], [True] * 7, "root's")


@test(bpf=False)
def a_dead_servers_socket_is_replaced_and_a_living_ones_kept():
    with served() as (server, path):
        second = subprocess.run([SERVE, path], capture_output=True, text=True, timeout=harness.BOUND_S, check=False)
        check(second.returncode, 1, "a second one")
        check_in(f"a daemon, process {server.pid}, listens on", second.stdout, "a second one")
        with Client(path) as client:
            check(client.ask(op="ping")["ok"], True, "the first one")
            server.process.kill()
            server.process.wait()
            check(client.line(), b"", "its client")
        check(path.is_socket(), True, "what it left")
        with Target(SERVE, path) as third:
            with Client(path) as client:
                check(client.ask(op="ping")["ok"], True, "the third one")
            third.process.send_signal(signal.SIGTERM)
            check(third.process.wait(timeout=harness.BOUND_S), 0, "its end")
            check(path.exists(), False, "what it left")
