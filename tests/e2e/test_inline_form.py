"""Where and how the inline engine would enter functions, in each Go version's programs, as nm, objdump and gdb see them."""
import json
import re
import subprocess
import tempfile

from harness import BOUND_S, BUILD, MATRIX, check, check_in, compile_c, go_program, need, newest, nowgate, pgo_program, test

FORM = BUILD / "asan" / "tests" / "unit" / "form"
CLOCK, CALL, PROLOGUE = "clock", "call", "prologue"


def minor(version):
    return int(version.split(".")[1])


def forms(program, *functions):
    out = subprocess.run([FORM, program, *functions], capture_output=True, text=True, timeout=BOUND_S, check=False)
    check(out.returncode, 0, f"{program} {functions}: {out.stderr}")
    return [json.loads(line) for line in out.stdout.splitlines()]


def by_symbols(program):
    """{name: address}"""
    out = subprocess.run(["nm", program], capture_output=True, text=True, timeout=BOUND_S, check=True).stdout
    return {name.removesuffix(".abi0"): int(address, 16) for address, _, name in
            (line.split(maxsplit=2) for line in out.splitlines() if line[0] in "0123456789abcdef")}


def check_bytes(program, form):
    with open(program, "rb") as file:
        file.seek(form["offset"])
        check(file.read(5).hex(), form["bytes"], f"{program}: bytes of {form}")


def by_dwarf(program, expression):
    text = subprocess.run([need("gdb"), "-nx", "-batch", "-ex", "set language c", "-ex", f"print (long)&{expression}",
                           program], capture_output=True, text=True, timeout=BOUND_S, check=True).stdout
    return int(re.search(r"^\$1 = (\d+)$", text, re.MULTILINE)[1])


@test(bpf=False)
def the_clock_is_entered_where_its_id_is_loaded():
    for version in MATRIX:
        for variant in ("default", "stripped", "pie"):
            program = go_program(version, "goroutines", variant)
            now, mono = forms(program, "time.now", "runtime.nanotime1")
            for form, clock, tail in ((now, 0, "488d742410"), (mono, 1, "488d3424")):
                check((form["form"], form["clock"], form["bytes"]), (CLOCK, clock, f"bf0{clock}000000"), str(program))
                check_bytes(program, form)
                with open(program, "rb") as file:
                    file.seek(form["offset"] + 5)
                    check_in(tail, file.read(5).hex(), "what follows")
                check((form["next"], form["exact"], form["bare"]), (form["address"] + 5, 1, 0), str(program))


@test(bpf=False)
def a_call_leads_on_to_its_own_target():
    for version in MATRIX:
        known = by_symbols(go_program(version, "goroutines"))
        for variant in ("default", "stripped", "pie"):
            program = go_program(version, "goroutines", variant)
            symbols = known if variant != "pie" else by_symbols(program)
            form, = forms(program, "time.Now")
            callee = "time.now" if minor(version) < 24 else "time.runtimeNow"
            check((form["form"], form["exact"], form["bare"], form["plain"]), (CALL, 1, 0, 1), str(program))
            check_bytes(program, form)
            if variant != "stripped":
                check((form["entry"], form["next"]), (symbols["time.Now"], symbols[callee]), str(program))
            else:
                default, = forms(go_program(version, "goroutines"), "time.Now")
                check(form["address"] - form["entry"], default["address"] - default["entry"], "stripped, delta")


@test(bpf=False)
def the_prologue_is_the_stack_check():
    for version in MATRIX:
        for variant in ("default", "pie"):
            program = go_program(version, "functions", variant)
            for function in ("main.recurse", "main.frame4k", "main.frame1m"):
                form, = forms(program, "+" + function)
                check((form["form"], form["exact"], form["bare"]), (PROLOGUE, 1, 1), f"{program} {function}")
                check(form["address"], form["entry"], function)
                check_bytes(program, form)
                out = subprocess.run(["objdump", "-d", f"--start-address={form['entry']}",
                                      f"--stop-address={form['next'] + 1}", program], capture_output=True, text=True,
                                     timeout=BOUND_S, check=True).stdout
                lines = re.findall(r"^\s*([0-9a-f]+):\t(?:[0-9a-f]{2} )+\s*(\S+)", out, re.MULTILINE)
                check((int(lines[-1][0], 16), lines[-2][1]), (form["next"], "jbe"), f"{program} {function} {out}")


@test(bpf=False)
def a_threads_number_is_where_dwarf_has_it():
    for version in MATRIX:
        program = go_program(version, "goroutines")
        for form in forms(program, "time.now", "time.Now"):
            check((form["m_id"], form["tid"], form["goid"]),
                  tuple(by_dwarf(program, f"(('runtime.{part}' *)0)->{field}")
                        for part, field in (("m", "id"), ("m", "procid"), ("g", "goid"))), str(program))


@test(bpf=False)
def inlined_copies_are_entered_by_their_calls():
    program = pgo_program(newest())
    found = forms(program, "time.Now")
    check(len([form for form in found if form["caller"]]) > 0, True, "copies")
    symbols = by_symbols(program)
    for form in found:
        check((form["form"], form["next"]), (CALL, symbols["time.runtimeNow"]), str(form))
        check_bytes(program, form)


@test(bpf=False)
def a_refusal_says_why():
    program = go_program(newest(), "functions")
    for function, why in (("main.plain", "no direct call"), ("+main.nosplit", "stack check"),
                          ("main.nosplitCalls", "stack check"), ("main.loopLeaf", "no direct call"),
                          ("+main.plain", "stack check")):
        form, = forms(program, function)
        check_in(why, form.get("refused", str(form)), function)


@test(bpf=False)
def c_is_entered_by_its_calls():
    with tempfile.TemporaryDirectory() as folder:
        program = compile_c(folder, "calls", "#include <stdio.h>\n__attribute__((noinline)) int calls(int n)"
                            " { return puts(\"a\") + n; }\nint main(int n, char **a) { (void)a; return calls(n); }\n")
        form, = forms(program, "calls")
        check((form["form"], form["g"], form["plain"], form["m_id"], form["exact"]), (CALL, 0, 0, 0, 1), str(form))
        check_bytes(program, form)


@test(bpf=False)
def site_says_it_beforehand():
    program = go_program(newest(), "functions")
    both = nowgate("site", "--json", program, "time.now", "main.divide", "main.table", "main.nosplit")
    check(both.returncode, 0, both.stderr)
    ways = [site["inline"] for site in json.loads(both.stdout)["sites"]]
    check([way["form"] for way in ways], [CLOCK, CALL, PROLOGUE, None], str(ways))
    check([way.get("asked_for") for way in ways], [False, False, True, None], str(ways))
    check_in("no direct call", ways[2]["why"], "why by name only")
    check_in("no direct call", ways[3]["why"], "why not")
    form, = forms(program, "time.now")
    check((ways[0]["address"], ways[0]["offset"], ways[0]["exact"]), (form["address"], form["offset"], True), "its place")
    text = nowgate("site", program, "time.now", "main.table", "main.nosplit").stdout
    for line in ("inline: clock form at +0x", "inline: prologue form at +0, exact", "by --engine inline=prologue only: ",
                 "inline: no: it has no direct call"):
        check_in(line, text, "text")
