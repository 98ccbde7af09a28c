#!/usr/bin/env python3
"""build/hatchet as shipped: one static, hardened file that runs where there is nothing else.  static.py [NAME...]

The roots it runs in hold what a case names and no more.  Needs root for chroot."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fixture  # noqa: E402
from fixture import Worker, equal, has, name_of, put, trigger, until, wait_status  # noqa: E402
from hatchet import BIN, PgNode, Server  # noqa: E402
from names import NameServer  # noqa: E402
from wire import Wire  # noqa: E402

SIZE_MAX = 12 * 1000 * 1000
CHROOT = shutil.which("chroot") or "/usr/sbin/chroot"
UID = 54321  # of nobody that a passwd file would know
CACHE = os.path.join(os.path.expanduser("~"), ".cache", "hatchet")
PG = None


class Skip(Exception):
    pass


def out(*words, **more):
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600, **more).stdout


class Root:
    """A directory to become `/`: the file and a place for its data."""

    def __init__(self, files=(), base=None):
        if os.getuid() != 0:
            raise Skip("chroot needs root")
        self.base = base
        self.dir = base or tempfile.mkdtemp(prefix="hatchet-root-")
        self.run = tempfile.mkdtemp(prefix="hatchet-", dir=self.dir)
        os.chmod(self.dir, 0o755)
        os.chown(self.run, UID, UID)
        shutil.copy(BIN, os.path.join(self.run, "hatchet"))
        for path, text in dict(files).items():
            full = os.path.join(self.dir, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w") as f:
                f.write(text)

    def inside(self, path):
        return "/" + os.path.relpath(path, self.dir)

    def words(self, *words):
        return [CHROOT, f"--userspec={UID}:{UID}", "--groups=", self.dir, self.inside(os.path.join(self.run, "hatchet")), *words]

    def hatchet(self, *words, seconds=60):
        return subprocess.run(self.words(*words), env={}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=seconds)

    def close(self):
        shutil.rmtree(self.run if self.base else self.dir, ignore_errors=True)


class Inside(Server):
    """A server in such a root, without a single environment variable."""

    def __init__(self, root, url):
        super().__init__(None)
        shutil.rmtree(self.dir)
        self.root, self.database = root, url
        self.dir = root.run
        self.env_file, self.log = os.path.join(self.dir, "env"), os.path.join(root.run, "log")

    def command(self):
        words = ["server", "start", "--dashboard-port", str(self.http_port), "--grpc-port", str(self.grpc_port),
                 "--data-dir", self.root.inside(os.path.join(self.dir, "data"))]
        if self.database:
            words += ["--database-url", self.database]
        if not os.path.exists(self.env_file):
            words += ["--env-file", self.root.inside(self.env_file)]
        return self.root.words(*words)

    def environ(self):
        return {}


def one_task(server):
    """A task from the caller to a worker and back."""
    fixture.S, fixture.W = server, Wire(server.grpc, server.token)
    name = name_of("static")
    put(name)
    w = Worker(name, beat=False)
    run = trigger(name)
    w.get(run)
    w.completed(run)
    wait_status(run, "COMPLETED")
    w.close()


def serves(root, url):
    s = Inside(root, url)
    try:
        s.start()
        one_task(s)
    except Exception as e:
        raise AssertionError(f"{e}\n{s.tail() if os.path.exists(s.log) else ''}") from e
    finally:
        if s.process:
            s.stop()
    equal(s.process.returncode, 0, "exit code")


def case_file():
    """What the file says of itself."""
    if not re.search(r"not a dynamic executable|statically linked", out("ldd", BIN)):
        raise AssertionError("ldd finds a dynamic program: " + out("ldd", BIN))
    segments, dynamic = out("readelf", "-lW", BIN), out("readelf", "-dW", BIN)
    has(out("readelf", "-hW", BIN), "DYN (")  # static-pie: may lie at any address
    has(segments, "GNU_RELRO")
    stack = re.search(r"GNU_STACK .* (\S+) +0x[0-9a-f]+$", segments, re.M)
    equal(stack[1], "RW", "flags of the stack")
    for word in ("INTERP", "NEEDED", "TEXTREL", "RPATH", "RUNPATH"):
        if word in segments + dynamic:
            raise AssertionError(f"{word} in the file")
    for flags in re.findall(r"^  LOAD .* ([RWE ]{3}) 0x[0-9a-f]+$", segments, re.M):
        if "W" in flags and "E" in flags:
            raise AssertionError("a segment is writable and executable")
    if os.path.getsize(BIN) > SIZE_MAX:
        raise AssertionError(f"{os.path.getsize(BIN)} bytes, at most {SIZE_MAX}")
    print(f"# {os.path.getsize(BIN)} bytes")


def case_debug_file():
    """The debug information beside it belongs to it."""
    def build_id(path):
        return re.search(r"Build ID: (\w+)", out("readelf", "-n", path))[1]
    equal(build_id(BIN + ".debug"), build_id(BIN), "build id")
    has(out("readelf", "-p", ".gnu_debuglink", BIN), os.path.basename(BIN) + ".debug")
    if ".debug_info" in out("readelf", "-SW", BIN):
        raise AssertionError("the file carries debug information")


def case_no_path_of_the_builder():
    with open(BIN, "rb") as f:
        data = f.read()
    for path in (os.getcwd(), os.path.expanduser("~/.cache"), "/tmp/hatchet-deps"):
        if path.encode() in data:
            raise AssertionError(f"{path} is in the file")


def case_licences():
    """Every library that deps.lock names has its notice inside."""
    text = out(BIN, "version", "--licenses")
    with open(os.path.join(os.path.dirname(BIN), "THIRD-PARTY")) as f:
        equal(text, f.read(), "THIRD-PARTY")
    with open("deps.lock") as f:
        rows = [line.rstrip("\n").split("\t") for line in f if not line.startswith("#")]
    for row in rows:
        name = {"postgresql": "libpq"}.get(row[0], row[0])
        version = row[4].split(":")[-1].rsplit("-", 1)[0]
        notice = text.split(f"\n{name} ", 1)
        if len(notice) != 2 or f"({row[8]})" not in notice[1].split("\n")[0]:
            raise AssertionError(f"no notice of {name}")
        if not notice[1].startswith(version):
            print(f"# {name} is not {version} but {notice[1].split()[0]}")
        if len(notice[1].split("-" * 80)[0]) < 200:
            raise AssertionError(f"the notice of {name} is too short")


def case_same_again():
    """Built again in another folder, by a user with another umask, locale and time zone: the same bytes."""
    p = subprocess.run(["tools/repro.sh"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=800)
    equal(p.returncode, 0, p.stdout[-1500:])


def case_sealed():
    """What only relocation had to write is read-only while it runs."""
    at, size = re.search(r"GNU_RELRO +0x\S+ 0x(\S+) 0x\S+ 0x\S+ 0x(\S+)", out("readelf", "-lW", BIN)).groups()
    at, end = int(at, 16), int(at, 16) + int(size, 16)
    s = Server(PG, db="postgres")
    try:
        s.start()
        with open(f"/proc/{s.process.pid}/maps") as f:
            maps = [line.split() for line in f if line.rstrip().endswith(os.path.realpath(BIN))]
        base = int(maps[0][0].split("-")[0], 16)
        page = os.sysconf("SC_PAGE_SIZE")
        for m in maps:
            lo, hi = (int(x, 16) - base for x in m[0].split("-"))
            if lo < end // page * page and hi > at and "w" in m[1]:
                raise AssertionError(f"{m} is writable")
        if base < 0x10000000 or base == 0x400000:
            raise AssertionError(f"not placed at random: {base:#x}")
    finally:
        s.stop()
        s.close()


def case_empty_root():
    """No /etc, /dev, /proc, /tmp, no passwd entry, no environment: the file and a data directory."""
    root = Root()
    try:
        equal(os.listdir(root.dir), [os.path.basename(root.run)], "the root")
        p = root.hatchet("version")
        equal(p.returncode, 0, p.stdout)
        has(root.hatchet("--help").stdout, "server start")
        serves(root, PG.tcp_url(new_db("empty_root")))
        left = set(os.listdir(root.dir)) - {os.path.basename(root.run)}
        equal(left, set(), "what it made in the root")
    finally:
        root.close()


def case_own_database_in_empty_root():
    """The Postgres inside needs no more than the file itself does: no /dev/shm, no /tmp, no shell, no passwd entry."""
    root = Root()
    try:
        serves(root, None)
        equal(set(os.listdir(root.dir)) - {os.path.basename(root.run)}, set(), "what it made in the root")
    finally:
        root.close()


def case_localhost_without_hosts():
    root = Root()
    try:
        serves(root, PG.tcp_url(new_db("by_localhost"), "localhost"))
    finally:
        root.close()


def case_no_user_named():
    """libpq would ask the passwd file for one."""
    root = Root()
    try:
        PG.sql("create role postgres login superuser")
        p = root.hatchet("doctor", "--database-url", f"postgresql://127.0.0.1:{PG.port}/{new_db('no_user')}")
        if "not exist" in p.stdout or "cannot be reached" in p.stdout:
            raise AssertionError(p.stdout)
        has(p.stdout, "PostgreSQL")
    finally:
        root.close()


def case_name_over_tcp():
    """An answer that was cut over UDP is asked for again over TCP."""
    if os.getuid() != 0:
        raise Skip("port 53 needs root")
    names = NameServer({"db.test": "127.0.0.1"}, cut=["db.test"])
    root = Root({"etc/resolv.conf": f"nameserver {names.address}\n"})
    try:
        serves(root, PG.tcp_url(new_db("over_tcp"), "db.test"))
        if ("tcp", "db.test", 1) not in names.asked:
            raise AssertionError(f"not asked over TCP: {names.asked}")
        p = root.hatchet("doctor", "--database-url", PG.tcp_url("over_tcp", "none.test"))
        equal(p.returncode, 1, "exit code of a name that does not exist")
        has(p.stdout, "cannot be resolved")
    finally:
        names.close()
        root.close()


def case_name_server_hangs():
    """While a name server does not answer, the server does; when it answers, the connection comes back."""
    if os.getuid() != 0:
        raise Skip("port 53 needs root")
    names = NameServer({"db.test": "127.0.0.1"})
    root = Root({"etc/resolv.conf": f"nameserver {names.address}\noptions timeout:30 attempts:1\n"})
    s = Inside(root, PG.tcp_url(new_db("hangs"), "db.test"))
    try:
        s.start()
        names.gate.clear()
        before = len(names.asked)
        PG.sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'hangs'")
        until("it asks for the name", lambda: len(names.asked) > before)
        slowest = 0
        for _ in range(20):
            began = time.monotonic()
            equal(s.get_status("/live"), 200, "/live")
            slowest = max(slowest, time.monotonic() - began)
        if slowest > 2:
            raise AssertionError(f"/live took {slowest:.1f} s while a name was being resolved")
        equal(s.get_status("/ready"), 503, "/ready")
        names.gate.set()
        until("ready again", lambda: s.get_status("/ready") == 200, 30)
        one_task(s)
    finally:
        names.gate.set()
        if s.process:
            s.stop()
        names.close()
        root.close()


def case_debian_13():
    """In a Debian 13 of its own, made once per machine."""
    base = os.path.join(CACHE, "trixie")
    if not os.path.exists(os.path.join(base, "bin", "sh")):
        if not shutil.which("debootstrap"):
            raise Skip("no debootstrap")
        mirror = out("sh", "-c", "apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' | head -n 1").strip()
        os.makedirs(CACHE, exist_ok=True)
        shutil.rmtree(base + ".new", ignore_errors=True)
        text = out("debootstrap", "--variant=minbase", "trixie", base + ".new", mirror)
        if not os.path.exists(base + ".new/bin/sh"):
            raise AssertionError("debootstrap failed: " + text[-500:])
        os.rename(base + ".new", base)
    root = Root(base=base)
    try:
        with open(os.path.join(base, "etc", "debian_version")) as f:
            has(f.read(), "13")
        has(root.hatchet("doctor", "--database-url", PG.tcp_url(new_db("debian_13"))).stdout, "time zones  20")
        serves(root, PG.tcp_url("debian_13"))
    finally:
        root.close()


def new_db(name):
    PG.create(name)
    return name


def main():
    global PG
    cases = {n[5:]: f for n, f in globals().items() if n.startswith("case_")}
    passed = failed = skipped = 0
    PG = PgNode(durable=False, tcp=True)
    try:
        PG.start()
        for name in sys.argv[1:] or cases:
            began = time.monotonic()
            try:
                cases[name]()
                passed += 1
                print(f"ok - {name} ({time.monotonic() - began:.1f} s)", flush=True)
            except Skip as e:
                skipped += 1
                print(f"ok - {name} # skip {e}", flush=True)
            except Exception as e:
                failed += 1
                print(f"not ok - {name}: {type(e).__name__}: {str(e)[:3700]}", flush=True)
                traceback.print_exc(limit=-3, file=sys.stdout)
    finally:
        PG.stop()
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    os._exit(failed > 0)  # threads of streams may still wait


if __name__ == "__main__":
    main()
