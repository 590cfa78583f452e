"""The daemon's modes: what each counts, when it ends, and that always hits = delivered + sampled out + lost."""
import random
import subprocess
import time

import harness
from beside import Steps, differing
from daemon import Client, Daemon, adds_up, site
from harness import check, check_in, test, until


def until_mode(daemon, pid, mode):
    until(lambda: daemon.target(pid)["mode"] == mode, f"{pid} to be in mode {mode}")


@test()
def off_leaves_the_files_bytes():
    with Daemon() as daemon, Steps() as target:
        daemon.ask("attach", "-p", target.pid, "--mode", "off")
        check(differing(target.pid), [], "text")
        target.step(1000)
        seen = daemon.target(target.pid)
        check([seen["hits"], seen["mode"], seen["arming"]], [0, "off", "not"], "hits, mode, arming")
        check(seen["functions"][0]["rate_hz"], None, "a rate that nobody measured")
        daemon.ask("mode", "count", "--exact", "-p", target.pid)
        daemon.until_armed(target.pid, [site(target)])
        truth = target.step(1000)["time.Now"]
        daemon.ask("mode", "off", "-p", target.pid)
        daemon.until_clean(target.pid)
        target.step(1000)
        check(daemon.delivered(target.pid), truth, "calls while it was counted")
        daemon.leaves_nothing()


@test()
def count_keeps_within_the_budget_unless_exact():
    """Over its budget it becomes sampled, says so, and comes back by itself.

    What it took over the budget is made up for first, and a target that rests has little to make up with: hence 20 %."""
    with Daemon() as daemon, Steps(1) as target:
        daemon.ask("attach", "-p", target.pid, "--mode", "count", "--budget", "20%")
        daemon.until_armed(target.pid, [site(target)])
        target.go()
        until(lambda: daemon.target(target.pid)["arming"] == "windows", "the governor to step down")
        seen = daemon.target(target.pid)
        check([seen["mode"], seen["decisions"][-1]["to"]], ["count", "windows"], "mode, the last decision")
        adds_up(seen)
        target.rest()
        until(lambda: daemon.target(target.pid)["arming"] == "always", "it to come back")
        daemon.until_armed(target.pid, [site(target)])
        before = daemon.delivered(target.pid)
        check(before + target.step(10)["time.Now"], daemon.delivered(target.pid), "calls, counted again")


@test()
def full_ends_with_its_lease_and_falls_back():
    with Daemon() as daemon, Steps() as target:
        daemon.ask("attach", "-p", target.pid, "--mode", "off")
        for before in ("off", "count", "sampled"):
            daemon.ask("mode", before, "-p", target.pid)
            began = time.monotonic()
            daemon.ask("mode", "full", "-p", target.pid, "--for", "1500ms")
            daemon.until_armed(target.pid, [site(target)])
            check(daemon.target(target.pid)["mode"], "full", "mode")
            until_mode(daemon, target.pid, before)
            check(time.monotonic() - began >= 1.5, True, "the lease lasts as long as was asked for")
            check(daemon.target(target.pid)["lease_until_ns"], 0, "no lease afterwards")
            adds_up(daemon.target(target.pid))
        daemon.ask("mode", "off", "-p", target.pid)
        daemon.until_clean(target.pid)


@test()
def full_counts_all_of_it():
    with Daemon() as daemon, Steps(4) as target:
        daemon.ask("attach", "-p", target.pid)
        daemon.ask("mode", "full", "-p", target.pid, "--for", "60s")
        daemon.until_armed(target.pid, [site(target)])
        before = daemon.delivered(target.pid)
        check(before + target.step(20000)["time.Now"], daemon.delivered(target.pid), "calls")


@test()
def a_lease_can_be_made_longer_and_shorter():
    """It is the gate's lease too: calls after the first one's end still count."""
    with Daemon() as daemon, Steps() as target:
        daemon.ask("attach", "-p", target.pid, "--mode", "off")
        daemon.ask("mode", "full", "-p", target.pid, "--for", "500ms")
        daemon.until_armed(target.pid, [site(target)])
        first_ns = daemon.target(target.pid)["lease_until_ns"]
        daemon.ask("mode", "full", "-p", target.pid, "--for", "1h")
        until(lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC) > first_ns, "the first lease's end")
        before = daemon.delivered(target.pid)
        check(before + target.step(500)["time.Now"], daemon.delivered(target.pid), "calls after the first lease's end")
        daemon.ask("mode", "full", "-p", target.pid, "--for", "100ms")
        until_mode(daemon, target.pid, "off")
        daemon.until_clean(target.pid)


