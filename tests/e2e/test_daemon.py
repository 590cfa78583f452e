"""The daemon's attachments: which processes it holds, from when on, and until when."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import harness
from beside import CLEAN_WITHIN_S, Steps, differing, events_of, kill, site_of, until_differing
from daemon import Client, Daemon, adds_up, counted, descriptors, resident_kib, site
from harness import Skip, Target, check, check_in, compile_c, go_program, newest, test, until

COUNT = ["--mode", "count", "--exact"]


@test()
def it_counts_exactly_and_says_so():
    with Daemon() as daemon, Steps(4) as target:
        check(daemon.ask("attach", "-p", target.pid, *COUNT)["processes"], 1, "processes")
        daemon.until_armed(target.pid, [site(target)])
        truth = target.step(5000)["time.Now"] + target.step(1)["time.Now"]
        seen = daemon.target(target.pid)
        check([seen["hits"], seen["delivered"], seen["sampled_out"], seen["lost"]], [truth, truth, 0, 0], "hits")
        check([counted(seen), seen["mode"], seen["arming"]], [truth, "count", "always"], "calls, mode, arming")
        check([seen["functions"][0]["name"], seen["functions"][0]["estimated"]], ["time.Now", False], "function")
        daemon.ask("detach", "-p", target.pid)
        daemon.until_clean(target.pid)
        target.step(100)
        until(lambda: not daemon.status()["targets"], "the target to be forgotten")
        check(target.leave(), 0, "the target's status")
        daemon.leaves_nothing()


@contextlib.contextmanager
def copied(name):
    """The program of Steps under a name of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(shutil.copy(go_program(newest(), "steps"), f"{folder}/{name}"))


@contextlib.contextmanager
def cgroup():
    """A control group of our own, of version 2."""
    mount = next((line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()
                  if line.split()[2] == "cgroup2"), None)
    if not mount:
        raise Skip("no cgroup2 is mounted")
    folder = pathlib.Path(mount, f"nowgate-test-{os.getpid()}")
    try:
        folder.mkdir()
    except OSError as error:
        raise Skip(f"no control group can be made: {error}") from error
    try:
        yield folder
    finally:
        until(lambda: not (folder / "cgroup.procs").read_text(), "the control group to be empty")
        folder.rmdir()


@test()
def each_word_selects_what_it_says():
    with copied("chosen") as program, Daemon() as daemon, Steps(program=program) as target, Steps() as other:
        for words in (["-p", target.pid], ["--exe", f"{program.parent}/c*"], ["--comm", "chosen"],
                      ["--comm", "chosen", "--uid", "0", "--exe", "*"]):
            check(daemon.ask("attach", *COUNT, *words)["processes"], 1, f"{words}: processes")
            check([seen["pid"] for seen in daemon.targets()], [target.pid], f"{words}: pids")
            daemon.until_armed(target.pid, [site(target)])
            check(differing(other.pid), [], f"{words}: another's text")
            check(target.step(100)["time.Now"], daemon.delivered(target.pid), f"{words}: calls")
            check(daemon.ask("detach", *words)["detached"], 1, f"{words}: detached")
            daemon.until_clean(target.pid)
        daemon.leaves_nothing()


@test()
def a_control_group_selects():
    with Daemon() as daemon, cgroup() as group:
        with Steps() as inside, Steps() as outside:
            (group / "cgroup.procs").write_text(str(inside.pid))
            path = pathlib.Path(f"/proc/{inside.pid}/cgroup").read_text().splitlines()[-1].split(":")[2]
            daemon.ask("attach", "--cgroup", path, *COUNT)
            daemon.until_armed(inside.pid, [site(inside)])
            check([seen["pid"] for seen in daemon.targets()], [inside.pid], "pids")
            check(differing(outside.pid), [], "text outside")
            check(daemon.ask("detach", "--cgroup", path)["detached"], 1, "detached")
            daemon.until_clean(inside.pid)


