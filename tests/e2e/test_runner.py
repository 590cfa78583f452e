"""The runners themselves: what fails must be named, counted and seen in the exit status."""
import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import TOP, check, check_in, test

MADE = """
from harness import Skip, check, test
@test(bpf=False)
def passes(): pass
@test(bpf=False)
def fails(): check(1, 2, "one")
@test()
def skips(): raise Skip("it says so")
"""


def _run_e2e(*patterns, doctor="/bin/true", **files):
    """Runs tests/e2e/run on test files of our own, with something else as nowgate. @return (exit status, output)"""
    with tempfile.TemporaryDirectory(prefix="nowgate-runner-") as name:
        top = pathlib.Path(name)
        (top / "e2e").mkdir()
        (top / "go").mkdir()
        for file in ("run", "harness.py"):
            shutil.copy(TOP / "tests" / "e2e" / file, top / "e2e")
        (top / "go" / "matrix").write_text("#!/bin/sh\n")
        (top / "go" / "matrix").chmod(0o755)
        for file, text in files.items():
            (top / "e2e" / f"{file}.py").write_text(text)
        run = subprocess.run([top / "e2e" / "run", *patterns], env=dict(os.environ, NOWGATE=doctor),
                             capture_output=True, text=True, check=False)
        return run.returncode, run.stdout


def _run_unit(**programs):
    """Runs tests/unit/run on programs of our own."""
    with tempfile.TemporaryDirectory(prefix="nowgate-runner-") as name:
        where = pathlib.Path(name) / "tests" / "unit"
        where.mkdir(parents=True)
        for program, script in programs.items():
            (where / program).write_text("#!/bin/sh\n" + script)
            (where / program).chmod(0o755)
        run = subprocess.run(["python3", TOP / "tests" / "unit" / "run", name],
                             capture_output=True, text=True, check=False)
        return run.returncode, run.stdout


@test(bpf=False)
def a_failure_is_named_and_counted():
    status, out = _run_e2e(test_made=MADE)
    check(status, 1, "exit status")
    check_in("FAIL  test_made.fails: one: 1, should be 2", out, "output")
    check_in("skip  test_made.skips: it says so", out, "output")


@test(bpf=False)
def no_bpf_test_where_they_could_run_is_a_failure():
    status, out = _run_e2e("passes", "skips", test_made=MADE)
    check(status, 1, "exit status")
    check_in("FAIL  e2e: no BPF test ran", out, "output")
    check(out.splitlines()[-2:], ["BPF tests run: 0", "e2e: 1 passed, 1 failed, 1 skipped"], "the last lines")
    status, out = _run_e2e("passes", "skips", doctor="/bin/false", test_made=MADE)
    check(status, 0, "exit status where they cannot")
    check(out.splitlines()[-1], "e2e: 1 passed, 0 failed, 1 skipped", "the last line where they cannot")
    status, out = _run_e2e("passes", test_made=MADE)
    check((status, out.splitlines()[-1]), (0, "e2e: 1 passed, 0 failed, 0 skipped"), "where none was asked for")


@test(bpf=False)
def a_file_that_does_not_load_is_a_failure():
    status, out = _run_e2e("passes", test_made=MADE, test_wrong="import nothing_of_this_name")
    check((status, out.splitlines()[-1]), (1, "e2e: 1 passed, 1 failed, 0 skipped"), "exit status, last line")
    check_in("FAIL  test_wrong: cannot be loaded: No module named 'nothing_of_this_name'", out, "output")


@test(bpf=False)
def a_pattern_without_a_test_is_a_failure():
    status, out = _run_e2e("nobody", test_made=MADE)
    check((status, out.splitlines()[-1]), (1, "e2e: 0 passed, 1 failed, 0 skipped"), "exit status, last line")
    check_in("FAIL  e2e: no test is named like nobody", out, "output")


@test(bpf=False)
def unit_programs_that_fail_are_counted():
    good = 'echo "[  PASSED  ] 3 test(s)."'
    check(_run_unit(test_good=good), (0, "ok    unit test_good: 3\nunit: 3 passed, 0 failed, 0 skipped\n"), "good")
    status, out = _run_unit(test_good=good, test_bad='echo "[  PASSED  ] 1 test(s)."; echo "[  FAILED  ] 2 test(s)"; exit 2')
    check((status, out.splitlines()[-1]), (1, "unit: 4 passed, 2 failed, 0 skipped"), "two cases fail")
    status, out = _run_unit(test_good=good, test_dead="kill -9 $$")
    check((status, out.splitlines()[-1]), (1, "unit: 3 passed, 1 failed, 0 skipped"), "a program dies")
    check_in("FAIL  unit test_dead: exit -9", out, "output")
    status, out = _run_unit(test_silent="exit 0")
    check((status, out.splitlines()[-1]), (1, "unit: 0 passed, 1 failed, 0 skipped"), "nothing tested")
    status, out = _run_unit()
    check((status, out.splitlines()[-1]), (1, "unit: 0 passed, 1 failed, 0 skipped"), "no programs")
