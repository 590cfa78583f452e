"""Every call, and none twice: Go versions, builds, goroutines, stacks that grow."""
import harness
from harness import MATRIX, Skip, Stat, Target, all_exact, calls, check, go_program, last_json, stat_command, test

VARIANTS = ["default", "stripped", "pie", "noopt"]


def each_build():
    for version in MATRIX:
        for variant in VARIANTS:
            yield version, variant, go_program(version, "truth", variant)


def check_command(program, arguments, what):
    report, out, status = stat_command(program, *arguments)
    check(status, 0, what)
    check(calls(report, "time.Now"), last_json(out)["time.Now"], f"{what}: calls")
    check(all_exact(report), True, f"{what}: exact")
    return report


@test()
def a_command_is_counted_from_its_first_instruction():
    for version, variant, program in each_build():
        for goroutines in (1, 8):
            check_command(program, ("loop", 5000, goroutines), f"{version} {variant} {goroutines}")


def check_running(program, arguments, what):
    with Target(program, *map(str, arguments), "hold") as target, Stat("-p", target.pid) as stat:
        target.begin()
        truth = target.truth()
        target.end()
        total = stat.finish()
    check(calls(total, key="total"), truth["time.Now"], what)
    check(all_exact(total), True, f"{what}: exact")


@test()
def a_running_process_is_counted():
    for version, variant, program in each_build():
        for goroutines in (1, 8):
            check_running(program, ("loop", 5000, goroutines), f"{version} {variant} {goroutines}")


@test()
def growing_stacks_and_preemption_do_not_count_twice():
    for version in MATRIX:
        for variant in ("default", "stripped"):
            program = go_program(version, "truth", variant)
            check_command(program, ("deep", 20000, 8), f"{version} {variant}")
            check_running(program, ("deep", 5000, 8), f"{version} {variant} running")


@test()
def collections_and_more_threads_than_cores_lose_none():
    for version, variant, program in each_build():
        check_command(program, ("pressed", 5000, 16), f"{version} {variant}")
        check_running(program, ("pressed", 5000, 16), f"{version} {variant} running")


@test()
def calls_by_way_of_c_are_counted():
    for version in MATRIX:
        for variant in VARIANTS:
            program = go_program(version, "callback", variant)
            check_command(program, (1000, 4), f"{version} {variant}")
            check_running(program, (1000, 4), f"{version} {variant} running")


@test()
def the_symbols_address_counts_too_much():
    """Why the probe does not stand where every other tool puts it."""
    program = go_program(next(iter(MATRIX)), "truth")
    report, out, _ = stat_command(program, "deep", 20000, 8, options=["--at-symbol"])
    truth = last_json(out)["time.Now"]
    if not calls(report) > truth:
        raise AssertionError(f"{calls(report)} at the symbol, truth {truth}: nothing to warn of")
    check(all_exact(report), False, "exact at the symbol")


def inlined_callers(report):
    """The functions that copies were counted in."""
    return {site["caller"] for target in report["targets"] for function in target["functions"]
            for site in function["sites"] if "caller" in site and site["calls"] > 0}


@test()
def inlined_copies_are_counted():
    profiled = [version for version in MATRIX if int(version.split(".")[1]) >= 21]
    if not profiled:
        raise Skip("no version here knows profile-guided builds")
    for version in profiled:
        for stripped in (False, True):
            what = f"{version} stripped={stripped}"
            report, out, _ = stat_command(harness.pgo_program(version, stripped), "5000")
            check(calls(report, "time.Now"), last_json(out)["time.Now"], what)
            check(all_exact(report), True, f"{what}: exact")
            check(bool(inlined_callers(report)), True, f"{what}: the build inlined time.Now")


@test()
def a_wrapper_is_seen_through():
    program = go_program(next(iter(MATRIX)), "truth", "stripped")
    report, out, status = stat_command("sh", "-c", f"{program} loop 700 2; {program} loop 50 1; exit 9")
    check(status, 9, "status")
    check(calls(report), 1450, "calls")
    check(all_exact(report), True, "exact")


@test()
def every_process_of_a_file_is_counted():
    program = go_program(next(iter(MATRIX)), "truth")
    with Target(program, "loop", "400", "2", "hold") as early, Stat("--exe", program) as stat:
        early.begin()
        early.truth()
        with Target(program, "loop", "300", "1", "hold") as late:
            late.begin()
            late.truth()
            late.end()
        total = stat.interrupt()
    per_process = {target["pid"]: calls(total, pid=target["pid"], key="total") for target in total["targets"]}
    check(per_process, {early.pid: 800, late.pid: 300}, "calls per process")
    check(all_exact(total), True, "exact")


@test()
def plugins_have_copies_of_their_own():
    for version in MATRIX:
        host = go_program(version, "plugin/host")
        plugin = go_program(version, "plugin/plug", "plugin")
        with Target(host, plugin, "500", "hold") as target, Stat("-p", target.pid) as stat:
            target.begin()
            truth = target.truth()
            target.end()
            total = stat.finish()
        check(calls(total, key="total"), truth["time.Now"], version)
        check(all_exact(total), True, f"{version}: exact")
