"""The command line: what it prints, where, and what it exits with."""
import json

import harness
from harness import (BUILD, MATRIX, Stat, Target, c_program, calls, check, check_in, go_program, nowgate,
                     stat_command, test)

SITE_KEYS = {"image", "delta", "insn", "class", "calls"}
FUNCTION_KEYS = {"name", "engine", "sites", "calls", "exact", "lost", "rate_hz", "cost_ns", "overhead_ratio"}
TARGET_KEYS = {"pid", "exe", "go_version", "armed_at_ns", "disarmed_at_ns", "functions"}


def missing(wanted, got):
    return sorted(wanted - set(got))


@test()
def json_has_the_keys_that_are_fixed():
    program = go_program("1.19", "truth") if "1.19" in MATRIX else go_program(harness.newest(), "truth")
    report, _, _ = stat_command(program, "loop", "1000", "1")
    check(report["v"], 1, "version")
    target = report["targets"][0]
    function = target["functions"][0]
    check(missing({"v", "elapsed_ns", "targets"}, report), [], "report")
    check(missing(TARGET_KEYS, target), [], "target")
    check(missing(FUNCTION_KEYS, function), [], "function")
    check(missing(SITE_KEYS, function["sites"][0]), [], "site")
    check(function["engine"], "uprobe", "engine")
    check(function["sites"][0]["class"], "emulated", "class")
    check(target["disarmed_at_ns"] > target["armed_at_ns"], True, "armed before disarmed")
    check(function["cost_ns"] > 0, True, "a cost")
    check(report["lost"]["counts_full"], 0, "lost")


@test()
def intervals_add_up_to_the_total():
    with Target(go_program(harness.newest(), "truth"), "loop", "200000", "2", "hold") as target, \
            Stat("-p", target.pid) as stat:
        target.begin()
        target.truth()
        target.end()
        total = calls(stat.finish(), key="total")
    check(sum(calls(json.loads(line)) for line in stat.lines), total, "sum of the intervals")
    check(total, 400000, "total")


@test()
def a_commands_status_and_streams_pass_through():
    for script, status in (("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137), ("kill -TERM $$", 143)):
        check(nowgate("stat", "--", "sh", "-c", script).returncode, status, script)
    run = nowgate("stat", "--", "cat", input="over stdin\n")
    check(run.stdout, "over stdin\n", "stdout")
    check_in("elapsed", run.stderr, "the report goes to stderr")
    check(nowgate("stat", "--", "/nonexistent/program").returncode, 127, "not found")
    check(nowgate("stat", "--", "/etc/passwd").returncode, 126, "not executable")


@test()
def a_signal_reaches_the_command():
    program = c_program("lives")
    with Target(harness.NOWGATE, "stat", "-f", "tick", "--", program, "plain", "5", "hold",
                stderr=harness.subprocess.DEVNULL) as run:
        run.process.terminate()
        check(run.process.wait(timeout=harness.BOUND_S), 143, "status")


@test()
def an_interrupt_ends_with_the_counts_so_far():
    with Target(c_program("lives"), "plain", "500", "hold") as target, \
            Stat("-f", "tick", "-p", target.pid) as stat:
        target.begin()
        target.truth()
        total = stat.interrupt()
        check(stat.process.returncode, 0, "status")
        check(calls(total, key="total"), 500, "calls")
        check(harness.text_differences(target.pid), [], "text")


@test()
def a_result_goes_to_a_file():
    output = BUILD / "result.txt"
    output.unlink(missing_ok=True)
    run = nowgate("stat", "-o", output, "-f", "tick", "--", c_program("lives"), "plain", "77")
    check(run.stderr, "", "stderr")
    check_in("77", output.read_text(), "the file")


@test(bpf=False)
def wrong_usage_says_what_and_exits_2():
    for arguments, part in (
            ([], "nothing to trace"),
            (["-p", "x"], "not a number"),
            (["-p", "0"], "out of range"),
            (["-p", "1", "-p", "1"], "given twice"),
            (["-p", "1", "-d", "5parsecs"], "not a time"),
            (["-p", "1", "-d", "1s", "-d", "2s"], "given twice"),
            (["-p", "1", "--durat", "1s"], "no option"),
            (["-p", "1", "--json=yes"], "takes no value"),
            (["-p"], "needs a value"),
            (["-p", "1", "--", "true"], "one at a time"),
            (["--clock", "-f", "x", "-p", "1"], "does not go with"),
            (["--clock=some", "-p", "1"], "--clock"),
            (["-f", "", "-p", "1"], "not empty"),
            (["true"], "is no option"),
    ):
        run = nowgate("stat", *arguments)
        check(run.returncode, 2, f"stat {arguments}")
        check_in(part, run.stderr, f"stat {arguments}")
    check(nowgate("nonsense").returncode, 2, "no such command")
    check(nowgate().returncode, 2, "no command")
    for arguments in (["--help"], ["stat", "--help"], ["site", "--help"], ["doctor", "--help"]):
        run = nowgate(*arguments)
        check(run.returncode, 0, f"{arguments}")
        check_in("Usage:", run.stdout, f"{arguments}")
