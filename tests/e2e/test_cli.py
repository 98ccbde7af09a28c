#!/usr/bin/env python3
"""The commands, the server's own Postgres, the standby: everything a person at a shell meets.  test_cli.py [NAME...]"""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
import hatchet  # noqa: E402
from hatchet import BIN, PgNode, Server, until  # noqa: E402

COMMANDS = ["server start", "server stop", "server status", "token create", "token revoke", "runs why", "verify", "migrate", "doctor", "version"]
PG = None  # shared by the cases that only need some database


def clean_env(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SERVER_", "HATCHET_", "DATABASE_"))}
    env.update(more)
    return env


def run(*words, env=None, seconds=60):
    return subprocess.run([BIN, *words], env=env or clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=seconds)


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def has(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in {text!r}")


def one_sentence(p, *parts):
    """Exit 1 and one line on standard error, besides log lines."""
    lines = [line for line in p.stderr.splitlines() if line.startswith("hatchet: ")]
    equal((p.returncode, len(lines)), (1, 1), f"exit code and sentences of {p.stderr!r}")
    has(lines[0], *parts)


def tmp():
    return tempfile.mkdtemp(prefix="hatchet-cli-")


def new_db(name):
    return PG.create(name)


def db_named(name):
    new_db(name)
    return name


class Own(Server):
    """A server with a Postgres of its own."""

    def __init__(self, flags=()):
        super().__init__(None, flags=flags)

    def postmasters(self):
        found = []
        for p in glob.glob("/proc/[0-9]*/cwd"):
            try:
                if os.readlink(p).startswith(self.data_dir):
                    found.append(int(p.split("/")[2]))
            except OSError:
                pass
        return found

    def backend_pid(self):
        with open(os.path.join(self.data_dir, "postgres", "postmaster.pid")) as f:
            return int(f.readline())


def case_help():
    for c in COMMANDS:
        p = run(*c.split(), "--help")
        equal((p.returncode, p.stderr), (0, ""), c)
        has(p.stdout, f"Usage: hatchet {c}", "Example:\n  hatchet " + c)
    p = run("--help")
    equal(p.returncode, 0)
    has(p.stdout, *COMMANDS, "Exit codes")
    equal(run().returncode, 2, "no command")


def case_wrong_usage():
    for words, part in (
            (["frobnicate"], 'unknown command "frobnicate"'), (["server", "frob"], 'unknown command "server frob"'),
            (["server", "start", "--frob"], 'unknown flag "--frob"'), (["server", "start", "--grpc-port"], "--grpc-port needs a value"),
            (["server", "start", "--grpc-port", "70000"], "--grpc-port: expected a number from 0 to 65535"),
            (["server", "start", "--log-level", "loud"], "log-level: expected error, warn, info or debug"),
            (["server", "start", "extra"], 'unexpected "extra"'), (["server", "start", "--ephemeral=1"], "takes no value"),
            (["token", "create", "--expires-in", "0"], "--expires-in: expected a number"),
            (["token", "revoke", "--id", "no-uuid"], "--id: expected a UUID"), (["sever", "start"], 'did you mean "server start"?'),
            (["server", "start", "--ephmeral"], "did you mean --ephemeral?"), (["doctor", "--databse-url=x"], "did you mean --database-url?"),
            (["server", "start", "--database-url="], "--database-url needs a value"),
            (["server", "start", "--ephemeral", "--database-url", "postgres://x"], "exclude each other"),
            (["server", "start", "--url", "localhost:8888"], "--url: expected an address"),
            (["server", "start", "--url", "http://x/$(id)"], "--url: expected an address"),
            (["server", "start", "--grpc-address", "localhost"], "--grpc-address: expected host:port")):
        p = run(*words)
        equal((p.returncode, p.stdout, p.stderr.count("\n")), (2, "", 1), words)
        has(p.stderr, part)
    one_sentence(run("server", "start", "--env-file", "/nowhere/env"), "/nowhere/env")
    one_sentence(run("server", "start", "--data-dir", "/proc/nothing"), "/proc/nothing")
    one_sentence(run("server", "start", "--data-dir", "/tmp/" + "x" * 400), "350 bytes")
    one_sentence(run("server", "start", env=clean_env(PG_BIN="/nowhere")), "PG_BIN", "/nowhere")
    one_sentence(run("server", "start", "--ephemeral", "--host", "nonsense"), "nonsense")


def case_environment():
    for name, value in (("SERVER_GRPC_PORT", "many"), ("SERVER_PORT", "-1"), ("SERVER_GRPC_MAX_MSG_SIZE", "1"), ("SERVER_LOGGER_LEVEL", "loud"),
                        ("SERVER_LOGGER_FORMAT", "xml"), ("SERVER_URL", "here"), ("SERVER_GRPC_BROADCAST_ADDRESS", "here:0")):
        p = run("server", "start", env=clean_env(**{name: value}))
        equal(p.returncode, 2, name)
        has(p.stderr, f"{name}: expected ", f'not "{value}"')
    s = Server(PG, db_named("environment"), env={"SERVER_FROBNICATE": "1", "SERVER_LOGGER_LEVEL": "warn"})
    try:
        s.start()
        has(s.tail(), "SERVER_FROBNICATE", "has no meaning here")
    finally:
        s.stop()
        s.close()


def case_machine_output():
    got = json.loads(run("version", "--json").stdout)
    equal(got["compatible_with"], "v0.110.3")
    has(run("version").stdout, got["version"], "v0.110.3")
    url = new_db("machine")
    got = json.loads(run("doctor", "--json", "--database-url", url).stdout)
    equal((got["ok"], got["migrated"]), (True, False))
    equal(run("migrate", "--database-url", url).returncode, 0, "migrate")
    equal(run("migrate", "--database-url", url).returncode, 0, "migrate again")
    got = json.loads(run("doctor", "--json", "--database-url", url).stdout)
    equal((got["ok"], got["migrated"]), (True, True))
    has(run("doctor", "--database-url", url).stdout, "PostgreSQL", "up to date")
    d = tmp()
    p = run("server", "status", "--json", "--data-dir", d)
    equal((p.returncode, json.loads(p.stdout)), (1, {"running": False}))
    shutil.rmtree(d)


def case_tokens():
    url = new_db("tokens")
    s = Server(PG, "tokens")
    try:
        s.start()
        p = run("token", "create", "--json", "--database-url", url, "--name", "one", "--data-dir", s.data_dir)
        equal(p.returncode, 0, p.stderr)
        made = json.loads(p.stdout)
        equal(s.rest("GET", "/t/workflows", token=made["token"])[0], 200, "a new token")
        equal(run("token", "revoke", "--id", made["id"], "--database-url", url).returncode, 0)
        began = time.monotonic()
        until("the revoked token refused", lambda: s.rest("GET", "/t/workflows", token=made["token"])[0] == 403 or
              s.rest("GET", "/t/workflows", token=made["token"])[0] == 401, 5)
        if time.monotonic() - began > 1.5:
            raise AssertionError(f"revoked after {time.monotonic() - began:.1f} s")
        one_sentence(run("token", "create", "--database-url", url, "--tenant", "nobody"), "nobody")
        one_sentence(run("token", "revoke", "--id", "00000000-0000-4000-8000-000000000000", "--database-url", url), "token")
    finally:
        s.stop()
        s.close()
    d = tmp()
    one_sentence(run("token", "create", "--data-dir", d), "--database-url")
    shutil.rmtree(d)
    one_sentence(run("token", "create", "--database-url", new_db("bare")), "hatchet migrate")
    one_sentence(run("migrate", "--database-url", "postgres://hatchet@127.0.0.1:1/x"), "127.0.0.1")


def case_env_file():
    new_db("envfile")
    s = Server(PG, "envfile", flags=["--url", "https://hatchet.example.com/x"])
    s.flags += ["--env-file", s.env_file]
    try:
        with open(s.env_file, "w") as f:  # replaced as a whole: not even those who have it open read the token
            f.write("OLD=1\n")
        os.chmod(s.env_file, 0o644)
        before = open(s.env_file)
        s.spawn()
        until("the env file", lambda: "HATCHET_CLIENT_TOKEN" in s.client_env())
        equal(before.read(), "OLD=1\n")
        before.close()
        equal(s.get_status("/ready"), 200, "ready when the file is there")
        equal(stat.S_IMODE(os.stat(s.env_file).st_mode), 0o600, "mode")
        p = subprocess.run(["sh", "-ec", f". {s.env_file}; echo $HATCHET_CLIENT_TLS_STRATEGY $HATCHET_CLIENT_HOST_PORT $HATCHET_CLIENT_SERVER_URL"], stdout=subprocess.PIPE,
                           text=True)
        equal(p.stdout.split(), ["none", f"localhost:{s.grpc_port}", "https://hatchet.example.com/x"])
        equal(glob.glob(s.env_file + "*"), [s.env_file], "nothing else is left")
    finally:
        s.stop()
        s.close()


def case_ports():
    new_db("ports")
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    one_sentence(run("server", "start", "--database-url", PG.url("ports"), "--grpc-port", str(port), "--dashboard-port", "0"), str(port), "in use")
    d = tmp()
    env = os.path.join(d, "env")
    p = hatchet.spawn([BIN, "server", "start", "--database-url", PG.url("ports"), "--grpc-port", "0", "--dashboard-port", "0", "--data-dir", d,
                       "--env-file", env], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_env(), preexec_fn=hatchet.die_with_parent)
    try:
        until("ready", lambda: os.path.exists(env))
        got = json.loads(run("server", "status", "--json", "--data-dir", d).stdout)
        equal((got["running"], got["pid"]), (True, p.pid))
        with socket.create_connection(("127.0.0.1", int(got["grpc"].split(":")[1]))) as c:  # either port speaks everything
            c.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            has(c.recv(100).decode(), "200 OK")
        began = time.monotonic()
        equal(run("server", "stop", "--data-dir", d).returncode, 0)
        if time.monotonic() - began > 1:
            raise AssertionError(f"stopping took {time.monotonic() - began:.1f} s")
        equal(p.wait(5), 0, "exit code of the stopped server")
        p2 = run("server", "stop", "--data-dir", d)
        one_sentence(p2, "no server is running")
    finally:
        p.kill()
        p.wait()
        taken.close()
        shutil.rmtree(d)


def case_one_port():
    new_db("oneport")
    s = Server(PG, "oneport", flags=["--profile", "work"])
    s.grpc_port = s.http_port
    try:
        s.start()
        equal(s.rest("GET", "/t/workflows")[0], 200)
        got = json.loads(run("server", "status", "--json", "--data-dir", s.data_dir).stdout)
        equal((got["url"].split(":")[-1], got["grpc"].split(":")[-1], got["profile"]), (str(s.http_port), str(s.http_port), "work"))
        has(run("server", "status", "--data-dir", s.data_dir).stdout, "running", "work", got["grpc"])
    finally:
        s.stop()
        s.close()


def case_run_file_of_another():
    """A number that another process has by now; a second server that shares the directory."""
    d = tmp()
    innocent = subprocess.Popen(["sleep", "600"])
    with open(os.path.join(d, "server.run"), "w") as f:
        f.write(f"pid={innocent.pid}\nstarted=1\nhttp_port=1\ngrpc_port=1\nurl=http://x\ngrpc=x\ndatabase=\n")
    try:
        equal(run("server", "status", "--data-dir", d).returncode, 1)
        one_sentence(run("server", "stop", "--data-dir", d), "no server is running")
        equal(innocent.poll(), None, "a process that is no server")
    finally:
        innocent.kill()
        innocent.wait()
        shutil.rmtree(d)
    new_db("shared")
    a = Server(PG, "shared")
    b = Own(flags=["--ephemeral", "--data-dir", a.data_dir])
    try:
        a.start()
        b.start(60)
        has(b.tail(9000), str(a.process.pid), "--data-dir of its own")
        equal(b.stop_server(), 0)
        equal(json.loads(run("server", "status", "--json", "--data-dir", a.data_dir).stdout)["pid"], a.process.pid)
    finally:
        for s in (a, b):
            s.stop()
            s.close()


def case_stale_run_file():
    new_db("stale")
    s = Server(PG, "stale")
    try:
        s.start()
        s.kill9()
        equal(run("server", "status", "--data-dir", s.data_dir).returncode, 1, "status after kill -9")
        one_sentence(run("server", "stop", "--data-dir", s.data_dir), "no server is running")
        s.start()
        equal(run("server", "status", "--data-dir", s.data_dir).returncode, 0, "status after the restart")
    finally:
        s.stop()
        s.close()


def start_fails(url, *parts, seconds=20):
    d = tmp()
    one_sentence(run("server", "start", "--database-url", url, "--data-dir", d, "--dashboard-port", "0", "--grpc-port", "0", seconds=seconds), *parts)
    shutil.rmtree(d)


def case_database_errors():
    start_fails(PG.url("nowhere"), "nowhere", "does not exist")
    start_fails("postgres://hatchet@/postgres?host=/nowhere&sslmode=frobnicate", "frobnicate")
    for text in ("create role poor login", "create database poor", "revoke all on database poor from public",
                 "grant connect on database poor to poor"):
        PG.sql(text)
    start_fails(PG.url("poor", user="poor"), "may not create", "GRANT CREATE")
    node = PgNode(durable=False, settings=["password_encryption = 'scram-sha-256'"])
    try:
        node.start()
        node.sql("create role guarded login password 'right'")
        hba = os.path.join(node.data, "pg_hba.conf")
        with open(hba) as f:
            text = f.read()
        with open(hba, "w") as f:
            f.write("local all guarded scram-sha-256\n" + text)
        node.sql("select pg_reload_conf()")
        url = f"postgresql://guarded:wrong@/postgres?host={node.dir}"
        until("the new rule", lambda: subprocess.run([os.path.join(node.bin, "psql"), url, "-c", "select 1"], stdout=subprocess.DEVNULL,
                                                     stderr=subprocess.DEVNULL).returncode != 0)
        start_fails(url, "password authentication failed")
    finally:
        node.stop()


def case_transaction_pooling():
    with pooler("transaction") as url:
        start_fails(url, "pool")


def case_session_pooling():
    """Every connection keeps its session: fine."""
    with pooler("session") as url:
        s = Server(PG, flags=["--database-url", url])
        try:
            s.start()
            equal(s.rest("GET", "/t/workflows")[0], 200)
            equal(s.stop_server(), 0)
        finally:
            s.stop()
            s.close()


@contextlib.contextmanager
def pooler(mode):
    """PgBouncer before the shared Postgres."""
    if not shutil.which("pgbouncer"):
        raise RuntimeError("pgbouncer is not installed")
    d = tempfile.mkdtemp(prefix="hatchet-cli-")
    os.chmod(d, 0o777)
    port = hatchet.free_port()
    with open(os.path.join(d, "ini"), "w") as f:
        f.write(f"[databases]\n* = host={PG.dir}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\n"
                f"pool_mode = {mode}\ndefault_pool_size = 20\nignore_startup_parameters = extra_float_digits,options,search_path\n"
                f"[databases]\npostgres = host={PG.dir} user=hatchet\n")
    os.chmod(os.path.join(d, "ini"), 0o644)

    def drop():
        if PG.user:
            os.setgroups([])
            os.setgid(PG.user.pw_gid)
            os.setuid(PG.user.pw_uid)
        hatchet.die_with_parent()
    with open(os.path.join(d, "log"), "wb") as log:
        p = hatchet.spawn(["pgbouncer", os.path.join(d, "ini")], stdout=log, stderr=log, preexec_fn=drop)
    try:
        def answers():
            with socket.socket() as c:
                return c.connect_ex(("127.0.0.1", port)) == 0
        until("pgbouncer answers", answers)
        yield f"postgresql://hatchet@127.0.0.1:{port}/postgres"
    finally:
        p.kill()
        p.wait()
        shutil.rmtree(d)


def case_database_away():
    """Not there yet: waited for; gone for a while: the server stays and comes back."""
    node = PgNode(durable=True)
    s = Server(node)
    try:
        s.spawn()
        until("the wait told", lambda: os.path.exists(s.log) and "trying again" in s.tail())
        equal(os.path.exists(s.env_file), False, "no env file yet")
        equal((s.get_status("/live"), s.get_status("/ready")), (200, 503), "while it waits")
        got = s.rest("GET", "/api/v1/tenants/x/workflows", token="x")
        equal((got[0], "the database is away" in json.dumps(got[1])), (503, True), got)
        began = time.monotonic()
        equal(run("server", "stop", "--data-dir", s.data_dir).returncode, 0, "stopped while it waits")
        equal(s.process.wait(1), 0)
        if time.monotonic() - began > 2:
            raise AssertionError(f"stopping took {time.monotonic() - began:.1f} s")
        s.spawn()
        node.start()
        s.wait_ready()
        node.kill9()
        until("not ready", lambda: s.get_status("/ready") == 503)
        equal(s.get_status("/live"), 200)
        node.start()
        s.wait_ready()
        node.kill9()
        until("not ready", lambda: s.get_status("/ready") == 503)
        equal(s.stop_server(), 0, "a graceful stop without a database")
    finally:
        s.stop()
        s.close()
        node.stop()


def tcp_listeners(pid):
    p = subprocess.run(["ss", "-Hltnp"], stdout=subprocess.PIPE, text=True)
    return [line for line in p.stdout.splitlines() if f"pid={pid}," in line]


def case_own_postgres():
    s = Own()
    try:
        s.start(60)
        pm = s.backend_pid()
        with open(f"/proc/{pm}/status") as f:
            uid = re.search(r"^Uid:\s+(\d+)", f.read(), re.M)[1]
        if os.getuid() == 0 and uid == "0":
            raise AssertionError("Postgres runs as root")
        equal(tcp_listeners(pm), [], "Postgres listens on a unix socket only")
        equal(run("token", "create", "--data-dir", s.data_dir).returncode, 0, "a token without naming the database")
        p = run("server", "start", "--data-dir", s.data_dir, "--dashboard-port", "0", "--grpc-port", "0")
        one_sentence(p, "another server is running", s.data_dir)
        equal(s.rest("GET", "/t/workflows")[0], 200, "the first one goes on")
        # kill -9 of Postgres: it is started again
        os.kill(pm, signal.SIGKILL)
        until("another postmaster", lambda: os.path.exists(os.path.join(s.data_dir, "postgres", "postmaster.pid")) and s.backend_pid() != pm)
        s.wait_ready()
        equal(s.rest("GET", "/t/workflows")[0], 200, "after the database came back")
        # kill -9 of the server: its Postgres ends, nothing is in the way of the next start
        pm = s.backend_pid()
        s.kill9()
        until("no orphan", lambda: not os.path.exists(f"/proc/{pm}"))
        s.start(60)
        equal(s.rest("GET", "/t/workflows")[0], 200, "token and data are still there")
        # both at once
        pm = s.backend_pid()
        os.kill(s.process.pid, signal.SIGSTOP)
        os.kill(pm, signal.SIGKILL)
        s.kill9()
        s.start(60)
        equal(s.rest("GET", "/t/workflows")[0], 200, "after both were killed")
        pm = s.backend_pid()
        equal(s.stop_server(), 0)
        equal(os.path.exists(f"/proc/{pm}"), False, "Postgres ends with the server")
    finally:
        s.stop()
        s.close()


def case_odd_directories():
    """Relative to where we are; with what must be quoted; too long for a socket; a file in the way."""
    sockets = "/tmp/hatchet-pg-" + 16 * "[0-9a-f]"
    before = glob.glob(sockets)
    for name in ("relative", "it's \\ a \"place\" of $HOME", "long" * 20):
        s = Own()
        d = os.path.join(s.dir, name)
        s.flags += ["--data-dir", name if name == "relative" else d]
        here = os.getcwd()
        os.chdir(s.dir)
        try:
            s.start(60)
            equal(os.path.exists(os.path.join(d, "postgres", "PG_VERSION")), True, d)
            equal(run("token", "create", "--data-dir", d).returncode, 0, d)
            s.kill9()
            s.start(60)
            equal(s.rest("GET", "/t/workflows")[0], 200, d)
            equal(s.stop_server(), 0)
            equal(glob.glob(sockets), before, "no socket is left")
        finally:
            os.chdir(here)
            s.stop()
            s.close()
    with tempfile.NamedTemporaryFile() as f:
        one_sentence(run("server", "start", "--data-dir", f.name, "--dashboard-port", "0", "--grpc-port", "0"), f.name)


def case_number_of_another():
    """The pid file of a killed Postgres names, after a boot, some other process: that stays, and the server starts."""
    s = Own()
    innocent = None
    try:
        s.start(60)
        pm = s.backend_pid()
        path = os.path.join(s.data_dir, "postgres", "postmaster.pid")
        with open(path) as f:
            text = f.read()
        uid = os.stat(path).st_uid
        s.kill9()
        until("no orphan", lambda: not os.path.exists(f"/proc/{pm}"))
        innocent = subprocess.Popen(["sleep", "600"], preexec_fn=lambda: os.setuid(uid))
        for p in (path, os.path.join(s.data_dir, "socket", ".s.PGSQL.5432.lock")):
            with open(p, "w") as f:
                f.write(text.replace(str(pm), str(innocent.pid), 1))
            os.chmod(p, 0o600)
            os.chown(p, uid, -1)
        s.start(60)
        equal(innocent.poll(), None, "a process that is no Postgres")
        equal(s.rest("GET", "/t/workflows")[0], 200)
        # a backend alone is killed: Postgres throws all of them out, and goes on
        children = subprocess.run(["pgrep", "-f", "-P", str(s.backend_pid()), "postgres: hatchet"], stdout=subprocess.PIPE, text=True).stdout.split()
        os.kill(int(children[0]), signal.SIGKILL)
        until("seen", lambda: "the database" in s.tail() or s.get_status("/ready") == 503)
        until("ready again", lambda: s.get_status("/ready") == 200 and s.rest("GET", "/t/workflows")[0] == 200)
        equal(s.stop_server(), 0)
    finally:
        if innocent:
            innocent.kill()
            innocent.wait()
        s.stop()
        s.close()


def case_unreachable_directory():
    if os.getuid() != 0:
        return
    d = tmp()  # mode 0700
    p = run("server", "start", "--data-dir", os.path.join(d, "data"), "--dashboard-port", "0", "--grpc-port", "0")
    one_sentence(p, "must not run as root", d)
    shutil.rmtree(d)


def case_other_major_version():
    d = tmp()
    os.chmod(d, 0o755)
    programs, data = os.path.join(d, "pro grams;'x"), os.path.join(d, "data")
    os.symlink(hatchet.pg_bin(), programs)
    os.makedirs(os.path.join(data, "postgres"))
    with open(os.path.join(data, "postgres", "PG_VERSION"), "w") as f:
        f.write("9\n")
    p = run("server", "start", "--data-dir", data, "--dashboard-port", "0", "--grpc-port", "0", env=clean_env(PG_BIN=programs))
    one_sentence(p, "holds a database of PostgreSQL 9, but " + programs + " has version ")
    shutil.rmtree(d)


def case_half_made_cluster():
    """By initdb; tests/e2e/embedpg.py does the same with what the binary carries."""
    s = Own()
    s.extra_env["PG_BIN"] = hatchet.pg_bin()
    try:
        s.spawn()
        until("initdb at work", lambda: glob.glob(os.path.join(s.data_dir, "postgres.new-*", "PG_VERSION")))
        s.kill9()
        s.start(60)
        equal(s.rest("GET", "/t/workflows")[0], 200)
    finally:
        s.stop()
        s.close()


def ephemeral_dirs():
    return set(glob.glob("/dev/shm/hatchet-ephemeral-*") + glob.glob("/tmp/hatchet-ephemeral-*"))


def case_ephemeral():
    before = ephemeral_dirs()
    s = Own(flags=["--ephemeral"])
    s.extra_env["DATABASE_URL"] = PG.url("nowhere")  # the flag wins
    try:
        s.start(60)
        has(s.tail(), "nothing is durable")
        equal(len(ephemeral_dirs() - before), 1)
        equal(s.stop_server(), 0)
        equal(ephemeral_dirs() - before, set(), "nothing is left")
        os.unlink(s.env_file)
        s.start(60)
        left = ephemeral_dirs() - before
        s.kill9()
        equal(ephemeral_dirs() - before, left, "a killed one leaves its directory")

        def gone():
            return not any(os.readlink(p).startswith(tuple(left)) for p in glob.glob("/proc/[0-9]*/cwd") if os.path.lexists(p) and readable(p))
        until("its Postgres ended", gone)
        os.unlink(s.env_file)
        s.start(60)
        equal(left & ephemeral_dirs(), set(), "the next start removes it")
        equal(s.stop_server(), 0)
        equal(ephemeral_dirs() - before, set())
    finally:
        s.stop()
        s.close()


def readable(p):
    try:
        os.readlink(p)
        return True
    except OSError:
        return False


def case_standby():
    new_db("standby")
    a = Server(PG, "standby")
    a.flags = ["--url", f"http://localhost:{a.http_port}"]  # one public address for both, part of every token
    b = Server(PG, "standby", flags=a.flags)
    try:
        a.start()
        b.env_file = a.env_file
        b.spawn()
        until("the standby lives", lambda: b.get_status("/live") == 200)
        equal(b.get_status("/ready"), 503, "a standby is not ready")
        until("the standby names the owner", lambda: f"localhost:{a.grpc_port}" in json.dumps(b.rest("GET", "/t/workflows")[1]))
        equal(b.rest("GET", "/t/workflows")[0], 503)
        a.kill9()
        began = time.monotonic()
        until("the standby takes over", lambda: b.get_status("/ready") == 200, 10)
        took = time.monotonic() - began
        if took > 5:
            raise AssertionError(f"took over after {took:.1f} s")
        print(f"# took over {took:.1f} s after the kill")
        equal(b.rest("GET", "/t/workflows", token=a.token)[0], 200)
        a.spawn()
        until("the old one is the standby", lambda: a.get_status("/live") == 200 and a.get_status("/ready") == 503)
        equal(b.stop_server(), 0)
        began = time.monotonic()
        until("the old one takes over", lambda: a.get_status("/ready") == 200, 10)
        if time.monotonic() - began > 5:
            raise AssertionError("took over too late")
    finally:
        a.stop()
        b.stop()
        a.close()
        b.close()


def case_two_signals():
    new_db("signals")
    s = Server(PG, "signals")
    try:
        s.start()
        equal(s.stop_server(), 0, "SIGTERM")
        s.start()
        s.process.send_signal(signal.SIGINT)
        equal(s.process.wait(10), 0, "SIGINT")
        has(s.tail(), '"stopped"')
    finally:
        s.stop()
        s.close()


def main():
    global PG
    cases = {n[5:]: f for n, f in globals().items() if n.startswith("case_")}
    asked = sys.argv[1:] or list(cases)
    passed = failed = 0
    PG = PgNode(durable=False)
    try:
        PG.start()
        for name in asked:
            began = time.monotonic()
            try:
                cases[name]()
                passed += 1
                print(f"ok - {name} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception as e:
                failed += 1
                print(f"not ok - {name}: {type(e).__name__}: {e}", flush=True)
                traceback.print_exc(limit=-2, file=sys.stdout)
    finally:
        PG.stop()
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
