#!/usr/bin/env python3
"""Kill the server, Postgres and workers with -9 at random instants under load; then judge what clients and workers saw.

    crash.py [server|postgres|backend|hang|stop|worker|freeze]...      (all by default)
    SECONDS=120 SEED=n RATE=100 WORKERS=4 CLIENTS=2 GAP=1 (less: faults come faster)

Load: client.py and worker.py, processes of their own that write histories.  Judge: history.py.  At the end the invariants of the
tables are asked by SQL."""
import glob
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "lib"))
sys.path.insert(0, HERE)
from hatchet import PgNode, Server, die_with_parent, spawn, until  # noqa: E402
import history  # noqa: E402
import test_history  # noqa: E402
import wire  # noqa: E402

SECONDS = float(os.environ.get("SECONDS", 120))
SEED = os.environ.get("SEED") or str(random.SystemRandom().randrange(10**6))
RATE = float(os.environ.get("RATE", 100))
WORKERS = int(os.environ.get("WORKERS", 4))
CLIENTS = int(os.environ.get("CLIENTS", 2))
SLOTS = 10
DRAIN = 60 + history.SILENT + 2 * history.LIMIT["slow"]
# mean seconds between two faults of a kind
GAP = float(os.environ.get("GAP", 1))
GAPS = {"server": 3, "postgres": 6, "backend": 8, "hang": 30, "stop": 20, "worker": 6, "freeze": 50}

# Each gives the rows that break it.
INVARIANTS = {
    "an unfinished task has one row": """
        select id, count(*) from (select tenant_no, id from hatchet.live union all select tenant_no, id from hatchet.queue_item) u
        group by tenant_no, id having count(*) > 1""",
    "a row of unfinished work has its task": """
        select u.id from (select tenant_no, id from hatchet.live union all select tenant_no, id from hatchet.queue_item) u
        left join hatchet.task t using (tenant_no, id) where t.id is null""",
    "a task without a row has ended": """
        select t.id, a.attempt, a.status from hatchet.task t
        left join lateral (select attempt, status from hatchet.attempt a where a.tenant_no = t.tenant_no and a.task_id = t.id
            order by attempt desc limit 1) a on true
        where not exists (select from hatchet.live l where l.tenant_no = t.tenant_no and l.id = t.id)
        and not exists (select from hatchet.queue_item q where q.tenant_no = t.tenant_no and q.id = t.id)
        and (a.status is null or a.status = 5)""",
    "a task with a row has not ended": """
        select u.id, u.attempt, a.attempt, a.status from
        (select tenant_no, id, attempt from hatchet.live union all select tenant_no, id, attempt from hatchet.queue_item) u
        join hatchet.attempt a on a.tenant_no = u.tenant_no and a.task_id = u.id
        where a.attempt >= u.attempt or a.status in (0, 2, 4)""",
    "attempts are numbered without a gap": """
        select task_id from hatchet.attempt group by tenant_no, task_id having count(*) <> max(attempt) + 1 or min(attempt) <> 0""",
    "only the last attempt ends a task": """
        select a.task_id, a.attempt, a.status from hatchet.attempt a where a.status in (0, 2, 4) and exists (
            select from hatchet.attempt b where b.tenant_no = a.tenant_no and b.task_id = a.task_id and b.attempt > a.attempt)""",
    "no worker holds more than its slots": f"""
        select worker_no, count(*) from hatchet.live where state in (1, 2) and flags & 1 = 0
        group by worker_no having count(*) > {SLOTS}""",
    "no key has more than its limit": """
        select t.keys[1], count(*) from hatchet.live l join hatchet.task t on t.tenant_no = l.tenant_no and t.id = l.id
        where l.state in (1, 2) and t.keys is not null group by t.step_no, t.keys having count(*) > 2""",
    "no idempotency key has two unfinished runs": """
        select t.idempotency_key, count(*) from (select tenant_no, id from hatchet.live union all select tenant_no, id from hatchet.queue_item) u
        join hatchet.task t using (tenant_no, id) where t.idempotency_key is not null group by 1 having count(*) > 1""",
    "the depths of the tails add up": """
        select step_no, x.n, d.n from (select t.tenant_no, t.step_no, count(*) n from hatchet.queue_item q join hatchet.task t
            on t.tenant_no = q.tenant_no and t.id = q.id group by 1, 2) x
        full join hatchet.tail_depth d using (tenant_no, step_no) where coalesce(x.n, 0) <> coalesce(d.n, 0)""",
    "times ascend": """
        select task_id, attempt from hatchet.attempt where queued_at > coalesce(assigned_at, finished_at)
        or assigned_at > coalesce(started_at, finished_at) or started_at > finished_at""",
}
AT_REST = {
    "nothing is unfinished": "select id from hatchet.live union all select id from hatchet.queue_item",
    "a run with an idempotency key began when the one before had ended": """
        select t.id, n.id from hatchet.task t
        cross join lateral (select n.id from hatchet.task n where n.tenant_no = t.tenant_no and n.idempotency_key = t.idempotency_key
            and n.id > t.id order by n.id limit 1) n
        cross join lateral (select max(a.finished_at) at from hatchet.attempt a where a.tenant_no = t.tenant_no and a.task_id = t.id) a
        where a.at > timestamptz '2024-01-01 00:00:00+00' + ((n.id >> 22) + 1) * interval '1 millisecond'""",
    "no key is held by nobody": "select key, run_id from hatchet.idempotency_key",
    "no input is there twice": """
        select convert_from(input, 'UTF8')::json->>'u', count(*) from hatchet.task group by 1 having count(*) > 1""",
    "the minutes add up": """
        select a.status, a.n, s.n from (select case status when 0 then 2 when 2 then 4 else 3 end status, count(*) n from (
            select distinct on (tenant_no, task_id) status from hatchet.attempt order by tenant_no, task_id, attempt desc) x group by 1) a
        full join (select status, sum(n) n from hatchet.stat_minute where status < 8 group by 1) s using (status) where a.n is distinct from s.n""",
    "the minutes of creation add up": """
        select m, w, s, x.n, y.n from (
            select (t.id >> 22) / 60000 m, t.workflow_no w, s, count(*) n from hatchet.task t cross join lateral (
                select 8 union all (select 8 + (a.final & 7) from hatchet.attempt a where a.tenant_no = t.tenant_no and a.task_id = t.id
                    order by a.attempt desc limit 1)) x(s) group by 1, 2, 3) x
        full join (select (extract(epoch from minute - timestamptz '2024-01-01 00:00:00+00') / 60)::int8 m, workflow_no w, status s, n
            from hatchet.stat_minute where status >= 8 and n <> 0) y using (m, w, s) where x.n is distinct from y.n""",
}


