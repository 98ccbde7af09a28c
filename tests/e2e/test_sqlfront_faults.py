#!/usr/bin/env python3
"""hatchet.enqueue() when servers, connections and transactions come and go, and when there is much.  test_sqlfront_faults.py [NAME...]"""
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from hatchet import BIN, TOP, spawn, die_with_parent  # noqa: E402
from wire import Wire  # noqa: E402
from test_sqlfront import enqueue, one, psycopg  # noqa: E402

S_PG = None


class Place:
    """A database of its own, with a server on it that may die."""

    def __init__(self, flags=()):
        self.name = name_of("db").replace("-", "_")
        self.url = S_PG.create(self.name)
        self.server = Server(S_PG, self.name, flags=list(flags))
        self.flags = list(flags)

    def use(self):
        fixture.S, fixture.W = self.server, Wire(self.server.grpc, self.server.token)

    def start(self):
        self.server.start()
        self.use()
        return self

    def sql(self, text):
        return S_PG.sql(text, self.name)

    def n(self, what):
        return int(self.sql(f"select count(*) from hatchet.{what}")[0][0])

    def db(self):
        return psycopg.connect(self.url, autocommit=True)

    def empty(self, seconds=30):
        until(f"the inbox is empty, has {self.n('inbox')}", lambda: self.n("inbox") == 0, seconds)

    def runs(self, requests):
        """The run of each, which are as many; none was refused."""
        rows = self.sql("select id, run_id, code from hatchet.request")
        runs = {r[0]: r[1] for r in rows}
        equal([r for r in rows if r[2]], [], "refused")
        equal(sorted(runs), sorted(requests), "requests")
        equal(len(set(runs.values())), len(requests))
        tasks = {r[0] for r in self.sql("select id from hatchet.task")}
        equal(tasks, set(runs.values()), "tasks")
        return runs


@contextlib.contextmanager
def place(**more):
    before = fixture.S, fixture.W
    p = Place(**more)
    try:
        yield p.start()
        if p.server.alive():
            equal(p.server.audit(), [], "what the audit finds")
            equal(p.server.stop_server(), 0)
    finally:
        p.server.kill9()
        p.server.close()
        fixture.S, fixture.W = before


def case_late_commits_are_found():
    """A row may be committed behind ones that are younger, and behind rows that nobody can vacuum."""
    name = name_of("late")
    with place() as p:
        put(name)
        with p.db() as pin, p.db() as slow, p.db() as c:
            pin.execute("begin isolation level repeatable read")
            pin.execute("select 1")  # from now on nothing can be vacuumed
            slow.execute("begin")
            early = enqueue(slow, name, {"who": "early"})
            others = [enqueue(c, name, {"i": i}) for i in range(300)]
            p.empty()
            equal(p.n("request"), 300)
            slow.execute("savepoint a")
            lost = enqueue(slow, name, {"who": "lost"})
            slow.execute("rollback to a")
            slow.execute("commit")
            until("the early one is taken", lambda: p.n("request") == 301)
            p.runs(others + [early])
            equal(S_rest(p, lost)[0], 404)
            pin.execute("commit")


def S_rest(p, request):
    return p.server.rest("GET", f"/api/v1/stable/workflow-runs/{request}")


def case_server_down():
    """What is committed while no server is there is taken when one comes; by a standby likewise."""
    name = name_of("down")
    with place() as p:
        put(name)
        p.server.stop_server()
        with p.db() as c:
            down = [enqueue(c, name, {"i": i}) for i in range(50)]
        equal((p.n("inbox"), p.n("request")), (50, 0))
        p.server.start()
        p.use()
        p.empty()
        p.runs(down)
        standby = Server(S_PG, p.name)
        try:
            standby.spawn()
            until("a standby is there", lambda: standby.get_status("/live") == 200 and standby.get_status("/ready") == 503)
            with p.db() as c:
                more = [enqueue(c, name, {"i": i}) for i in range(50)]
                p.empty()
                p.server.kill9()
                late = [enqueue(c, name, {"i": i}) for i in range(50)]
            until("it took over", standby.ready)
            p.empty()
            p.runs(down + more + late)
            equal(standby.audit(), [], "what the audit finds")
        finally:
            standby.stop()
            standby.close()


