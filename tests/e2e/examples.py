#!/usr/bin/env python3
"""Runs the projects of examples/ as their users would, without a network, and looks for what they leave behind.

    examples.py [pytest|jest|vitest|gotest...]"""
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from sidecar import BIN, TOP, databases, mine, no_network, until  # noqa: E402

BUILD = os.path.join(TOP, "build", "examples")


def environment(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SERVER_", "HATCHET_", "DATABASE_", "NODE_"))}
    return dict(env, HATCHET_BINARY=BIN, PYTHONDONTWRITEBYTECODE="1", CI="true", NO_COLOR="1", **more)


def project(name):
    """A copy beside what was installed for it: a run leaves nothing in the tree."""
    there = os.path.join(BUILD, name)
    for f in os.listdir(os.path.join(TOP, "examples", name)):
        if not f.startswith("package"):
            shutil.copy(os.path.join(TOP, "examples", name, f), there)
    return there


def make(target):
    subprocess.run(["make", "-s", target], cwd=TOP, check=True)


def run(words, where, pattern, count, **env):
    """It must succeed and report so many tests: @pattern finds their number, or each of them."""
    before = databases()
    began = time.monotonic()
    p = subprocess.run(words, cwd=where, env=environment(**env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, errors="replace", timeout=120, preexec_fn=no_network)
    took = time.monotonic() - began
    found = re.findall(pattern, p.stdout)
    passed = int(found[0]) if found and found[0].isdigit() else len(found)
    if p.returncode != 0 or passed != count:
        raise AssertionError(f"exit {p.returncode}, {passed} tests: {p.stdout[-3000:]}")
    until(f"{databases() - before} gone", lambda: not mine(databases() - before), 20)
    print(f"# {' '.join(os.path.basename(w) for w in words)}: {count} tests in {took:.1f} s")


def case_pytest():
    make("example-pytest")
    words = [os.path.join(BUILD, "venv", "bin", "pytest"), "-p", "no:cacheprovider"]
    where = os.path.join(TOP, "examples", "pytest")
    run(words, where, r"(\d+) passed", 8)
    run(words + ["-n", "2"], where, r"(\d+) passed", 8)


def case_jest():
    make("example-jest")
    run(["npm", "test"], project("jest"), r"Tests: +(\d+) passed", 3)


def case_vitest():
    make("example-vitest")
    where = project("vitest")
    subprocess.run(["node_modules/.bin/tsc"], cwd=where, check=True)
    run(["npm", "test"], where, r"Tests +(\d+) passed", 3)


def case_gotest():
    where = os.path.join(TOP, "examples", "gotest")
    # compiled while there may be a network
    subprocess.run(["go", "vet", "./..."], cwd=where, env=environment(GOFLAGS="-buildvcs=false"), check=True)
    subprocess.run(["go", "test", "-run", "^$", "-exec", "true", "./..."], cwd=where, env=environment(GOFLAGS="-buildvcs=false"), check=True)
    run(["go", "test", "-count=1", "-v", "./..."], where, r"--- PASS", 3, GOFLAGS="-buildvcs=false")


NEEDS = {"jest": "npm", "vitest": "npm", "gotest": "go"}


def main():
    passed = failed = skipped = 0
    for name in sys.argv[1:] or ["pytest", "jest", "vitest", "gotest"]:
        began = time.monotonic()
        if name in NEEDS and not shutil.which(NEEDS[name]):
            skipped += 1
            print(f"skipped - {name}: no {NEEDS[name]}")
            continue
        try:
            globals()["case_" + name]()
            passed += 1
            print(f"ok - {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as e:
            failed += 1
            print(f"not ok - {name}: {type(e).__name__}: {e}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
