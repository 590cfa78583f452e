"""Processes whose threads exit, that exec, fork and vfork: counted, or the gap is told."""
from harness import Stat, Target, all_exact, c_program, calls, check, last_json, stat_command, test

N = 3000


def counted(mode):
    """The totals of a running process that goes through such a life."""
    with Target(c_program("lives"), mode, str(N), "hold") as target, \
            Stat("-f", "tick", "-p", target.pid) as stat:
        target.begin()
        if mode != "execs":
            target.truth()
            target.end()
        return target.pid, stat.finish()


@test()
def the_main_thread_may_exit():
    pid, total = counted("main-exits")
    check(calls(total, pid=pid, key="total"), N, "calls")
    check(all_exact(total), True, "exact")


@test()
def a_process_without_its_main_thread_can_be_armed():
    with Target(c_program("lives"), "main-exits", str(N), "hold") as target:
        target.begin()
        target.truth()  # the main thread is gone, another one waits for the end
        with Stat("-f", "tick", "-p", target.pid) as stat:
            target.end()
            total = stat.finish()
    check(calls(total, key="total"), 0, "calls")
    check(all_exact(total), True, "exact")


@test()
def another_thread_may_exec():
    pid, total = counted("execs")
    check(calls(total, pid=pid, key="total"), 2 * N, "calls before and after the exec")
    check([target["functions"][0]["total"] for target in total["targets"]], [N, N], "calls of each life")
    check(all_exact(total), True, "exact")


@test()
def a_forked_child_is_not_its_parent():
    pid, total = counted("forks")
    check(calls(total, pid=pid, key="total"), 2 * N, "calls of the parent")
    check(len(total["targets"]), 1, "targets")


@test()
def a_vfork_child_is_listed():
    pid, total = counted("vforks")
    check(calls(total, pid=pid, key="total"), 2 * N, "calls of the parent")
    check(calls(total, key="total"), 3 * N, "calls of both")
    check(all_exact(total), True, "exact")


@test()
def a_commands_children_are_followed():
    for mode in ("plain", "main-exits", "execs", "forks", "vforks"):
        report, out, _ = stat_command(c_program("lives"), mode, N, options=["-f", "tick"])
        truth = last_json(out)
        wanted = truth["tick"] + truth["child"] + (N if mode == "execs" else 0)
        check(calls(report), wanted, mode)
        check(all_exact(report), True, f"{mode}: exact")


@test()
def links_tell_what_they_miss():
    """Without tracefs a breakpoint hangs on one thread: what goes with it is told."""
    program = c_program("lives")
    report, out, _ = stat_command(program, "plain", N, options=["-f", "tick", "--attach", "link"])
    check(calls(report), last_json(out)["tick"], "calls")
    for mode in ("main-exits", "execs", "forks"):
        report, _, _ = stat_command(program, mode, N, options=["-f", "tick", "--attach", "link"])
        if calls(report) < 2 * N:
            check(all_exact(report), False, f"{mode}: exact with {calls(report)} calls")
