"""What harms a traced process, or lets `exact` be wrong, if nowgate is careless."""
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

from beside import events_of, start_nowgate
from harness import (BOUND_S, NOWGATE, Skip, Stat, Target, all_exact, c_program, calls, check, check_in,
                     compile_c, last_json, need, nowgate, stat_command, test, text_differences, until)

N = 1000

# What a process was given by whoever started it.
STATE = """
import json, os, resource, signal
def status(*keys):
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {key: lines[key].strip() for key in keys}
files = os.listdir("/proc/self/fd")
print(json.dumps({
    "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if "RLIMIT_" in name},
    "status": status("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"),
    "files": {n: os.readlink(f"/proc/self/fd/{n}") for n in files if os.path.exists(f"/proc/self/fd/{n}")},
    "umask": os.umask(0), "session": os.getsid(0), "group": os.getpgid(0), "nice": os.nice(0),
    "environment": dict(os.environ), "folder": os.getcwd(), "cpus": sorted(os.sched_getaffinity(0)),
    "personality": open("/proc/self/personality").read(), "oom": open("/proc/self/oom_score_adj").read(),
}, sort_keys=True))
"""


def unusual():
    """Gives the starter of a command what few have."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (777, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGIO, signal.SIGPIPE])
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    os.umask(0o137)


@test()
def a_command_is_given_what_nowgate_was_given():
    def state(*before):
        run = subprocess.run([*before, sys.executable, "-c", STATE], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, preexec_fn=unusual, check=True, timeout=BOUND_S)
        state = json.loads(run.stdout)
        state["files"].pop("1")  # the pipe of this very run
        return state

    alone = state()
    check(alone["limits"]["RLIMIT_NOFILE"][0], 777, "the limit of open files, alone")
    check(state(NOWGATE, "stat", "-f", "tick", "-o", "/dev/null", "--"), alone, "what the command was given")


@test()
def killed_on_the_way_through_the_loader_it_leaves_the_command_alone():
    """A library's constructor waits for a line, so the kill falls between the exec and the entry."""
    with tempfile.TemporaryDirectory() as folder:
        library = compile_c(folder, "libslow.so", """
            #include <unistd.h>
            __attribute__((constructor)) static void begin(void)
            { char c; (void)!write(1, "constructor\\n", 12); (void)!read(0, &c, 1); }""", "-shared", "-fPIC")
        program = compile_c(folder, "slow", """
            #include <stdio.h>
            int main(void) { puts("main"); return 0; }""", "-Wl,--no-as-needed", str(library))
        run = start_nowgate("-f", "tick", "--", program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        check(run.stdout.readline(), "constructor\n", "what the library says")
        run.kill()
        run.wait()
        run.stdin.write("\n")
        run.stdin.close()
        check(run.stdout.read(), "main\n", "what the command says after nowgate's death")
        run.stdout.close()


@test()
def libraries_are_counted_from_their_constructors_on_and_when_opened_late():
    with tempfile.TemporaryDirectory() as folder:
        library = compile_c(folder, "libtick.so", """
            void tick(void) { static volatile long t; t++; }
            __attribute__((constructor)) static void begin(void) { for (int i = 0; i < 7; i++) tick(); }""",
                            "-shared", "-fPIC")
        needs = compile_c(folder, "needs", """
            void tick(void);
            int main(void) { for (int i = 0; i < 1000; i++) tick(); return 0; }""", str(library))
        for command in ([needs], ["sh", "-c", needs], ["/lib64/ld-linux-x86-64.so.2", needs]):
            report, _, _ = stat_command(*command, options=["-f", "tick"])
            check(calls(report), 1007, f"calls of {command}")
            check(all_exact(report), True, f"exact of {command}")
        opens = compile_c(folder, "opens", f"""
            #include <dlfcn.h>
            #include <stdio.h>
            int main(void)
            {{
                void (*tick)(void) = (void (*)(void))dlsym(dlopen("{library}", RTLD_NOW), "tick");
                puts("opened"); fflush(stdout); (void)getchar();
                for (int i = 0; i < 1000; i++) tick();
                (void)getchar();
                return 0;
            }}""", "-ldl")
        output = pathlib.Path(folder, "report")
        with subprocess.Popen([NOWGATE, "stat", "--json", "-I", "20ms", "-o", output, "-f", "tick", "--", opens],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
            check(run.stdout.readline(), "opened\n", "what the command says")
            until(lambda: '"tick"' in output.read_text(), "the library to be armed")
            run.stdin.write("\n\n")
            run.stdin.close()
            run.wait(timeout=BOUND_S)
        total = json.loads(output.read_text().splitlines()[-1])
        check(calls(total, key="total"), 1000, "calls since it is armed")
        check(all_exact(total), False, "exact: its constructor's calls were missed")


@test()
def a_file_may_be_overwritten():
    """The kernel would put the breakpoint at its old place, in the middle of the new code."""
    with tempfile.TemporaryDirectory() as folder:
        old = compile_c(folder, "old", """
            void tick(void) { static volatile long t; t++; }
            int main(void) { for (int i = 0; i < 1000; i++) tick(); return 0; }""")
        # The same functions elsewhere, and long instructions where the old one's stood.
        new = compile_c(folder, "new", """
            static volatile long t;
            asm(".skip 3, 0x90");
            __attribute__((noinline)) void pad(void) { """ + "t += 0x11223344; t *= 0x51223344;" * 20 + """ }
            void tick(void) { t++; }
            int main(void) { for (int i = 0; i < 1000; i++) { pad(); tick(); } return 7; }""")
        program = pathlib.Path(folder, "program")
        shutil.copy(old, program)
        with Stat("-f", "tick", "--exe", program) as stat:
            check(subprocess.run([program], check=False, timeout=BOUND_S).returncode, 0, "the old one's status")
            shutil.copyfile(new, program)  # into the same inode
            check(subprocess.run([program], check=False, timeout=BOUND_S).returncode, 7, "the new one's status")
            total = stat.interrupt()
            check(calls(total, key="total"), 1000, "calls of the old one")
            check_in("is being overwritten", stat.errors, "the note")
        shutil.copyfile(old, program)
        script = f"{program}; cp {new} {program}; {program}; echo $?; cp {old} {program}; exec {program}"
        report, out, status = stat_command("sh", "-c", script, options=["-f", "tick"])
        check((out, status), ("7\n", 0), "what the new one and the last one end with")
        check([target["functions"][0]["calls"] for target in report["targets"] if target["functions"]],
              [1000, 1000, 1000], "calls of each")
        check(all_exact(report), True, "exact")
        # When all is over nobody waits any more, though the command runs on.
        run = nowgate("stat", "-f", "tick", "-d", "50ms", "--", "sh", "-c",
                      f"{program}; sleep 0.2; cp {new} {program}; {program}")
        check(run.returncode, 7, "the status of a command that overwrites it later")


@test()
def a_page_that_the_process_drops_is_told():
    with Target(c_program("torture"), "drops", N, "hold") as target, Stat("-f", "tick", "-p", target.pid) as stat:
        target.begin()
        check(target.truth()["tick"], 2 * N, "the truth")
        total = stat.interrupt()
    check(calls(total, key="total"), N, "calls counted: those before")
    check(all_exact(total), False, "exact")


@test()
def what_does_not_fit_is_told():
    """More pairs of process and function than there is room for."""
    report, out, _ = stat_command(c_program("torture"), "many", 130, options=["-f", "many_*"])
    lost = report["lost"]["counts_full"]
    check(last_json(out)["many"], 130 * 128, "the truth")
    check(calls(report) + lost, 130 * 128, "calls and losses")
    check(lost > 0, True, "lost something")
    check(all_exact(report), False, "exact")


@test()
def a_relay_of_threads_is_counted():
    """Each starts the next one and ends: hardly a thread is there for long enough to be listed."""
    with Target(c_program("torture"), "relay", 2000, 5, "hold") as target, \
            Stat("-f", "tick", "-p", target.pid) as stat:
        target.begin()
        check(target.truth()["tick"], 10000, "the truth")
        total = stat.interrupt()
    check(calls(total, key="total"), 10000, "calls")
    check(all_exact(total), True, "exact")


@test()
def a_storm_of_children_is_counted():
    report, out, _ = stat_command(c_program("torture"), "children", 300, 20, options=["-f", "tick"])
    check(calls(report), last_json(out)["tick"], "calls")
    check(all_exact(report), True, "exact")
    check(len(report["targets"]), 301, "targets")


@test()
def signals_are_neither_lost_nor_altered():
    """In a command that has the function, and in one that stays under ptrace."""
    for function, counted in (("tick", 2000), ("no_such_function", 0)):
        report, out, status = stat_command(c_program("torture"), "queue", int(signal.SIGRTMIN), 2000,
                                           options=["-f", function])
        check((last_json(out)["right"], status), (2000, 0), f"signals in order with {function}, and the status")
        check(calls(report), counted, f"calls of {function}")


@test()
def in_a_namespace_of_its_own_it_refuses():
    need("unshare")
    for options in (["-p", "-f", "--mount-proc"], ["-T", "--boottime", "1000"]):
        if subprocess.run(["unshare", *options, "true"], capture_output=True, check=False).returncode:
            raise Skip(f"unshare {options} does not work here")
        run = subprocess.run(["unshare", *options, NOWGATE, "stat", "-f", "tick", "--", c_program("torture"), "plain",
                              "9"], capture_output=True, text=True, check=False, timeout=BOUND_S)
        check((run.returncode, run.stdout), (125, ""), f"status and output with {options}")
        check_in("namespace", run.stderr, "why")


@test()
def targets_may_be_in_namespaces_of_their_own():
    need("unshare")
    program = c_program("torture")
    for options in (["-p", "-f", "--mount-proc"], ["-m", "-n", "-i", "-u"], ["-U", "-r"]):
        report, out, _ = stat_command("unshare", *options, program, "plain", N, options=["-f", "tick"])
        check(calls(report), last_json(out)["tick"], f"calls with unshare {options}")
        check(all_exact(report), True, f"exact with unshare {options}")


@test()
def when_the_time_is_up_nothing_more_is_armed():
    program = c_program("torture")
    with subprocess.Popen([NOWGATE, "stat", "--json", "-o", "/dev/stderr", "-d", "50ms", "-f", "tick", "--", "sh", "-c",
                           f"read line; {program} plain 10 hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as run:
        while run.stderr.readline().rstrip() != "}":  # the report's last line
            pass
        run.stdin.write("\n")
        run.stdin.flush()
        pid = int(run.stdout.readline().split()[1])
        check(text_differences(pid), [], "breakpoints in what is started after the end")
        run.stdin.write("\n\n")
        run.stdin.close()
        check(run.wait(timeout=BOUND_S), 0, "status")


@test()
def what_execs_while_it_ends_is_not_armed_again():
    """Two programs that exec each other, so that execs fall into the time that taking probes away needs."""
    with tempfile.TemporaryDirectory() as folder:
        one = compile_c(folder, "one", """
            #include <stdio.h>
            #include <stdlib.h>
            #include <unistd.h>
            __attribute__((noinline)) void tick(void) { __asm__ volatile("push %rbp; pop %rbp"); }
            int main(int argc, char **argv) {
                int left = atoi(argv[2]);
                char text[16], *next[] = {argv[1], argv[0], text, NULL};
                (void)argc;
                tick();
                if (left > 0) { usleep(1000); snprintf(text, 16, "%d", left - 1); execv(argv[1], next); return 1; }
                printf("ready %d\\n", getpid()); fflush(stdout); (void)getchar();
                return 0; }""")
        two = shutil.copy(one, pathlib.Path(folder, "two"))
        for execs in (400, 401):
            report = pathlib.Path(folder, "report")
            with subprocess.Popen([NOWGATE, "stat", "--json", "-o", report, "-d", "200ms", "-f", "tick", "--", one, two,
                                   str(execs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  text=True) as run:
                pid = int(run.stdout.readline().split()[1])
                until(lambda: report.read_text().rstrip().endswith("}"), "the report")
                check(text_differences(pid), [], f"breakpoints after the end, {execs} execs")
                lives = json.loads(report.read_text())["targets"]
                check([life["pid"] for life in lives if life["disarmed_at_ns"] < life["armed_at_ns"]], [],
                      "lives that end before they begin")
                run.stdin.write("\n")
                run.stdin.close()
                check(run.wait(timeout=BOUND_S), 0, "status")


@test()
def a_reader_that_goes_away_ends_it_cleanly():
    for form in (["--json"], []):
        with Target(c_program("torture"), "plain", N, "hold") as target:
            run = subprocess.Popen([NOWGATE, "stat", *form, "-f", "tick", "-p", str(target.pid), "-I", "20ms"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            check(run.stdout.readline() != "", True, "an interval")
            run.stdout.close()
            run.wait(timeout=BOUND_S)
            check(events_of(run.pid), [], f"events left {form}")
            check(text_differences(target.pid), [], f"breakpoints left {form}")


@test()
def a_file_on_overlay_is_counted_for_everyone():
    """There stat() and the kernel name a file differently."""
    program = c_program("torture")
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(["sh", "-ec", """
            mkdir lower upper; cp "$1" lower/program; mount -t tmpfs nowgate-test upper
            mkdir upper/upper upper/work upper/all
            mount -t overlay -o lowerdir=lower,upperdir=upper/upper,workdir=upper/work nowgate-test upper/all""",
                               "sh", program], cwd=folder, capture_output=True, text=True, check=False)
        try:
            if made.returncode:
                raise Skip(f"no overlay can be made here: {made.stderr}")
            there = pathlib.Path(folder, "upper", "all", "program")
            with Target(there, "plain", N, "hold") as early:
                with Stat("-f", "tick", "--exe", there) as stat:
                    early.begin()
                    early.truth()
                    for count in (N, 0):  # who makes no call is known by its exec only
                        subprocess.run([there, "plain", str(count)], stdout=subprocess.DEVNULL, check=True)
                    total = stat.interrupt()
                check(early.end(), 0, "its status")
            counts = sorted(calls(total, pid=target["pid"], key="total") for target in total["targets"])
            check(counts, [0, N, N], "calls")
            check(all_exact(total), True, "exact")
        finally:
            subprocess.run(["umount", "-l", f"{folder}/upper/all"], capture_output=True, check=False)
            subprocess.run(["umount", "-l", f"{folder}/upper"], capture_output=True, check=False)


PPOLL = 271  # where nowgate stat waits once it counts


def waits_in(pid, call):
    return pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[0] == str(call)


@test()
def users_of_a_library_are_listed_without_intervals():
    with tempfile.TemporaryDirectory() as folder:
        library = compile_c(folder, "libtick.so", "void tick(void) { static volatile long t; t++; }", "-shared",
                            "-fPIC")
        user = compile_c(folder, "user", """
            #include <stdio.h>
            void tick(void);
            int main(void) { (void)getchar(); for (int i = 0; i < 1000; i++) tick(); return 0; }""", str(library))
        run = subprocess.Popen([NOWGATE, "stat", "--json", "-f", "tick", "--exe", library], stdout=subprocess.PIPE,
                               text=True)
        with subprocess.Popen([user], stdin=subprocess.PIPE) as process:
            until(lambda: text_differences(process.pid), "the breakpoint")
            until(lambda: waits_in(run.pid, PPOLL), "the gate")
            process.communicate(b"\n", timeout=BOUND_S)
        run.send_signal(signal.SIGINT)
        report = json.loads(run.communicate(timeout=BOUND_S)[0])
        check([(target["pid"], calls(report, pid=target["pid"])) for target in report["targets"]],
              [(process.pid, 1000)], "who called")


@test()
def a_wrapper_runs_on_while_probes_are_taken_away():
    """70 of them take seconds to go; a shell that starts one program after the other is held at each exec."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"ngstep{i}" for i in range(70)]
        program = compile_c(folder, "steps", "".join(
            f"__attribute__((noinline)) void {name}(void) {{ __asm__ volatile(\"\"); }}\n" for name in names)
            + "int main(void) { " + " ".join(f"{name}();" for name in names) + " return 0; }")
        script = f"{program}; for i in $(seq 200); do /bin/sleep 0.03; /bin/date +%s.%N; done"
        run = nowgate("stat", "-d", "300ms", "-f", "ngstep*", "-o", f"{folder}/result", "--json", "--", "sh", "-c", script)
        check(run.returncode, 0, run.stderr)
        check_in("taking 70 probes away", run.stderr, "notes")
        check(calls(json.loads(pathlib.Path(folder, "result").read_text())), 70, "calls")
        times = [float(line) for line in run.stdout.splitlines()]
        gaps = [after - before for before, after in zip(times, times[1:])]
        check(len(times), 200, "lines of the shell")
        # As long as one site takes, or a little more; with all of them it was seconds.
        check(max(gaps) < 1, True, f"the longest that it stood still, {max(gaps):.2f} s")
