#!/usr/bin/env python3
"""What `make dist` makes, and install.sh against a server of it on loopback.  dist.py [NAME...]"""
import functools
import glob
import hashlib
import http.server
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
from hatchet import BIN, TOP, until  # noqa: E402

UID = 54321
CHROOT = shutil.which("chroot") or "/usr/sbin/chroot"
DIST = None  # what was made
SERVED = None  # address of it
VERSION = None
ARCH = os.uname().machine


class Skip(Exception):
    pass


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def has(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in {text!r}")


def out(*words, check=True, **more):
    p = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=300, **more)
    if check and p.returncode != 0:
        raise AssertionError(f"{words} ended with {p.returncode}: {p.stdout[-1500:]}")
    return p.stdout


def serve(folder):
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=s.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{s.server_address[1]}"


def make(to, **env):
    out(os.path.join(TOP, "tools", "dist.sh"), BIN, ARCH, to, env={**os.environ, **env})


def tarball(folder):
    return os.path.join(folder, VERSION, f"hatchet-{VERSION}-linux-{ARCH}.tar.gz")


def changed_copy():
    """A copy of what is served, to be damaged."""
    d = tempfile.mkdtemp(prefix="hatchet-dist-")
    shutil.copytree(DIST, os.path.join(d, "x"))
    os.chmod(d, 0o755)
    return os.path.join(d, "x")


def programs(*names):
    """A folder with what install.sh may use, for PATH."""
    d = tempfile.mkdtemp(prefix="hatchet-path-")
    os.chmod(d, 0o755)
    for n in ["uname", "id", "mktemp", "cut", "gzip", "tar", "cp", "chmod", "mv", "rm", "mkdir", "dirname", "sha256sum", "cat", *names]:
        os.symlink(shutil.which(n), os.path.join(d, n))
    return d


def install(*options, shell=("sh",), base=None, home=None, user=None, piped=True, env=None):
    """(exit code, output) of install.sh, as it comes down the wire."""
    with open(os.path.join(DIST, "install.sh")) as f:
        text = f.read()
    e = {"PATH": os.environ["PATH"], "HOME": home or "/nonexistent", "HATCHET_BASE_URL": base or SERVED, **(env or {})}
    more = {"user": user, "group": user, "extra_groups": []} if user else {}
    p = subprocess.run([*shell, "-s", "--", *options], input=text, env=e, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=60, cwd="/", **more)
    return p.returncode, p.stdout


def new_home(user=None):
    d = tempfile.mkdtemp(prefix="hatchet-home-")
    os.chmod(d, 0o755)
    if user:
        os.chown(d, user, user)
    return d


def not_root():
    return UID if os.getuid() == 0 else None


def case_same_bytes():
    other = tempfile.mkdtemp(prefix="hatchet-dist-")
    make(other, BASE_URL=SERVED, TMPDIR="/var/tmp")
    with open(os.path.join(DIST, VERSION, "SHA256SUMS")) as a, open(os.path.join(other, VERSION, "SHA256SUMS")) as b:
        equal(a.read(), b.read(), "checksums of two makings")
    shutil.rmtree(other)


def case_contents():
    out("sha256sum", "-c", "SHA256SUMS", cwd=os.path.join(DIST, VERSION))
    d = tempfile.mkdtemp(prefix="hatchet-dist-")
    out("tar", "-xzf", tarball(DIST), "-C", d)
    inside = os.path.join(d, f"hatchet-{VERSION}-linux-{ARCH}")
    for name in ("hatchet", "install.sh", "LICENSE", "README.md", "THIRD-PARTY", "SHA256SUMS", "share/man/man1/hatchet.1", "share/systemd/hatchet.service",
                 "share/bash-completion/hatchet", "share/zsh/_hatchet", "share/fish/hatchet.fish"):
        assert os.path.getsize(os.path.join(inside, name)) > 0, name
    out("sha256sum", "-c", "SHA256SUMS", cwd=inside)
    has(out(os.path.join(inside, "hatchet"), "version"), VERSION)
    with open(os.path.join(inside, "THIRD-PARTY")) as f:
        has(f.read(), "mbedtls", "libpq", "musl", "nghttp2", "postgres")
    shutil.rmtree(d)


