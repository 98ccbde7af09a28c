#!/usr/bin/env python3
"""`hatchet quickstart`: writes, starts a server, runs; with packages that are there already.

    quickstart.py [CASE...]"""
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from sidecar import BIN, TOP, equal, runs, until  # noqa: E402

VENV = os.path.join(TOP, "build", "venv", "bin")
NODE = os.path.join(TOP, "build", "examples", "quickstart")  # has node_modules, where a project below it looks, too
DIR = ""  # of this run


def environment(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SERVER_", "HATCHET_", "DATABASE_", "NODE_"))}
    env.update(HATCHET_DATA_DIR=os.path.join(DIR, "data"), SERVER_PORT="0", SERVER_GRPC_PORT="0", PATH=VENV + ":" + env["PATH"],
               PYTHONDONTWRITEBYTECODE="1", GOFLAGS="-mod=mod -buildvcs=false")
    return dict(env, **more)


def hatchet(*words, **env):
    p = subprocess.run([BIN, *words], cwd=DIR, env=environment(**env), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200)
    return p.returncode, p.stdout, p.stderr


def status():
    code, out, _ = hatchet("server", "status", "--json")
    return json.loads(out) if code == 0 else None


def refused(words, code, *parts, **env):
    got, out, err = hatchet("quickstart", *words, **env)
    equal(got, code, f"{words}: exit code; said {err!r}")
    for part in parts:
        if part not in err:
            raise AssertionError(f"{words}: {part!r} is not in {err!r}")
    return out


def project(language, where=None):
    """From nothing to the result; gives the project's directory."""
    where = where or os.path.join(DIR, language)
    began = time.monotonic()
    code, out, err = hatchet("quickstart", where, "--language", language, "--yes", "--no-install")
    if code != 0 or "\nresult      Hello, Hatchet!\n" not in out:
        raise AssertionError(f"exit {code}: {out} {err}")
    print(f"# {language}: {time.monotonic() - began:.1f} s to the result")
    equal(os.stat(os.path.join(where, ".env")).st_mode & 0o777, 0o600, "mode of .env")
    with open(os.path.join(where, ".gitignore")) as f:
        equal(".env" in f.read().split(), True, ".env is ignored by git")
    for p in os.listdir("/proc"):
        try:
            if p.isdigit() and os.path.realpath(f"/proc/{p}/cwd") == where and os.readlink(f"/proc/{p}/exe") != BIN and runs(p):
                with open(f"/proc/{p}/cmdline") as f:
                    raise AssertionError(f"still runs: {f.read()}")
        except OSError:
            pass
    return where


def case_python():
    where = project("python")
    s = status()
    equal(s and s["running"], True, "a server runs on")
    with open(os.path.join(where, ".env")) as f:
        if s["grpc"] not in f.read():
            raise AssertionError("the .env file names another server")


def case_go():
    if not shutil.which("go"):
        return "no go"
    before = status()
    project("go")
    if before:
        equal(status()["pid"], before["pid"], "the server that ran is used")


def case_typescript():
    if not shutil.which("npm"):
        return "no npm"
    subprocess.run(["make", "-s", "example-quickstart"], cwd=TOP, check=True)
    where = os.path.join(NODE, "run")
    shutil.rmtree(where, ignore_errors=True)
    project("typescript", where)
    shutil.rmtree(where)


def case_refusals():
    full = os.path.join(DIR, "full")
    os.makedirs(full)
    with open(os.path.join(full, "mine"), "w"):
        pass
    refused([full, "--language", "python", "--yes"], 1, "is not empty")
    equal(os.listdir(full), ["mine"], "what is there stays")
    refused([os.path.join(full, "mine"), "--language", "python", "--yes"], 1, "Not a directory")
    refused(["new", "--language", "cobol"], 2, "typescript, python or go", "cobol")
    refused(["new"], 2, "--language is needed")
    refused(["new", "old", "--language", "go"], 2, 'unexpected "old"')
    refused(["new", "--language", "go"], 1, "nothing was done", "--yes")
    refused(["new", "--language", "typescript", "--yes"], 1, "node is not on the PATH", PATH="/nonexistent")
    equal(os.path.exists(os.path.join(DIR, "new")), False, "nothing is written")


def case_files_only():
    where = os.path.join(DIR, "files")
    for language, known in (("python", "tasks.py"), ("typescript", "src/tasks.ts"), ("go", "greet/greet.go")):
        code, out, err = hatchet("quickstart", where, "--language", language, "--yes", "--no-run", PATH="/nonexistent")
        equal((code, err), (0, ""), "files only, without any tool")
        written = {os.path.relpath(os.path.join(d, f), where) for d, _, files in os.walk(where) for f in files}
        if not {"README.md", ".gitignore", known} <= written or written & {".env", "gitignore", "server.log"}:
            raise AssertionError(f"written: {written}")
        shutil.rmtree(where)


def tools(**programs):
    """A PATH of programs that note what they are called with."""
    path = os.path.join(DIR, "tools")
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    for name, text in programs.items():
        with open(os.path.join(path, name), "w") as f:
            f.write(f'#!/bin/sh\necho "{name} $*" >>{DIR}/called\n{text}\n')
        os.chmod(f.name, 0o755)
    if os.path.exists(os.path.join(DIR, "called")):
        os.unlink(os.path.join(DIR, "called"))
    return path + ":/usr/bin:/bin"


def called():
    with open(os.path.join(DIR, "called")) as f:
        return f.read().splitlines()


def case_install():
    """Which tools install what, and what is said when that fails."""
    where = os.path.join(DIR, "install")
    refused([where, "--language", "typescript", "--yes"], 1, '"npm install" failed', "README.md", PATH=tools(node="", npm="exit 1"))
    equal(called(), ["npm install --no-audit --no-fund --loglevel=error"], "called")
    shutil.rmtree(where)
    venv = 'mkdir -p .venv/bin && cp "$0" .venv/bin/python && chmod 755 .venv/bin/python; [ "$2" != pip ] || exit 1'
    refused([where, "--language", "python", "--yes"], 1, "failed", PATH=tools(python3=venv))
    equal(called(), ["python3 -m venv .venv", "python3 -m pip install --quiet --disable-pip-version-check -r requirements.txt"], "called")
    shutil.rmtree(where)
    refused([where, "--language", "go", "--yes"], 1, '"go mod" failed', PATH=tools(go="exit 1"))
    equal(called(), ["go mod download"], "called")


def case_worker_fails():
    where = os.path.join(DIR, "fails")
    refused([where, "--language", "python", "--yes", "--no-install"], 1, "the worker is broken", "gave no result", "worker.log",
            PATH=tools(python3='[ "$1" != worker.py ] || echo "the worker is broken"; exit 1'))


def case_terminal():
    """Asked on a terminal, and answered no."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(DIR)
        os.execve(BIN, [BIN, "quickstart", "asked"], environment())
    said = b""

    def until_said(text):
        nonlocal said
        while text not in said:
            said += os.read(fd, 1000)

    until_said(b"Which language: typescript, python or go?")
    os.write(fd, b"cobol\n")
    said = b""
    until_said(b"Which language: typescript, python or go?")
    os.write(fd, b"python\n")
    until_said(b"Go on? [y/N]")
    os.write(fd, b"n\n")
    until_said(b"Nothing was done.")
    equal(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 1, "exit code")
    os.close(fd)
    equal(os.path.exists(os.path.join(DIR, "asked")), False, "nothing is written")


def main():
    global DIR
    cases = {n[5:]: f for n, f in globals().items() if n.startswith("case_")}
    passed = failed = skipped = 0
    DIR = tempfile.mkdtemp(prefix="hatchet-quickstart-")
    os.chmod(DIR, 0o755)
    try:
        for name in sys.argv[1:] or cases:
            began = time.monotonic()
            try:
                why = cases[name]()
                if why:
                    skipped += 1
                    print(f"skipped - {name}: {why}", flush=True)
                    continue
                passed += 1
                print(f"ok - {name} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception as e:
                failed += 1
                print(f"not ok - {name}: {type(e).__name__}: {str(e)[:1500]}", flush=True)
                traceback.print_exc(limit=-3, file=sys.stdout)
    finally:
        s = status()
        if s:
            hatchet("server", "stop")
            until("the server gone", lambda: not runs(s["pid"]), 20)
        shutil.rmtree(DIR, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