@test()
def burst_delivers_as_many_as_asked_for():
    with Daemon() as daemon, Steps(4) as target:
        daemon.ask("attach", "-p", target.pid, "--mode", "off")
        target.go()
        for count in (1, 1000, 20000):
            before = daemon.delivered(target.pid)
            daemon.ask("mode", "burst", "-p", target.pid, "--events", count, "--for", "60s")
            until_mode(daemon, target.pid, "off")
            daemon.until_clean(target.pid)
            seen = daemon.target(target.pid)
            check(seen["delivered"] - before, count, "events")
            adds_up(seen)
        target.rest()
        check(target.leave(), 0, "the target's status")


@test()
def a_burst_can_be_followed_by_another_at_once():
    with Daemon() as daemon, Steps() as target:
        daemon.ask("attach", "-p", target.pid, "--mode", "off")
        daemon.ask("mode", "burst", "-p", target.pid, "--events", 1000, "--for", "60s")
        daemon.until_armed(target.pid, [site(target)])
        done = target.step(100)["time.Now"]
        check(daemon.delivered(target.pid), done, "a part of the first one's")
        daemon.ask("mode", "burst", "-p", target.pid, "--events", 5000, "--for", "60s")
        target.step(10000)
        until_mode(daemon, target.pid, "off")
        daemon.until_clean(target.pid)
        check(daemon.delivered(target.pid) - done, 5000, "the second one's")


@test()
def burst_ends_by_time_where_calls_are_few():
    with Daemon() as daemon, Steps() as target:
        # Exact: an idle target's budget is less than some hundred calls take at once.
        daemon.ask("attach", "-p", target.pid, "--mode", "count", "--exact")
        daemon.until_armed(target.pid, [site(target)])
        daemon.ask("mode", "burst", "-p", target.pid, "--events", 1000000, "--for", "500ms")
        done = target.step(100)["time.Now"]
        until_mode(daemon, target.pid, "count")
        daemon.until_armed(target.pid, [site(target)])
        done += target.step(100)["time.Now"]
        check(daemon.delivered(target.pid), done, "calls in burst and in count")


@test()
def a_lease_is_the_attachments_too():
    """A process that comes gets what is left of it; one that comes later, what it falls back to."""
    with Daemon() as daemon, Steps() as first:
        daemon.ask("attach", "--exe", first.program, "--mode", "off")
        daemon.ask("mode", "full", "--exe", first.program, "--for", "1500ms")
        with Steps() as second:
            until(lambda: daemon.targets(second.pid), "the second one")
            leases = [daemon.target(target.pid)["lease_until_ns"] for target in (first, second)]
            check(abs(leases[0] - leases[1]) < 1e6, True, f"the second one's lease ends as the first one's: {leases}")
            until_mode(daemon, second.pid, "off")
            with Steps() as third:
                until(lambda: daemon.targets(third.pid), "the third one")
                check(daemon.target(third.pid)["mode"], "off", "the third one's mode")
                check(differing(third.pid), [], "the third one's text")


@test()
def an_attachment_in_burst_falls_back_to_sampled():
    with Daemon() as daemon, Steps() as target:
        daemon.ask("attach", "-p", target.pid, "--mode", "burst", "--for", "2s", "--budget", "2%")
        check(daemon.target(target.pid)["mode"], "burst", "mode")
        until_mode(daemon, target.pid, "sampled")
        check(daemon.target(target.pid)["budget_ratio"], 0.02, "budget")


