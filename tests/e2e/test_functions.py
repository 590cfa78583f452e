"""Functions of many shapes: whatever is called exact is, and what can be exact is called so."""
import collections
import json
import re
import subprocess

from harness import BUILD, MATRIX, check, go_program, last_json, nowgate, test

CALLS = 40
# Told as not exact: a loop's way back leads to the entry; a copy that the compiler may have thinned out.
NOT_EXACT = {"asmLoop", "tableHead", "tableLeaf", "InlinedPhi", "inlinedCall", "inlinedConstant",
             "genInlined[...]", "T.Inlined"}
# Nothing is left to probe of what was inlined everywhere, or into nothing.
MAY_BE_GONE = {"empty", "inlinedBranch", "makeCounter", "makeCounter.func1"}


def plain(name):
    return re.sub(r"\[.*\]", "[...]", name).removesuffix(".abi0").removeprefix("main.")


def count(program, names):
    output = BUILD / "functions.json"
    functions = [part for name in names for part in ("-f", "main." + name)]
    run = nowgate("stat", "--json", "-o", output, *functions, "--", program, CALLS)
    check(run.returncode, 0, run.stderr[-400:])
    report = json.loads(output.read_text())
    output.unlink()
    found = collections.defaultdict(lambda: [0, True])
    for target in report["targets"]:
        for function in target["functions"]:
            found[plain(function["name"])][0] += function["calls"]
            found[plain(function["name"])][1] &= function["exact"]
    return last_json(run.stdout), found


def check_all(program, names, what):
    truth, found = count(program, names)
    wrong = []
    for name in names:
        if name not in found:
            wrong += [] if name in MAY_BE_GONE else [f"{name}: not found"]
            continue
        calls, exact = found[name]
        if exact and calls != truth["main." + name]:
            wrong.append(f"{name}: {calls}, called exact, should be {truth['main.' + name]}")
        if not exact and name not in NOT_EXACT | MAY_BE_GONE:
            wrong.append(f"{name}: not exact")
    check(wrong, [], what)


def names_in(program):
    run = subprocess.run([program, "1"], capture_output=True, text=True, check=True)
    return [plain(name) for name in last_json(run.stdout)]


@test()
def what_is_called_exact_is():
    for version in MATRIX:
        for variant in ("default", "stripped"):
            program = go_program(version, "functions", variant)
            names = [name for name in names_in(program)
                     if nowgate("site", program, "main." + name).returncode == 0]
            check_all(program, names, f"{version} {variant}")
