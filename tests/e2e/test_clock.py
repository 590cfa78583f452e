"""--clock: every read of the clock, by its source, none twice."""
import harness
from harness import MATRIX, Skip, Stat, Target, all_exact, by_source, calls, check, check_in, go_program, last_json, \
    nowgate, stat_command, test


def without_system_calls(truth):
    return {source: count for source, count in truth.items() if not source.startswith("syscall ")}


@test()
def each_kind_of_read_counts_once():
    for version in MATRIX:
        for variant in ("default", "stripped", "pie", "noinline"):
            program = go_program(version, "clock", variant)
            report, out, status = stat_command(program, "50", options=["--clock"])
            check(status, 0, "status")
            check(by_source(report), without_system_calls(last_json(out)), f"{version} {variant}")
            check(all_exact(report), True, f"{version} {variant}: exact")


@test()
def timer_channels_of_both_kinds():
    """Since Go 1.23 a timer's channel has no buffer; the time is sent when it is received."""
    for version in MATRIX:
        minor = int(version.split(".")[1])
        for kind in ("0", "1") if 23 <= minor < 27 else ("0",):  # 1.27 knows the new kind only
            command = ("env", f"GODEBUG=asynctimerchan={kind}", go_program(version, "clock"), "50")
            report, out, _ = stat_command(*command, options=["--clock"])
            check(by_source(report), without_system_calls(last_json(out)), f"{version} {kind}")
            check(all_exact(report), True, f"{version} {kind}: exact")


@test()
def real_system_calls_count_on_request():
    for version in MATRIX:
        report, out, _ = stat_command(go_program(version, "clock"), "50", options=["--clock=+syscalls"])
        check(by_source(report), last_json(out), version)
        check(all_exact(report), True, f"{version}: exact")


@test()
def what_the_vdso_passes_on_counts_once():
    program = harness.c_program("reads")
    output = harness.BUILD / "reads.json"
    run = nowgate("stat", "--json", "-o", output, "--clock=+syscalls", "--", program, "300")
    report = harness.json.loads(output.read_text())
    output.unlink()
    check(by_source(report), last_json(run.stdout), "reads")
    check(all_exact(report), True, "exact")
    check_in("each system call of every process of this machine takes about", run.stderr, "the cost's note")
    report, out, _ = stat_command(program, "300", options=["--clock"])
    check(by_source(report), without_system_calls(last_json(out)), "without system calls")


@test()
def all_reads_are_the_runtimes_too():
    for version in MATRIX:
        report, out, _ = stat_command(go_program(version, "clock"), "50", options=["--clock=all"])
        truth, counted = last_json(out), by_source(report)
        for source in ("now", "gettimeofday"):
            check(counted[source], truth[source], f"{version} {source}")
        check("mono" in counted, False, f"{version}: a read counted twice")
        # Sleeping, scheduling and timers read it as well, how often is not the program's to say.
        check(counted["runtime.nanotime1"] > truth["mono"], True, f"{version}: nanotime1")
        check(all_exact(report), True, f"{version}: exact")


@test()
def a_bubbles_clock_is_none():
    """In a bubble of testing/synctest time.Now is called, and reads no clock."""
    seen = 0
    for version in MATRIX:
        if int(version.split(".")[1]) < 25:
            continue
        program = go_program(version, "bubble")
        before = by_source(stat_command(program, "0", options=["--clock"])[0])
        report, out, _ = stat_command(program, "700", options=["--clock"])
        check(by_source(report), before, f"{version}: reads")
        report, out, _ = stat_command(program, "700")
        check(calls(report, "time.Now"), last_json(out)["time.Now"], f"{version}: calls")
        seen += 1
    if not seen:
        raise Skip("no Go version here has testing/synctest")


@test()
def a_shared_object_reads_by_copies_of_its_own():
    """A C program that had loaded it by dlopen before anybody looked."""
    host = harness.c_program("loads", "-ldl")
    for version in MATRIX:
        with Target(host, go_program(version, "shared", "c-shared"), "400") as target, \
                Stat("-p", target.pid, "--clock") as stat:
            target.begin()
            truth = target.truth()
            target.end()
            total = stat.finish()
        check(by_source(total, "total"), truth, version)
        check(all_exact(total), True, f"{version}: exact")


@test()
def a_plugin_reads_by_copies_of_its_own():
    for version in MATRIX:
        host = go_program(version, "plugin/host")
        plugin = go_program(version, "plugin/plug", "plugin")
        with Target(host, plugin, "500", "hold") as target, Stat("-p", target.pid, "--clock") as stat:
            target.begin()
            truth = target.truth()["time.Now"]
            target.end()
            total = stat.finish()
        check(by_source(total, "total"), {"now": truth}, version)
        check(all_exact(total), True, f"{version}: exact")


@test()
def c_code_reads_by_libc():
    for version in MATRIX:
        program = go_program(version, "cgo")
        report, out, _ = stat_command(program, "500", options=["--clock"])
        truth = last_json(out)
        counted = by_source(report)
        baseline = by_source(stat_command(program, "0", options=["--clock"])[0])
        for source in ("now", "c"):
            check(counted.get(source, 0) - baseline.get(source, 0), truth[source], f"{version} {source}")
        check(all_exact(report), True, f"{version}: exact")
