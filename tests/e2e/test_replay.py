#!/usr/bin/env python3
"""Replay: what has ended, or waits, runs again in its place.  test_replay.py [NAME...]"""
import datetime
import json
import os
import queue
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from wire import Wire  # noqa: E402


def replay(*runs, **more):
    m = v1.ReplayTasksRequest(external_ids=[b(r) for r in runs], **more)
    return sorted(i.decode() for i in call("/v1.AdminService/ReplayTasks", m, v1.ReplayTasksResponse).replayed_tasks)


def cancel(*runs):
    call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[b(r) for r in runs]), v1.CancelTasksResponse)


def workflow(**task):
    name = name_of("again")
    put(name, **task)
    return name, Worker(name, slots=20)


def attempt(run):
    return S.rest("GET", f"/api/v1/stable/tasks/{run}")[1]["retryCount"]


def case_completed():
    name, w = workflow()
    run = trigger(name, '{"n":7}')
    w.get(run)
    w.completed(run, '{"out":1}')
    equal(replay(run), [run])
    again = w.get(run, attempt=1)
    equal(status(run), "RUNNING")
    equal(json.loads(again.action_payload)["input"], {"n": 7}, "the same input")
    w.completed(run, '{"out":2}', attempt=1)
    got = details(run)
    equal((v1.RunStatus.Name(got.status), got.task_runs[0].value.output), ("COMPLETED", b'{"out":2}'))
    events = S.rest("GET", f"/api/v1/stable/workflow-runs/{run}/task-events")[1]["rows"]
    has(str(events), "RETRIED_BY_USER")
    equal(sorted(e["retryCount"] for e in events if e["eventType"] == "FINISHED"), [0, 1])
    w.close()


def case_failed_has_its_retries_again():
    name, w = workflow(retries=1)
    run = trigger(name)
    for n in (0, 1):
        w.get(run, attempt=n)
        w.failed(run, attempt=n)
    equal(status(run), "FAILED")
    equal(replay(run), [run])
    for n in (2, 3):
        w.get(run, attempt=n)
        equal(status(run), "RUNNING")
        w.failed(run, attempt=n)
    equal((status(run), attempt(run)), ("FAILED", 3))
    w.close()


def case_running_is_refused():
    name, w = workflow()
    run = trigger(name)
    w.get(run)
    equal(replay(run), [])
    w.started(run)
    equal(replay(run), [])
    equal(replay("00000000-0000-7000-8000-000000000000"), [], "unknown")
    w.completed(run)
    equal((status(run), attempt(run)), ("COMPLETED", 0))
    w.close()


def case_waiting():
    """Its wait is over, and it waits as the next attempt."""
    name = name_of("again")
    put(name)
    run = trigger(name)
    equal(replay(run), [run])
    equal(replay(run), [run])
    w = Worker(name)
    w.get(run, attempt=2)
    equal(len(w.actions), 1, "it starts once")
    w.completed(run, attempt=2)
    equal(status(run), "COMPLETED")
    w.close()
    name, w = workflow(retries=1, backoff_factor=60.0, backoff_max_seconds=3600)
    run = trigger(name)
    w.get(run)
    w.failed(run)
    equal(status(run), "QUEUED", "it backs off for a minute")
    equal(replay(run), [run])
    w.get(run, attempt=2)
    w.completed(run, attempt=2)
    w.close()


def case_cancelled_at_once():
    """Right after the answer of the cancel; the worker may still be at it."""
    name, w = workflow()
    run = trigger(name)
    w.get(run)
    cancel(run)
    equal(replay(run), [run])
    w.get(run, attempt=1)
    w.completed(run)
    equal(status(run), "RUNNING", "the cancelled attempt is over")
    w.completed(run, attempt=1)
    equal(status(run), "COMPLETED")
    w.close()


def case_with_what_it_has_spawned():
    name, w = workflow()
    child, wc = workflow()
    run = trigger(name)
    a = w.get(run)

    def spawn(attempt, i):
        return trigger(child, parent_id=attempt.workflow_run_id, parent_task_run_external_id=attempt.task_run_external_id, child_index=i)
    kids = [spawn(a, 0), spawn(a, 1), spawn(a, 2)]
    for k in kids:
        wc.get(k)
    wc.completed(kids[0])
    cancel(kids[1])
    cancel(run)
    equal([status(k) for k in kids], ["COMPLETED", "CANCELLED", "CANCELLED"])
    equal(replay(run), [run], "the answer names what was asked for")
    again = w.get(run, attempt=1)
    equal([status(k) for k in kids], ["COMPLETED", "CANCELLED", "RUNNING"], "only what was cancelled with it")
    equal([spawn(again, i) for i in range(3)], kids, "it finds its children")
    wc.completed(kids[2], attempt=1)
    w.completed(run, attempt=1)
    late = spawn(again, 3)
    wc.get(late)  # a parent that has completed may have children; it is cancelled no more
    wc.completed(late)
    w.close()
    wc.close()


