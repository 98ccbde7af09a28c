#!/usr/bin/env python3
"""Executes the first steps of README.md, as they stand there, in an empty folder with the built `hatchet` on the PATH.

A code block of README.md is executed when an HTML comment stands on the line before it:

    <!-- test: file NAME -->            the block becomes that file
    <!-- test: run -->                  sh -e executes it; it must succeed
    <!-- test: background -->           likewise, but it goes on: until the end, or when it says "until FILE", the next block waits for that
    <!-- test: prints TEXT -->          tried again until it prints that, as long as everything in the background goes on
    ... with PROGRAM                    skipped, with what is of the same language, where that is not installed
    ... then COMMAND                    executed after it

Packages are really installed, from where pip, npm and go are set up to find them.  Nothing is substituted, except that the
server's ports are free ones, and its data directory is one of this run, by the environment variables that the README names."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from sidecar import BIN, TOP, until  # noqa: E402

BLOCK = re.compile(r"^<!-- test: (.+?) -->\n```\w+\n(.*?)^```$", re.M | re.S)
WORDS = re.compile(r"^(file|run|background|prints)(?: (?!until |with )(.+?))?(?: until (\S+))?(?: with (\w+))?(?:, then (.+))?$")
STEP_SECONDS = 240
TOTAL_SECONDS = 300  # "in under five minutes", all three languages


class Steps:
    def __init__(self, folder):
        self.folder = folder
        self.running = []
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SERVER_", "HATCHET_", "DATABASE_", "NODE_", "VIRTUAL_"))}
        bin_dir = os.path.join(folder, "..", "bin")
        os.makedirs(bin_dir)
        os.symlink(BIN, os.path.join(bin_dir, "hatchet"))
        self.env = dict(env, PATH=os.path.abspath(bin_dir) + ":" + env["PATH"], HATCHET_DATA_DIR=os.path.join(folder, "..", "data"),
                        SERVER_PORT="0", SERVER_GRPC_PORT="0")

    def start(self, text, name):
        log = open(os.path.join(self.folder, "..", name + ".log"), "wb")
        return subprocess.Popen(["sh", "-ec", text], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=log,
                                stderr=subprocess.STDOUT, start_new_session=True), log.name

    def fine(self):
        for p, log in self.running:
            if p.poll() is not None:
                raise AssertionError(f"what should go on ended with {p.returncode}: {tail(log)}")

    def run(self, text):
        p, log = self.start(text, "step")
        code = p.wait(STEP_SECONDS)
        with open(log, errors="replace") as f:
            return code, f.read()

    def step(self, kind, argument, until_file, then, text, number):
        if kind == "file":
            with open(os.path.join(self.folder, argument), "w") as f:
                f.write(text)
        elif kind == "background":
            self.running.append(self.start(text, f"background-{number}"))
            if until_file:
                until(until_file, lambda: (self.fine(), os.path.exists(os.path.join(self.folder, until_file)))[1], 60)
        elif kind == "run":
            code, out = self.run(text)
            if code:
                raise AssertionError(f"exit {code}: {out[-1500:]}")
        else:
            last = ""

            def printed():
                nonlocal last
                self.fine()
                last = self.run(text)[1]
                return argument in last.splitlines()
            try:
                until(f"{argument!r} printed", printed, STEP_SECONDS, every=0.3)
            except TimeoutError as e:
                raise AssertionError(f"{e}; it printed {last[-1500:]}") from None
        if then and self.run(then)[0]:
            raise AssertionError(f"{then} failed")

    def end(self):
        """The workers at once, the server, which was first, as by Ctrl-C."""
        for p, _ in reversed(self.running):
            is_server = p is self.running[0][0]
            for sig, seconds in ((signal.SIGINT, 20), (signal.SIGKILL, 5)) if is_server else ((signal.SIGKILL, 5),):
                try:
                    os.killpg(p.pid, sig)
                    p.wait(seconds)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    pass


def tail(path):
    with open(path, errors="replace") as f:
        return f.read()[-1500:]


def main():
    with open(os.path.join(TOP, "README.md")) as f:
        text = f.read()
    blocks = BLOCK.findall(text)
    passed = failed = skipped = 0
    if text.count("<!-- test:") != len(blocks) or len(blocks) < 11:
        print(f"not ok - {len(blocks)} blocks are understood, {text.count('<!-- test:')} are marked")
        failed += 1
    top = tempfile.mkdtemp(prefix="hatchet-readme-")
    os.chmod(top, 0o755)
    folder = os.path.join(top, "empty")
    os.mkdir(folder)
    steps = Steps(folder)
    began = time.monotonic()
    try:
        for number, (directive, code) in enumerate(blocks):
            m = WORDS.match(directive)
            if not m:
                raise AssertionError(f"{directive}: not understood")
            kind, argument, until_file, program, then = m.groups()
            if program and not shutil.which(program):
                skipped += 1
                print(f"skipped - {directive}: no {program}")
                continue
            at = time.monotonic()
            steps.step(kind, argument, until_file, then, code, number)
            passed += 1
            print(f"ok - {directive} ({time.monotonic() - at:.1f} s)", flush=True)
    except Exception as e:
        failed += 1
        print(f"not ok - {directive}: {type(e).__name__}: {e}", flush=True)
    finally:
        took = time.monotonic() - began
        steps.end()
        shutil.rmtree(top, ignore_errors=True)
    print(f"# from nothing to {'three languages' if not skipped else 'what is installed here'} in {took:.0f} s")
    if took > TOTAL_SECONDS:
        failed += 1
        print(f"not ok - it took more than {TOTAL_SECONDS} s")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
