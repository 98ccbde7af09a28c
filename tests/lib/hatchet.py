"""Test fixtures: a private Postgres, and the built server on it.

PgNode  a cluster of its own below /tmp, unix socket only (tcp=True: and 127.0.0.1); durable unless asked otherwise, so that kill9() is a real crash
Server  build/hatchet (or HATCHET_BIN) on free ports that stay its own across restarts

Everything they start dies with this process, also when that is killed."""
import concurrent.futures
import ctypes
import glob
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

# gRPC's own handlers at fork() abort now and then in a child that is about to become a server
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.abspath(os.environ.get("HATCHET_BIN") or os.path.join(TOP, "build", "hatchet"))
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def until(what, check, seconds=30, every=0.02):
    """Wait for a condition, not for a time: gives what `check` gave once that is true."""
    end = time.monotonic() + seconds
    while True:
        got = check()
        if got:
            return got
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for: {what}")
        time.sleep(every)


def free_port():
    """Outside the range from which the kernel gives connections theirs: so nobody takes it before, or between two starts."""
    while True:
        port = random.randrange(12000, 32000)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def pg_bin():
    """The directory of initdb and postgres: PG_BIN, or the highest version installed."""
    if os.environ.get("PG_BIN"):
        return os.environ["PG_BIN"]
    found = [os.path.dirname(p) for p in glob.glob("/usr/lib/postgresql/*/bin/postgres")]
    if not found:
        raise RuntimeError("no Postgres found: install the package postgresql or set PG_BIN")
    return max(found, key=lambda p: int(p.split("/")[-2]))


# The kernel sends the death signal when the *thread* that forked ends: one thread that lasts forks them all.
FORKER = concurrent.futures.ThreadPoolExecutor(max_workers=1)


def spawn(words, **more):
    return FORKER.submit(subprocess.Popen, words, stdin=subprocess.DEVNULL, **more).result()


def die_with_parent(sig=signal.SIGKILL):
    LIBC.prctl(PR_SET_PDEATHSIG, sig)


