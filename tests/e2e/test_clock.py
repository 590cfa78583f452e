"""--clock: every read of the clock, by its source, none twice."""
from harness import MATRIX, all_exact, by_source, check, go_program, last_json, stat_command, test


@test()
def each_kind_of_read_counts_once():
    for version in MATRIX:
        for variant in ("default", "stripped", "pie", "noinline"):
            program = go_program(version, "clock", variant)
            report, out, status = stat_command(program, "200", options=["--clock"])
            check(status, 0, "status")
            check(by_source(report), last_json(out), f"{version} {variant}")
            check(all_exact(report), True, f"{version} {variant}: exact")


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
