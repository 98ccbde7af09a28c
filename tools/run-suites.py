#!/usr/bin/env python3
"""Run the test suites one after the other; one closing line over all: `N passed, N failed, N skipped`.

    run-suites.py [--list] [SUITE...]

A suite is a command that closes with such a line itself, or else counts as one test by its exit code.  Its output goes
to build/test-logs/<suite>.log, whose tail is shown when it fails.  A suite whose toolchain is missing is skipped by name;
with CI=true whatever is skipped counts as failed.  A suite that is over its time is ended with all it started."""
import os
import re
import shutil
import signal
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = "build/test-logs"
# what provide.sh made comes first, what Go's own installer made last
os.environ["PATH"] = os.path.join(TOP, "build", "tools", "bin") + ":" + os.environ["PATH"] + ":/usr/local/go/bin"
CI = os.environ.get("CI") == "true"
CLOSING = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$")
VENV = "build/venv/bin/python"


class Suite:
    def __init__(self, name, command, seconds, needs=(), tools=(), prepare=None):
        self.name = name
        self.command = command  # a make target, or the words of a command
        self.seconds = seconds
        self.needs = needs  # files of the tree without which there is no such suite
        self.tools = tools  # programs that a user may lack
        self.prepare = prepare  # make target run before, in the same time box

    def words(self):
        if isinstance(self.command, str):
            return ["make", "-j2", self.command]
        return self.command


