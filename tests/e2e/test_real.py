"""Servers that nobody here wrote: found, counted while they serve, and left as they were."""
import json
import tempfile

import real
from harness import MATRIX, Record, Stat, all_exact, calls, check, nowgate, test, text_differences

REQUESTS = 200


def suites():
    """With the whole matrix of Go versions, Debian 13's builds too."""
    return ["bookworm"] if len(MATRIX) <= 2 else ["bookworm", "trixie"]


def sites_of(*image):
    run = nowgate("site", "--json", *image, "time.Now")
    check(run.returncode, 0, f"{image}: {run.stderr}")
    return json.loads(run.stdout)


def is_emulated_and_exact(kind):
    for suite in suites():
        what = f"{kind.package} of {suite}"
        report = sites_of(real.unpacked(kind.package, suite) / kind.binary)
        check({site["class"] for site in report["sites"]}, {"emulated"}, f"{what}: class")
        check({site["exact"] for site in report["sites"]}, {True}, f"{what}: exact")
        check(report["complete"], True, f"{what}: complete")


def is_counted_while_it_serves(kind):
    for suite in suites():
        with kind(suite) as server, Stat("-p", server.pid) as stat:
            what = f"{kind.package} of {suite}"
            armed = text_differences(server.pid)
            server.drive(REQUESTS)
            total = stat.interrupt()
            check(stat.process.returncode, 0, f"{what}: {stat.errors}")
            sites = sites_of("-p", server.pid)["sites"]
            check([offset for _, offset in armed], sorted(site["offset"] for site in sites),
                  f"{what}: where its text differs while it is counted")
            counted = calls(total, "time.Now", server.pid, key="total")
            # Each of them reads the clock at least once a request.
            check(counted >= REQUESTS, True, f"{what}: {counted} calls in {REQUESTS} requests, enough")
            check(all_exact(total), True, f"{what}: exact")
            check(text_differences(server.pid), [], f"{what}: text afterwards")
            server.drive(REQUESTS)
            check(server.is_healthy(), True, f"{what}: healthy afterwards")
            check(server.process.poll(), None, f"{what}: exit status")


@test(bpf=False)
def nats_server_has_an_exact_site():
    is_emulated_and_exact(real.Nats)


@test(bpf=False)
def caddy_has_an_exact_site():
    is_emulated_and_exact(real.Caddy)


@test(bpf=False)
def etcd_has_an_exact_site():
    is_emulated_and_exact(real.Etcd)


@test(bpf=False)
def prometheus_has_an_exact_site():
    is_emulated_and_exact(real.Prometheus)


@test()
def nats_server_is_counted_while_it_serves():
    is_counted_while_it_serves(real.Nats)


@test()
def caddy_is_counted_while_it_serves():
    is_counted_while_it_serves(real.Caddy)


@test()
def etcd_is_counted_while_it_serves():
    is_counted_while_it_serves(real.Etcd)


@test()
def prometheus_is_counted_while_it_serves():
    is_counted_while_it_serves(real.Prometheus)


def says_who_calls(kind, callers):
    """Plausible callers, by name."""
    for suite in suites():
        with kind(suite) as server, tempfile.NamedTemporaryFile(suffix=".json") as output:
            with Record("-p", server.pid, "--json", output.name) as run:
                server.drive(REQUESTS)
                run.process.send_signal(2)
                check(run.finish(), 0, run.process)
            recording = json.load(output)
        what = f"{kind.package} of {suite}"
        frames = recording["frames"]
        check([frame for frame in frames if not frame["function"]], [], f"{what}: frames without a name")
        names = {frames[i]["function"] for stack in recording["stacks"] for i in stack["frames"]}
        check(callers - names, set(), f"{what}: callers that are not there")


@test()
def caddy_says_who_calls():
    says_who_calls(real.Caddy, {"net/http.(*conn).serve", "net/http.(*conn).readRequest"})


@test()
def prometheus_says_who_calls():
    says_who_calls(real.Prometheus, {"net/http.(*conn).serve", "net/http.(*conn).readRequest"})
