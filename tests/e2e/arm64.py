#!/usr/bin/env python3
"""The program for 64 bit ARM: cross-compiled, looked at, and run by qemu-user with the Postgres inside it.  arm64.py [NAME...]

qemu-user runs one program; what that starts must be named to it.  So the unpacked programs of Postgres get a wrapper each."""
import functools
import glob
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from hatchet import BIN, TOP, spawn, until  # noqa: E402

ARM = os.path.join(TOP, "build", "hatchet-arm64")
QEMU = shutil.which("qemu-aarch64-static")
SIZE_MAX = 12 * 1000 * 1000


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def has(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in {text[-1500:]!r}")


def out(*words, **more):
    p = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200, **more)
    if p.returncode != 0:
        raise AssertionError(f"{words} ended with {p.returncode}: {p.stdout[-1500:]}")
    return p.stdout


def case_the_file():
    has(out("readelf", "-hW", ARM), "AArch64", "DYN (Position-Independent Executable file)")
    segments = out("readelf", "-lW", ARM)
    equal("INTERP" in segments, False, "needs a loader")
    has(segments, "GNU_RELRO")
    equal(re.search(r"GNU_STACK.*\s(R\S*)\s", segments)[1], "RW", "rights of the stack")
    dynamic = out("readelf", "-dW", ARM)
    has(dynamic, "BIND_NOW")
    equal("NEEDED" in dynamic, False, "needs shared objects")
    equal(os.path.getsize(ARM) <= SIZE_MAX, True, f"{os.path.getsize(ARM)} bytes")
    equal(".symtab" in out("readelf", "-SW", ARM), False, "stripped")
    has(out("readelf", "-SW", ARM + ".debug"), ".debug_info")


def case_what_it_says():
    for words in (["version"], ["--help"], ["server", "start", "--help"], ["manual"], ["version", "--licenses"], ["compat"]):
        equal(out(QEMU, ARM, *words), out(BIN, *words), words)
    has(out(QEMU, ARM, "version", "--licenses"), "musl", "postgres")


