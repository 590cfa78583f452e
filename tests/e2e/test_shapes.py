"""C, C++ and assembly that is laid out, entered and left in unusual ways: what is called exact is.

The programs say how often they called each function. In exact-or-not both ways are wrong: to claim what is not so,
and to tell as not exact what is proven easily.
"""
import re
import subprocess
import tempfile

from harness import all_exact, c_program, calls, check, compile_c, last_json, stat_command, test

N = 120

# Without names nobody knows whose the part is that leads back into a function.
PARTED = {"cold_retry", "gcc_retry", "gcc_first", "by_table", "machine", "catches_and_retries", "catches",
          "catches_in_loop", "passes_on", "may_throw"}


def never_exact(name):
    """A capital behind an underscore: see tests/c/shapes.c."""
    return re.search("[a-z0-9]_[A-Z]", name) and name != "doors_Outer"


def check_program(program, may_be_inexact, what):
    """@return for how many functions the count was exact"""
    names = list(last_json(subprocess.run([program, "1"], capture_output=True, text=True, check=True).stdout))
    report, out, _ = stat_command(program, N, options=[part for name in names for part in ("-f", name)])
    counted = {function["name"]: function for target in report["targets"] for function in target["functions"]}
    wrong = []
    for name, truth in last_json(out).items():
        number, exact = counted[name]["calls"], counted[name]["exact"]
        if exact and (never_exact(name) or number != truth):
            wrong.append(f"{name}: {number}, called exact, should be {truth}")
        if not exact and not never_exact(name) and name not in may_be_inexact:
            wrong.append(f"{name}: not exact, {number} of {truth}")
    check(wrong, [], what)
    return sum(function["exact"] for function in counted.values())


@test()
def odd_shapes_in_c():
    for flags in (["-O0"], ["-O1"], ["-O2"], ["-Os"], ["-O3", "-fcf-protection=full"], ["-O2", "-static-pie"],
                  ["-O2", "-no-pie"]):
        exact = check_program(c_program("shapes", *flags), set(), f"shapes {flags}")
        check(exact >= 13, True, f"shapes {flags}: {exact} exact, 13 or more")


@test()
def odd_shapes_without_names():
    """Stripped, with .dynsym alone."""
    program = c_program("shapes", "-O2", "-rdynamic", stripped=True)
    exact = check_program(program, PARTED, "shapes")
    check(exact >= 9, True, f"{exact} exact, 9 or more")


@test()
def exceptions():
    for flags in (["-O0"], ["-O1"], ["-O2"], ["-O3"]):
        check_program(c_program("throws", *flags), set(), f"throws {flags}")
    check_program(c_program("throws", "-O2", "-rdynamic", stripped=True), PARTED, "throws, stripped")


@test()
def two_names_of_one_function():
    program = c_program("shapes", "-O2")
    for names in (["name_one"], ["name_two"], ["name_one", "name_two"]):
        report, out, _ = stat_command(program, N, options=[part for name in names for part in ("-f", name)])
        for name in names:
            check(calls(report, name), last_json(out)[name], f"calls of {name} with {names}")
        check(all_exact(report), True, f"exact with {names}")
    report, out, _ = stat_command(program, N, options=["-f", "name_???"])
    check(calls(report), last_json(out)["name_one"], "calls of all of these names: once each")


@test()
def versions_of_a_symbol():
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/map", "w", encoding="ascii") as versions:
            versions.write("V1 { global: tick; call_old; local: *; }; V2 { global: tick; } V1;")
        library = compile_c(folder, "libtick.so", """
            static volatile long t;
            __attribute__((noinline)) void old_tick(void) { t++; }
            __attribute__((noinline)) void new_tick(void) { t += 2; }
            asm(".symver old_tick, tick@V1");
            asm(".symver new_tick, tick@@V2");
            void call_old(long n) { for (long i = 0; i < n; i++) old_tick(); }""",
                            "-shared", "-fPIC", f"-Wl,--version-script={folder}/map")
        user = compile_c(folder, "user", """
            void tick(void);
            void call_old(long);
            int main(void) { for (int i = 0; i < 70; i++) tick(); call_old(30); return 0; }""", str(library))
        for name, wanted in (("tick", 100), ("tick@V1", 30), ("tick@@V2", 70), ("old_tick", 30)):
            report, _, _ = stat_command(user, options=["-f", name])
            check(calls(report), wanted, f"calls of {name}")
            check(all_exact(report), True, f"exact of {name}")
