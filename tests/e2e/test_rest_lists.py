#!/usr/bin/env python3
"""Lists of runs against a model: thousands of stored tasks of every kind, random filters, every page; what the server answers must be
what a loop over all of them finds.

test_rest_lists.py [NAME...]"""
import os
import sys
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from population import RANDOM, SEED, draw_filter, expect, get, population, query  # noqa: E402


def case_every_filter_agrees_with_the_model():
    p = population()
    rows_seen = 0
    for round in range(400):
        f = draw_filter(p)
        want = [t.id for t in expect(p, f)]
        page = RANDOM.choice((1, 7, 50, 1000))
        at = RANDOM.choice((0, 0, page, 3 * page, max(0, len(want) - 2)))
        got = get("/st/workflow-runs?" + query(p, f, offset=at, limit=page))
        rows_seen += len(got["rows"])
        equal([r["taskId"] for r in got["rows"]], want[at:at + page], f"LISTS_SEED={SEED} round {round}: {query(p, f, offset=at, limit=page)}")
        current = 1 + at // page
        equal(got["pagination"], {"current_page": current, "next_page": current + 1, "num_pages": current + (len(want) > at + page)})
    equal(rows_seen > 2000, True, f"{rows_seen} rows make no test")


def case_pages_are_walked_to_the_end():
    p = population()
    for f in ({"since": 0}, {"since": 0, "statuses": ["COMPLETED"]}, {"since": 0, "statuses": ["QUEUED", "FAILED"], "pairs": ["team:red"], "and": None},
              {"since": 0, "flows": p.flows[:2]}, {"since": 0, "worker": list(p.worker_uuids)[0]}):
        want = [t.id for t in expect(p, f)]
        got, at = [], 0
        while True:
            page = RANDOM.randrange(20, 90)
            g = get("/st/workflow-runs?" + query(p, f, offset=at, limit=page))
            got += [r["taskId"] for r in g["rows"]]
            at += len(g["rows"])
            if g["pagination"]["num_pages"] == g["pagination"]["current_page"]:
                break
        equal(got, want, str(f))


def case_new_runs_do_not_move_pages():
    p = population()
    f = {"since": 0, "statuses": ["COMPLETED", "FAILED", "CANCELLED"]}
    want = [t.id for t in expect(p, f)]
    got, at = [], 0
    while at < 500:
        g = get("/st/workflow-runs?" + query(p, f, offset=at, limit=50))
        got += [r["taskId"] for r in g["rows"]]
        at += 50
        p.now_ms += 50
        p.add([p.now_ms + i for i in range(20)])
    equal(got, want[:500], "each once, none left out")
    equal([r["taskId"] for r in get("/st/workflow-runs?" + query(p, f, limit=1000))["rows"]], [t.id for t in expect(p, f)][:1000])
    get("/st/workflow-runs?" + query(p, {"since": 0, "pairs": ["no:pages"]}, offset=10001), 400)
    get("/st/workflow-runs?" + query(p, f, offset=-1), 400)


def case_what_a_row_says():
    p = population()
    rows = {}
    for payloads in (False, True):
        got = get("/st/workflow-runs?" + query(p, {"since": 0}, limit=1000, include_payloads=str(payloads).lower()))["rows"]
        rows[payloads] = {r["taskId"]: r for r in got}
    tasks = {t.id: t for t in p.tasks}
    children = {}
    for t in p.tasks:
        if t.parent:
            children[t.parent.id] = children.get(t.parent.id, 0) + 1
    equal(len(rows[True]), 1000)
    for no, r in rows[True].items():
        t, bare = tasks[no], rows[False][no]
        last = t.attempts[-1] if t.attempts else None
        is_over = t.status in ("COMPLETED", "FAILED", "CANCELLED")
        attempt = last[0] if is_over else (t.live or t.tail)[0]
        equal((r["status"], r["attempt"], r["retryCount"], r["type"]), (t.status, attempt + 1, attempt, "TASK"))
        equal((r["input"], bare["input"]), (t.input, {}))
        equal((r["output"], bare["output"]), (last[4] if t.status == "COMPLETED" else {}, {}))
        error = last[5] if t.status == "FAILED" else None
        equal((r.get("errorMessage"), bare.get("errorMessage")), (error, error))
        equal(r["additionalMetadata"], t.metadata or {})
        equal(r["numSpawnedChildren"], children.get(no, 0))
        equal("parentTaskExternalId" in r, t.parent is not None)
        equal((r["workflowId"], r["workflowName"]), (t.flow.uuid, t.flow.name))
        equal("finishedAt" in r, is_over)


def case_ids_alone():
    p = population()
    for f in ({"since": 0}, {"since": 0, "statuses": ["QUEUED"]}, {"since": p.tasks[900].ms, "flows": p.flows[:1]}, {"since": 0, "pairs": ["team:red", "n:1"], "and": None}):
        ids = get("/st/workflow-runs/external-ids?" + query(p, f))
        want = [t.id for t in expect(p, f)]
        equal((len(ids), len(set(ids))), (len(want), len(want)))
        sample = [r["metadata"]["id"] for r in get("/st/workflow-runs?" + query(p, f, limit=1000))["rows"]]
        equal(ids[:1000], sample)


def case_of_nobody():
    p = population()
    for more in (f"worker_id={uuid.uuid4()}", f"parent_task_external_id={uuid.uuid4()}", f"workflow_ids={uuid.uuid4()}", "running_filter=EVICTED&statuses=RUNNING",
                 f"triggering_event_external_id={uuid.uuid4()}", "idempotency_keys=k"):
        equal(get(f"/st/workflow-runs?since=2024-01-01T00:00:00Z&only_tasks=true&{more}")["rows"], [], more)
    for more in ("worker_id=x", "parent_task_external_id=x", "workflow_ids=x", "running_filter=SOME", "additional_metadata_operator=XOR", "limit=0", "limit=1001",
                 "until=later", "offset=x"):
        get(f"/st/workflow-runs?since=2024-01-01T00:00:00Z&only_tasks=true&{more}", 400)
    assert p


if __name__ == "__main__":
    fixture.main(globals(), audited=False)  # it writes rows itself