SUITES = [
    Suite("build", "all", 2400),
    Suite("check", "check", 300),
    Suite("clang", "clang", 600),
    Suite("unit", "unit", 900),
    Suite("cel", "cel", 300),
    Suite("asan-unit", "asan-unit", 1200),
    Suite("fuzz-replay", "fuzz-replay", 900),
    Suite("sim", "sim", 600),
    Suite("test-db", "test-db", 600),
    Suite("embedpg", ["python3", "tests/e2e/embedpg.py"], 300, needs=["tests/e2e/embedpg.py"]),
    Suite("backup", [VENV, "tests/e2e/backup.py"], 300, needs=["tests/e2e/backup.py"], prepare="venv"),
    Suite("cli", ["python3", "tests/e2e/test_cli.py"], 600, needs=["tests/e2e/test_cli.py"]),
    Suite("pg-versions", [VENV, "tests/e2e/pg-versions.py"], 900, needs=["tests/e2e/pg-versions.py"], tools=["npm"], prepare="venv"),
    Suite("static", [VENV, "tests/e2e/static.py"], 900, needs=["tests/e2e/static.py"], prepare="venv"),
    Suite("dist", ["python3", "tests/e2e/dist.py"], 300, needs=["tests/e2e/dist.py"]),
    Suite("arm64", [VENV, "tests/e2e/arm64.py"], 1800, needs=["tests/e2e/arm64.py"], prepare="venv"),
    Suite("handover", [VENV, "tests/e2e/test_handover.py"], 300, needs=["tests/e2e/test_handover.py"], prepare="venv"),
    Suite("rest", [VENV, "tests/e2e/test_rest.py"], 300, needs=["tests/e2e/test_rest.py"], prepare="venv"),
    Suite("rest-lists", [VENV, "tests/e2e/test_rest_lists.py"], 300, needs=["tests/e2e/test_rest_lists.py"], prepare="venv"),
    Suite("rest-metrics", [VENV, "tests/e2e/test_rest_metrics.py"], 300, needs=["tests/e2e/test_rest_metrics.py"], prepare="venv"),
    Suite("rest-events", [VENV, "tests/e2e/test_rest_events.py"], 300, needs=["tests/e2e/test_rest_events.py"], prepare="venv"),
    Suite("placement", [VENV, "tests/e2e/test_placement.py"], 300, needs=["tests/e2e/test_placement.py"], prepare="venv"),
    Suite("children", [VENV, "tests/e2e/test_children.py"], 300, needs=["tests/e2e/test_children.py"], prepare="venv"),
    Suite("replay", [VENV, "tests/e2e/test_replay.py"], 300, needs=["tests/e2e/test_replay.py"], prepare="venv"),
    Suite("pause", [VENV, "tests/e2e/test_pause.py"], 300, needs=["tests/e2e/test_pause.py"], prepare="venv"),
    Suite("rate-limits", [VENV, "tests/e2e/test_rate_limits.py"], 300, needs=["tests/e2e/test_rate_limits.py"], prepare="venv"),
    Suite("concurrency", [VENV, "tests/e2e/test_concurrency.py"], 300, needs=["tests/e2e/test_concurrency.py"], prepare="venv"),
    Suite("why", [VENV, "tests/e2e/test_why.py"], 300, needs=["tests/e2e/test_why.py"], prepare="venv"),
    Suite("idempotency", [VENV, "tests/e2e/test_idempotency.py"], 300, needs=["tests/e2e/test_idempotency.py"], prepare="venv"),
    Suite("batch", [VENV, "tests/e2e/test_batch.py"], 300, needs=["tests/e2e/test_batch.py"], prepare="venv"),
    Suite("verify", [VENV, "tests/e2e/test_verify.py"], 300, needs=["tests/e2e/test_verify.py"], prepare="venv"),
    Suite("cancel", [VENV, "tests/e2e/test_cancel.py"], 300, needs=["tests/e2e/test_cancel.py"], prepare="venv"),
    Suite("sqlfront", [VENV, "tests/e2e/test_sqlfront.py"], 400, needs=["tests/e2e/test_sqlfront.py"], tools=["go", "npm"],
          prepare="sql-clients"),
    Suite("sqlfront-faults", [VENV, "tests/e2e/test_sqlfront_faults.py"], 900, needs=["tests/e2e/test_sqlfront_faults.py"],
          tools=["go", "npm"], prepare="sql-clients"),
    Suite("effects", [VENV, "tests/e2e/test_effects.py"], 300, needs=["tests/e2e/test_effects.py"], prepare="venv"),
    Suite("sidecar", [VENV, "tests/e2e/sidecar.py"], 300, needs=["tests/e2e/sidecar.py"], prepare="venv"),
    Suite("examples", [VENV, "tests/e2e/examples.py"], 600, needs=["tests/e2e/examples.py"], prepare="venv"),
    Suite("quickstart", [VENV, "tests/e2e/quickstart.py"], 400, needs=["tests/e2e/quickstart.py"], prepare="venv"),
    Suite("readme", [VENV, "tests/e2e/readme.py"], 600, needs=["tests/e2e/readme.py"], prepare="venv"),
    Suite("demo", ["sh", "-c", "YES=1 make demo >build/test-logs/demo.out 2>&1; code=$?; cat build/test-logs/demo.out; "
                   "[ $code = 0 ] && grep -q '^result  *Hello, Hatchet!$' build/test-logs/demo.out"], 600, needs=["tools/demo.sh"]),
    Suite("tls", [VENV, "tests/e2e/test_tls.py"], 300, needs=["tests/e2e/test_tls.py"], tools=["openssl"], prepare="venv"),
    Suite("pgtls", [VENV, "tests/e2e/pgtls.py"], 400, needs=["tests/e2e/pgtls.py"], tools=["npm", "openssl"], prepare="venv"),
    Suite("h2spec", "h2spec", 300, tools=["go"]),
    Suite("sdk-python", [VENV, "tests/sdk/drive.py", "python"], 600, needs=["tests/lib/hatchet.py"], prepare="venv"),
    Suite("sdk-typescript", [VENV, "tests/sdk/drive.py", "typescript"], 600, needs=["tests/lib/hatchet.py"],
          tools=["node", "npm"], prepare="sdk-ts"),
    Suite("sdk-go", [VENV, "tests/sdk/drive.py", "go"], 600, needs=["tests/lib/hatchet.py"], tools=["go"], prepare="sdk-go"),
    Suite("sdk-tls", "sdk-tls", 600, tools=["node", "npm", "go", "openssl"]),
    Suite("crash", [VENV, "tests/crash/crash.py"], 600, needs=["tests/lib/hatchet.py", "tests/crash/crash.py"], prepare="venv"),
]