@test()
def sampled_estimates():
    with Daemon() as daemon, Steps(1) as target:
        daemon.ask("attach", "-p", target.pid)
        target.go()
        until(lambda: daemon.target(target.pid)["windows"] >= 30, "30 windows")
        seen = daemon.target(target.pid)
        function = seen["functions"][0]
        check([seen["mode"], seen["arming"], function["estimated"]], ["sampled", "windows", True], "mode, arming")
        for what in ("rate{}_hz", "calls{}"):
            low, value, high = (function[what.format(part)] for part in ("_low", "", "_high"))
            # At full speed next to all of a window is dead: then the interval may be open upwards.
            check(0 <= low <= value <= (float("inf") if high is None else high), True, f"{function}")
        check(0 < seen["armed_ratio"] < 1, True, f"armed {seen['armed_ratio']} of the time")
        adds_up(seen)
        check(0 < seen["pairs"] <= min(seen["lead_hits"], seen["delivered"]), True,
              f"{seen['pairs']} pairs of {seen['lead_hits']} hits of the lead: what a hit costs, by the target itself")
        target.rest()
        daemon.ask("mode", "off", "-p", target.pid)
        daemon.until_clean(target.pid)


@test()
def two_hundred_changes_of_mode_under_load():
    modes = [{"mode": "off"}, {"mode": "count"}, {"mode": "count", "exact": True}, {"mode": "sampled"},
             {"mode": "full", "lease_ns": 20000000}, {"mode": "burst", "events": 500, "lease_ns": 10 ** 9}]
    chance = random.Random(3)
    with Daemon() as daemon, Steps(4) as target, Client(daemon.socket) as client:
        daemon.ask("attach", "-p", target.pid)
        target.go()
        for i in range(200):
            settings = modes[i % len(modes)] if i % 20 < 10 else chance.choice(modes)
            check(client.ask(op="mode", select={"pid": target.pid}, settings=settings)["ok"], True, f"{settings}")
            for seen in client.ask(op="status")["targets"]:
                check(seen["mode"], settings["mode"], "mode") if settings["mode"] in ("off", "count", "sampled") else None
            if i % 10 == 9:
                daemon.ask("mode", "off", "-p", target.pid)
                daemon.until_clean(target.pid)
                adds_up(daemon.target(target.pid))
        target.rest()
        check(target.step(1000)["time.Now"], 4002, "the target's own truth")
        check(target.leave(), 0, "the target's status")
        daemon.leaves_nothing()


@test()
def mode_reaches_all_that_it_names():
    with Daemon() as daemon, Steps() as one, Steps() as two:
        daemon.ask("attach", "-p", one.pid, "--mode", "off")
        daemon.ask("attach", "-p", two.pid, "--mode", "off")
        check(daemon.ask("mode", "count", "--all")["processes"], 2, "processes of --all")
        check(daemon.ask("mode", "off", "--exe", one.program)["processes"], 2, "processes of --exe")
        check(daemon.ask("mode", "count", "-p", one.pid)["processes"], 1, "processes of -p")
        check([daemon.target(target.pid)["mode"] for target in (one, two)], ["count", "off"], "modes")


@test()
def bad_wishes_are_refused():
    with Daemon() as daemon, Steps() as target:
        daemon.ask("attach", "-p", target.pid, "--mode", "off")
        before = daemon.target(target.pid)
        for words in (["mode", "full", "--for", "0s"], ["mode", "full", "--for", "400d"], ["mode", "count", "--events", "5"],
                      ["mode", "sampled", "--budget", "0"], ["mode", "sampled", "--budget", "101%"],
                      ["mode", "off", "--rate", "1/2"], ["mode", "loud"], ["mode", "burst", "--events", "0"]):
            daemon.ask(*words, "-p", target.pid, code=2)
        with Client(daemon.socket) as client:
            for settings in ({"mode": "full", "lease_ns": 0}, {"mode": "full", "lease_ns": 10 ** 18}, {"mode": "loud"},
                             {"mode": "sampled", "budget_ratio": 0}, {"mode": "sampled", "budget_ratio": 1.01}):
                answer = client.ask(op="mode", select={"pid": target.pid}, settings=settings)
                check([answer["ok"], answer["error"]["code"]], [False, 2], f"{settings}")
        after = daemon.target(target.pid)
        check([after[key] for key in ("mode", "budget_ratio", "hits")], [before[key] for key in
              ("mode", "budget_ratio", "hits")], "what holds")
        check_in("which processes?", daemon.ask("mode", "off", code=2), "without processes")
