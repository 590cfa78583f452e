"""Who calls: every path of a program that knows them, with its exact count, function, file and line."""
import collections
import contextlib
import gzip
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

from beside import events_of
from harness import (BOUND_S, BUILD, MATRIX, NOWGATE, Record, Target, c_program, check, check_in, compile_c, go_program,
                     newest, nowgate, pgo_program, test, text_differences, until)
from paths import CALLS, comparable, expected

STACKS_MAX = 100000  # as control/cli/cmd_record.c has it
CAUSES = ("counts_full", "targets_full", "events_full", "window_full", "records_full", "stacks_full",
          "window_waiting_full", "window_unweighed")


def record_paths(program, **outputs):
    """@return (the program's truth, the recording as JSON)"""
    output = BUILD / "record.json"
    options = [part for name, path in outputs.items() for part in ("--" + name, path)]
    with Target(program, CALLS, "hold") as target:
        with Record("-p", target.pid, "--json", output, *options) as run:
            target.begin()
            truth = target.truth()
            target.end()
            check(run.finish(), 0, run.process)
    recording = json.loads(output.read_text())
    output.unlink()
    return truth, recording


def found(recording):
    sums = collections.Counter()
    for stack in recording["stacks"]:
        frames = [recording["frames"][i] for i in stack["frames"]]
        check(frames[0]["function"], "time.Now", "the innermost frame")
        sums[comparable([(f["function"], f["file"] or "", f["line"] or 0) for f in frames[1:]])] += stack["hits"]
    return sums


def check_paths(program):
    truth, recording = record_paths(program)
    check(len(truth), 20, "paths")
    wanted, got = expected(truth), found(recording)
    for path in wanted.keys() | got.keys():
        check(got[path], wanted[path], f"{program.name}: {path[:4]} …")
    check(recording["hits"], sum(wanted.values()), "hits in all")
    check(recording["lost"], dict.fromkeys(CAUSES, 0), "lost")


@test()
def each_path_has_its_exact_count():
    for version in MATRIX:
        for variant in ("default", "stripped", "pie"):
            check_paths(go_program(version, "paths", variant))


@test()
def a_command_is_recorded_from_its_first_instruction():
    for options in ((), ("--exe", go_program(newest(), "paths"), "-d", "3s")):
        output = BUILD / "record.json"
        command = [go_program(newest(), "paths"), str(CALLS)]
        if options:
            with Record("--json", output, *options) as run:
                truth = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
                check(run.finish(), 0, "its status")
        else:
            run = nowgate("record", "--json", output, "--", *command)
            check(run.returncode, 0, run.stderr)
            truth = json.loads(run.stdout)
            check_in("calls in", run.stderr, "the summary")
        check(found(json.loads(output.read_text())), expected(truth), f"paths, by {options or 'command'}")
        output.unlink()


@test()
def the_exit_status_is_the_commands():
    run = nowgate("record", "--", "sh", "-c", "exit 3")
    check(run.returncode, 3, run.stderr)
    check(nowgate("record", "--", "/nonexistent/program").returncode, 127, "of what is not there")


def pprof(profile, report):
    return subprocess.run([MATRIX[newest()], "tool", "pprof", report, "-sample_index=calls", profile],
                          capture_output=True, text=True, timeout=BOUND_S, check=True).stdout


@test()
def pprof_reads_it():
    program = go_program(newest(), "paths")
    profile = BUILD / "record.pb.gz"
    truth, _ = record_paths(program, output=profile)
    top, listed = pprof(profile, "-top"), pprof(profile, "-list=^main\\.plain$")
    profile.unlink()
    calls = sum(path["calls"] for path in truth)
    check_in(f"{calls} ", top, "pprof's total")
    check_in("time.Now", top, "pprof's functions")
    check(bool(re.search(rf'^ +\. +{CALLS} +\d+:.*note\(i, "plain"', listed, re.MULTILINE)), True, f"the line's calls: {listed}")


