#!/usr/bin/env python3
"""What a run tells of itself over REST: its events with their texts, its attempts, how it and what it spawned lie in time.

test_rest_events.py [NAME...]"""
import os
import sys
import urllib.parse
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"


def get(path, want=200):
    got = S.rest("GET", path)
    equal(got[0], want, f"GET {path}: {str(got[1])[:500]}")
    return got[1]


def events(run, of="tasks"):
    """Oldest first."""
    rows = get(f"/api/v1/stable/{of}/{run}/task-events?limit=1000")["rows"]
    for e in rows:
        equal((e["taskId"], e["attempt"]), (run, e["retryCount"] + 1))
    return sorted(rows, key=lambda e: e["id"])


def kinds(run):
    return [(e["eventType"], e["retryCount"]) for e in events(run)]


def rest_status(run):
    return get(f"/api/v1/stable/workflow-runs/{run}/status")


def wait_rest(run, want, seconds=20):
    until(f"{run} {want}", lambda: rest_status(run) == want, seconds)


def matches(text, pattern):
    import re
    if not re.fullmatch(pattern, text or ""):
        raise AssertionError(f"{text!r} is not {pattern}")


def case_a_plain_run():
    name = name_of("plain")
    put(name)
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    w.started(run)
    w.completed(run, '{"a":1}')
    equal(kinds(run), [(k, 0) for k in ("CREATED", "QUEUED", "ASSIGNED", "SENT_TO_WORKER", "STARTED", "FINISHED")])
    e = events(run)
    equal(e, events(run, "workflow-runs"), "a run of one task")
    equal([x.get("workerId") for x in e], [None, None] + [w.id.decode()] * 4)
    equal((e[2]["message"], e[3]["message"]), (f"assigned to worker {name}", f"sent to worker {name}"))
    equal(e[5]["output"], '{"a":1}')
    equal([x["timestamp"] for x in e], sorted(x["timestamp"] for x in e))
    # newest first, in pages
    first = get(f"/api/v1/stable/tasks/{run}/task-events?limit=4")
    equal([x["eventType"] for x in first["rows"]], ["FINISHED", "STARTED", "SENT_TO_WORKER", "ASSIGNED"])
    equal(first["pagination"], {"current_page": 1, "next_page": 2, "num_pages": 2})
    second = get(f"/api/v1/stable/tasks/{run}/task-events?limit=4&offset=4")
    equal(([x["eventType"] for x in second["rows"]], second["pagination"]["num_pages"]), (["QUEUED", "CREATED"], 2))
    equal([x["eventType"] for x in get(f"/api/v1/stable/workflow-runs/{run}")["taskEvents"]][-1], "FINISHED", "newest last")
    w.close()


def case_retries():
    name = name_of("retry")
    put(name, retries=3, backoff_factor=1.5, backoff_max_seconds=60)
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    w.started(run)
    w.failed(run, "first")
    e = events(run)
    equal((e[5]["eventType"], e[5]["errorMessage"], e[6]["eventType"], e[6]["retryCount"]), ("FAILED", "first", "RETRYING", 1))
    matches(e[6]["message"], f"retry 1 in 1.5s, at {TIME}")
    equal((len(e), rest_status(run)), (7, "QUEUED"))
    w.get(run, attempt=1)
    w.failed(run, "second", attempt=1, should_not_retry=True)
    equal(kinds(run)[6:], [("RETRYING", 1), ("QUEUED", 1), ("ASSIGNED", 1), ("SENT_TO_WORKER", 1), ("FAILED", 1)])
    matches(events(run)[6]["message"], rf"retry 1 in 1.5\d*s, at {TIME}")
    # each attempt by itself
    one, two = (get(f"/api/v1/stable/tasks/{run}?attempt={n}") for n in (1, 2))
    equal((one["errorMessage"], one["attempt"], one["retryCount"], one["status"]), ("first", 1, 0, "FAILED"))
    equal((two["errorMessage"], two["attempt"], two["retryCount"], two["status"]), ("second", 2, 1, "FAILED"))
    equal(get(f"/api/v1/stable/tasks/{run}")["attempt"], 2)
    get(f"/api/v1/stable/tasks/{run}?attempt=3", 404)
    for bad in ("0", "-1", "x", "40000"):
        get(f"/api/v1/stable/tasks/{run}?attempt={bad}", 400)
    w.close()


def case_timeouts():
    name = name_of("timeout")
    put(name, timeout=b"100ms")
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    w.started(run)
    wait_rest(run, "FAILED")
    e = events(run)
    equal(e[-1]["eventType"], "TIMED_OUT")
    equal((e[-1]["message"], e[-1]["errorMessage"]), ("Task exceeded timeout of 100ms", "Task exceeded timeout of 100ms"))
    w.close()
    name = name_of("schedule")
    put(name, schedule_timeout=b"100ms")
    run = trigger(name)
    wait_rest(run, "FAILED")
    equal(kinds(run), [("CREATED", 0), ("QUEUED", 0), ("SCHEDULING_TIMED_OUT", 0)])
    equal(events(run)[-1]["message"], "exceeded its schedule timeout of 100ms")


def case_cancels():
    name, child = name_of("cancel"), name_of("child")
    put(name)
    put(child)
    w = Worker(name)
    run = trigger(name)
    a = w.get(run)
    spawned = trigger(child, parent_id=a.workflow_run_id, parent_task_run_external_id=a.task_run_external_id, child_index=0)
    equal(S.rest("POST", "/st/tasks/cancel", {"externalIds": [run]})[0], 200)
    e, c = events(run)[-1], events(spawned)[-1]
    equal((e["eventType"], e["message"], "errorMessage" in e), ("CANCELLED", "cancelled by request", False))
    equal((c["eventType"], c["message"], "errorMessage" in c), ("CANCELLED", "cancelled with its parent", False))
    w.close()