def case_install_and_remove():
    """Each shell and each way to fetch, as an ordinary user."""
    for shell in (("dash",), ("bash",), ("busybox", "sh")):
        for tool in ("curl", "wget"):
            home, path = new_home(not_root()), programs(tool, shell[0])
            code, text = install(shell=(shutil.which(shell[0]), *shell[1:]), home=home, user=not_root(), env={"PATH": path})
            equal(code, 0, text)
            has(text, f"Installed {home}/.local/bin/hatchet", "is not in your PATH", "server start", "quickstart")
            has(out(f"{home}/.local/bin/hatchet", "version"), VERSION)
            assert os.path.exists(f"{home}/.local/share/man/man1/hatchet.1")
            equal(glob.glob("/tmp/tmp.*/hatchet-*"), [], "what was unpacked is gone")
            code, text = install("--uninstall", home=home, user=not_root())
            equal((code, [f for _, _, files in os.walk(home) for f in files]), (0, []), text)
            code, text = install("--uninstall", home=home, user=not_root())
            equal(code, 1, "a second time")
            has(text, "there is no")
            shutil.rmtree(home)
            shutil.rmtree(path)


def case_install_as_root():
    if os.getuid() != 0:
        raise Skip("needs root")
    root = new_home()
    for d in ("usr", "bin", "lib", "lib64", "sbin", "etc"):
        if os.path.islink("/" + d):
            os.symlink(os.readlink("/" + d), os.path.join(root, d))
    # the root's own folders, with /usr/local of its own
    script = (f"mount -t tmpfs none /usr/local && mkdir -p /usr/local/bin && HATCHET_BASE_URL={SERVED} sh -s < {DIST}/install.sh && "
              "/usr/local/bin/hatchet version && ls /usr/local/share/man/man1 && sh -s -- --uninstall < " + DIST + "/install.sh && ls /usr/local/bin")
    text = out("unshare", "-m", "/bin/sh", "-c", script, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"})
    has(text, "Installed /usr/local/bin/hatchet", VERSION, "hatchet.1", "Removed /usr/local/bin/hatchet")
    shutil.rmtree(root)


def refused(text_parts, **how):
    home = new_home(not_root())
    code, text = install(home=home, user=not_root(), **how)
    equal(code, 1, text)
    has(text, "hatchet install: ", *text_parts)
    equal([f for _, _, files in os.walk(home) for f in files], [], "nothing was installed")
    shutil.rmtree(home)


def case_wrong_checksum():
    d = changed_copy()
    with open(tarball(d), "r+b") as f:
        f.seek(1000)
        byte = f.read(1)
        f.seek(1000)
        f.write(bytes([byte[0] ^ 1]))
    refused(["checksum", "expected"], base=serve(d))
    with open(tarball(DIST), "rb") as f:
        whole = f.read()
    with open(tarball(d), "wb") as f:
        f.write(whole[:len(whole) // 2])
    refused(["checksum", "nothing was installed"], base=serve(d))
    with open(os.path.join(d, VERSION, "SHA256SUMS"), "w") as f:
        f.write(hashlib.sha256(b"").hexdigest() + "  another.tar.gz\n")
    refused(["does not name"], base=serve(d))


def case_no_such_version():
    refused(["no version 9.9.9"], env={"HATCHET_VERSION": "9.9.9"})
    refused(["is no version"], env={"HATCHET_VERSION": "1/../../x"})
    refused(["latest version"], base="http://127.0.0.1:1")
    refused(["HATCHET_BASE_URL"], base="ftp://example.com")


def case_other_machines():
    path = programs("curl", "sh")
    for system, machine, part in (("Darwin", "arm64", "Linux only"), ("Linux", "riscv64", "riscv64"), ("Linux", "i686", "i686")):
        os.unlink(os.path.join(path, "uname"))
        with open(os.path.join(path, "uname"), "w") as f:
            f.write(f"#!/bin/sh\ncase $1 in -s) echo {system} ;; -m) echo {machine} ;; esac\n")
        os.chmod(os.path.join(path, "uname"), 0o755)
        refused([part], env={"PATH": path}, shell=(os.path.join(path, "sh"),))
    shutil.rmtree(path)


def case_no_tool():
    path = programs("sh")
    refused(["curl or wget"], env={"PATH": path}, shell=(os.path.join(path, "sh"),))
    shutil.rmtree(path)


def case_read_only_place():
    if os.getuid() != 0:
        raise Skip("needs root")
    home = new_home()  # of root
    code, text = install(home=home, user=UID)
    equal(code, 1, text)
    has(text, home, "HATCHET_INSTALL_DIR")
    shutil.rmtree(home)


def case_half_a_script():
    with open(os.path.join(DIST, "install.sh")) as f:
        text = f.read()
    home = new_home()
    for part in range(1, 20):
        p = subprocess.run(["sh"], input=text[:len(text) * part // 20], env={"PATH": os.environ["PATH"], "HOME": home, "HATCHET_BASE_URL": SERVED},
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        equal((os.listdir(home), "Installed" in p.stdout), ([], False), f"{part} twentieths of the script")
    shutil.rmtree(home)


def case_upgrade_while_it_runs():
    home = new_home()
    dest = os.path.join(home, "bin")
    how = {"home": home, "env": {"HATCHET_INSTALL_DIR": dest}}
    equal(install(**how)[0], 0)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SERVER_", "HATCHET_", "DATABASE_"))}
    p = subprocess.Popen([os.path.join(dest, "hatchet"), "server", "start", "--ephemeral", "--dashboard-port", "0", "--grpc-port", "0",
                          "--data-dir", os.path.join(home, "data"), "--env-file", os.path.join(home, "env")], env=env,
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until("ready", lambda: p.poll() is not None or os.path.exists(os.path.join(home, "env")))
        before = os.stat(os.path.join(dest, "hatchet")).st_ino
        code, text = install(**how)
        equal(code, 0, text)
        assert os.stat(os.path.join(dest, "hatchet")).st_ino != before
        equal(p.poll(), None, "the running one goes on")
        equal(os.listdir(dest), ["hatchet"], "nothing else is left")
    finally:
        p.send_signal(signal.SIGTERM)
        equal(p.wait(30), 0)
    shutil.rmtree(home)


def case_manual():
    page = os.path.join(tempfile.mkdtemp(prefix="hatchet-man-"), "hatchet.1")
    with open(page, "w") as f:
        f.write(out(BIN, "manual"))
    equal(out("groff", "-ww", "-man", "-Tutf8", "-z", page), "", "complaints about the manual page")
    text = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", out("groff", "-man", "-Tutf8", page, env={**os.environ, "GROFF_NO_SGR": "1"}))
    for line in out(BIN, "--help").splitlines():
        m = re.match(r"  ([a-z ]+?)  +\S", line)
        if m and not line.startswith("  hatchet"):
            has(text, "hatchet " + m[1])
            for flag in re.findall(r"^ +(--[a-z-]+)", out(BIN, *m[1].split(), "--help"), re.M):
                has(text.replace("‐", "-").replace("−", "-"), flag)


def complete(*words):
    script = ("source <(" + BIN + " completion bash); COMP_WORDS=(hatchet \"$@\"); COMP_CWORD=$#; _hatchet; printf '%s\\n' \"${COMPREPLY[@]}\"")
    return out("bash", "-c", script, "bash", *words).split()


def case_completion():
    assert {"server", "token", "quickstart", "completion"} <= set(complete(""))
    equal(complete("ser"), ["server"])
    equal(set(complete("server", "")), {"start", "stop", "status", "backup", "restore"})
    assert {"--ephemeral", "--env-file", "--help"} <= set(complete("server", "start", "--"))
    equal(complete("server", "start", "--eph"), ["--ephemeral"])
    equal(complete("server", "start", "--data-dir", "/etc/host"), glob.glob("/etc/host*"))
    p = subprocess.run([BIN, "completion", "tcsh"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    equal(p.returncode, 2)
    has(p.stderr, "bash, zsh or fish")


def case_unit():
    root = tempfile.mkdtemp(prefix="hatchet-unit-")
    for d in ("etc/systemd/system", "usr/bin", "bin"):
        os.makedirs(os.path.join(root, d))
    unit = os.path.join(root, "etc/systemd/system/hatchet.service")
    shutil.copy(os.path.join(TOP, "tools/dist/hatchet.service"), unit)
    for p in ("usr/bin/hatchet", "bin/kill"):
        shutil.copy("/bin/true", os.path.join(root, p))
    text = out("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "--root=" + root, "hatchet.service", check=False)
    equal([line for line in text.splitlines() if "hatchet.service" in line], [], "complaints about the unit")
    text = out("systemd-analyze", "security", "--offline=yes", "--no-pager", unit)
    score = float(re.search(r"exposure level for hatchet\S*: ([0-9.]+)", text)[1])
    assert score <= 2.0, text[-400:]
    with open(unit) as f:
        start = re.search(r"^ExecStart=/usr/bin/hatchet (.*)$", f.read(), re.M)[1].split()
    equal(out(BIN, *start[:2], "--help").startswith("Run the server"), True)
    for word in start[2:]:
        assert not word.startswith("--") or word in out(BIN, "server", "start", "--help"), word
    shutil.rmtree(root)


def case_notify():
    """READY when the server is, STOPPING when it is told to stop; to a path and to an abstract address."""
    import socket
    home = new_home()
    for address in (os.path.join(home, "notify"), "@hatchet-notify-%d" % os.getpid()):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind("\0" + address[1:] if address[0] == "@" else address)
            s.settimeout(60)
            p = subprocess.Popen([BIN, "server", "start", "--ephemeral", "--dashboard-port", "0", "--grpc-port", "0", "--data-dir",
                                  os.path.join(home, "data")], env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": address},
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                has(s.recv(4096).decode(), "READY=1")
                p.send_signal(signal.SIGTERM)
                has(s.recv(4096).decode(), "STOPPING=1")
                equal(p.wait(30), 0)
            finally:
                p.kill()
                p.wait()
    shutil.rmtree(home)


def case_package():
    deb = glob.glob(os.path.join(DIST, VERSION, "*.deb"))[0]
    equal(out("lintian", "--fail-on", "error,warning", deb, check=True).replace("running with root privileges is not recommended!", "").strip(), "")
    if os.getuid() != 0:
        raise Skip("installing it needs root")
    base = os.path.join(os.path.expanduser("~"), ".cache", "hatchet", "trixie")
    if not os.path.exists(os.path.join(base, "usr")):
        raise Skip("no Debian 13 root: the suite static makes one")
    root = tempfile.mkdtemp(prefix="hatchet-deb-")
    try:
        out("cp", "-a", base + "/.", root)
        shutil.copy(deb, os.path.join(root, "hatchet.deb"))
        out(CHROOT, root, "dpkg", "-i", "/hatchet.deb", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        has(out(CHROOT, root, "hatchet", "version"), VERSION)
        p = subprocess.Popen([CHROOT, root, "hatchet", "server", "start", "--ephemeral", "--dashboard-port", "0", "--grpc-port", "0",
                              "--env-file", "/env"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        until("ready", lambda: p.poll() is not None or os.path.exists(os.path.join(root, "env")))
        assert p.poll() is None, p.stderr.read()
        p.send_signal(signal.SIGTERM)
        equal(p.wait(30), 0)
        out(CHROOT, root, "dpkg", "-P", "hatchet", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        assert not os.path.exists(os.path.join(root, "usr/bin/hatchet"))
    finally:
        shutil.rmtree(root)


def case_image():
    """No engine here: what the Dockerfile says is done by hand, each instruction that is known, no other."""
    if os.getuid() != 0:
        raise Skip("needs root")
    context = os.path.join(DIST, "docker-" + ARCH)
    root, env, user, command = new_home(), {}, None, []
    with open(os.path.join(context, "Dockerfile")) as f:
        lines = [line.split(None, 1) for line in f if line.strip() and not line.startswith("#")]
    equal(lines[0], ["FROM", "scratch\n"])
    health = None
    for word, rest in lines[1:]:
        rest = rest.strip()
        if word == "COPY":
            owner = re.match(r"--chown=(\d+):(\d+) ", rest)
            source, to = rest.split()[-2:]
            out("cp", "-a", os.path.join(context, source), root + to)
            uid, gid = (int(owner[1]), int(owner[2])) if owner else (0, 0)
            os.chown(root + to, uid, gid)
        elif word == "USER":
            user = rest
        elif word == "ENV":
            env.update([rest.split("=", 1)])
        elif word == "HEALTHCHECK":
            health = eval(rest[rest.index("CMD") + 3:])
        elif word in ("ENTRYPOINT", "CMD"):
            command += eval(rest)
        else:
            assert word in ("VOLUME", "EXPOSE"), word
    os.mkdir(root + "/proc")  # as every engine does
    out("mount", "-t", "proc", "none", root + "/proc")
    env.update(SERVER_PORT="0", SERVER_GRPC_PORT="0")  # the machine's ports are not ours here
    run = [CHROOT, "--userspec=" + user, "--groups=", root]
    p = subprocess.Popen([*run, *command], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until("healthy", lambda: p.poll() is not None or subprocess.run([*run, *health], env=env, stdout=subprocess.DEVNULL,
                                                                         stderr=subprocess.DEVNULL).returncode == 0)
        equal(p.poll(), None, "the server runs")
        assert os.path.exists(root + "/data/postgres/PG_VERSION")
    finally:
        p.send_signal(signal.SIGTERM)
        text = p.communicate(timeout=30)[0]
        equal(p.returncode, 0, text)
    assert subprocess.run([*run, *health], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0, "not healthy any more"
    out("umount", root + "/proc")
    shutil.rmtree(root)


def main():
    global DIST, SERVED, VERSION
    cases = {n[5:]: f for n, f in globals().items() if n.startswith("case_")}
    passed = failed = skipped = 0
    DIST = tempfile.mkdtemp(prefix="hatchet-dist-")
    os.chmod(DIST, 0o755)
    SERVED = serve(DIST)
    make(DIST, BASE_URL=SERVED)
    with open(os.path.join(DIST, "latest")) as f:
        VERSION = f.read().strip()
    for name in sys.argv[1:] or cases:
        began = time.monotonic()
        try:
            cases[name]()
            passed += 1
            print(f"ok - {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Skip as e:
            skipped += 1
            print(f"ok - {name} # SKIP {e}", flush=True)
        except Exception as e:
            failed += 1
            print(f"not ok - {name}: {type(e).__name__}: {str(e)[:900]}", flush=True)
            traceback.print_exc(limit=-3, file=sys.stdout)
    shutil.rmtree(DIST)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