def case_the_result_is_the_new_one():
    name, w = workflow()
    run = trigger(name)
    w.get(run)
    w.completed(run, '{"out":"old"}')
    equal(replay(run), [run])
    got = []
    ask = queue.Queue()
    path = "/Dispatcher/SubscribeToWorkflowRuns"
    stream = W.channel.stream_stream(path, lambda m: m.SerializeToString(), d.WorkflowRunEvent.FromString)(iter(ask.get, None), metadata=W.meta)
    threading.Thread(target=lambda: got.append(next(stream)), daemon=True).start()
    ask.put(d.SubscribeToWorkflowRunsRequest(workflow_run_id=b(run)))
    w.get(run, attempt=1)
    w.completed(run, '{"out":"new"}', attempt=1)
    until("the result", lambda: got)
    equal([r.output for r in got[0].results], [b'{"out":"new"}'])
    stream.cancel()
    w.close()


def case_by_filter():
    name, w = workflow()
    other, wo = workflow()
    runs = [trigger(name, additional_metadata=b'{"batch":"x"}') for _ in range(5)]
    apart = [trigger(name, additional_metadata=b'{"batch":"y"}'), trigger(other, additional_metadata=b'{"batch":"x"}')]
    for r in runs + apart[:1]:
        w.get(r)
        w.failed(r)
    wo.get(apart[1])
    wo.failed(apart[1])
    ids = put(name).workflow_id
    f = v1.TasksFilter(statuses=[b"FAILED"], workflow_ids=[ids], additional_metadata=[b"batch:x"])
    f.since.seconds = int(time.time()) - 3600
    m = v1.ReplayTasksRequest(filter=f)
    got = sorted(i.decode() for i in call("/v1.AdminService/ReplayTasks", m, v1.ReplayTasksResponse).replayed_tasks)
    equal(got, sorted(runs))
    for r in runs:
        w.get(r, attempt=1)
        w.completed(r, attempt=1)
    equal([status(r) for r in runs + apart], ["COMPLETED"] * 5 + ["FAILED"] * 2)
    since = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)).isoformat()
    got = S.rest("POST", "/st/tasks/replay", {"filter": {"since": since, "statuses": ["FAILED"], "additionalMetadata": ["batch:y"]}})
    equal((got[0], got[1]["ids"]), (200, apart[:1]))
    equal(S.rest("POST", "/st/tasks/replay", {"externalIds": [apart[1]]})[1]["ids"], [apart[1]])
    equal(S.rest("POST", "/st/tasks/replay", {})[0], 400)
    refused("INVALID_ARGUMENT", "filter", "/v1.AdminService/ReplayTasks", v1.ReplayTasksRequest(external_ids=[b(runs[0])], filter=f),
            v1.ReplayTasksResponse)
    w.get(apart[0], attempt=1)
    wo.get(apart[1], attempt=1)
    w.close()
    wo.close()


def case_each_request_counts_once():
    """Many ask at once: the number grows by one for each that was accepted."""
    name = name_of("again")
    put(name)
    run = trigger(name)
    cancel(run)
    accepted = []

    def ask():
        mine = Wire(S.grpc, S.token)
        for _ in range(10):
            m = v1.ReplayTasksRequest(external_ids=[b(run), b(run)])
            accepted.extend(call("/v1.AdminService/ReplayTasks", m, v1.ReplayTasksResponse, mine).replayed_tasks)
    threads = [threading.Thread(target=ask) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(attempt(run), len(accepted))
    w = Worker(name)
    w.get(run, attempt=len(accepted))
    equal(len(w.actions), 1)
    w.completed(run, attempt=len(accepted))
    w.close()


def case_keeps_its_keys():
    key = v1.Concurrency(expression=b"input.key", max_runs=1, limit_strategy=v1.GROUP_ROUND_ROBIN)
    name, w = workflow(concurrency=[key])
    first, second = trigger(name, '{"key":"a"}'), trigger(name, '{"key":"b"}')
    for r in (first, second):
        w.get(r)
        w.completed(r)
    third = trigger(name, '{"key":"a"}')
    w.get(third)
    equal(replay(first, second), sorted([first, second]))
    w.get(second, attempt=1)
    equal(status(first), "QUEUED", "its key is in use")
    w.completed(third)
    w.get(first, attempt=1)
    w.completed(first, attempt=1)
    w.completed(second, attempt=1)
    w.close()


def case_across_a_crash():
    name = name_of("again")
    put(name, schedule_timeout=b"1h")
    runs = [trigger(name) for _ in range(5)]
    cancel(*runs)
    equal(replay(*runs), sorted(runs))
    S.kill9()
    S.start()
    fixture.W = Wire(S.grpc, S.token)
    w = Worker(name, slots=20)
    for r in runs:
        w.get(r, attempt=1)
        w.completed(r, attempt=1)
    equal([status(r) for r in runs], ["COMPLETED"] * 5)
    w.close()


if __name__ == "__main__":
    main(globals())