@test()
def folded_stacks_add_up():
    folded = BUILD / "record.folded"
    truth, _ = record_paths(go_program(newest(), "paths"), folded=folded)
    lines = [line.rsplit(" ", 1) for line in folded.read_text().splitlines()]
    folded.unlink()
    check(sum(int(count) for _, count in lines), sum(path["calls"] for path in truth), "calls in all")
    check(dict(lines)["runtime.goexit;runtime.main;main.main;main.plain;time.Now"], str(CALLS), "the plain path")


@test()
def a_sampled_recording_estimates_the_mix():
    """Ten places call 1 to 55 times a round: in the right order, each share within 3 points, at 1 %."""
    output = BUILD / "sampled.json"
    with Target(go_program(newest(), "mix")) as target:
        target.begin()
        run = nowgate("record", "--mode", "sampled", "--budget", "1%", "-d", "8s", "-p", target.pid, "--json", output)
        check(run.returncode, 0, run.stderr)
        check(text_differences(target.pid), [], "text")
        target.end()
        truth = target.truth()
    recording = json.loads(output.read_text())
    output.unlink()
    calls = collections.Counter()
    for stack in recording["stacks"]:
        calls[recording["frames"][stack["frames"][1]]["function"].removeprefix("main.")] += stack["calls"]
    shares = {name: calls[name] / sum(calls.values()) for name in truth}
    check(sorted(truth, key=shares.get), sorted(truth, key=truth.get), f"the order, by {calls}")
    off = {name: abs(shares[name] - truth[name] / sum(truth.values())) for name in truth}
    check([name for name in off if off[name] > 0.03], [], f"shares that are off, of {off}")
    check_in("An estimate: between", run.stdout, "the summary")


@test()
def an_inlined_copys_caller_is_who_it_stands_in():
    """A profile-guided build has time.Now inlined in one branch, and called in the other."""
    output = BUILD / "record.json"
    program = pgo_program(newest())
    run = nowgate("record", "--json", output, "--", program, 1000)
    check(run.returncode, 0, run.stderr)
    recording = json.loads(output.read_text())
    output.unlink()
    stacks = [[recording["frames"][i] for i in stack["frames"]] for stack in recording["stacks"]]
    check({stack[0]["function"] for stack in stacks}, {"time.Now"}, "what is called")
    copies = {stack[1]["function"] for stack in stacks if stack[0]["is_inlined"]}
    check_in("main.branching", copies, "where a copy stands")
    for name in copies:
        check_in(f" {name}  ", run.stderr, "callers in the summary")


@test()
def frames_of_libraries_have_their_file():
    """C's own stack ends in libc, whichever way the process was found; and each file has its build id."""
    output = BUILD / "record.json"
    program = c_program("reads", "-fno-omit-frame-pointer")
    for run in (lambda: nowgate("record", "-f", "main", "--json", output, "--", program, 1),
                lambda: beside_exe(program, output)):
        check(run().returncode, 0, "its status")
        recording = json.loads(output.read_text())
        output.unlink()
        frames = [recording["frames"][i] for i in recording["stacks"][0]["frames"]]
        files = [pathlib.Path(recording["mappings"][frame["mapping"]]["file"]).name for frame in frames]
        check(files[:2], [program.name, "libc.so.6"], f"files of {frames}")
        for mapping in recording["mappings"]:
            notes = subprocess.run(["readelf", "-n", mapping["file"]], capture_output=True, text=True, check=True)
            check_in(f"Build ID: {mapping['build_id']}\n", notes.stdout, mapping["file"])


def beside_exe(program, output):
    """Records all that runs a file, while it runs once."""
    with Record("-f", "main", "--exe", program, "--json", output, "-d", "2s") as run:
        subprocess.run([program, "400000"], stdout=subprocess.DEVNULL, check=True)
        run.finish()
        return run.process


@test()
def a_recording_leaves_clean_text():
    with Target(go_program(newest(), "paths"), CALLS, "hold") as target:
        with Record("-p", target.pid, "-d", "50ms") as run:
            check(run.finish(), 0, "its status")
        check(text_differences(target.pid), [], "text")
        check_in("0 calls in", run.out, "the summary")


