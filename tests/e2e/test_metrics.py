"""The daemon's metrics: what is in them, what reads them, and clients of all kinds."""
import contextlib
import http.client
import json
import math
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.parse

import harness
import real
from beside import Steps
from daemon import LOOPBACK, Daemon, Served, counted, resident_kib, site
from harness import BOUND_S, NOWGATE, check, check_in, test, until

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
COUNT = ["--mode", "count", "--exact"]


class Measured(Served):
    """A daemon whose metrics are looked at."""

    def get(self, *arguments, **options):
        status, headers, body = super().get(*arguments, **options)
        return status, headers, body.decode()

    def scrape(self, accept=None):
        status, headers, body = self.get(headers={"Accept": accept} if accept else None)
        check(status, 200, "status")
        return headers["Content-Type"], body

    def values(self, accept=None):
        """Every sample, as Prometheus's own library reads it: {(name, labels): value}."""
        return parsed(*self.scrape(accept))


def parsers():
    """Prometheus's own for Python, as Debian ships it; the one for OpenMetrics is strict."""
    for package in ("python3-prometheus-client", "python3-decorator"):
        folder = str(real.unpacked(package, "bookworm") / "usr" / "lib" / "python3" / "dist-packages")
        if folder not in sys.path:
            sys.path.append(folder)
    from prometheus_client.openmetrics import parser as strict
    from prometheus_client import parser
    return parser, strict


def parsed(content_type, text):
    parser = parsers()[content_type.startswith("application/openmetrics-text")]
    samples = [sample for family in parser.text_string_to_metric_families(text) for sample in family.samples]
    values = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    check(len(values), len(samples), "samples that are there once")
    return values


def of(values, name, **labels):
    """The one sample with these labels among its own."""
    found = [value for (sample, own), value in values.items() if sample == name and labels.items() <= dict(own).items()]
    check(len(found), 1, f"samples of {name}, {labels}")
    return found[0]


def pids(values, name="nowgate_hits_total"):
    return sorted(int(dict(labels)["pid"]) for sample, labels in values if sample == name)


def hits_add_up(values):
    for pid in map(str, pids(values)):
        parts = [of(values, f"nowgate_events_{what}_total", pid=pid) for what in ("delivered", "sampled_out", "lost")]
        check(of(values, "nowgate_hits_total", pid=pid), sum(parts), f"hits of {pid}")


def promtool(text):
    """What promtool has to complain of."""
    run = subprocess.run([real.unpacked("prometheus", "bookworm") / "usr" / "bin" / "promtool", "check", "metrics"],
                         input=text, capture_output=True, text=True, timeout=BOUND_S, check=False)
    return run.returncode, run.stdout + run.stderr