def case_the_postgres_inside():
    """Where it is, `server status` tells."""
    before = fixture.S, fixture.W
    s = Server(None)
    try:
        s.start(60)
        fixture.S, fixture.W = s, Wire(s.grpc, s.token)
        name = name_of("inside")
        put(name)
        got = json.loads(subprocess.run([BIN, "server", "status", "--json", "--data-dir", s.data_dir], stdout=subprocess.PIPE, check=True).stdout)
        with psycopg.connect(got["database"], autocommit=True) as c:
            request = enqueue(c, name, {"a": 1})
        until("it is taken", lambda: s.rest("GET", f"/api/v1/stable/workflow-runs/{request}")[1]["run"]["metadata"]["id"] != request)
        equal(s.stop_server(), 0)
    finally:
        s.kill9()
        s.close()
        fixture.S, fixture.W = before


def case_the_listener_was_away():
    """A notification that nobody heard is made up for by the next connection."""
    name = name_of("deaf")
    with place() as p:
        put(name)
        with p.db() as c:
            for i in range(10):
                c.execute("begin")
                request = enqueue(c, name, {"i": i})
                equal(one(c, "select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity where query = 'listen hatchet_cfg' and"
                          " datname = current_database()"), 1)
                c.execute("commit")
                until("it is taken", lambda: S_rest(p, request)[1]["run"]["metadata"]["id"] != request)
                until("it listens again", lambda: p.sql("select 1 from pg_stat_activity where query = 'listen hatchet_cfg' and"
                                                        " datname = current_database()"))
        equal(p.n("task"), 10)


def case_all_connections_cut():
    """The writer's connection too, in the middle of commits: each request becomes one run."""
    name = name_of("cut")
    with place() as p:
        put(name)
        requests, stop = [], threading.Event()

        def client():
            with p.db() as c:
                while not stop.is_set():
                    requests.append(enqueue(c, name, {"n": len(requests)}))

        t = threading.Thread(target=client)
        t.start()
        with p.db() as c:
            for _ in range(25):
                seen = len(requests)
                until("some more", lambda: len(requests) > seen + random.randrange(40))
                c.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'hatchet' and"
                          " datname = current_database()")
        stop.set()
        t.join()
        p.empty()
        p.runs(requests)


def case_killed_between():
    """kill -9 of the server at any instant, while clients commit and roll back."""
    name = name_of("kill")
    with place() as p:
        put(name)
        requests, stop, rnd = [], threading.Event(), random.Random(7)

        def client(seed):
            mine = random.Random(seed)
            with p.db() as c:
                while not stop.is_set():
                    got = []
                    try:
                        with c.transaction():
                            got = [enqueue(c, name, {"n": i}) for i in range(mine.choice((1, 1, 3, 200)))]
                            if mine.random() < 0.3:
                                raise KeyError("roll back")
                    except KeyError:
                        continue
                    requests.extend(got)

        threads = [threading.Thread(target=client, args=(i,)) for i in range(2)]
        for t in threads:
            t.start()
        for _ in range(12):
            seen = p.n("request")
            until("it takes some", lambda: p.n("request") > seen + rnd.randrange(300))
            p.server.kill9()
            p.server.start()
        stop.set()
        for t in threads:
            t.join()
        p.empty(60)
        p.runs(requests)
        equal(p.n("live") + p.n("queue_item"), len(requests))


