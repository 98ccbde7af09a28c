#!/usr/bin/env python3
"""`server backup` and `server restore`: nothing acknowledged is missing, nothing half restored.  backup.py [NAME...]"""
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import fixture  # noqa: E402
from fixture import Worker, call, details, equal, has, name_of, put, status, trigger, until, v1, wf  # noqa: E402
from hatchet import BIN, TOP, PgNode, Server  # noqa: E402
from wire import Refused, Wire  # noqa: E402

WHERE = None
with open(os.path.join(TOP, "schema.sql")) as f:
    TABLES = len(re.findall("^create table", f.read(), re.M)) - 2  # engine and shard are of the moment


def use(server):
    fixture.S, fixture.W = server, Wire(server.grpc, server.token)


def run(*words, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SERVER_", "HATCHET_", "DATABASE_"))}
    return subprocess.run([BIN, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=120, **more)


def done(p):
    equal(p.returncode, 0, p.stderr)
    return json.loads(p.stdout)


def one_sentence(p, *parts):
    lines = [line for line in p.stderr.splitlines() if line.startswith("hatchet: ")]
    equal((p.returncode, len(lines)), (1, 1), f"exit code and sentences of {p.stderr!r}")
    has(lines[0], *parts)


def new_file(name):
    return os.path.join(WHERE, name)


def shape(run_id):
    """What a reader sees of a finished run."""
    run = fixture.S.rest("GET", f"/api/v1/stable/workflow-runs/{run_id}")
    equal(run[0], 200, run_id)
    return run[1]


def work(worker, names, stop):
    """Start and complete whatever comes."""
    seen = 0
    while not stop.is_set():
        while seen < len(worker.actions):
            a = worker.actions[seen]
            seen += 1
            run_id = a.task_run_external_id.decode()
            try:
                worker.started(run_id, attempt=a.retry_count)
                worker.completed(run_id, json.dumps({"by": names}), attempt=a.retry_count)
            except Refused:
                return
        stop.wait(0.01)


def triggers(name, acked, stop):
    """New tasks all the time; @acked gets each when its answer is here."""
    n = 0
    while not stop.is_set():
        m = wf.BulkTriggerWorkflowRequest(workflows=[
            v1.TriggerWorkflowRequest(name=name.encode(), input=json.dumps({"n": n + i}).encode()) for i in range(20)])
        got = call("/WorkflowService/BulkTriggerWorkflow", m, wf.BulkTriggerWorkflowResponse)
        acked += [i.decode() for i in got.workflow_run_ids]
        n += 20


def case_under_load_and_back():
    """One snapshot while tasks come, run and end; brought into a new place, each of them ends, each ended one reads the same."""
    a, b = Server(None, flags=["--queue-memory", "64"]), Server(None)
    b.http_port, b.grpc_port = a.http_port, a.grpc_port  # so that tokens of the one name the other
    file, stop = new_file("load"), threading.Event()
    name, later = name_of("load"), name_of("later")
    try:
        a.start(60)
        use(a)
        put(name)
        put(later)
        ended = [trigger(name, json.dumps({"first": i}), additional_metadata=b'{"k":"v"}') for i in range(50)]
        waiting = [trigger(later, json.dumps({"later": i})) for i in range(300)]  # more than the head holds: a tail
        worker = Worker(name, slots=20)
        held = Worker(later, slots=3)  # starts some and never ends them
        threads = [threading.Thread(target=work, args=(worker, "first", stop))]
        threads[0].start()
        until("the first ones ended", lambda: all(status(r) == "COMPLETED" for r in ended))
        until("some held", lambda: len(held.actions) >= 3)
        running = [x.task_run_external_id.decode() for x in held.actions[:3]]
        for r in running:
            held.started(r)
        before = {r: shape(r) for r in ended}
        acked = []
        threads.append(threading.Thread(target=triggers, args=(name, acked, stop)))
        threads[1].start()
        until("load", lambda: len(acked) >= 200)
        certain = list(acked)
        facts = done(run("server", "backup", file, "--data-dir", a.data_dir, "--json"))
        n = len(acked)
        until("the server goes on", lambda: len(acked) > n)
        stop.set()
        for t in threads:
            t.join()
        worker.close()
        held.close()
        token = a.token
        equal(a.stop_server(), 0)
        equal(stat.S_IMODE(os.stat(file).st_mode), 0o600)
        equal(os.path.getsize(file), facts["bytes"])

        equal(done(run("server", "restore", file, "--data-dir", b.data_dir, "--json"))["rows"], facts["rows"])
        b.start(60)
        use(b)
        fixture.W = Wire(b.grpc, token)  # tokens are in the backup too
        for r, was in before.items():
            equal(shape(r), was, r)
        stop.clear()
        workers = [Worker(name, slots=20), Worker(later, slots=20)]
        threads = [threading.Thread(target=work, args=(w, "second", stop)) for w in workers]
        for t in threads:
            t.start()
        everything = set(certain) | set(waiting) | set(ended)
        until("everything ends", lambda: all(status(r) == "COMPLETED" for r in list(everything)[:40]), 120, 0.5)
        for r in everything:
            until(f"{r} ends", lambda r=r: status(r) == "COMPLETED", 90, 0.2)
        for r in running:  # of a worker that is gone
            has(details(r).task_runs[0].value.output.decode(), "second")
        fresh = trigger(name, '{"new":1}')
        until("a new one too", lambda: status(fresh) == "COMPLETED")
        assert fresh not in everything
        stop.set()
        for t in threads:
            t.join()
        for w in workers:
            w.close()
    finally:
        stop.set()
        for s in (a, b):
            s.stop()
            s.close()


def filled():
    """A backup with some work in it, and the folder of its server, stopped."""
    s = Server(None)
    s.start(60)
    use(s)
    name = name_of("some")
    put(name)
    for i in range(20):
        trigger(name, json.dumps({"x": random.randbytes(1000).hex(), "i": i}))
    equal(s.stop_server(), 0)
    file = new_file(name)
    equal(done(run("server", "backup", file, "--data-dir", s.data_dir, "--json"))["tables"], TABLES)  # of a server that does not run
    return file, s


def case_damaged_files():
    seed = int(os.environ.get("SEED") or random.randrange(1 << 31))
    rng = random.Random(seed)
    good, s = filled()
    s.close()
    with open(good, "rb") as f:
        whole = f.read()
    data = os.path.join(WHERE, "untouched")
    damaged = [(f"cut at {n}", whole[:n]) for n in [0, 1, 10, 100, len(whole) // 2, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(10))]]
    for _ in range(30):
        at = rng.randrange(len(whole))
        damaged.append((f"byte {at}", whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1:]))
    for what, content in damaged:
        file = new_file("damaged")
        with open(file, "wb") as f:
            f.write(content)
        p = run("server", "restore", file, "--data-dir", data)
        if p.returncode == 0 and 3 < int(what.split()[-1] if what.startswith("byte") else 0) < 10:
            shutil.rmtree(data)  # gzip's own time stamp and flags
            continue
        equal(p.returncode, 1, f"{what}, seed {seed}: {p.stdout}{p.stderr}")
        has(p.stderr, "hatchet: ")
        equal(os.path.exists(data), False, f"{what}: nothing was made")
    for content in (b"", b"hello\n" * 100, whole[:3] + b"\x00" * 500):
        with open(file, "wb") as f:
            f.write(content)
        equal(run("server", "restore", file, "--data-dir", data).returncode, 1)
    one_sentence(run("server", "restore", new_file("nowhere"), "--data-dir", data), "nowhere", "No such file")
    equal(os.path.exists(data), False)


def case_places_that_will_not_do():
    good, s = filled()
    try:
        one_sentence(run("server", "restore", good, "--data-dir", s.data_dir), "not empty", "tasks 20")
        one_sentence(run("server", "backup", good, "--data-dir", s.data_dir), good, "exists already")
        one_sentence(run("server", "backup", "/nonexistent/x", "--data-dir", s.data_dir), "/nonexistent/x", "No such file")
        one_sentence(run("server", "backup", new_file("x"), "--data-dir", new_file("none")), "there is no database")
        equal(run("server", "backup").returncode, 2)
        s.start(60)
        one_sentence(run("server", "restore", good, "--data-dir", s.data_dir), "stop it first")
        if os.getuid() == 0:
            small = tempfile.mkdtemp(dir=WHERE)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", small], check=True)
            try:
                one_sentence(run("server", "backup", os.path.join(small, "b"), "--data-dir", s.data_dir), "No space left")
                equal(os.listdir(small), [], "no part of it is left")
            finally:
                subprocess.run(["umount", small], check=True)
    finally:
        s.stop()
        s.close()


def case_another_postgres():
    """From the Postgres inside to one of the machine's, and back."""
    file, s = filled()
    s.close()
    pg = PgNode(durable=False)
    try:
        pg.start()
        url = pg.create("restored")
        equal(done(run("server", "restore", file, "--database-url", url, "--json"))["tables"], TABLES)
        with_server = Server(pg, db="restored")
        try:
            with_server.start()
            one_sentence(run("server", "restore", file, "--database-url", url), "uses this database", "stop it first")
        finally:
            with_server.stop()
            with_server.close()
        one_sentence(run("server", "restore", file, "--database-url", url), "tasks 20")
        equal(pg.sql("select count(*) from hatchet.task", "restored"), [["20"]])
        # a request of an SQL client goes along, and becomes a run where it arrives
        name = pg.sql("select name from hatchet.workflow", "restored")[0][0]
        request = pg.sql(f"select hatchet.enqueue('{name}', '{{\"by\": \"sql\"}}')", "restored")[0][0]
        pg.sql("insert into hatchet.sql_role select 'shop', tenant_no from hatchet.tenant", "restored")
        back = new_file("back")
        done(run("server", "backup", back, "--database-url", url, "--json"))
        done(run("server", "restore", back, "--database-url", pg.create("twice"), "--json"))
        equal(pg.sql("select role from hatchet.sql_role", "twice"), [["shop"]])
        with_server = Server(pg, db="twice")
        try:
            with_server.start()
            use(with_server)
            until("the request is a run", lambda: shape(request)["run"]["metadata"]["id"] != request)
            equal(shape(request)["run"]["input"], {"by": "sql"})
        finally:
            with_server.stop()
            with_server.close()
        data = os.path.join(WHERE, "again")
        done(run("server", "restore", back, "--data-dir", data, "--json"))
        one_sentence(run("server", "restore", back, "--data-dir", data), "tasks 20")
    finally:
        pg.stop()


def main():
    global WHERE
    cases = {n[5:]: f for n, f in globals().items() if n.startswith("case_")}
    passed = failed = 0
    WHERE = tempfile.mkdtemp(prefix="hatchet-backup-")
    os.chmod(WHERE, 0o755)
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
    shutil.rmtree(WHERE)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