class Arm:
    """A server on its own Postgres, both under qemu."""

    def __init__(self, folder):
        self.data, self.env, self.log = (os.path.join(folder, n) for n in ("data", "env", "log"))
        self.process = None

    def unpack(self):
        """The first start finds that it cannot run the programs; from then on it can."""
        p = subprocess.run(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        equal(p.returncode, 1, p.stdout)
        has(p.stdout, "preparing the new database failed")
        for name in ("postgres", "pg_resetwal"):
            program, = glob.glob(os.path.join(self.data, "postgres-*", "bin", name))
            has(out("readelf", "-hW", program), "AArch64")
            os.rename(program, program + ".arm64")
            with open(program, "w") as f:
                f.write(f'#!/bin/sh\nexec {QEMU} -0 "$0" {program}.arm64 "$@"\n')
            os.chmod(program, 0o755)

    def command(self):
        return [QEMU, ARM, "server", "start", "--data-dir", self.data, "--dashboard-port", "0", "--grpc-port", "0", "--env-file", self.env]

    def start(self):
        if os.path.exists(self.env):
            os.unlink(self.env)
        with open(self.log, "ab") as log:
            self.process = spawn(self.command(), stdout=log, stderr=log)
        until("the server is ready", self.ready, 60)

    def ready(self):
        if self.process.poll() is not None:
            with open(self.log) as f:
                raise AssertionError(f"the server ended: {f.read()[-1500:]}")
        return os.path.exists(self.env)

    def environ(self):
        with open(self.env) as f:
            lines = dict(line.split("=", 1) for line in f.read().splitlines() if "=" in line and not line.startswith("#"))
        return {**os.environ, **{k.removeprefix("export "): v.strip("'\"") for k, v in lines.items()}}

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            return self.process.wait(30)


def case_a_task_with_its_own_postgres():
    folder = tempfile.mkdtemp(prefix="hatchet-arm64-")
    os.chmod(folder, 0o755)
    server, worker = Arm(folder), None
    try:
        server.unpack()
        server.start()
        example = os.path.join(TOP, "examples", "python")
        with open(os.path.join(folder, "worker.log"), "wb") as log:
            worker = spawn([sys.executable, os.path.join(example, "worker.py")], env={**server.environ(), "PYTHONUNBUFFERED": "1"},
                           stdout=log, stderr=log)

        def waits():
            with open(os.path.join(folder, "worker.log")) as f:
                return "waiting for tasks" in f.read()
        until("the worker waits for tasks", waits, 60)
        has(out(sys.executable, os.path.join(example, "trigger.py"), env=server.environ()), "Hello, Hatchet")
        worker.kill()
        worker.wait()
        equal(server.stop(), 0, "exit code")
        server.start()  # what it stored is there
        doctor = json.loads(out(QEMU, ARM, "doctor", "--json", "--data-dir", server.data))
        equal(doctor["ok"], True, doctor)
        file = os.path.join(folder, "backup")
        saved = json.loads(out(QEMU, ARM, "server", "backup", file, "--data-dir", server.data, "--json"))
        equal(server.stop(), 0, "exit code")
        # and a file of one processor is good on another
        got = json.loads(out(BIN, "server", "restore", file, "--data-dir", os.path.join(folder, "here"), "--json"))
        equal(got["rows"], saved["rows"])
    finally:
        if worker and worker.poll() is None:
            worker.kill()
            worker.wait()
        server.stop()
        shutil.rmtree(folder)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def case_published_and_installed():
    out("make", "-s", "dist-arm64", cwd=TOP)
    dist = os.path.join(TOP, "build", "dist")
    version = open(os.path.join(dist, "latest")).read().strip()
    has(open(os.path.join(dist, version, "SHA256SUMS")).read(), "linux-aarch64.tar.gz", "_arm64.deb", f"linux-{os.uname().machine}.tar.gz")
    equal(out("dpkg-deb", "-f", os.path.join(dist, version, f"hatchet_{version}_arm64.deb"), "Architecture").strip(), "arm64")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=dist))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = tempfile.mkdtemp(prefix="hatchet-arm64-")
    try:
        with open(os.path.join(folder, "uname"), "w") as f:
            f.write("#!/bin/sh\ncase $1 in -s) echo Linux ;; -m) echo aarch64 ;; esac\n")
        os.chmod(os.path.join(folder, "uname"), 0o755)
        # as far as the script can tell this is ARM: it fetches that file, verifies it, and finds that it does not run here
        with open(os.path.join(TOP, "install.sh")) as f:
            env = {"PATH": folder + ":" + os.environ["PATH"], "HOME": folder, "HATCHET_BASE_URL": f"http://127.0.0.1:{server.server_address[1]}",
                   "HATCHET_INSTALL_DIR": os.path.join(folder, "bin")}
            p = subprocess.run(["sh"], stdin=f, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, timeout=60)
        has(p.stdout, "linux-aarch64", "does not run on this machine")
        equal(os.listdir(os.path.join(folder, "bin")), [], "what is left")
        out("tar", "-xzf", os.path.join(dist, version, f"hatchet-{version}-linux-aarch64.tar.gz"), "-C", folder, "--strip-components=1")
        sums = [hashlib.sha256(open(x, "rb").read()).hexdigest() for x in (os.path.join(folder, "hatchet"), ARM)]
        equal(sums[0], sums[1], "the published file")
        has(out(QEMU, os.path.join(folder, "hatchet"), "version"), version)
    finally:
        server.shutdown()
        shutil.rmtree(folder)


def main():
    cases = {n[5:]: f for n, f in globals().items() if n.startswith("case_")}
    passed = failed = 0
    began = time.monotonic()
    try:
        out("make", "-s", "-j2", "all", "arm64", cwd=TOP)
        print(f"# built in {time.monotonic() - began:.0f} s", flush=True)
    except AssertionError as e:
        print(f"not ok - build: {e}")
        print("0 passed, 1 failed, 0 skipped")
        return 1
    for name in sys.argv[1:] or cases:
        began = time.monotonic()
        try:
            cases[name]()
            passed += 1
            print(f"ok - {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as e:
            failed += 1
            print(f"not ok - {name}: {type(e).__name__}: {str(e)[:700]}", flush=True)
            traceback.print_exc(limit=-3, file=sys.stdout)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