def case_a_row_that_cannot_be_stored():
    """One request the database will not have as a run is refused by itself; the others of its batch are runs."""
    name = name_of("bad")
    with place() as p:
        put(name)
        p.server.stop_server()
        with p.db() as c:
            with c.transaction():
                requests = [enqueue(c, name, {"i": i}) for i in range(40)]
        p.sql("alter table hatchet.task add constraint no_seventeen check (convert_from(input, 'UTF8') <> '{\"i\": 17}')")
        p.server.start()
        p.use()
        p.empty()
        equal(p.n("task"), 39)
        equal(p.sql("select id, code, error from hatchet.request where code is not null"),
              [[requests[17], "13", "the database refused to store this"]])
        equal(S_rest(p, requests[17])[1]["run"]["status"], "FAILED")


def case_a_row_that_somebody_deletes():
    name = name_of("gone")
    with place() as p:
        put(name)
        with p.db() as c, p.db() as d2:
            for _ in range(20):
                with c.transaction():
                    mine = [enqueue(c, name, {"i": i}) for i in range(200)]
                gone = {str(r[0]) for r in d2.execute("delete from hatchet.inbox where id = any(%s) returning id", (mine,)).fetchall()}
                p.empty()
                taken = {r[0] for r in p.sql("select id from hatchet.request where code is null")}
                equal(gone & taken, set(), "both deleted and taken")
                equal(set(mine) - gone - taken, set(), "neither")
        equal(p.n("task"), p.n("request where code is null"))


def case_tenants_take_turns():
    name = name_of("turns")
    with place() as p:
        put(name)
        p.sql("insert into hatchet.tenant (name, slug) values ('Second', 'second');"
              f"insert into hatchet.workflow (tenant_no, name) select tenant_no, '{name}' from hatchet.tenant where slug = 'second'")
        p.server.stop_server()
        many = p.sql(f"select hatchet.enqueue('{name}', jsonb_build_object('i', i), tenant => 'default') from generate_series(1, 5000) i")
        few = p.sql(f"select hatchet.enqueue('{name}', jsonb_build_object('i', i), tenant => 'second') from generate_series(1, 20) i")
        p.server.start()
        p.use()
        p.empty(60)
        equal(p.n("request"), len(many) + len(few))
        # those of the second tenant, which has no version of that workflow, were dealt with in the first of the batches
        before = int(p.sql("select count(*) from hatchet.request a where code is null and run_id < (select max(run_id) from"
                           " hatchet.request where code is not null)")[0][0])
        if before > 1500:
            raise AssertionError(f"{before} of the first tenant's were taken before the second tenant's")


def memory_kb(server, what="VmHWM"):
    with open(f"/proc/{server.process.pid}/status") as f:
        return int([line.split()[1] for line in f if line.startswith(what + ":")][0])