def case_slot_and_timeout():
    name = name_of("notes")
    put(name)
    w = Worker(name, slots=1)
    run = trigger(name)
    w.get(run)
    w.started(run)
    call("/Dispatcher/RefreshTimeout", d.RefreshTimeoutRequest(task_run_external_id=b(run), increment_timeout_by=b"1m30s"), d.RefreshTimeoutResponse)
    call("/Dispatcher/ReleaseSlot", d.ReleaseSlotRequest(task_run_external_id=b(run)), d.ReleaseSlotResponse)
    w.completed(run)
    e = events(run)
    equal([x["eventType"] for x in e[4:]], ["STARTED", "TIMEOUT_REFRESHED", "SLOT_RELEASED", "FINISHED"])
    equal(e[5]["message"], "timeout refreshed by 1m30s")
    w.close()


def case_replays():
    name = name_of("replay")
    put(name)
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    w.failed(run, "first")
    equal(S.rest("POST", "/st/tasks/replay", {"externalIds": [run]})[0], 200)
    w.get(run, attempt=1)
    w.completed(run, attempt=1)
    equal(kinds(run)[4:7], [("FAILED", 0), ("RETRIED_BY_USER", 1), ("QUEUED", 1)])
    equal(events(run)[5]["message"], "replayed by request")
    equal(rest_status(run), "COMPLETED")
    w.close()
    run = trigger(name)
    equal(S.rest("POST", "/st/tasks/replay", {"externalIds": [run]})[0], 200)
    equal(kinds(run), [("CREATED", 0), ("QUEUED", 0), ("RETRIED_BY_USER", 1), ("QUEUED", 1)])


def case_timings():
    """A family of four generations, in depth first order."""
    name = name_of("family")
    put(name)
    w = Worker(name, slots=50)

    def spawn(parent, index):
        a = w.get(parent)
        run = trigger(name, parent_id=a.workflow_run_id, parent_task_run_external_id=a.task_run_external_id, child_index=index)
        w.get(run)
        return run

    root = trigger(name)
    w.get(root)
    w.started(root)
    a1, a2 = spawn(root, 0), spawn(root, 1)
    b1, b2 = spawn(a1, 0), spawn(a1, 1)
    c1 = spawn(b2, 0)
    b3 = spawn(a2, 0)
    w.completed(b3)
    want = [(root, 0, None), (a1, 1, root), (b1, 2, a1), (b2, 2, a1), (c1, 3, b2), (a2, 1, root), (b3, 2, a2)]
    for depth in range(5):
        rows = get(f"/api/v1/stable/workflow-runs/{root}/task-timings?depth={depth}")["rows"]
        equal([(r["taskExternalId"], r["depth"], r.get("parentTaskExternalId")) for r in rows], [x for x in want if x[1] <= depth], f"depth {depth}")
    rows = {r["taskExternalId"]: r for r in rows}
    equal((rows[root]["status"], "startedAt" in rows[root], "finishedAt" in rows[root]), ("RUNNING", True, False))
    equal((rows[b3]["status"], "finishedAt" in rows[b3], rows[b3]["attempt"]), ("COMPLETED", True, 1))
    for r in rows.values():
        equal(set(r) >= {"metadata", "queuedAt", "taskId", "taskInsertedAt", "taskDisplayName", "tenantId", "isEvicted", "retryCount", "workflowRunId"}, True, str(r))
    equal([r["taskExternalId"] for r in get(f"/api/v1/stable/workflow-runs/{a2}/task-timings?depth=1")["rows"]], [a2, b3], "any run is a root")
    get(f"/api/v1/stable/workflow-runs/{root}/task-timings?depth=11", 400)
    get(f"/api/v1/stable/workflow-runs/{uuid.uuid4()}/task-timings", 404)
    w.close()


def case_names_and_tasks_of_many():
    name = name_of("many")
    put(name)
    runs = [trigger(name, '{"i":%d}' % i) for i in range(3)]
    ids = runs + [str(uuid.uuid4())]
    got = get("/st/workflow-runs/display-names?" + urllib.parse.urlencode([("external_ids", i) for i in ids]))
    equal({r["metadata"]["id"] for r in got["rows"]}, set(runs))
    for r in got["rows"]:
        matches(r["displayName"], rf"{name}-\d+")
    got = get("/api/v1/stable/dags/tasks?" + urllib.parse.urlencode([("tenant", S.tenant())] + [("dag_ids", i) for i in ids]))
    equal({x["dagId"]: [c["metadata"]["id"] for c in x["children"]] for x in got}, {r: [r] for r in runs})
    get("/st/workflow-runs/display-names", 400)
    get("/st/workflow-runs/display-names?external_ids=x", 400)
    get(f"/api/v1/stable/dags/tasks?dag_ids={runs[0]}", 400)
    get(f"/api/v1/stable/dags/tasks?dag_ids={runs[0]}&tenant={uuid.uuid4()}", 403)
    equal(get(f"/t/workflow-runs/{runs[1]}/input"), {"i": 1})
    get(f"/t/workflow-runs/{uuid.uuid4()}/input", 404)
    get(f"/t/workflow-runs/{runs[1]}/shape", 400)


if __name__ == "__main__":
    fixture.main(globals())
