"""Thousands of stored tasks of every kind, and a model that says what is true of each: what test_rest_lists.py and
test_rest_metrics.py ask about.  Rows are written into the tables by SQL, beside a server that serves them."""
import json
import os
import random
import subprocess
import time
import urllib.parse
import uuid

import fixture
from fixture import b, call, equal, name_of, put
from fixture import d

EPOCH_MS = 1704067200000
DAY_MS = 86400000
STATUSES = ("QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
SEED = int(os.environ.get("LISTS_SEED", "0")) or int(time.time())
RANDOM = random.Random(SEED)
N = int(os.environ.get("LISTS_N", "3000"))
P = None  # the one population


def psql(text):
    pg = fixture.S.pg
    subprocess.run([os.path.join(pg.client_bin, "psql"), "-Xq", "-v", "ON_ERROR_STOP=1", pg.url(fixture.S.db)], check=True, input=text, text=True,
                   stdout=subprocess.PIPE)


def get(path, want=200):
    got = fixture.S.rest("GET", path)
    equal(got[0], want, f"GET {path}: {str(got[1])[:500]}")
    return got[1]


def stamp(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"


class Task:
    """One row of the model, and its rows in the tables."""

    def __init__(self, no, ms, tenant, flow, workers, older):
        self.ms, self.tenant, self.flow = ms, tenant, flow
        self.id = (ms - EPOCH_MS) << 22 | (tenant & 63) << 16 | no & 0xffff
        self.priority = RANDOM.choice((1, 2, 3))
        self.parent = RANDOM.choice(older) if older and RANDOM.random() < .3 else None
        self.metadata = self.draw_metadata()
        self.input = {"n": no}
        self.attempts = []  # (attempt, status, worker, final, output, error)
        self.live = self.tail = None
        self.draw_life(workers)
        self.workers = {a[2] for a in self.attempts if a[2]} | ({self.live[2]} if self.live and self.live[2] else set())

    def draw_metadata(self):
        if RANDOM.random() < .2:
            return None
        m = {"team": RANDOM.choice(("red", "green", "blue"))}
        if RANDOM.random() < .5:
            m["n"] = RANDOM.choice((1, 2, "1", "2", 1.5))
        if RANDOM.random() < .3:
            m["flag"] = RANDOM.choice((True, False, None))
        if RANDOM.random() < .2:
            m["deep"] = {"a": [1, "x:y"]}
        if RANDOM.random() < .1:
            m["a:b"] = "c"
        return m

    def draw_life(self, workers):
        run_of = {0: "COMPLETED", 2: "CANCELLED"}
        attempt = 0
        # a replay begins again after an end that was final
        for replay in range(1 + (RANDOM.random() < .15)):
            while RANDOM.random() < .25:
                self.attempts.append((attempt, RANDOM.choice((1, 3, 5)), RANDOM.choice(workers), False, None, "again"))
                attempt += 1
            if not replay and RANDOM.random() < .3:
                break
            status = RANDOM.choice((0, 0, 0, 1, 2, 3, 4, 5))
            worker = None if status == 4 else RANDOM.choice(workers)
            self.status = run_of.get(status, "FAILED")
            self.attempts.append((attempt, status, worker, True, {"done": attempt} if not status else None, None if not status else "broken " * 20))
            attempt += 1
            if not replay and RANDOM.random() < .7:
                return
        else:
            if RANDOM.random() < .5:
                return
        kind = RANDOM.choice(("queued", "running", "started", "backoff", "held", "tail"))
        worker = RANDOM.choice(workers) if kind in ("running", "started") else None
        self.status = "RUNNING" if worker else "QUEUED"
        if kind == "tail":
            self.tail = (attempt, RANDOM.choice((0, 4 - self.priority)))
        else:
            self.live = (attempt, {"queued": 0, "running": 1, "started": 2, "backoff": 3, "held": 5}[kind], worker)

    def matches(self, f):
        def pair(text):
            key, value = text.split(":", 1)
            v = (self.metadata or {}).get(key)
            if v is None:
                return False
            if isinstance(v, bool):
                v = "true" if v else "false"
            return (v if isinstance(v, str) else json.dumps(v)) == value
        if self.ms < f.get("since", 0) or self.ms > f.get("until", 1 << 60):
            return False
        if f.get("statuses") and self.status not in f["statuses"]:
            return False
        if f.get("flows") and self.flow not in f["flows"]:
            return False
        if f.get("worker") and f["worker"] not in self.workers:
            return False
        if f.get("parent") and self.parent is not f["parent"]:
            return False
        pairs = [pair(p) for p in f.get("pairs", ()) if ":" in p]
        return not pairs or (all(pairs) if f.get("and") else any(pairs))


class Flow:
    def __init__(self, name):
        self.name = name
        self.uuid = put(name).workflow_id.decode()
        row = fixture.S.pg.sql("select w.workflow_no, v.version_no, s.step_no, s.action_no from hatchet.workflow w join hatchet.workflow_version v using"
                       f" (workflow_no) join hatchet.step s using (version_no) where w.id = '{self.uuid}'")[0]
        self.no, self.version, self.step, self.action = map(int, row)


class Population:
    def __init__(self):
        self.flows = [Flow(name_of("flow")) for _ in range(4)]
        self.worker_uuids = {}
        for i in range(4):
            m = d.WorkerRegisterRequest(worker_name=b(f"w{i}"), actions=[b(f"{self.flows[0].name}:{self.flows[0].name}")])
            u = call("/Dispatcher/Register", m, d.WorkerRegisterResponse).worker_id.decode()
            self.worker_uuids[int(fixture.S.pg.sql(f"select worker_no from hatchet.worker where id = '{u}'")[0][0])] = u
        self.tenant = int(fixture.S.pg.sql(f"select tenant_no from hatchet.tenant where id = '{fixture.S.tenant()}'")[0][0])
        fixture.S.pg.sql("insert into hatchet.tenant (name, slug) values ('other', 'other')")
        self.other = int(fixture.S.pg.sql("select tenant_no from hatchet.tenant where slug = 'other'")[0][0])
        fixture.S.pg.sql("select hatchet.make_days(hatchet.utc_today() - 3, 3); select hatchet.make_days(hatchet.utc_today() - 32, 2)")
        self.now_ms = int(time.time() * 1000)
        self.tasks = []
        self.made = 0
        times = sorted(RANDOM.randrange(self.now_ms - 3 * DAY_MS + 60000, self.now_ms - 1000) for _ in range(N))
        # some share a millisecond
        times = [times[i - 1] if i % 7 == 6 else t for i, t in enumerate(times)]
        # older than what is kept: not listed, but what of it is unfinished waits and runs
        self.old = [t for t in self.add([self.now_ms - 31 * DAY_MS - DAY_MS // 4 - 5000 * i for i in range(5)], keep=False)
                    if t.tenant == self.tenant]
        self.add(times)

    def add(self, times, keep=True):
        tasks = []
        older = [t for t in self.tasks[-40:] if t.tenant == self.tenant][-5:]
        for ms in times:
            self.made += 1
            tenant = self.tenant if RANDOM.random() < .85 else self.other
            t = Task(self.made, ms, tenant, RANDOM.choice(self.flows[:3]), list(self.worker_uuids)[:3], older if tenant == self.tenant else None)
            tasks.append(t)
            if keep and RANDOM.random() < .02:
                older = [x for x in tasks if x.tenant == self.tenant][-3:]
        psql(self.rows(tasks))
        if keep:
            self.tasks += [t for t in tasks if t.tenant == self.tenant]
            self.tasks.sort(key=lambda t: -t.id)
        return tasks

    def rows(self, tasks):
        def cell(v):
            return "\\N" if v is None else json.dumps(v).replace("\\", "\\\\") if isinstance(v, dict) else str(v)

        def copy(table, cols, rows):
            return f"copy hatchet.{table} ({cols}) from stdin;\n" + "".join("\t".join(map(cell, r)) + "\n" for r in rows) + "\\.\n"

        def data(v):
            return None if v is None else "\\\\x" + (json.dumps(v) if isinstance(v, dict) else v).encode().hex()

        return "begin;\n" + copy(
            "task", "tenant_no, id, run_id, workflow_no, version_no, step_no, action_no, priority, parent_id, schedule_ms, exec_ms, input, metadata",
            [(t.tenant, t.id, t.id, t.flow.no, t.flow.version, t.flow.step, t.flow.action, t.priority, t.parent.id if t.parent else None, 300000, 60000,
              data(t.input), t.metadata) for t in tasks]) + copy(
            "attempt", "tenant_no, task_id, attempt, status, worker_no, queued_at, assigned_at, started_at, finished_at, output, error, final",
            [(t.tenant, t.id, a[0], a[1], a[2], stamp(t.ms), a[2] and stamp(t.ms + 1), a[2] and stamp(t.ms + 2), stamp(t.ms + 5), data(a[4]), data(a[5]),
              8 * t.flow.no + {0: 2, 2: 4}.get(a[1], 3) if a[3] else None) for t in tasks for a in t.attempts]) + copy(
            "live", "tenant_no, id, shard, state, attempt, app_retries, internal_retries, rank, action_no, step_no, worker_no, queued_at, assigned_at",
            [(t.tenant, t.id, t.tenant & 63, t.live[1], t.live[0], 0, 0, 3, t.flow.action, t.flow.step, t.live[2], stamp(t.ms), stamp(t.ms))
             for t in tasks if t.live]) + copy(
            "queue_item", "tenant_no, action_no, rank, id, attempt, app_retries, internal_retries, queued_at",
            [(t.tenant, t.flow.action, t.tail[1], t.id, t.tail[0], 0, 0, stamp(t.ms)) for t in tasks if t.tail]) + self.counts(tasks) + "commit;\n"

    def counts(self, tasks):
        """What the flushes of these tasks would have counted."""
        minutes, depths = {}, {}
        for t in tasks:
            for code in [8] + ([8 + STATUSES.index(t.status)] if t.status in STATUSES[2:] else []):
                k = (stamp(t.ms // 60000 * 60000), t.tenant, t.flow.no, code)
                minutes[k] = minutes.get(k, 0) + 1
            if t.tail:
                depths[t.tenant, t.flow.step] = depths.get((t.tenant, t.flow.step), 0) + 1
        text = ""
        for (minute, tenant, flow, code), n in minutes.items():
            text += f"insert into hatchet.stat_minute as s values ('{minute}', {tenant}, {flow}, {code}, {n}, 0)" \
                    " on conflict (tenant_no, minute, workflow_no, status) do update set n = s.n + excluded.n;\n"
        for (tenant, step), n in depths.items():
            text += f"insert into hatchet.tail_depth as d values ({tenant}, {step}, {n})" \
                    " on conflict (tenant_no, step_no) do update set n = d.n + excluded.n;\n"
        return text

    def uuid_of(self, task):
        rows = get(f"/st/workflow-runs?since={stamp(task.ms)}&until={stamp(task.ms)}&only_tasks=true&limit=1000")["rows"]
        return next(r["metadata"]["id"] for r in rows if r["taskId"] == task.id)


def population():
    global P
    if not P:
        print(f"# LISTS_SEED={SEED}", flush=True)
        P = Population()
    return P


def draw_filter(p):
    f = {"since": RANDOM.choice((0, RANDOM.choice(p.tasks).ms, p.now_ms - 3600000 * RANDOM.randrange(1, 70)))}
    if RANDOM.random() < .3:
        f["until"] = RANDOM.choice(p.tasks).ms
    if RANDOM.random() < .6:
        f["statuses"] = RANDOM.sample(STATUSES, RANDOM.randrange(1, 6))
    if RANDOM.random() < .4:
        f["flows"] = RANDOM.sample(p.flows, RANDOM.randrange(1, 4)) + [None] * (RANDOM.random() < .2)
    if RANDOM.random() < .3:
        f["pairs"] = RANDOM.sample(("team:red", "team:blue", "n:1", "n:1.5", "flag:true", "flag:null", 'deep:{"a": [1, "x:y"]}', "a:b:c", "no:such",
                                    "without colon", "team:"), RANDOM.randrange(1, 4))
        f["and"] = RANDOM.choice((True, False, None))
    if RANDOM.random() < .2:
        f["worker"] = RANDOM.choice(list(p.worker_uuids))
    if RANDOM.random() < .15:
        f["parent"] = RANDOM.choice([t for t in p.tasks if t.parent] or p.tasks).parent
    return f


def query(p, f, **more):
    q = [("since", stamp(f["since"]) if f["since"] else "2024-01-01T00:00:00Z"), ("only_tasks", RANDOM.choice(("true", "false")))]
    if "until" in f:
        q.append(("until", stamp(f["until"])))
    q += [("statuses", s) for s in f.get("statuses", ())]
    q += [("workflow_ids", w.uuid if w else str(uuid.uuid4())) for w in f.get("flows", ())]
    q += [("additional_metadata", m) for m in f.get("pairs", ())]
    if f.get("and") is not None:
        q.append(("additional_metadata_operator", "AND" if f["and"] else "OR"))
    if f.get("worker"):
        q.append(("worker_id", p.worker_uuids[f["worker"]]))
    if f.get("parent"):
        q.append(("parent_task_external_id", p.uuid_of(f["parent"])))
    return urllib.parse.urlencode(q + list(more.items()))


def expect(p, f):
    return [t for t in p.tasks if t.matches(f)]
