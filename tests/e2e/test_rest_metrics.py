#!/usr/bin/env python3
"""Figures against a model: tasks by status, what waits and runs; and against what a real server did, counted by hand.

test_rest_metrics.py [NAME...]"""
import datetime
import os
import sys
import time
import urllib.parse
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from population import DAY_MS, RANDOM, SEED, STATUSES, draw_filter, expect, get, population, query, stamp  # noqa: E402

MINUTE_MS = 60000


def counts(q):
    got = get("/st/task-metrics?" + q)
    running = next(m for m in got if m["status"] == "RUNNING")
    equal(running["runningDetailCount"], {"evicted": 0, "onWorker": running["count"]})
    equal([m["status"] for m in got], list(STATUSES), "all five, zeros too")
    return {m["status"]: m["count"] for m in got}


def by_status(tasks):
    return {s: sum(t.status == s for t in tasks) for s in STATUSES}


def case_by_status():
    p = population()
    total = 0
    for round in range(250):
        f = draw_filter(p)
        f.pop("statuses", None), f.pop("worker", None)
        f["and"] = None
        if RANDOM.random() < .5:
            f.pop("pairs", None), f.pop("parent", None)
        if RANDOM.random() < .5:  # the ends of the window inside minutes, at their borders, both in one
            at = RANDOM.choice(p.tasks).ms
            f["since"] = RANDOM.choice((at, at + 1, at // MINUTE_MS * MINUTE_MS, at - MINUTE_MS))
            f["until"] = RANDOM.choice((at, at + 1, at // MINUTE_MS * MINUTE_MS + MINUTE_MS, at + 7 * MINUTE_MS, p.now_ms))
        want = by_status(expect(p, f))
        total += sum(want.values())
        equal(counts(query(p, f)), want, f"LISTS_SEED={SEED} round {round}: {f}")
    equal(total > 5000, True, f"{total} tasks make no test")
    for more in (f"triggering_event_external_id={uuid.uuid4()}", f"parent_task_external_id={uuid.uuid4()}", f"workflow_ids={uuid.uuid4()}"):
        equal(sum(counts(f"since=2024-01-01T00:00:00Z&{more}").values()), 0, more)
    for bad in ("", "since=x", "since=2024-01-01T00:00:00Z&until=x", "since=2024-01-01T00:00:00Z&workflow_ids=x",
                "since=2024-01-01T00:00:00Z&parent_task_external_id=x"):
        get("/st/task-metrics?" + bad, 400)
    equal(sum(counts("since=2200-01-01T00:00:00Z").values()), 0)
    equal(sum(counts("since=1970-01-01T00:00:00Z&until=1980-01-01T00:00:00Z").values()), 0)


def klass(t):
    return "tail" if t.tail else {0: "head", 1: "running", 2: "running"}.get(t.live[1], "pending") if t.live else None


def queue_metrics(tasks):
    n = {k: sum(klass(t) == k for t in tasks) for k in ("head", "tail", "running", "pending")}
    return {"numQueued": n["head"] + n["tail"], "numRunning": n["running"], "numPending": n["pending"]}


def case_queues():
    p = population()
    tasks = p.tasks + p.old
    flows = p.flows[:3]
    got = get("/t/queue-metrics")
    equal(got["total"], queue_metrics(tasks))
    equal(got["workflow"], {f.uuid: queue_metrics([t for t in tasks if t.flow is f]) for f in flows})
    names = {f: f"{f.name}:{f.name}" for f in flows}
    queues = {names[f]: queue_metrics([t for t in tasks if t.flow is f])["numQueued"] for f in flows}
    equal(got["queues"], queues)
    equal(get("/t/step-run-queue-metrics"), {"queues": queues})
    got = get(f"/t/queue-metrics?workflows={flows[1].uuid}&workflows={uuid.uuid4()}")
    equal((got["total"], list(got["workflow"]), list(got["queues"])), (queue_metrics([t for t in tasks if t.flow is flows[1]]), [flows[1].uuid], [names[flows[1]]]))
    for pairs in (["team:red"], ["team:red", "n:1"], ["no:such"]):
        got = get("/t/queue-metrics?" + urllib.parse.urlencode([("additionalMetadata", x) for x in pairs]))
        equal(got["total"], queue_metrics([t for t in tasks if t.matches({"pairs": pairs, "and": True})]), str(pairs))
    get("/t/queue-metrics?workflows=x", 400)


def case_task_stats():
    p = population()
    all = p.tasks + p.old
    got = get("/t/task-stats")
    equal(set(got), {f.name for f in p.flows[:3]})
    for f in p.flows[:3]:
        of = [t for t in all if t.flow is f]
        for what, kinds in (("queued", ("head", "tail", "pending")), ("running", ("running",))):
            tasks = [t for t in of if klass(t) in kinds]
            first = [t for t in tasks if (t.live or t.tail)[0] == 0]
            g = got[f.name][what]
            equal((g["total"], g["queues"]), (len(tasks), {f"{f.name}:{f.name}": len(tasks)}), what)
            for key, some in (("oldest", tasks), ("oldestExcludingRetries", first)):
                equal(g.get(key, "")[:23], stamp(min(t.ms for t in some))[:23] if some else "", f"{what} {key}")
    one = p.flows[2].name
    equal(get(f"/t/task-stats?taskNames={one}&taskNames=none"), {one: got[one]})
    equal(get("/t/task-stats?taskNames=none"), {})


def points(**q):
    q = {k: stamp(v) for k, v in q.items()}
    return get("/st/task-point-metrics?" + urllib.parse.urlencode(q))["results"]


def case_points():
    p = population()
    now = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS
    ends = [(now - m * MINUTE_MS, status, n) for m, status, n in
            [(1, 2, 5), (1, 3, 2), (2, 2, 1), (59, 2, 3), (60, 2, 100), (7 * 60, 3, 4), (30 * 60, 2, 6), (5 * 1440, 2, 7), (20 * 1440, 3, 8), (1, 4, 50)]]
    for ms, status, n in ends:
        S.pg.sql(f"insert into hatchet.stat_minute values ('{stamp(ms)}', {p.tenant}, {p.flows[3].no}, {status}, {n}, 0), ('{stamp(ms)}', {p.other}, 1, {status}, 9, 0)")
    for minutes, size in ((60, 1), (10, 1), (61, 5), (719, 5), (720, 30), (2879, 30), (2880, 480), (192 * 60 - 1, 480), (192 * 60, 1440), (40 * 1440, 1440)):
        for until in (now, now + 30001, now - 1, now - 90 * MINUTE_MS):
            since = until - minutes * MINUTE_MS
            got = points(createdAfter=since, finishedBefore=until)
            size_ms = size * MINUTE_MS
            n = -(-(until - since) // size_ms)
            last = (until - 1) // size_ms
            want = [{"time": (last - n + 1 + i) * size_ms, "SUCCEEDED": 0, "FAILED": 0} for i in range(n)]
            for ms, status, many in ends:
                i = ms // size_ms - (last - n + 1)
                if 0 <= i < n and status in (2, 3):
                    want[i]["SUCCEEDED" if status == 2 else "FAILED"] += many
            for x in got:
                x["time"] = round(datetime.datetime.fromisoformat(x["time"].replace("Z", "+00:00")).timestamp() * 1000)
            equal(got, want, f"{minutes} minutes until {stamp(until)}")
            equal(len(got), n)
    equal(len(points(createdAfter=now - 60 * MINUTE_MS, finishedBefore=now)), 60, "an hour has sixty")
    equal(len(get("/st/task-point-metrics")["results"]), 48, "a day by default, in half hours")
    for bad in (f"createdAfter={stamp(now)}&finishedBefore={stamp(now)}", "createdAfter=x", "finishedBefore=x",
                f"createdAfter={stamp(now - 1001 * DAY_MS)}&finishedBefore={stamp(now)}"):
        get("/st/task-point-metrics?" + bad, 400)


def case_what_a_server_did():
    """Everything that changes a count, by the real thing: ends, retries, cancels in head and tail, timeouts, and again after a crash."""
    name = name_of("did")
    flow = put(name, retries=1).workflow_id.decode()
    put(name + "-late", schedule_timeout=b"200ms")
    late = next(r["metadata"]["id"] for r in get(f"/t/workflows?name={name}-late")["rows"])
    of = f"since=2024-01-01T00:00:00Z&workflow_ids={flow}&workflow_ids={late}"

    def stats():
        got = get(f"/t/queue-metrics?workflows={flow}&workflows={late}")["total"]
        return got["numQueued"], got["numRunning"], got["numPending"]

    runs = [trigger(name) for _ in range(60)]
    equal((counts(of)["QUEUED"], stats()), (60, (60, 0, 0)))
    equal(int(S.pg.sql(f"select coalesce(sum(n), 0) from hatchet.tail_depth d join hatchet.step s using (step_no) where s.readable_id = '{name}'")[0][0]) > 0, True,
          "some wait in the tail")
    lates = [trigger(name + "-late") for _ in range(30)]
    equal(S.rest("POST", "/st/tasks/cancel", {"externalIds": runs[5:10] + runs[50:]})[0], 200)
    equal(counts(of)["CANCELLED"], 15)
    until("all late ones failed", lambda: counts(of)["FAILED"] == 30)
    equal((counts(of), stats()), ({"QUEUED": 45, "RUNNING": 0, "COMPLETED": 0, "FAILED": 30, "CANCELLED": 15}, (45, 0, 0)))
    fixture.S.kill9()
    fixture.S.start()
    equal((counts(of)["QUEUED"], stats()), (45, (45, 0, 0)))
    w = Worker(name, slots=4)
    done = 0
    for run in runs[:5] + runs[10:50]:
        w.get(run)
        equal(counts(of)["RUNNING"] <= 4, True)
        if done % 3 == 0:
            w.failed(run)
            w.get(run, attempt=1)
            w.failed(run, attempt=1)
        else:
            w.completed(run)
        done += 1
    equal((counts(of), stats()), ({"QUEUED": 0, "RUNNING": 0, "COMPLETED": 30, "FAILED": 45, "CANCELLED": 15}, (0, 0, 0)))
    equal(len(lates) + len(runs), sum(counts(of).values()))
    equal(get(f"/t/task-stats?taskNames={name}"), {})
    now = int(time.time() * 1000)
    got = points(createdAfter=now - 30 * MINUTE_MS, finishedBefore=now + MINUTE_MS)
    equal(sum(x["SUCCEEDED"] for x in got) >= 30, True)
    equal(S.pg.sql("select n from hatchet.tail_depth where n < 0"), [])
    # taken up again: what had ended has not
    again = [r for i, r in enumerate(runs[:5] + runs[10:50]) if i % 3 == 0][:6] + runs[1:3]
    equal(S.rest("POST", "/st/tasks/replay", {"externalIds": again})[0], 200)
    got = counts(of)
    equal((got["COMPLETED"], got["FAILED"], got["CANCELLED"], got["QUEUED"] + got["RUNNING"]), (28, 39, 15, 8))
    for run in again:
        w.completed(run, attempt=w.get(run, attempt=1 if run in runs[1:3] else 2).retry_count)
    equal((counts(of), stats()), ({"QUEUED": 0, "RUNNING": 0, "COMPLETED": 36, "FAILED": 39, "CANCELLED": 15}, (0, 0, 0)))
    w.close()


if __name__ == "__main__":
    fixture.main(globals(), flags=["--queue-memory", "20"], audited=False)  # it writes rows itself