def case_a_hundred_thousand_in_one_statement():
    """Bounded memory, and gRPC goes on beside it."""
    name, other = name_of("much"), name_of("beside")
    n = 100000
    with place() as p:
        put(name)
        put(other)
        w = Worker(other, slots=100)
        took, stop = [], threading.Event()

        def calls():
            wire = Wire(p.server.grpc, p.server.token)
            while not stop.is_set():
                began = time.monotonic()
                m = v1.TriggerWorkflowRequest(name=b(other), input=b"{}")
                run = call("/WorkflowService/TriggerWorkflow", m, wf.TriggerWorkflowResponse, wire).workflow_run_id.decode()
                took.append(time.monotonic() - began)
                w.completed(run)

        t = threading.Thread(target=calls)
        with p.db() as c:
            began = time.monotonic()
            equal(one(c, "select count(hatchet.enqueue(%s, jsonb_build_object('i', i, 'text', repeat('x', 200)))) from generate_series(1, %s) i",
                      name, n), n)
            written = time.monotonic() - began
        before = memory_kb(p.server, "VmRSS")
        t.start()
        p.empty(120)
        taken = time.monotonic() - began - written
        stop.set()
        t.join()
        equal((p.n("request"), p.n(f"task t join hatchet.workflow w using (workflow_no) where w.name = '{name}'")), (n, n))
        took.sort()
        grown = memory_kb(p.server) - before
        print(f"# {n} rows: written {n / written:.0f}/s, taken {n / taken:.0f}/s; {len(took)} gRPC triggers beside it, p50 "
              f"{took[len(took) // 2] * 1000:.1f} ms, max {took[-1] * 1000:.1f} ms; memory +{grown >> 10} MiB", flush=True)
        # what waits is bounded by --queue-memory, what is kept of inputs by their cache: 64 MiB
        if grown > 160 << 10:
            raise AssertionError(f"memory grew by {grown} KiB")
        if len(took) < 20 or took[len(took) // 2] > 1:
            raise AssertionError(f"gRPC was held back: {len(took)} calls, p50 {took[len(took) // 2]} s")
        w.close()


def case_twenty_thousand_with_a_worker():
    """One statement, a worker with the official SDK: each runs exactly once."""
    name = name_of("sdk")
    n = int(os.environ.get("SQL_RUNS", "20000"))  # fewer under a sanitizer
    with place() as p, tempfile.TemporaryDirectory() as d_:
        out = os.path.join(d_, "out")
        env = {**os.environ, **p.server.client_env(), "HATCHET_CLIENT_LOG_LEVEL": "WARNING"}
        with open(os.path.join(d_, "log"), "w") as log:
            worker = spawn([sys.executable, os.path.join(TOP, "tests", "e2e", "sqlfront", "worker.py"), name, out], env=env, stdout=log,
                           stderr=log, preexec_fn=die_with_parent)
        try:
            def known():
                if worker.poll() is not None:
                    raise RuntimeError(open(os.path.join(d_, "log")).read()[-2000:])
                return p.n(f"workflow where name = '{name}'")
            until("the worker has registered", known, 60)
            with p.db() as c:
                began = time.monotonic()
                equal(one(c, "select count(hatchet.enqueue(%s, jsonb_build_object('i', i))) from generate_series(1, %s) i", name, n), n)
            until("all have ended", lambda: p.n("attempt") >= n, 500, every=0.5)
            print(f"# {n} runs through a Python worker in {time.monotonic() - began:.1f} s", flush=True)
            equal(p.n("attempt where status = 0"), n)
            equal((p.n("task"), p.n("request where code is null"), p.n("inbox"), p.n("live"), p.n("queue_item")), (n, n, 0, 0, 0))
            with p.db() as c:
                request = enqueue(c, name, {"i": n + 1})
                wrong = str(one(c, "select hatchet.enqueue(%s, %s::jsonb)", name, '{"a":' * 300 + "1" + "}" * 300))
            got = {}
            for r in (request, wrong):
                q = subprocess.run([sys.executable, os.path.join(TOP, "tests", "e2e", "sqlfront", "result.py"), r], env=env, timeout=120,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                equal(q.returncode, 0, q.stderr)
                got[r] = json.loads(q.stdout)
            equal(got[request], {"rest": "COMPLETED", "details": "COMPLETED", "result": {name: {"i": n + 1}},
                                 "aio_result": {name: {"i": n + 1}}})
            equal((got[wrong]["rest"], got[wrong]["details"]), ("FAILED", "FAILED"))
            for how in ("result", "aio_result"):
                has(got[wrong][how], "Exception", "input: ")
            n += 1
            with open(out) as f:
                equal(sorted(int(line) for line in f), list(range(1, n + 1)), "what the worker has seen")
        finally:
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()


def main():
    global S_PG
    cases = {n[5:]: f for n, f in globals().items() if n.startswith("case_")}
    passed = failed = 0
    S_PG = PgNode()
    try:
        S_PG.start()
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
    finally:
        S_PG.stop()
    print(f"{passed} passed, {failed} failed, 0 skipped", flush=True)
    os._exit(failed > 0)  # threads of streams may still wait


if __name__ == "__main__":
    main()