def listening(pid):
    """The TCP ports that a process listens on."""
    inodes = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            inodes.add(os.readlink(f"/proc/{pid}/fd/{number}"))
    rows = [line.split() for name in ("tcp", "tcp6") for line in pathlib.Path(f"/proc/net/{name}").read_text().splitlines()]
    return [int(row[1].rsplit(":", 1)[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]


@test()
def there_are_none_unless_asked_for():
    with Daemon() as daemon:
        check(listening(daemon.pid), [], "ports")
        daemon.reload(LOOPBACK)
        check_in("another socket, state_dir or metrics holds from the next start on", daemon.log(), "the log")
        check(listening(daemon.pid), [], "ports after a reload")
    with Measured() as daemon:
        check(listening(daemon.pid), [daemon.port], "ports")
        daemon.leaves_nothing()


@test()
def a_port_that_is_taken_is_told():
    with Measured() as daemon, tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "conf")
        for address, wanted in ((f"127.0.0.1:{daemon.port}", "another program does"), ("192.0.2.1:80", "cannot listen on")):
            config.write_text(f"[daemon]\nmetrics = {address}\n")
            run = subprocess.run([NOWGATE, "daemon", "-c", config, "--socket", f"{folder}/s", "--state-dir", folder],
                                 capture_output=True, text=True, timeout=BOUND_S, check=False)
            check([run.returncode, run.stdout], [1, ""], f"status, output; {run.stderr}")
            check_in(wanted, run.stderr, "what it says")
            check_in(address, run.stderr, "what it says")
            check(pathlib.Path(folder, "s").exists(), False, "a socket that is left")
        check(daemon.get()[0], 200, "the first one's answer")


@test()
def what_is_counted_is_told_exactly():
    with Measured() as daemon, Steps(4) as target:
        daemon.ask("attach", "-p", target.pid, *COUNT)
        daemon.until_armed(target.pid, [site(target)])
        truth = target.step(5000)["time.Now"]
        who = {"pid": str(target.pid), "exe": str(target.program)}
        for accept in (None, OPENMETRICS):
            # A page that was made a moment ago is told again.
            until(lambda: of(daemon.values(accept), "nowgate_calls_total", function="time.Now", **who) == truth,
                  f"{truth} calls to be told")
            values, seen = daemon.values(accept), daemon.target(target.pid)
            check([of(values, "nowgate_hits_total", **who), of(values, "nowgate_events_delivered_total", **who),
                   of(values, "nowgate_events_sampled_out_total", **who), of(values, "nowgate_events_lost_total", **who)],
                  [truth, truth, 0, 0], "hits")
            check([of(values, "nowgate_calls_total", **who), of(values, "nowgate_budget_ratio", **who)],
                  [counted(seen), seen["budget_ratio"]], "as the status says")
            costs = of(values, "nowgate_call_cost_seconds", **who), seen["functions"][0]["cost_ns"] / 1e9
            check(math.isclose(*costs, rel_tol=1e-8), True, f"the same, of which JSON has nine digits: {costs}")
            modes = {mode: of(values, "nowgate_mode", mode=mode, **who) for mode in ("off", "count", "sampled", "burst", "full")}
            check(modes, {"off": 0, "count": 1, "sampled": 0, "burst": 0, "full": 0}, "mode")
            check([of(values, "nowgate_targets"), of(values, "nowgate_attachments")], [1, 1], "targets, attachments")
            check([name for name, _ in values if name.startswith("nowgate_calls_estimated")], [], "estimates")
            check(of(values, "nowgate_target_info", **who), 1, "info")
            check(of(values, "process_resident_memory_bytes") > 1e6, True, "memory")
        target.leave()
        until(lambda: of(daemon.values(), "nowgate_targets") == 0, "its end")
        values = daemon.values()
        check(of(values, "nowgate_calls_total", **who), truth, "calls of one that has ended")
        check([name for name, labels in values if ("pid", who["pid"]) in labels and name == "nowgate_mode"], [], "its mode")
        daemon.leaves_nothing()


@test()
def no_counter_goes_back_and_hits_add_up():
    """While windows come and go, in either format."""
    with Measured() as daemon, Steps(2) as target:
        daemon.ask("attach", "-p", target.pid, "--mode", "sampled", "--budget", "5%", "--rate", "1/20")
        target.go()
        before, accept = {}, OPENMETRICS
        until(lambda: of(daemon.values(), "nowgate_windows_total") > 3, "some windows")
        until(lambda: len([name for name, _ in daemon.values() if name == "nowgate_calls_estimated_total"]) == 1, "an estimate")
        enough = of(daemon.values(), "nowgate_windows_total") + 60
        while before.get(("nowgate_windows_total", frozenset({("pid", str(target.pid)), ("exe", str(target.program))})), 0) < enough:
            accept = None if accept else OPENMETRICS
            values = daemon.values(accept)
            hits_add_up(values)
            for key, value in values.items():
                if key[0].endswith("_total"):
                    check(value >= before.get(key, 0), True, f"{key}: {value} after {before.get(key)}")
            before = {**before, **values}
        target.rest()
        low, rate = of(values, "nowgate_calls_per_second_low"), of(values, "nowgate_calls_per_second")
        check(0 < low <= rate <= of(values, "nowgate_calls_per_second_high"), True, "the interval's order")
        check([name for name, _ in values if name == "nowgate_calls_total"], [], "counted calls")
        check(of(values, "nowgate_mode", mode="sampled"), 1, "mode")
        check(of(values, "nowgate_overhead_seconds_total") > 0, True, "overhead")
        daemon.ask("mode", "full", "-p", target.pid, "--for", "1h")
        until(lambda: any(name == "nowgate_lease_expiry_timestamp_seconds" for name, _ in daemon.values()), "the lease")
        now = float(subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True).stdout)
        left = of(daemon.values(), "nowgate_lease_expiry_timestamp_seconds") - now
        check(3600 - BOUND_S < left <= 3601, True, f"{left} s left, an hour")
        daemon.leaves_nothing()