def make_targets():
    """Names before a colon in the makefiles."""
    names = set()
    for path in ["Makefile"] + [os.path.join("mk", f) for f in sorted(os.listdir("mk")) if f.endswith(".mk")]:
        with open(path) as f:
            for line in f:
                m = re.match(r"^([a-zA-Z0-9_ -]+):(?!=)", line)
                if m:
                    names.update(m[1].split())
    return names


def present(suite, targets):
    if isinstance(suite.command, str) and suite.command not in targets:
        return False
    return all(os.path.exists(p) for p in suite.needs)


def run_boxed(words, log, seconds):
    """Exit code, or None when the time was over."""
    p = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return p.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        # ask first: a driver stops the servers it started
        os.killpg(p.pid, signal.SIGTERM)
        try:
            p.wait(timeout=20)
        except subprocess.TimeoutExpired:
            pass
        return None
    finally:
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        p.wait()


def counts(text, code):
    """The last closing line; a failure that is not counted there counts as one."""
    passed = failed = skipped = 0
    for line in text.splitlines():
        m = CLOSING.match(line)
        if m:
            passed, failed, skipped = int(m[1]), int(m[2]), int(m[3] or 0)
    if code != 0 and failed == 0:
        failed = 1
    if code == 0 and passed + failed + skipped == 0:
        passed = 1
    return passed, failed, skipped


def run(suite):
    path = os.path.join(LOGS, suite.name + ".log")
    began = time.monotonic()
    for tool in set(suite.tools) & {"go", "node"} if CI else ():
        subprocess.run(["tools/provide.sh", tool])  # a user is told what is missing, CI gets it
    missing = [t for t in suite.tools if not shutil.which(t)]
    if missing:
        state, text, (passed, failed, skipped) = "no " + " ".join(missing), "", (0, 0, 1)
    else:
        with open(path, "wb") as log:
            code = 0
            if suite.prepare:
                code = run_boxed(["make", suite.prepare], log, suite.seconds)
            if code == 0:
                code = run_boxed(suite.words(), log, suite.seconds - (time.monotonic() - began))
        with open(path, errors="replace") as f:
            text = f.read()
        passed, failed, skipped = counts(text, code)
        state = "timed out" if code is None else "FAILED" if failed else "ok"
    if CI and skipped:
        failed, skipped, state = failed + skipped, 0, state if missing else "skipped"
    print(f"{suite.name:15} {state:10} {passed} passed, {failed} failed, {skipped} skipped  "
          f"({time.monotonic() - began:.0f} s)", flush=True)
    if failed:
        lines = text.splitlines()
        bad = [line for line in lines if line.startswith("not ok") or ": not ok" in line]
        print("\n".join("    " + line[:300] for line in (bad[:20] + ["..."] if bad else []) + lines[-40:]), flush=True)
        print(f"    (all of it: {path})", flush=True)
    return passed, failed, skipped


def main():
    os.chdir(TOP)
    os.makedirs(LOGS, exist_ok=True)
    targets = make_targets()
    asked = [a for a in sys.argv[1:] if not a.startswith("-")]
    unknown = set(asked) - {s.name for s in SUITES}
    if unknown:
        print("run-suites: no such suite: " + " ".join(sorted(unknown)), file=sys.stderr)
        return 2
    todo = [s for s in SUITES if present(s, targets) and (not asked or s.name in asked)]
    if "--list" in sys.argv:
        print("\n".join(s.name for s in todo))
        return 0
    began = time.monotonic()
    total = [0, 0, 0]
    for suite in todo:
        total = [a + b for a, b in zip(total, run(suite))]
    print(f"{len(todo)} suites in {time.monotonic() - began:.0f} s")
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
