"""The daemon's configuration, its triggers, and what happens around a running one."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from beside import Steps, differing, kill
from daemon import Daemon, adds_up, counted, site
from harness import check, check_in, go_program, newest, test, until

COUNT = "mode = count\nexact = yes\n"


def section(name, program, rest=COUNT):
    return f"[attach {name}]\nexe = {program}\n{rest}"


@contextlib.contextmanager
def two_programs():
    """The program of Steps under two names."""
    with tempfile.TemporaryDirectory() as folder:
        yield [pathlib.Path(shutil.copy(go_program(newest(), "steps"), f"{folder}/{name}")) for name in ("one", "two")]


@test()
def a_reload_touches_only_what_changed():
    with two_programs() as (one, two), Steps(program=one) as kept, Steps(program=two) as changed, \
            Daemon(section("one", one) + section("two", two)) as daemon:
        daemon.until_armed(kept.pid, [site(kept)])
        daemon.until_armed(changed.pid, [site(changed)])
        truth = kept.step(1000)["time.Now"]
        daemon.reload(section("one", one) + section("two", two, "mode = off\n"))
        daemon.until_clean(changed.pid)
        check(differing(kept.pid), [site(kept)], "the text of the one that did not change")
        truth += kept.step(1000)["time.Now"]
        target = daemon.target(kept.pid)
        check(counted(target), truth, "calls since before the reload")
        adds_up(target)
        check_in("1 sections changed", daemon.log(), "the log")
        daemon.reload(section("two", two, "mode = off\n"))
        daemon.until_clean(kept.pid)
        daemon.reload(section("one", one) + section("two", two))
        daemon.until_armed(kept.pid, [site(kept)])
        daemon.until_armed(changed.pid, [site(changed)])
        daemon.leaves_nothing()


@test()
def a_wrong_configuration_changes_nothing():
    with Steps() as target, Daemon(section("steps", target.program)) as daemon:
        daemon.until_armed(target.pid, [site(target)])
        daemon.reload(section("steps", target.program) + "bugdet = 1%\n", "the configuration is not reloaded")
        check_in(f"{daemon.config}:5: there is no key 'bugdet'", daemon.log(), "the log")
        check([differing(target.pid), target.step(100)["time.Now"]], [[site(target)], daemon.delivered(target.pid)],
              "text and calls")
        daemon.leaves_nothing()


@test()
def another_state_dir_holds_from_the_next_start_on():
    class WithStateInConfig(Daemon):
        def command(self):
            return super().command()[:-2]  # without --state-dir

    with Steps() as target, tempfile.TemporaryDirectory() as folder:
        first, second = pathlib.Path(folder, "first"), pathlib.Path(folder, "second")
        with WithStateInConfig(f"[daemon]\nstate_dir = {first}\n") as daemon:
            daemon.reload(f"[daemon]\nstate_dir = {second}\n")
            check_in("holds from the next start on", daemon.log(), "the log")
            daemon.ask("attach", "-p", target.pid)
            check([(first / "state.json").exists(), second.exists()], [True, False], "where the state is")
            daemon.reload(f"[daemon]\nstate_dir = {second}\n# again\n")
            check(daemon.log().count("holds from the next start on"), 2, "it is said as long as it is so")
            daemon.leaves_nothing()


def trigger(rest):
    return f"[trigger busy]\nabove = 1000\n{rest}"


@test()
def a_trigger_puts_a_busy_target_into_burst_and_then_rests():
    with Steps(1) as target, Daemon(section("steps", target.program, "") +
                                    trigger("for = 500ms\ncool_down = 1h\n")) as daemon:
        until(lambda: daemon.target(target.pid)["mode"] == "sampled", "it to be sampled")
        check("goes into burst" in daemon.log(), False, "a burst of one that sleeps")
        target.go()
        daemon.has_logged(f"[trigger busy]: process {target.pid} goes into burst: at least")
        until(lambda: daemon.target(target.pid)["mode"] == "sampled", "the burst to end")
        with Steps(1) as other:  # a cool-down is a target's own
            other.go()
            daemon.has_logged(f"[trigger busy]: process {other.pid} goes into burst: at least")
            other.rest()
        target.rest()
        check(daemon.log().count(f"process {target.pid} goes into burst"), 1, "bursts within the cool-down")
        adds_up(daemon.target(target.pid))
        daemon.leaves_nothing()


@test()
def a_trigger_fires_so_often_an_hour_at_most():
    with Steps(1) as target, Daemon(section("steps", target.program, "") +
                                    trigger("for = 10ms\ncool_down = 0\nmax_per_hour = 2\n")) as daemon:
        target.go()
        daemon.has_logged("goes into burst", 2)
        time.sleep(3)  # three more looks at the rule
        check(daemon.log().count("goes into burst"), 2, "bursts")
        # A rule that is changed begins anew.
        daemon.reload(section("steps", target.program, "") + trigger("for = 20ms\ncool_down = 0\nmax_per_hour = 1\n"))
        daemon.has_logged("goes into burst", 3)
        target.rest()
        daemon.leaves_nothing()


def watchdogs(daemon):
    """The pids of a daemon's watchdogs."""
    children = pathlib.Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text(encoding="ascii").split()
    return [int(pid) for pid in children
            if pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8") == "nowgate-watch\n"]


@test()
def a_watchdog_that_is_killed_is_replaced():
    with Steps() as target, Daemon() as daemon:
        daemon.ask("attach", "-p", target.pid, "--mode", "count", "--exact")
        daemon.until_armed(target.pid, [site(target)])
        first, = watchdogs(daemon)
        os.kill(first, 9)
        daemon.has_logged("the watchdog has been killed: it is started again")
        until(lambda: len(watchdogs(daemon)) == 1 and watchdogs(daemon) != [first], "another")
        second, = watchdogs(daemon)
        check(target.step(100)["time.Now"], daemon.delivered(target.pid), "calls")
        # It does its work: a daemon that is stopped with a lease is killed.
        daemon.ask("mode", "full", "-p", target.pid, "--for", "300ms")
        os.kill(daemon.pid, 19)
        check(daemon.process.wait(timeout=20), -9, "the watchdog's doing")
        until(lambda: not pathlib.Path(f"/proc/{second}").exists(), "the watchdog to end with its daemon")
        daemon.until_clean(target.pid)


@test()
def a_log_that_nobody_reads_does_not_hold_it_up():
    with Daemon() as daemon, Steps() as target:
        daemon.end()
        process = subprocess.Popen(daemon.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        with contextlib.closing(process.stderr):
            try:
                until(daemon.socket.exists, "it to listen")
                daemon.pid = process.pid
                for _ in range(400):  # each is a line of the log, of about 100 bytes and up to PIPE_BUF
                    daemon.ask("attach", "-p", target.pid)
                    daemon.ask("detach", "-p", target.pid)
                process.stderr.read1(1 << 20)
                daemon.ask("attach", "-p", target.pid)
                text = process.stderr.read1(1 << 20).decode()
                check_in("lines of the log found no reader", text, "the log, once it is read again")
            finally:
                kill(process)


@test()
def where_the_state_cannot_be_kept_it_goes_on_and_says_so():
    """The state's folder is a file system of one page, which is full."""
    with tempfile.TemporaryDirectory() as folder, Steps() as target:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "nowgate-test", folder], check=True)
        try:
            with Daemon(state_dir=folder) as daemon:
                pathlib.Path(folder, "full").write_bytes(b"x" * 4096)
                daemon.ask("attach", "-p", target.pid, "--mode", "count", "--exact")
                daemon.has_logged("what was asked for would not survive a restart")
                check_in("No space left on device", daemon.log(), "why")
                check(target.step(100)["time.Now"], daemon.delivered(target.pid), "calls")
                check(os.listdir(folder), ["full"], "what is left in the folder")
                pathlib.Path(folder, "full").unlink()
                daemon.ask("mode", "off", "-p", target.pid)
                check(os.listdir(folder), ["state.json"], "the folder once there is room")
                daemon.leaves_nothing()
        finally:
            subprocess.run(["umount", folder], check=True)


@test()
def a_damaged_state_is_set_aside():
    with Steps() as target, Daemon() as daemon:
        daemon.ask("attach", "-p", target.pid, "--mode", "count", "--exact")
        check(daemon.end(), 0, "status")
        state = daemon.state_dir / "state.json"
        text = state.read_text(encoding="utf-8")
        for damaged in ("", text[:-9], text.replace("attach", "atta\0h"), "[" * 100000, text.replace("1", "-1")):
            state.write_text(damaged, encoding="utf-8")
            daemon.start()
            check_in("is set aside as state.json.bad", daemon.log(), damaged[:40])
            check([daemon.targets(), (daemon.state_dir / "state.json.bad").read_text(encoding="utf-8") == damaged],
                  [[], True], "targets; what is set aside")
            check(daemon.end(), 0, "status")
        state.write_text(text, encoding="utf-8")
        daemon.start()
        daemon.until_armed(target.pid, [site(target)])
        daemon.leaves_nothing()