@test()
def a_file_that_cannot_be_written_is_told_before_anything_is_armed():
    with Target(go_program(newest(), "paths"), CALLS, "hold") as target:
        run = nowgate("record", "-p", target.pid, "-o", "/nonexistent/profile")
        check(run.returncode, 6, "its status")
        check_in("/nonexistent/profile: it cannot be written: No such file", run.stderr, "why")
        check(text_differences(target.pid), [], "text")


@test()
def a_full_disk_is_an_error():
    with Target(go_program(newest(), "paths"), CALLS, "hold") as target:
        with Record("-p", target.pid, "-d", "50ms", "-o", "/dev/full") as run:
            check(run.finish(), 1, "its status")
        check_in("/dev/full: ", run.errors, "why")


# --- what goes wrong: nothing is lost without its count, and nothing is left behind -------------------

def state_of(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


class Files:
    """A recording's files, one in each format."""

    def __init__(self, folder):
        self.paths = {name: pathlib.Path(folder, name) for name in ("json", "folded", "svg", "output")}
        self.options = [part for name, path in self.paths.items() for part in ("--" + name, path)]

    def check(self, truth):
        """Each is whole, and they agree: what is there and what was lost is the truth. @return what was lost"""
        recording = json.loads(self.paths["json"].read_text())
        lost = {cause: count for cause, count in recording["lost"].items() if count}
        hits = sum(stack["hits"] for stack in recording["stacks"])
        check((recording["hits"], hits + sum(lost.values())), (hits, truth), f"calls in all, of which {lost} are lost")
        folded = self.paths["folded"].read_text().splitlines()
        check(sum(int(line.rsplit(" ", 1)[1]) for line in folded), hits, "calls in folded stacks")
        check(self.paths["svg"].read_text().rstrip().endswith("</svg>"), True, "the graph has its end")
        check_in(f"of {hits} total", pprof(self.paths["output"], "-top"), "pprof's total")
        self.recording, self.profile = recording, gzip.decompress(self.paths["output"].read_bytes())
        return lost


@test()
def what_the_reader_cannot_take_is_counted():
    """It stands still while 8 threads call at full speed: the ring is full, and each call that it misses counts."""
    program = go_program(newest(), "truth")
    with tempfile.TemporaryDirectory() as folder, Target(program, "loop", 100000, 8, "hold") as target:
        files = Files(folder)
        with Record("-p", target.pid, *files.options) as run:
            run.process.send_signal(signal.SIGSTOP)
            until(lambda: state_of(run.process.pid) == "T", "it to stand still")
            target.begin()
            truth = target.truth()["time.Now"]
            run.process.send_signal(signal.SIGCONT)
            target.end()
            check(run.finish(), 7, "its status")
        lost = files.check(truth)
        check(list(lost), ["records_full"], "why calls are lost")
        told = f"{lost['records_full']} calls without their stack: the reader could not keep up"
        check_in(f"LOST: {told}", run.out, "the summary")
        check_in(f"lost: {told}".encode(), files.profile, "the profile's comments")


@test()
def stacks_that_find_no_room_are_counted():
    """2^17 different ones, each twice."""
    with tempfile.TemporaryDirectory() as folder, Target(go_program(newest(), "stacks"), 17, 2) as target:
        files = Files(folder)
        with Record("-p", target.pid, *files.options) as run:
            target.begin()
            truth = target.truth()["time.Now"]
            check(truth, 2 << 17, "calls")
            target.end()
            check(run.finish(), 7, "its status")
        lost = files.check(truth)
        check((len(files.recording["stacks"]), lost["stacks_full"] > 0), (STACKS_MAX, True), "stacks")
        told = f"{lost['stacks_full']} calls without their stack: too many different ones"
        check_in(f"LOST: {told}", run.out, "the summary")


@test()
def a_killed_program_has_its_names():
    """It is gone when its stacks are named."""
    output = BUILD / "killed.json"
    with Target(go_program(newest(), "paths"), CALLS, "hold") as target:
        with Record("-p", target.pid, "--json", output) as run:
            target.begin()
            truth = target.truth()
            target.process.kill()
            target.process.wait()
            check(run.finish(), 0, "its status")
    check(found(json.loads(output.read_text())), expected(truth), "paths")
    output.unlink()


@test()
def a_program_whose_file_goes_has_its_names():
    """Deleted, or another one in its place."""
    for is_replaced in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            program, output = pathlib.Path(folder, "program"), pathlib.Path(folder, "output")
            shutil.copy(go_program(newest(), "paths"), program)
            with Target(program, CALLS, "hold") as target, Record("-p", target.pid, "--json", output) as run:
                if is_replaced:
                    other = pathlib.Path(folder, "other")
                    shutil.copy(go_program(newest(), "stacks"), other)
                    other.rename(program)
                else:
                    program.unlink()
                target.begin()
                truth = target.truth()
                target.end()
                check(run.finish(), 0, "its status")
            check(found(json.loads(output.read_text())), expected(truth), f"paths, {is_replaced=}")


@test()
def a_program_that_is_overwritten_has_addresses():
    """The names that its file has now are none of its own."""
    text = """void %s(void) { static volatile long t; t++; }
              int main(void) { for (int i = 0; i < 1000; i++) %s(); return 0; }"""
    with tempfile.TemporaryDirectory() as folder:
        output, program = pathlib.Path(folder, "output"), pathlib.Path(folder, "program")
        old, new = (compile_c(folder, name, text % (name, name)) for name in ("tick", "tock"))
        for is_overwritten, wanted in ((False, {"tick"}), (True, {None})):
            shutil.copy(old, program)
            with Record("-f", "tick", "--exe", program, "--json", output) as run:
                subprocess.run([program], check=True, timeout=BOUND_S)
                if is_overwritten:
                    shutil.copyfile(new, program)
                run.process.send_signal(signal.SIGINT)
                check(run.finish(), 0, "its status")
            recording = json.loads(output.read_text())
            innermost = {recording["frames"][stack["frames"][0]]["function"] for stack in recording["stacks"]}
            check((recording["hits"], innermost), (1000, wanted), f"calls, and of what, {is_overwritten=}")


@contextlib.contextmanager
def small_disk():
    """A folder of 1 MiB."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "nowgate-test", folder], check=True)
        try:
            yield pathlib.Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@test()
def a_small_disk_is_an_error():
    """100,000 stacks take more than it has as JSON; as folded ones they are one line, written before."""
    with small_disk() as folder, Target(go_program(newest(), "stacks"), 17, 1) as target:
        with Record("-p", target.pid, "--folded", folder / "folded", "--json", folder / "json") as run:
            target.begin()
            target.truth()
            run.process.send_signal(signal.SIGINT)
            check(run.finish(), 1, "its status")
        check_in(f"{folder}/json: No space left on device", run.errors, "why")
        check_in(f" {STACKS_MAX}\n", (folder / "folded").read_text(), "the other file")
        check(events_of(run.process.pid), [], "events left")
        check(text_differences(target.pid), [], "text")


@test()
def a_pipe_that_nobody_reads_is_an_error():
    for options in (["--folded", "/dev/stdout"], ["--output", "/dev/stdout"], ["--json", "/dev/stdout"], []):
        with Target(go_program(newest(), "paths"), CALLS, "hold") as target:
            read, write = os.pipe()
            os.close(read)
            command = [NOWGATE, "record", "-p", str(target.pid), "-d", "50ms", *options]
            with subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True) as run:
                errors = run.communicate(timeout=BOUND_S)[1]
            os.close(write)
            check(run.returncode, 1, f"its status with {options}: {errors}")
            check_in("Broken pipe", errors, f"why, with {options}")
            check(events_of(run.pid), [], "events left")
            check(text_differences(target.pid), [], "text")