@test()
def another_uid_selects():
    with copied("theirs") as program, Daemon() as daemon, Steps(program=program) as mine:
        command = subprocess.Popen([program, "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, user=65534)
        with contextlib.closing(command.stdin), contextlib.closing(command.stdout):
            pid = int(command.stdout.readline().split()[1])
            daemon.ask("attach", "--uid", "65534", "--exe", program, *COUNT)
            check([seen["pid"] for seen in daemon.targets()], [pid], "pids")
            check(differing(mine.pid), [], "mine")
            kill(command)


@test()
def what_cannot_be_attached_is_refused():
    with Daemon() as daemon, Steps() as target:
        gone = subprocess.Popen(["true"])
        gone.wait()
        check_in(f"no process {gone.pid}", daemon.ask("attach", "-p", gone.pid, code=6), "a pid that has ended")
        check_in("time.Now", daemon.ask("attach", "-p", os.getpid(), code=6), "without the function")
        check_in("no.Such", daemon.ask("attach", "-p", target.pid, "-f", "no.Such", code=6), "an unknown function")
        check_in("does not trace itself", daemon.ask("attach", "-p", daemon.pid, code=1), "itself")
        thread = next(int(tid) for tid in os.listdir(f"/proc/{target.pid}/task") if int(tid) != target.pid)
        check_in(f"a thread of process {target.pid}", daemon.ask("attach", "-p", thread, code=6), "a thread")
        check(daemon.ask("attach", "--exe", "/no/such", *COUNT)["processes"], 0, "nothing yet")
        check_in("attached already", daemon.ask("attach", "--exe", "/no/such", code=1), "the same words")
        daemon.ask("attach", "-p", target.pid)
        check_in("attached already", daemon.ask("attach", "-p", target.pid, code=1), "the same pid")
        check_in("attached already", daemon.ask("attach", "-p", target.pid, "--uid", 0, code=1), "by other words")
        check_in("nothing was attached", daemon.ask("detach", "--comm", "steps", code=6), "detach by other words")
        check_in("no attached process", daemon.ask("mode", "off", "-p", os.getpid(), code=6), "mode of another")
        check(daemon.ask("detach", "--all")["detached"], 2, "detached")
        check_in("nothing was attached", daemon.ask("detach", "--all", code=6), "detach again")
        daemon.leaves_nothing()
        check_in("no daemon listens", daemon.ask("status", code=3), "without a daemon")


@test()
def attached_again_at_once_after_detaching():
    """A detached target takes some milliseconds to be let go of."""
    with Daemon() as daemon, Steps() as target:
        for words in (["-p", target.pid], ["--exe", target.program]):
            daemon.ask("attach", *words, *COUNT)
            daemon.until_armed(target.pid, [site(target)])
            select = {"pid": target.pid} if words[0] == "-p" else {"exe": str(target.program)}
            settings = {"mode": "count", "exact": True}
            with Client(daemon.socket) as client:
                for _ in range(20):
                    check(client.ask(op="detach", select=select)["ok"], True, "detach")
                    check(client.ask(op="attach", select=select, settings=settings)["ok"], True, "attach")
            until(lambda: len(daemon.targets(target.pid)) == 1 and differing(target.pid) == [site(target)], "it to be armed")
            before = daemon.delivered(target.pid)
            check(before + target.step(500)["time.Now"], daemon.delivered(target.pid), f"{words}: calls")
            daemon.ask("detach", *words)
            daemon.until_clean(target.pid)


@test()
def processes_to_come_are_attached():
    with copied("comes") as program, Daemon() as daemon:
        check(daemon.ask("attach", "--exe", program, *COUNT)["processes"], 0, "processes now")
        with Steps(program=program) as one, Steps(program=program) as two:
            for target in (one, two):
                daemon.until_armed(target.pid, [site(target)])
                check(target.step(200)["time.Now"], daemon.delivered(target.pid), "calls")
            check(sorted(seen["pid"] for seen in daemon.targets()), sorted([one.pid, two.pid]), "pids")
            one.leave()
            until(lambda: daemon.targets(one.pid, ended=True), "its end")
            check(daemon.targets(one.pid, ended=True)[0]["delivered"], counted(daemon.targets(one.pid, ended=True)[0]),
                  "what is told of it afterwards")
        until(lambda: not daemon.targets(), "the other's end")


@test()
def a_deleted_file_is_let_go_of():
    """Nobody can run it any more: it must not stay open, and on disk, as long as the daemon lives."""
    def held():
        found = 0
        for number in os.listdir(f"/proc/{daemon.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # it has just been closed
                found += os.readlink(f"/proc/{daemon.pid}/fd/{number}") == f"{program} (deleted)"
        return found

    with copied("fleeting") as program, Daemon() as daemon, Steps(program=program) as target:
        program.unlink()
        bare = len(events_of(daemon.pid))
        for _ in range(5):
            daemon.ask("attach", "-p", target.pid, *COUNT)
            daemon.until_armed(target.pid, [site_of(go_program(newest(), "steps"))[0]])
            check(target.step(100)["time.Now"], daemon.delivered(target.pid), "calls")
            check([held(), len(events_of(daemon.pid))], [1, bare + 2], "while it is attached: files, events: site and lead")
            daemon.ask("detach", "-p", target.pid)
            until(lambda: not held(), "the file to be closed")
            until(lambda: len(events_of(daemon.pid)) == bare, "its event to go")
        daemon.leaves_nothing()
        check(target.leave(), 0, "the target's status")


@test()
def a_new_process_is_attached_once_its_library_is_mapped():
    """At its exec there is none of it yet; and the first attachment that selects it finds nothing in it at all."""
    with tempfile.TemporaryDirectory() as folder, Daemon() as daemon:
        library = compile_c(folder, "libtick.so", 'void tick(void) { __asm__ volatile(""); }', "-shared", "-fPIC")
        program = compile_c(folder, "ticks", """
            #include <stdio.h>
            #include <stdlib.h>
            #include <unistd.h>
            void tick(void);
            int main(void)
            {
                char line[64];
                printf("ready %d\\n", getpid());
                fflush(stdout);
                while (fgets(line, sizeof(line), stdin)) {
                    for (int i = atoi(line); i > 0; i--)
                        tick();
                    puts("done");
                    fflush(stdout);
                }
                return 0;
            }""", str(library))
        daemon.ask("attach", "--exe", program, *COUNT)
        daemon.ask("attach", "--comm", "ticks", "-f", "tick", *COUNT)
        with Target(program) as target:
            def ticks(count):
                """@return all that was counted by then"""
                target.process.stdin.write(f"{count}\n")
                target.process.stdin.flush()
                check(target.process.stdout.readline(), "done\n", "its answer")
                return counted(daemon.target(target.pid))

            until(lambda: daemon.targets(target.pid), "it to be attached")
            until(lambda: ticks(1), "it to be armed")
            before = ticks(0)
            check(ticks(1000), before + 1000, "calls")
        daemon.leaves_nothing()


@test()
def an_exec_ends_one_target_and_begins_another():
    """Of the same pid, start and file: the old image's counts are not the new one's."""
    with copied("again") as program, Daemon() as daemon, Steps(program=program) as target:
        daemon.ask("attach", "--exe", program, *COUNT)
        truths = []
        for _ in range(3):
            daemon.until_armed(target.pid, [site(target)])
            truths.append(target.step(100 * (len(truths) + 1))["time.Now"])
            check([seen["delivered"] for seen in daemon.targets(target.pid)], [truths[-1]], "hits of this image")
            check(counted(daemon.target(target.pid)), truths[-1], "calls of this image")
            check(target.again("exec"), target.pid, "the same pid")
            until(lambda: len(daemon.targets(target.pid, ended=True)) == len(truths), "the exec to be noticed")
        old = daemon.targets(target.pid, ended=True)
        check([seen["delivered"] for seen in old], truths, "hits of the old images")
        check([counted(seen) for seen in old], truths, "calls of the old images")
        daemon.ask("detach", "--all")
        daemon.until_clean(target.pid)
        check(target.leave(), 0, "the target's status")


@test()
def what_a_target_leaves_behind_does_not_touch_the_next_of_its_pid():
    """An ended target is told of for a while; when it is forgotten, the pid's new image counts on."""
    with copied("again") as program, Daemon() as daemon, Steps(program=program) as target:
        daemon.ask("attach", "--exe", program, *COUNT)
        daemon.until_armed(target.pid, [site(target)])
        target.again("exec")
        until(lambda: daemon.targets(target.pid, ended=True), "the exec to be noticed")
        daemon.until_armed(target.pid, [site(target)])
        truth = target.step(100)["time.Now"]
        check(daemon.delivered(target.pid), truth, "calls")
        daemon.ask("detach", "--exe", program)
        daemon.ask("attach", "-p", target.pid, *COUNT)
        until(lambda: not daemon.targets(target.pid, ended=True), "the old image to be forgotten")
        daemon.until_armed(target.pid, [site(target)])
        before = daemon.delivered(target.pid)
        check(before + target.step(100)["time.Now"], daemon.delivered(target.pid), "calls afterwards")


@test()
def children_are_followed_when_asked():
    with Daemon() as daemon:
        for follow in ([], ["--follow-forks"]):
            with Steps() as target:
                daemon.ask("attach", "-p", target.pid, *COUNT, *follow)
                daemon.until_armed(target.pid, [site(target)])
                child = target.again("spawn")
                if follow:
                    daemon.until_armed(child, [site(target)])
                    check(target.step(300)["time.Now"], daemon.delivered(child), "the child's calls")
                else:
                    target.step(300)
                    check([differing(child), daemon.targets(child)], [[], []], "a child that nobody asked for")
                check(target.leave(), 0, "the target's status")
            until(lambda: not daemon.targets(), "their end")


@test()
def two_attachments_stay_apart():
    with copied("one") as first, copied("two") as second, Daemon() as daemon, \
            Steps(program=first) as one, Steps(program=second) as two:
        daemon.ask("attach", "--exe", first, *COUNT)
        daemon.ask("attach", "--comm", "two", *COUNT)
        for target in (one, two):
            daemon.until_armed(target.pid, [site(target)])
        daemon.ask("detach", "--exe", first)
        daemon.until_clean(one.pid)
        check(differing(two.pid), [site(two)], "the other attachment")
        one.step(10)
        check(two.step(300)["time.Now"], daemon.delivered(two.pid), "calls of the other")
        daemon.ask("mode", "off", "--comm", "two")
        daemon.until_clean(two.pid)
        daemon.leaves_nothing()


@test()
def it_ends_as_told_and_leaves_nothing():
    for number in (signal.SIGTERM, signal.SIGINT):
        with Daemon() as daemon, Steps() as target:
            daemon.ask("attach", "-p", target.pid, *COUNT)
            daemon.until_armed(target.pid, [site(target)])
            target.go()
            check(daemon.end(number), 0, f"status; {daemon.log()}")
            check(differing(target.pid), [], "text")
            check([daemon.socket.exists(), events_of(daemon.pid)], [False, []], "socket and events")
            target.rest()
            check(target.leave(), 0, "the target's status")


@test()
def it_ends_while_processes_come():
    """What begins while it lets go of the others is not taken in any more."""
    with copied("comes") as program, Daemon() as daemon, contextlib.ExitStack() as stack:
        daemon.ask("attach", "--exe", program, *COUNT)
        before = [stack.enter_context(Steps(1, program)) for _ in range(20)]
        until(lambda: len(daemon.targets()) == 20, "20 targets")
        daemon.process.terminate()
        after = []
        while daemon.process.poll() is None and len(after) < 300:
            after.append(stack.enter_context(Steps(1, program)))
        check(daemon.process.wait(timeout=harness.BOUND_S), 0, f"status, with {len(after)} that came")
        check([target.pid for target in before + after if differing(target.pid)], [], "processes with breakpoints")
        check([target.leave() for target in before + after], [0] * (20 + len(after)), "their status")


@test()
def a_killed_one_leaves_clean_text():
    with Daemon() as daemon, Steps() as target:
        daemon.ask("attach", "-p", target.pid)
        daemon.ask("mode", "full", "-p", target.pid, "--for", "1h")
        daemon.until_armed(target.pid, [site(target)])
        target.go()
        kill(daemon.process)
        until_differing(target.pid, [], CLEAN_WITHIN_S)
        target.rest()
        daemon.start()  # takes the socket over, sweeps the events, and goes on
        daemon.until_armed(target.pid, [site(target)])
        check(daemon.target(target.pid)["mode"], "full", "mode taken up again")
        daemon.leaves_nothing()
        check(target.leave(), 0, "the target's status")


@test()
def a_stopped_one_is_killed_when_its_lease_is_over():
    with Daemon() as daemon, Steps() as target:
        daemon.ask("attach", "-p", target.pid)
        daemon.ask("mode", "full", "-p", target.pid, "--for", "600ms")
        daemon.until_armed(target.pid, [site(target)])
        deadline_ns = daemon.target(target.pid)["lease_until_ns"]
        daemon.process.send_signal(signal.SIGSTOP)
        left_s = deadline_ns / 1e9 - harness.time.monotonic()
        until_differing(target.pid, [], max(left_s, 0) + 1)
        check(daemon.process.wait(timeout=harness.BOUND_S), -9, "the watchdog's doing")
        target.step(100)
        check(target.leave(), 0, "the target's status")


@test()
def a_second_one_on_its_socket_is_refused():
    with Daemon() as daemon, Steps() as target:
        daemon.ask("attach", "-p", target.pid, *COUNT)
        daemon.until_armed(target.pid, [site(target)])
        events = events_of(daemon.pid)
        state = (daemon.state_dir / "state.json").read_bytes()
        second = subprocess.run(daemon.command(), capture_output=True, text=True, timeout=harness.BOUND_S, check=False)
        check(second.returncode, 1, "its status")
        check_in(f"a daemon, process {daemon.pid}, listens on", second.stderr, "what it says")
        check(target.step(100)["time.Now"], daemon.delivered(target.pid), "calls")
        check([events_of(daemon.pid), (daemon.state_dir / "state.json").read_bytes()], [events, state], "events, state")
        daemon.leaves_nothing()


@test()
def many_idle_targets_cost_a_bounded_amount():
    with copied("idle") as program, Daemon() as daemon, contextlib.ExitStack() as stack:
        daemon.ask("attach", "--exe", program)
        bare = descriptors(daemon.pid)
        targets = [stack.enter_context(Steps(1, program)) for _ in range(60)]
        until(lambda: len(daemon.targets()) == 60, "60 targets")
        # One that is armed all the time takes one for each thread; one that is off, none.
        daemon.ask("mode", "off", "--all")
        until(lambda: descriptors(daemon.pid) - bare <= 8, "the descriptors of what was armed to be closed")
        check(resident_kib(daemon.pid) <= 32 * 1024, True, f"{resident_kib(daemon.pid)} KiB resident")
        for target in targets:
            check(target.leave(), 0, "a target's status")
        until(lambda: not daemon.targets(), "their end")


@test()
def three_hundred_that_come_and_go_leave_nothing():
    """By their executable and by pid; attached, and detached or ended."""
    with copied("passes") as program, Daemon() as daemon:
        def pass_by(count):
            for i in range(count):
                with Steps(1, program) as target:
                    daemon.ask("attach", "-p", target.pid, *COUNT)
                    target.step(10)
                    if i % 2:
                        daemon.ask("detach", "-p", target.pid)
                    target.leave()
            until(lambda: not daemon.targets(), "their end")

        pass_by(20)
        kept = lambda: "pid" in (daemon.state_dir / "state.json").read_text(encoding="utf-8")
        before = descriptors(daemon.pid)
        pass_by(300)
        until(lambda: not kept(), "what is kept of them to go")
        # The state's folder is still being synced then.
        until(lambda: descriptors(daemon.pid) == before, f"{before} descriptors")
        check(resident_kib(daemon.pid) <= 32 * 1024, True, f"{resident_kib(daemon.pid)} KiB resident")
        for target in daemon.status()["targets"]:
            adds_up(target)
