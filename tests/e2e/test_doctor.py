"""nowgate doctor: what it reports, how it measures, and that it leaves nothing behind."""
import json
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

from harness import NOWGATE, check, check_in, nowgate, test, until, uprobe_events

STORED = pathlib.Path("/run/nowgate/calibration.json")
INSTRUCTIONS = [("emulated", "call"), ("single-stepped", "cmp"), ("emulated", "push"), ("emulated", "jbe"),
                ("emulated", "nop5")]


def doctor(*options):
    run = nowgate("doctor", "--json", *options)
    return run.returncode, json.loads(run.stdout)


def check_named(report, name):
    return next(item for item in report["checks"] if item["name"] == name)


@test(bpf=False)
def refuses_wrong_usage():
    for options in (["--recalibrat"], ["--json", "--json"], ["--json=1"], ["now"]):
        run = nowgate("doctor", *options)
        check(run.returncode, 2, f"exit status of doctor {options}")
        check(run.stdout, "", f"stdout of doctor {options}")


@test(bpf=False)
def reports_to_an_ordinary_user():
    options = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="nowgate-doctor-") as where:  # a checkout under /root is root's alone
        os.chmod(where, 0o755)
        program = shutil.copy(NOWGATE, where)
        run = subprocess.run([program, "doctor", "--json"], cwd=where, capture_output=True, text=True, check=False,
                             **options)
    report = json.loads(run.stdout)
    check(run.returncode, 4, "exit status")
    check((report["v"], report["ok"], report["calibration"]), (1, False, None), "v, ok, calibration")
    for name in ("cap_sys_admin", "bpf_program", "probe"):
        failed = check_named(report, name)
        check(failed["status"], "fail", name)
        check_in("root", failed["advice"], f"advice of {name}")


@test()
def measures_and_stores():
    status, report = doctor("--recalibrate")
    check((status, report["v"], report["ok"]), (0, 1, True), "status, v, ok")
    for item in report["checks"]:
        check(sorted(item), ["advice", "name", "seen", "status"], "members of a check")
        check(item["status"] in ("ok", "warn"), True, f"{item}")
        check(bool(item["advice"]), item["status"] == "warn", f"advice where it warns: {item}")
    calibration = report["calibration"]
    check_in(f"{calibration['hits']} hits, each of them counted", check_named(report, "probe")["seen"], "probe")
    check([(cost["class"], cost["insn"]) for cost in calibration["classes"]], INSTRUCTIONS, "classes")
    for cost in calibration["classes"]:
        check(1 < cost["low_ns"] <= cost["cost_ns"] <= cost["high_ns"] < 1e6, True, f"spread: {cost}")
        check(cost["batches"] > 10, True, f"batches: {cost}")
    call, cmp = calibration["classes"][:2]
    check(cmp["cost_ns"] > call["cost_ns"], True, "a single-stepped hit is dearer")
    mode = STORED.stat()
    check((stat.S_IMODE(mode.st_mode), mode.st_uid), (0o600, 0), "mode and owner of the stored one")
    check([file.name for file in STORED.parent.glob("calibration.json?*")], [], "temporary files")
    _, again = doctor()
    check(again["calibration"]["measured_at"], calibration["measured_at"], "the stored one is used")


@test()
def believes_no_damaged_calibration():
    doctor()
    good = STORED.read_text()
    for text in ("", "{", good[:-20], good.replace('"boot_id": "', '"boot_id": "0'),
                 good.replace('"cost_ns": ', '"cost_ns": -'), "x" * 100000):
        STORED.write_text(text)
        status, report = doctor()
        check((status, report["ok"]), (0, True), "status, ok")
        check(all(cost["cost_ns"] > 0 for cost in report["calibration"]["classes"]), True, "costs are measured")
        check(STORED.read_text() != text, True, "it is replaced")
    STORED.chmod(0o666)
    STORED.write_text(good.replace('"hits": ', '"hits": 1'))
    check(str(json.loads(STORED.read_text())["calibration"]["hits"])[0], "1", "what anybody could have written")
    _, report = doctor()
    check(report["calibration"]["hits"] < 1000000, True, "is not believed")
    check(stat.S_IMODE(STORED.stat().st_mode), 0o600, "mode of the new one")


@test()
def leaves_no_child_when_killed():
    process = subprocess.Popen([NOWGATE, "doctor", "--recalibrate"], stdout=subprocess.DEVNULL)
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(lambda: children.read_text().split(), "the child")
    child = children.read_text().split()[0]
    process.kill()
    process.wait()
    until(lambda: not pathlib.Path(f"/proc/{child}").exists(), "the child's end")
    # Its events can stay for a moment; the next run takes them away.
    check(doctor()[0], 0, "exit status of the next run")
    check([line for line in uprobe_events() if f"nowgate_{process.pid}_" in line], [], "events")


@test()
def tells_that_its_child_was_killed():
    process = subprocess.Popen([NOWGATE, "doctor", "--recalibrate", "--json"], stdout=subprocess.PIPE, text=True)
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(lambda: children.read_text().split(), "the child")
    os.kill(int(children.read_text().split()[0]), 9)
    report = json.loads(process.communicate(timeout=60)[0])
    check((process.returncode, report["ok"], report["calibration"]), (1, False, None), "status, ok, calibration")
    check_in("was killed", check_named(report, "probe")["seen"], "probe")