class PgNode:
    """A private Postgres.  Binaries cannot run as root: they get the uid of `postgres` then."""

    def __init__(self, durable=True, settings=(), bin_dir=None, tcp=False):
        self.bin = bin_dir or pg_bin()
        # some builds bring the server only
        self.client_bin = self.bin if os.path.exists(os.path.join(self.bin, "psql")) else pg_bin()
        self.dir = tempfile.mkdtemp(prefix="hatchet-pg-")
        self.user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        os.chmod(self.dir, 0o755)
        self.process = None
        self.log = os.path.join(self.dir, "log")
        self._run(["initdb", "-D", self.data, "-U", "hatchet", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        self.port = free_port() if tcp else 5432
        listen = "127.0.0.1" if tcp else ""
        lines = [f"listen_addresses = '{listen}'", f"port = {self.port}", f"unix_socket_directories = '{self.dir}'", "max_connections = 60", "shared_buffers = 128MB",
                 "log_line_prefix = '%m [%p] '", *settings]
        if not durable:
            lines += ["fsync = off", "full_page_writes = off", "synchronous_commit = off"]
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a") as f:
            f.write("\n".join(lines) + "\n")

    data = property(lambda self: os.path.join(self.dir, "data"))

    def _drop(self):
        # after setuid, which clears it
        if self.user:
            os.setgroups([])
            os.setgid(self.user.pw_gid)
            os.setuid(self.user.pw_uid)
        die_with_parent(signal.SIGQUIT)

    def _run(self, words, **more):
        return subprocess.run([os.path.join(self.bin, words[0]), *words[1:]], cwd=self.dir, preexec_fn=self._drop, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more).stdout

    def start(self):
        with open(self.log, "ab") as log:
            self.process = spawn([os.path.join(self.bin, "postgres"), "-D", self.data], cwd=self.dir, preexec_fn=self._drop,
                                 stdout=log, stderr=log)
        until("Postgres answers", self.answers, 60)

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"Postgres ended with {self.process.returncode}: {self.tail()}")
        p = subprocess.run([os.path.join(self.client_bin, "pg_isready"), "-q", "-h", self.dir, "-p", str(self.port),
                            "-U", "hatchet", "-d", "postgres"])
        return p.returncode == 0

    def tail(self, n=2000):
        with open(self.log, errors="replace") as f:
            return f.read()[-n:]

    def url(self, db="postgres", user="hatchet", port=None):
        return f"postgresql://{user}@/{db}?host={self.dir}&port={port or self.port}"

    def tcp_url(self, db="postgres", host="127.0.0.1"):
        return f"postgresql://hatchet@{host}:{self.port}/{db}"

    def create(self, db):
        self.sql(f"create database {db}")
        return self.url(db)

    def sql(self, text, db="postgres"):
        """Rows as lists of strings, through psql."""
        out = subprocess.run([os.path.join(self.client_bin, "psql"), "-XAtq", "-F", "\x1f", "-v", "ON_ERROR_STOP=1", self.url(db), "-c", text],
                             check=True, stdout=subprocess.PIPE, text=True).stdout
        return [line.split("\x1f") for line in out.splitlines()]

    def kill9(self):
        """The whole server at once, as in a power cut: postmaster first, its children follow."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
            # children see the postmaster's death; a new one refuses to start while they hold the shared memory
            until("the backends are gone", lambda: not self._backends(), 30)

    def _backends(self):
        found = []
        for p in glob.glob("/proc/[0-9]*/cwd"):
            try:
                if os.readlink(p) == self.data:
                    found.append(int(p.split("/")[2]))
            except OSError:
                pass
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return found

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill9()
            self.process = None
        shutil.rmtree(self.dir, ignore_errors=True)


class Server:
    """One `hatchet server start`.  start() after kill9() or stop_server() comes back on the same ports with the same token."""

    def __init__(self, pg, db="postgres", flags=(), env=None, binary=None):
        self.pg = pg
        self.db = db
        self.binary = binary or BIN
        self.flags = list(flags)
        self.extra_env = env or {}
        self.dir = tempfile.mkdtemp(prefix="hatchet-server-")
        os.chmod(self.dir, 0o755)  # a Postgres of its own runs as another user
        self.http_port, self.grpc_port = free_port(), free_port()
        self.log = os.path.join(self.dir, "log")
        self.env_file = os.path.join(self.dir, "env")
        self.process = None

    url = property(lambda self: f"http://127.0.0.1:{self.http_port}")
    grpc = property(lambda self: f"127.0.0.1:{self.grpc_port}")
    data_dir = property(lambda self: os.path.join(self.dir, "data"))

    def command(self):
        words = [self.binary, "server", "start", "--dashboard-port", str(self.http_port), "--grpc-port", str(self.grpc_port),
                 "--data-dir", self.data_dir]
        if self.pg:
            words += ["--database-url", self.pg.url(self.db)]
        if not os.path.exists(self.env_file):
            words += ["--env-file", self.env_file]
        return words + self.flags

    def environ(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SERVER_", "HATCHET_", "DATABASE_"))}
        env.update(self.extra_env)
        return env

    def spawn(self):
        """Start without waiting."""
        with open(self.log, "ab") as log:
            self.process = spawn(self.command(), env=self.environ(), stdout=log, stderr=log, preexec_fn=die_with_parent)
        return self

    def start(self, seconds=30):
        self.spawn()
        self.wait_ready(seconds)
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended with {self.process.returncode}: {self.tail()}")
        return self.get_status("/ready") == 200 and os.path.exists(self.env_file)

    def wait_ready(self, seconds=30):
        until("the server is ready", self.ready, seconds)

    def get_status(self, path):
        """HTTP status, 0 when nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as r:
                return r.status
        except urllib.error.HTTPError as e:
            return e.code
        except OSError:
            return 0

    def client_env(self):
        with open(self.env_file) as f:
            return dict(line.rstrip("\n").split("=", 1) for line in f if "=" in line)

    token = property(lambda self: self.client_env()["HATCHET_CLIENT_TOKEN"])

    def tenant(self):
        import base64
        part = self.token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["sub"]

    def rest(self, method, path, body=None, token=None, headers=None):
        """(status, parsed JSON or bytes, headers) of one REST call; a leading `/t` stands for the tenant's path."""
        if path.startswith("/t/"):
            path = f"/api/v1/tenants/{self.tenant()}" + path[2:]
        elif path.startswith("/st/"):
            path = f"/api/v1/stable/tenants/{self.tenant()}" + path[3:]
        h = {"Authorization": "Bearer " + (self.token if token is None else token), **(headers or {})}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            h.setdefault("Content-Type", "application/json")
        req = urllib.request.Request(self.url + path, data=data, method=method, headers=h)
        try:
            with urllib.request.urlopen(req, timeout=30) as r:
                status, raw, got = r.status, r.read(), r.headers
        except urllib.error.HTTPError as e:
            status, raw, got = e.code, e.read(), e.headers
        try:
            return status, json.loads(raw), got
        except ValueError:
            return status, raw, got

    def audit(self):
        """What the audit of this server finds different; the server must be active."""
        status, got, _ = self.rest("POST", "/st/verify")
        if status != 200:
            raise AssertionError(f"the audit: {status} {got}")
        return [f"{r['kind']}: {r['text']}" for r in got["rows"]]

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill9(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop_server(self, seconds=15):
        """SIGTERM, as an init system would; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def tail(self, n=2000):
        with open(self.log, errors="replace") as f:
            return f.read()[-n:]

    def save_log(self, path):
        if os.path.exists(self.log):
            shutil.copyfile(self.log, path)

    def stop(self):
        if self.alive():
            try:
                self.stop_server()
            except subprocess.TimeoutExpired:
                self.kill9()
                raise

    def close(self):
        """After stop() and save_log(): nothing of it stays on disk."""
        shutil.rmtree(self.dir, ignore_errors=True)