@test()
def only_the_busiest_have_series():
    with Measured(LOOPBACK + "metrics_targets = 2\n") as daemon, contextlib.ExitStack() as stack:
        targets = [stack.enter_context(Steps(1)) for _ in range(4)]
        daemon.ask("attach", "--exe", targets[0].program, *COUNT)
        for target in targets:
            daemon.until_armed(target.pid, [site(target)])
        check(len(pids(daemon.values())), 2, "targets with series")
        for target in targets[2:]:
            target.go()
        until(lambda: pids(daemon.values()) == sorted(target.pid for target in targets[2:]), "the busy ones to be told of")
        check(of(daemon.values(), "nowgate_targets_without_series"), 2, "the others")
        check(of(daemon.values(), "nowgate_targets"), 4, "targets")
        per_target = len(daemon.scrape()[1].splitlines())
        daemon.reload(LOOPBACK + "metrics_targets = 3\n")
        until(lambda: len(pids(daemon.values())) == 3, "one more")
        daemon.reload(LOOPBACK + "metrics_targets = 0\n")
        until(lambda: not pids(daemon.values()), "none")
        check(of(daemon.values(), "nowgate_targets_without_series"), 4, "the others")
        check(len(daemon.scrape()[1].splitlines()) < per_target, True, "fewer lines")
        for target in targets[2:]:
            target.rest()
        daemon.leaves_nothing()


@test()
def each_format_to_whom_it_is_due():
    with Measured() as daemon, Steps(2) as target:
        daemon.ask("attach", "-p", target.pid, *COUNT)
        daemon.until_armed(target.pid, [site(target)])
        target.step(10)
        text_type, text = daemon.scrape()
        open_type, open_text = daemon.scrape(OPENMETRICS)
        check([text_type, open_type], ["text/plain; version=0.0.4; charset=utf-8",
                                       "application/openmetrics-text; version=1.0.0; charset=utf-8"], "types")
        check([open_text.endswith("\n# EOF\n"), "# EOF" in text, "# UNIT" in text], [True, False, False], "ends and units")
        check_in("# UNIT nowgate_overhead_seconds seconds\n", open_text, "units")
        check({key[0] for key in parsed(text_type, text)}, {key[0] for key in parsed(open_type, open_text)}, "samples")
        check(daemon.scrape("text/html,*/*;q=0.8")[0], text_type, "a browser's type")
        check(promtool(text), (0, ""), "what promtool says")
        # That it would complain.
        check(promtool(text.replace("# HELP nowgate_targets ", "# "))[0], 3, "promtool's status without a help text")


class Scraper(real.Prometheus):
    """A Prometheus that scrapes a daemon of ours each second."""

    def __init__(self, daemon):
        self.daemon = daemon
        super().__init__("bookworm")

    def arguments(self):
        arguments = super().arguments()
        config = self.directory / "prometheus.yml"
        config.write_text(config.read_text().replace(f"127.0.0.1:{self.port}", f"127.0.0.1:{self.daemon.port}"))
        return arguments

    def ask(self, path):
        status, body = real.fetch(self.port, path)
        check(status, 200, path)
        answer = json.loads(body)
        check(answer["status"], "success", path)
        return answer["data"]

    def query(self, name):
        """@return {pid: value}"""
        path = f"/api/v1/query?query={urllib.parse.quote(name)}"
        return {row["metric"].get("pid"): float(row["value"][1]) for row in self.ask(path)["result"]}


@test()
def prometheus_scrapes_it():
    with Measured() as daemon, Steps(2) as counting, Steps(2) as resting, Scraper(daemon) as scraper:
        daemon.ask("attach", "-p", counting.pid, *COUNT)
        daemon.ask("attach", "-p", resting.pid, "--mode", "off")
        daemon.until_armed(counting.pid, [site(counting)])
        truth = 0
        for calls in (700, 300):
            truth += counting.step(calls)["time.Now"]
            until(lambda: scraper.query("nowgate_calls_total").get(str(counting.pid)) == truth, f"{truth} calls at Prometheus")
        check(scraper.query("up"), {None: 1.0}, "up")
        check(counted(daemon.target(counting.pid)), truth, "calls by the status")
        check(scraper.query('nowgate_mode{mode="off"}'), {str(counting.pid): 0.0, str(resting.pid): 1.0}, "mode")
        check(scraper.query("nowgate_hits_total - nowgate_events_delivered_total"),
              {str(counting.pid): 0.0, str(resting.pid): 0.0}, "hits that were not delivered")
        # Units are told in OpenMetrics only: that is what it asked for.
        told = scraper.ask("/api/v1/targets/metadata?metric=nowgate_overhead_seconds")
        check([(row["type"], row["unit"]) for row in told], [("counter", "seconds")], "metadata")
        dropped = scraper.ask("/api/v1/targets")["activeTargets"]
        check([(target["health"], target["lastError"]) for target in dropped], [("up", "")], "targets")
        daemon.leaves_nothing()


