"""The newest calls that a daemon keeps of its targets, and who made them."""
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time

from beside import Steps, differing
from daemon import Daemon, site
from harness import BOUND_S, NOWGATE, check, check_in, need, nowgate, test, until
from traced import read_ctf, read_ndjson, read_perfetto


def until_mode(daemon, pid, mode):
    until(lambda: daemon.target(pid)["mode"] == mode, f"mode {mode}")


@contextlib.contextmanager
def attached(*mode, config=None):
    """A daemon, and a target that it traces so."""
    with Daemon(config) as daemon, Steps() as target:
        daemon.ask("attach", "-p", target.pid, *mode)
        yield daemon, target


def snapshot(daemon, target, *arguments, code=0):
    """@return what is in it, and what was said"""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "calls.ndjson")
        run = nowgate("snapshot", "-p", target.pid, "-o", path, "--socket", daemon.socket, *arguments)
        check(run.returncode, code, run.stderr)
        return (None, run.stderr) if code else (read_ndjson(path), run.stdout)


def check_calls(trace, target, count):
    check(len(trace.calls), count, "calls")
    for call in trace.calls:
        check((call.pid, call.function), (target.pid, "time.Now"), "whose call, of what")
        check_in("main.", call.caller, "the caller")
    times = [call.time_ns for call in trace.calls]
    check(times, sorted(times), "the times of calls")


@test()
def what_is_counted_and_recorded_is_there_to_the_call():
    with attached("--mode", "count", "--exact", "--record") as (daemon, target):
        daemon.until_armed(target.pid, [site(target)])
        done = target.step(5000)["time.Now"]
        trace, said = snapshot(daemon, target)
        check_calls(trace, target, done)
        check(trace.gaps, [], "gaps")
        check_in(f"{done:,} calls of process {target.pid}", said, "what it says")
        check_in("0 gaps", said, "what it says")
        check({call.goroutine for call in trace.calls} > {None}, False, "goroutines are known")
        done += target.step(100)["time.Now"]
        check_calls(snapshot(daemon, target)[0], target, done)


@test()
def the_oldest_make_room():
    with attached("--mode", "count", "--exact", "--record", config="[daemon]\nflight = 40K\n") as (daemon, target):
        daemon.until_armed(target.pid, [site(target)])
        done = target.step(5000)["time.Now"]
        trace, said = snapshot(daemon, target)
        check_calls(trace, target, 1023)  # 40 bytes each, and one that may be overwritten at any time
        check_in(f"; {done - 1023:,} earlier ones were not kept", said, "what it says")


@test()
def between_windows_there_are_gaps():
    with attached("--budget", "10%") as (daemon, target):
        target.go()
        until(lambda: daemon.target(target.pid)["windows"] >= 20, "twenty windows")
        trace, _ = snapshot(daemon, target)
        target.rest()
        check(len(trace.calls) > 0, True, "there are calls")
        check(len(trace.gaps) > 0, True, "there are gaps")
        times = [call.time_ns for call in trace.calls]
        for begin, length in trace.gaps:
            index = times.index(begin)
            check(times[index + 1] - begin, length, "a gap goes from one call to the next")


