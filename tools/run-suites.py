#!/usr/bin/env python3
"""Run the test suites one after the other; one closing line over all: `N passed, N failed, N skipped`.

A suite is a command that ends with that line itself (or "N passed, N failed"), or exits non-zero.  Its output goes to
build/test-logs/<suite>.log; the tail is shown when it fails.  With CI=true a skipped test counts as failed."""
import os
import re
import subprocess
import sys
import time

# name, command, seconds allowed
SUITES = [
    ("unit", ["make", "-j2", "unit"], 900),
    ("asan-unit", ["make", "-j2", "asan-unit"], 1200),
    ("fuzz-replay", ["make", "-j2", "fuzz-replay"], 900),
]
LINE = re.compile(r"^(?:\w+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$")
CI = os.environ.get("CI") == "true"


def run(name, command, seconds):
    os.makedirs("build/test-logs", exist_ok=True)
    log = f"build/test-logs/{name}.log"
    began = time.monotonic()
    with open(log, "wb") as out:
        try:
            code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=seconds).returncode
        except subprocess.TimeoutExpired:
            code = -1
    text = open(log, errors="replace").read()
    passed = failed = skipped = 0
    for line in text.splitlines():
        m = LINE.match(line)
        if m:
            passed, failed, skipped = int(m[1]), int(m[2]), int(m[3] or 0)
    if code != 0 and failed == 0:
        failed = 1
    if code == 0 and passed + failed + skipped == 0:
        passed = 1
    if CI and skipped:
        failed += skipped
        skipped = 0
    state = "ok" if failed == 0 else "timed out" if code == -1 else "FAILED"
    print(f"{name:12} {state:9} {passed} passed, {failed} failed, {skipped} skipped  {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        print("\n".join("    " + line for line in text.splitlines()[-40:]), flush=True)
    return passed, failed, skipped


def main():
    only = set(sys.argv[1:])
    total = [0, 0, 0]
    for name, command, seconds in SUITES:
        if not only or name in only:
            total = [a + b for a, b in zip(total, run(name, command, seconds))]
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] else 0


sys.exit(main())