def seen_by_browser(daemon, path):
    with tempfile.TemporaryDirectory(prefix="nowgate-metrics-") as folder:
        run = subprocess.run(
            [harness.need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={folder}/profile", "--virtual-time-budget=10000", "--dump-dom",
             f"http://127.0.0.1:{daemon.port}{path}"],
            capture_output=True, text=True, timeout=BOUND_S, check=False)
    return run.stdout


@test()
def a_browser_finds_it():
    harness.need("chromium")
    with Measured() as daemon:
        check(re.findall(r'<a href="([^"]*)">', seen_by_browser(daemon, "/")), ["/metrics", "/profile"], "links")
        check_in("nowgate_targets 0", seen_by_browser(daemon, "/metrics"), "what a browser shows")
        check_in("/metrics: ", seen_by_browser(daemon, "/metric"), "what it shows where there is no such page")


@test()
def what_is_asked_wrongly():
    with Measured() as daemon:
        status, headers, body = daemon.get("/metric")
        check([status, headers["Content-Type"]], [404, "text/plain; charset=utf-8"], "status, type")
        check_in("\n/metrics: ", body, "what there is")
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, headers, _ = daemon.get(method=method)
            check([status, headers["Allow"]], [405, "GET, HEAD"], method)
        status, headers, body = daemon.get(method="HEAD")
        check([status, int(headers["Content-Length"]) > 1000, body], [200, True, ""], "HEAD")
        check(daemon.get(headers={"Host": "evil.example"})[0], 403, "by a name of somebody's")
        check(daemon.get(headers={"Host": f"localhost:{daemon.port}"})[0], 200, "by localhost")
        check([daemon.get(path)[0] for path in ("/metrics?x=1", "/../metrics", "//metrics", "/metrics/")],
              [200, 404, 404, 404], "paths")


@test()
def other_addresses():
    with Measured("[daemon]\nmetrics = [::1]:0\n", "::1") as daemon:
        check_in("nowgate_targets 0\n", daemon.scrape()[1], "by IPv6")
        check("no password" in daemon.log(), False, "a warning")
    with Measured("[daemon]\nmetrics = 0.0.0.0:0\n") as daemon:
        check_in("there is no password", daemon.log(), "the log")
        check(daemon.get(headers={"Host": "here.example"})[0], 200, "by any name")


@test()
def no_client_keeps_the_daemon_from_its_work():
    """Half requests, endless ones, readers that do not read, and more connections than there is room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 1024)), hard))
    with Measured() as daemon, Steps(1) as target, contextlib.ExitStack() as stack:
        daemon.ask("attach", "-p", target.pid, *COUNT)
        daemon.until_armed(target.pid, [site(target)])
        daemon.scrape()
        resident = resident_kib(daemon.pid)
        clients, truth = [], 0
        for said in (b"GET /metr", b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n", b"\0\xff",
                     b"", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50):
            for _ in range(20):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", daemon.port))
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    client.send(said)
                clients.append(client)
            for _ in range(5):
                truth += target.step(10)["time.Now"]
                check(daemon.delivered(target.pid), truth, "what its socket answers meanwhile")
        check(len(clients), 100, "clients")
        for client in clients[16:]:
            client.close()
        # Each connection was taken by one of the silent ones: their time is over after 5 s.
        check_in("nowgate_hits_total", daemon.scrape()[1], "an answer, at last")
        for huge in (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (1 << 20), b"GET /" + b"x" * (1 << 20)):
            with contextlib.suppress(ConnectionError), contextlib.closing(daemon.dial()) as client:
                client.sendall(huge)
                check_in(b" 4", client.recv(100)[:12], "what is said of a huge head")
        check(daemon.get()[0], 200, "status after that")
        check(resident_kib(daemon.pid) - resident < 4096, True, "KiB more than before, fewer than 4 MiB")
        daemon.leaves_nothing()


@test()
def a_daemon_that_is_killed_leaves_the_port():
    with Measured() as daemon:
        daemon.config.write_text(f"[daemon]\nmetrics = 127.0.0.1:{daemon.port}\n")
        for _ in range(3):
            check(daemon.get()[0], 200, "status")
            daemon.end(signal.SIGKILL)
            daemon.start()
        check(daemon.get()[0], 200, "status")
        daemon.leaves_nothing()