def python(script, *args, **env):
    log = open(os.path.join(LOGS, script + ".log"), "ab")
    return spawn([sys.executable, os.path.join(HERE, script), *map(str, args)], env={**os.environ, **env}, stdout=log, stderr=log,
                 preexec_fn=die_with_parent)


METERED = """
    select l.key, extract(epoch from a.assigned_at) from hatchet.attempt a join hatchet.task t on t.tenant_no = a.tenant_no and t.id = a.task_id
    cross join lateral (select t.limits -> 0 ->> 0 as key) l where l.key is not null and a.assigned_at is not null order by 1, 2"""


def windows_given_too_much(rows, limit=1, seconds=1):
    """A window begins with the first start after the end of the last one."""
    key, since, n = None, 0, 0
    for k, at in rows:
        at = float(at)
        if k != key or at >= since + seconds - 1e-7:
            key, since, n = k, at, 0
        n += 1
        if n > limit:
            yield f"{k}: {n} starts within a second of {since:.6f}"


class Loop:
    def __init__(self, kinds):
        self.kinds = kinds
        self.dir = tempfile.mkdtemp(prefix="hatchet-crash-")
        self.h = wire.History(os.path.join(self.dir, "loop.history"))
        self.over = threading.Event()
        self.workers = {}
        self.n_workers = 0
        self.clients = []
        self.results = []
        self.audits = 0
        self.lock = threading.Lock()
        self.pg_lock = threading.Lock()
        self.server_lock = threading.Lock()

    def check(self, title, bad):
        bad = list(bad)
        self.results.append(not bad)
        print(f"{'not ok' if bad else 'ok'} - {title}" + (f": {len(bad)}" if bad else ""), flush=True)
        for line in bad[:8]:
            print("    " + str(line)[:400], flush=True)

    # --- what runs ---

    def start(self):
        self.pg = PgNode()
        self.pg.start()
        # little memory: part of the backlog that every outage leaves waits in the database
        self.server = Server(self.pg, flags=["--queue-memory", "60"],
                             env={"ASAN_OPTIONS": "detect_leaks=0"})  # what is in flight at its end is the kernel's
        self.server.start(60)
        self.token = self.server.token
        for i in range(WORKERS):
            self.add_worker(i)
        until("the workflows are there", self.registered, 60)
        for i in range(CLIENTS):
            name = f"c{i}"
            self.clients.append(python("client.py", self.server.grpc, os.path.join(self.dir, name + ".history"), name, SEED, RATE / CLIENTS,
                                       HATCHET_CLIENT_TOKEN=self.token))

    def registered(self):
        for path in glob.glob(os.path.join(self.dir, "w*.history")):
            with open(path) as f:
                if " registered " in f.read():
                    return True
        return False

    def add_worker(self, i):
        self.n_workers += 1
        name = f"w{i}-{self.n_workers}"
        self.workers[i] = python("worker.py", self.server.grpc, os.path.join(self.dir, name + ".history"), name, SLOTS,
                                 HATCHET_CLIENT_TOKEN=self.token)

    # --- faults, one thread a kind ---

    def faults(self, kind):
        rnd = random.Random(f"{SEED}-{kind}")
        fault = getattr(self, "fault_" + kind)
        try:
            while not self.over.wait(GAP * min(rnd.expovariate(1 / GAPS[kind]), 4 * GAPS[kind])):
                fault(rnd)
        except Exception as e:
            self.check(f"the faults of {kind} can be made", [repr(e)])

    def fault_server(self, rnd):
        with self.server_lock:
            if not self.server.alive():
                self.check("the server lives until it is killed", [f"exit {self.server.process.returncode}: {self.server.tail(1500)}"])
            self.h.put("kill", "server")
            self.server.kill9()
            self.server.spawn()
        if "postgres" in self.kinds and rnd.random() < 0.3:  # gone again while the server starts
            time.sleep(rnd.uniform(0, 0.15))
            self.fault_postgres(rnd)

    def fault_postgres(self, rnd):
        with self.pg_lock:
            self.h.put("kill", "postgres")
            self.pg.kill9()
            if rnd.random() < 0.3:
                time.sleep(rnd.uniform(0, 3))
            self.pg.start()
            self.h.put("up", "postgres")

    def sessions(self):
        """Process ids of the server's sessions in Postgres."""
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path) as f:
                    if f.read().startswith("postgres: hatchet ") and os.readlink(os.path.dirname(path) + "/cwd") == self.pg.data:
                        found.append(int(path.split("/")[2]))
            except OSError:
                pass
        return sorted(found)

    def signal_all(self, pids, sig):
        for pid in pids:
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                pass

    def fault_backend(self, rnd):
        """One session ends: by kill -9, after which Postgres ends all others and recovers, or politely."""
        with self.pg_lock:
            found = self.sessions()
            hard = rnd.random() < 0.5
            if found:
                self.h.put("kill", "backend" if hard else "session")
                self.signal_all([rnd.choice(found)], signal.SIGKILL if hard else signal.SIGTERM)

    def fault_hang(self, rnd):
        """Every session stands still for a while, as on a machine that swaps."""
        with self.pg_lock:
            found = self.sessions()
            self.h.put("kill", "hang")
            self.signal_all(found, signal.SIGSTOP)
            self.over.wait(rnd.uniform(0.5, 8))
            self.signal_all(found, signal.SIGCONT)

    def fault_stop(self, rnd):
        """The polite way: it must be down in ten seconds, whatever the database does."""
        with self.server_lock:
            if not self.server.alive():
                return
            self.h.put("kill", "stop")
            try:
                code = self.server.stop_server(10)
            except subprocess.TimeoutExpired:
                code = "not down in 10 s"
                self.server.kill9()
            if code not in (0, -signal.SIGTERM):  # the signal itself ends one that has hardly begun
                self.check("the server stops when asked", [f"{code}: {self.server.tail(1500)}"])
            self.server.spawn()

    def fault_worker(self, rnd):
        with self.lock:
            i = rnd.randrange(WORKERS)
            p = self.workers[i]
            p.kill()
            p.wait()
            self.h.put("kill", "worker", p.pid)
            self.add_worker(i)

    def fault_freeze(self, rnd):
        with self.lock:
            i = rnd.randrange(WORKERS)
            p = self.workers[i]
            self.add_worker(i)  # in its place, so that nobody kills the frozen one
        self.h.put("freeze", p.pid)
        p.send_signal(signal.SIGSTOP)
        self.over.wait(history.SILENT + rnd.uniform(1, 8))
        p.send_signal(signal.SIGCONT)
        self.h.put("thaw", p.pid)
        self.over.wait(3)
        p.kill()
        p.wait()
        self.h.put("kill", "thawed", p.pid)

    # --- the final state ---

    def acked(self):
        runs = []
        for path in glob.glob(os.path.join(self.dir, "c*.history")):
            with open(path) as f:
                for line in f:
                    if " acked " in line:
                        runs += [pair.split("=")[1] for pair in line.split()[2:]]
        return runs

    def read_all(self, runs):
        """run -> final state by gRPC, 64 calls at a time."""
        import v1_pb2 as v1
        w = wire.Wire(self.server.grpc, self.token)
        status = ("QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
        m = w.method("/v1.AdminService/GetRunDetails", v1.GetRunDetailsResponse)
        found = {}

        def take(run, call):
            try:
                got = call.result()
            except w.grpc.RpcError as e:
                if e.code().name not in ("NOT_FOUND", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
                    raise
                return
            task = got.task_runs[0].value
            found[run] = {"status": status[got.status], "u": json.loads(got.input)["u"], "output": task.output.decode(),
                          "error": task.error.decode()}

        calls = []
        for run in runs:
            calls.append((run, m.future(v1.GetRunDetailsRequest(external_id=run.encode()), metadata=w.meta, timeout=30)))
            if len(calls) == 64:
                for c in calls:
                    take(*c)
                calls = []
        for c in calls:
            take(*c)
        w.channel.close()
        return found

    def drain(self):
        """Until everything acknowledged is final, or the time is over."""
        end = time.monotonic() + DRAIN
        runs = self.acked()
        final = {}
        while True:
            found = self.read_all([r for r in runs if r not in final])
            final.update({r: f for r, f in found.items() if f["status"] in history.FINAL})
            if len(final) == len(runs) or time.monotonic() > end:
                return runs
            time.sleep(0.5)

    def list_all(self):
        """run -> status by REST, page by page backwards in time."""
        found = {}
        until = ""
        while True:
            status, body, _ = self.server.rest("GET", f"/st/workflow-runs?since=2024-01-01T00:00:00Z&only_tasks=false&limit=1000{until}")
            if status != 200:
                raise RuntimeError(f"run list: {status} {body}")
            rows = body["rows"]
            new = [r for r in rows if r["metadata"]["id"] not in found]
            found.update({r["metadata"]["id"]: r["status"] for r in rows})
            if not new:
                return found
            until = "&until=" + rows[-1]["createdAt"]

    def sql(self, checks):
        for title, text in checks.items():
            self.check("table: " + title, self.pg.sql(text))

    def ask(self, text):
        """[rows], or nothing while Postgres recovers."""
        try:
            return [self.pg.sql(text)] if self.pg.answers() else None
        except subprocess.CalledProcessError:
            return None

    def audit(self):
        """Memory against the tables in the middle of it all, when the server lives as long as that takes."""
        try:
            found = self.server.audit()
        except (AssertionError, OSError, http.client.HTTPException):
            return
        self.audits += 1
        if found:
            self.check("the audit, under way", found)

    def judge(self):
        runs = self.drain()
        took = time.monotonic() - self.stopped
        first = self.read_all(runs)
        for p in self.workers.values():
            p.terminate()
        h = history.History(self.dir)
        others = [r for r in h.starts if r not in h.runs]
        final = {**first, **self.read_all(others)}
        judge = history.Judge(h, final)
        for title, bad in judge.verdicts():
            self.check(title, bad)
        second = self.read_all(final)
        self.check("a second reading is the same", [f"{r}: {f} then {second.get(r)}" for r, f in final.items() if second.get(r) != f])
        listed = self.list_all()
        self.check("the run list says the same", [f"{r}: {f['status']}, listed {listed.get(r)}" for r, f in final.items()
                                                  if listed.get(r) != f["status"]])
        self.sql({**INVARIANTS, **AT_REST})
        self.check(f"the audit finds nothing, nor did it {self.audits} times under way", self.server.audit())
        metered = self.pg.sql(METERED)
        keyed = self.pg.sql("select count(*) from hatchet.task where idempotency_key is not null")[0][0]
        self.check(f"runs with idempotency keys were made: {keyed}", [] if int(keyed) > 3 else [keyed])
        told = self.pg.sql("select count(*) from hatchet.note where kind = 6")[0][0]
        self.check(f"no window gave more than its limit: {len(metered)} starts, told to wait {told} times", windows_given_too_much(metered))
        counts = {s: sum(f["status"] == s for f in final.values()) for s in history.FINAL}
        print(f"# {len(h.sent)} triggers sent, {len(h.acked)} acknowledged: "
              + ", ".join(f"{n} {s.lower()}" for s, n in counts.items()) + f"; all final {took:.0f} s after the last fault", flush=True)
        print("# kills: " + (", ".join(f"{n} {k}" for k, n in sorted(h.kills.items())) or "none"))
        print("# starts: %d, second starts by cause: %s" % (sum(map(len, h.starts.values())),
              ", ".join(f"{n} {c}" for c, n in sorted(judge.seconds.items())) or "none"))
        print("# refused: " + (", ".join(f"{n} {k}" for k, n in sorted(h.refusals.items())) or "none"), flush=True)

    def run(self):
        self.start()
        threads = [threading.Thread(target=self.faults, args=(k,), daemon=True) for k in self.kinds]
        time.sleep(2)  # some load first
        for t in threads:
            t.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(min(15, max(0, end - time.monotonic())))
            with self.pg_lock:
                for title, text in INVARIANTS.items():
                    bad = until("Postgres answers", lambda: self.ask(text), 60)[0]
                    if bad:
                        self.check("table, under way: " + title, bad)
            self.audit()
        self.over.set()
        for t in threads:
            t.join()
        self.stopped = time.monotonic()
        for c in self.clients:
            c.terminate()
        if not self.server.alive():
            self.check("the server lives", [f"exit {self.server.process.returncode}: {self.server.tail(1500)}"])
            self.server.spawn()
        self.server.wait_ready(60)
        for c in self.clients:
            c.wait(60)
        self.judge()
        self.check("the server stops when asked", self.stopping())
        self.server.start(60)
        w = wire.Wire(self.server.grpc, self.token)
        self.pg.kill9()
        call = self.trigger(w)
        self.check("the server stops in time without its database", self.stopping())
        self.check("a trigger that could not be stored is refused", [] if call.exception(5) else ["answered OK"])
        w.channel.close()

    def trigger(self, w):
        import v1_pb2 as v1
        import workflows_pb2 as wf
        return w.method("/WorkflowService/TriggerWorkflow", wf.TriggerWorkflowResponse).future(
            v1.TriggerWorkflowRequest(name=b"crash-plain", input=b'{"u":"last"}'), metadata=w.meta, timeout=30)

    def stopping(self):
        began = time.monotonic()
        try:
            code = self.server.stop_server(10)
        except subprocess.TimeoutExpired:
            code = "not down"
        return [] if code == 0 else [f"{code} after {time.monotonic() - began:.1f} s: {self.server.tail(1000)}"]

    def close(self):
        for p in [*self.workers.values(), *self.clients]:
            if p.poll() is None:
                p.kill()
                p.wait()
        for name in ("server", "pg"):
            x = getattr(self, name, None)
            if x:
                x.save_log(os.path.join(LOGS, "server.log")) if name == "server" else shutil.copy(x.log, os.path.join(LOGS, "postgres.log"))
                if name == "server":
                    x.kill9()
                    x.close()
                else:
                    x.stop()
        kept = os.path.join(LOGS, "histories")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.dir, kept)
        shutil.rmtree(self.dir)


LOGS = os.path.join(TOP, "build", "test-logs", "crash")


def main():
    began = time.monotonic()
    kinds = sys.argv[1:] or list(GAPS)
    shutil.rmtree(LOGS, ignore_errors=True)
    os.makedirs(LOGS)
    print(f"# SEED={SEED} SECONDS={SECONDS:g} RATE={RATE:g}: killing {', '.join(kinds)}", flush=True)
    wire.generate()
    loop = Loop(kinds)
    for title, bad in test_history.test():
        loop.check(title, bad)
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(1))
    try:
        loop.run()
    except Exception as e:
        loop.check("the loop comes to its end", traceback.format_exc().splitlines())
    finally:
        loop.close()
    failed = loop.results.count(False)
    print(f"# {time.monotonic() - began:.0f} s, SEED={SEED}")
    print(f"{len(loop.results) - failed} passed, {failed} failed, 0 skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