@contextlib.contextmanager
def burst(daemon, target):
    """A burst of 1,000 calls, with its end waited for. Yields the run, and the file that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "burst.ndjson")
        with subprocess.Popen([NOWGATE, "mode", "burst", "-p", str(target.pid), "--events", "1000", "--for", "60s", "-o", path,
                               "--socket", daemon.socket], stdout=subprocess.PIPE, text=True) as run:
            until_mode(daemon, target.pid, "burst")
            yield run, path


def end(run):
    """@return what it says"""
    said = run.communicate(timeout=BOUND_S)[0]
    check(run.returncode, 0, said)
    return said


@test()
def a_burst_is_written_with_what_came_before():
    with attached("--mode", "count", "--exact", "--record") as (daemon, target):
        daemon.until_armed(target.pid, [site(target)])
        before = target.step(300)["time.Now"]
        with burst(daemon, target) as (run, path):
            target.step(700)
            check(run.poll(), None, "it waits")
            target.step(700)
            said = end(run)
            trace = read_ndjson(path)
        # What is armed stays armed: the burst's last call is followed by those that are counted and recorded.
        lengths = stretches(trace)
        check(lengths[:2], [before, 1000], "calls before, and of the burst")
        check_in("2 gaps", said, "what it says") if len(lengths) == 3 else check_in("1 gap ", said, "what it says")


@test()
def a_burst_is_waited_for_after_an_exec():
    """Then the image before it is told of, too, as ended."""
    with Daemon() as daemon, Steps() as target:
        daemon.ask("attach", "--exe", target.program, "--mode", "count", "--exact", "--record")
        until(lambda: daemon.targets(target.pid), "the target")
        target.again("exec")
        until(lambda: daemon.targets(target.pid, ended=True) and daemon.targets(target.pid), "both images")
        daemon.until_armed(target.pid, [site(target)])
        with burst(daemon, target) as (run, path):
            target.step(450)
            time.sleep(0.3)  # some looks
            check(run.poll(), None, "it waits")
            target.step(450)
            end(run)
            check(1000 in stretches(read_ndjson(path)), True, "the calls of the burst are there")


def stretches(trace):
    """How many calls there are between gaps."""
    begins = [begin for begin, _ in trace.gaps]
    lengths, count = [], 0
    for call in trace.calls:
        count += 1
        if begins and call.time_ns == begins[0]:
            begins.pop(0)
            lengths.append(count)
            count = 0
    return lengths + [count]


@test()
def every_format_has_calls_and_gaps():
    need("babeltrace2")
    with attached("--mode", "count", "--exact", "--record") as (daemon, target):
        daemon.until_armed(target.pid, [site(target)])
        done = target.step(100)["time.Now"]
        daemon.ask("mode", "full", "-p", target.pid, "--for", "60s")
        done += target.step(50)["time.Now"]
        expected, _ = snapshot(daemon, target)
        check((len(expected.calls), len(expected.gaps)), (done, 1), "calls and gaps")
        with tempfile.TemporaryDirectory() as folder:
            ctf, perfetto = os.path.join(folder, "ctf"), os.path.join(folder, "calls.pftrace")
            for path in (ctf, perfetto):
                run = nowgate("snapshot", "-p", target.pid, "-o", path, "--socket", daemon.socket)
                check(run.returncode, 0, run.stderr)
            trace = read_ctf(ctf, expected.offset_ns)
            check(len(trace.calls), done, "calls in CTF")
            # The clock's offset is asked for anew each time.
            check([length for _, length in trace.gaps], [length for _, length in expected.gaps], "gaps in CTF")
            trace = read_perfetto(perfetto)
            check(len(trace.calls), done, "calls for Perfetto")
            check([length for _, length in trace.gaps], [length for _, length in expected.gaps], "gaps for Perfetto")


@test()
def what_is_not_kept_is_said():
    with attached("--mode", "count", "--exact") as (daemon, target):
        daemon.until_armed(target.pid, [site(target)])
        target.step(100)
        check_in("is only counted", snapshot(daemon, target, code=6)[1], "what it says")
        with Steps() as other:
            check_in("is not attached", snapshot(daemon, other, code=6)[1], "what it says")
    with attached("--mode", "full", "--for", "60s") as (daemon, target):
        check_in("no call of process", snapshot(daemon, target, code=6)[1], "what it says")
    with attached("--mode", "full", "--for", "60s", config="[daemon]\nflights = 0\n") as (daemon, target):
        target.step(100)
        check_in("flights = 0", snapshot(daemon, target, code=6)[1], "what it says")
        check_in("flights = 0", daemon.ask_line(op="callers", pid=target.pid), "what it answers")
    with attached("--mode", "full", "--for", "60s", config="[daemon]\nflights = 16K\nflight = 40K\n") as (daemon, target):
        daemon.until_armed(target.pid, [site(target)])
        target.step(100)
        check_in("no room", snapshot(daemon, target, code=6)[1], "what it says")


@test()
def a_process_that_has_ended_is_roots():
    with attached("--mode", "full", "--for", "60s") as (daemon, target):
        daemon.until_armed(target.pid, [site(target)])
        done = target.step(100)["time.Now"]
        check(target.leave(), 0, "the target's status")
        until(lambda: daemon.targets(target.pid, ended=True), "it to be told as ended")
        check_calls(snapshot(daemon, target)[0], target, done)


@test()
def others_processes_are_not_shown():
    with attached("--mode", "full", "--for", "60s") as (daemon, target):
        daemon.until_armed(target.pid, [site(target)])
        target.step(100)
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)
            run = nowgate("snapshot", "-p", target.pid, "-o", os.path.join(folder, "x.ndjson"), "--socket", daemon.socket,
                          user=65534, group=65534, extra_groups=[])
            check((run.returncode, os.listdir(folder)), (4, []), run.stderr)
        check_in("not yours", run.stderr, "what it says")


@test()
def callers_are_told_of_the_last_minute():
    with attached("--mode", "full", "--for", "60s") as (daemon, target):
        daemon.until_armed(target.pid, [site(target)])
        done = target.step(1000)["time.Now"]
        answer = {}

        def all_told():
            answer.update(json.loads(daemon.ask_line(op="callers", pid=target.pid)))
            return answer.get("calls") == done

        until(all_told, "all calls to be told of")
        check(sum(caller["calls"] for caller in answer["callers"]), done, "calls of all callers")
        for caller in answer["callers"]:
            check_in("main.", caller["function"], "who calls")
        check(daemon.end(signal.SIGTERM), 0, "its status")
        check(differing(target.pid), [], "the target's text")


@test()
def bad_arguments_are_refused():
    for arguments, words in (((), "of which process"), (("-p", 1), "where is it to be written"),
                             (("-p", 1, "-o", "x", "--format", "xml"), "ctf, perfetto or ndjson"),
                             (("-p", 1, "-o", "-", "--format", "ctf"), "CTF needs a directory"),
                             (("-p", "one", "-o", "x"), "one"), (("-p", 1, "-o", ""), "needs a name")):
        run = nowgate("snapshot", *arguments)
        check(run.returncode, 2, run.stderr)
        check_in(words, run.stderr, "what it says")
    run = nowgate("mode", "full", "-p", 1, "-o", "x")
    check(run.returncode, 2, run.stderr)
    check_in("--output goes with burst", run.stderr, "what it says")
