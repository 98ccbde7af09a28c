#!/usr/bin/env python3
"""Concurrency: keys, strategies, chains, limits of their own, shared strategies, across restarts.  test_concurrency.py [NAME...]"""
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from wire import Wire  # noqa: E402

C = v1.Concurrency
BY_KEY = "input.key"
STRATEGY = "Cancelled due to concurrency strategy"


def rule(kind, max_runs=1, expression=BY_KEY, **more):
    return C(expression=b(expression), max_runs=max_runs, limit_strategy=getattr(v1, kind), **more)


def workflow(*rules, slots=50, **task):
    """A workflow with these rules and a worker for it."""
    name = name_of("limited")
    put(name, concurrency=list(rules), **task)
    return name, Worker(name, slots=slots)


def run(name, key="a", **more):
    return trigger(name, '{"key":"%s"}' % key, **more)


def runs(w):
    """Ids of the runs that were sent to the worker, in order."""
    return [a.task_run_external_id.decode() for a in w.actions if a.action_type == d.START_STEP_RUN]


def settled(w, want):
    """Exactly these have been sent: a task without a rule that is triggered later has passed whatever could have started."""
    until(f"{len(want)} sent, are {len(runs(w))}", lambda: len(runs(w)) >= len(want))
    equal(sorted(runs(w)), sorted(want))


def cancelled(*ids):
    for i in ids:
        wait_status(i, "CANCELLED")
        has(str(S.rest("GET", f"/api/v1/stable/workflow-runs/{i}/task-events")), STRATEGY)
        equal(details(i).task_runs[0].value.error, b"", "the reason is no error")


def case_round_robin():
    name, w = workflow(rule("GROUP_ROUND_ROBIN", 2))
    a = [run(name, "a") for _ in range(5)]
    c = [run(name, "c") for _ in range(3)]
    settled(w, a[:2] + c[:2])
    w.started(a[0])
    w.completed(a[0])
    settled(w, a[:3] + c[:2])
    w.failed(c[1])
    settled(w, a[:3] + c[:3])
    for r in (a[1], a[2]):
        w.completed(r)
    settled(w, a[:5] + c[:3])
    for r in a[3:] + [c[0], c[2]]:
        w.completed(r)
    equal([status(r) for r in a], ["COMPLETED"] * 5)
    w.close()


def case_priority_inside_a_key():
    name, w = workflow(rule("GROUP_ROUND_ROBIN"))
    first = run(name)
    low, high = run(name, priority=1), run(name, priority=3)
    w.get(first)
    w.completed(first)
    w.get(high)
    equal(runs(w), [first, high])
    w.completed(high)
    w.get(low)
    w.completed(low)
    w.close()


def case_cancel_newest():
    name, w = workflow(rule("CANCEL_NEWEST"))
    first = run(name)
    w.get(first)
    later = [run(name) for _ in range(3)]
    cancelled(*later)
    w.completed(first)
    again = run(name)
    w.get(again)
    w.completed(again)
    equal(runs(w), [first, again])
    w.close()


def case_cancel_in_progress():
    name, w = workflow(rule("CANCEL_IN_PROGRESS"))
    first = run(name)
    w.get(first)
    w.started(first)
    second = run(name)
    w.get(second)
    cancelled(first)
    w.get(first, d.CANCEL_STEP_RUN)
    items = [v1.TriggerWorkflowRequest(name=b(name), input=b'{"key":"a"}') for _ in range(10)]
    m = wf.BulkTriggerWorkflowRequest(workflows=items)
    ten = [i.decode() for i in call("/WorkflowService/BulkTriggerWorkflow", m, wf.BulkTriggerWorkflowResponse).workflow_run_ids]
    w.get(ten[9])
    cancelled(second, *ten[:9])
    better = run(name, priority=3)
    w.get(better)
    cancelled(ten[9])
    worse = run(name, priority=1)
    cancelled(worse)
    w.completed(better)
    equal(status(better), "COMPLETED")
    w.close()


def case_cancel_queued_except():
    name, w = workflow(rule("CANCEL_QUEUED_EXCEPT_NEWEST"))
    first, second, third = run(name), run(name), run(name)
    w.get(first)
    cancelled(second)
    equal(status(third), "QUEUED")
    w.completed(first)
    w.get(third)
    w.completed(third)
    w.close()
    name, w = workflow(rule("CANCEL_QUEUED_EXCEPT_OLDEST"))
    first, second, third = run(name), run(name), run(name)
    w.get(first)
    cancelled(third)
    equal(status(second), "QUEUED")
    w.completed(first)
    w.get(second)
    w.completed(second)
    w.close()


def case_of_the_workflow():
    """With one task the workflow's entries count its runs, before the task's own."""
    name = name_of("limited")
    t = v1.CreateTaskOpts(readable_id=b(name), action=b(f"{name}:{name}"), concurrency=[rule("GROUP_ROUND_ROBIN", 1, "input.kind")])
    m = v1.CreateWorkflowVersionRequest(name=b(name), tasks=[t], concurrency=rule("GROUP_ROUND_ROBIN", 3))
    call("/v1.AdminService/PutWorkflow", m, v1.CreateWorkflowVersionResponse)
    w = Worker(name, slots=50)

    def both(key, kind):
        return trigger(name, '{"key":"%s","kind":"%s"}' % (key, kind))
    first = both("a", "x")
    waits = both("a", "x")  # holds its place in a, waits for x
    third = both("a", "y")
    full = both("a", "z")   # a has three
    other = both("b", "z")
    settled(w, [first, third, other])
    w.completed(first)
    settled(w, [first, third, other, waits])
    w.completed(other)      # z is free, and a has a place since first ended
    settled(w, [first, third, other, waits, full])
    for r in (third, waits, full):
        w.completed(r)
    w.close()


def case_limit_of_the_key():
    """The newest task that lives brings the limit."""
    name, w = workflow(rule("GROUP_ROUND_ROBIN", 1, max_runs_expression=b"int(input.n)"))

    def limited(n):
        return trigger(name, '{"key":"a","n":%s}' % n)
    one = [limited(1), limited(1)]
    settled(w, one[:1])
    three = limited(3)
    settled(w, one + [three])
    w.completed(three)
    less = limited(1)
    equal(status(less), "QUEUED")
    w.completed(one[0])
    w.completed(one[1])
    w.get(less)
    w.completed(less)
    bad = trigger(name, '{"key":"a","n":-1}')
    wait_status(bad, "FAILED")
    has(details(bad).task_runs[0].value.error.decode(), "limit", "0 to 2147483647")
    w.close()


def case_shared_by_workflows():
    shared = dict(name=name_of("shared").encode(), is_tenant_scoped=True)
    one, w1 = workflow(rule("GROUP_ROUND_ROBIN", 2, **shared))
    two, w2 = workflow(rule("GROUP_ROUND_ROBIN", 2, **shared))
    a = [run(one), run(two), run(one), run(two)]
    w1.get(a[0])
    w2.get(a[1])
    equal([status(x) for x in a[2:]], ["QUEUED", "QUEUED"])
    put(two, concurrency=[rule("GROUP_ROUND_ROBIN", 3, **shared)])  # the newest registration counts for both
    w1.get(a[2])
    equal(status(a[3]), "QUEUED")
    w1.completed(a[0])
    w2.get(a[3])
    for w, r in ((w2, a[1]), (w1, a[2]), (w2, a[3])):
        w.completed(r)
    second = dict(name=name_of("second").encode(), is_tenant_scoped=True)
    put(name_of("order"), concurrency=[rule("GROUP_ROUND_ROBIN", 1, **shared), rule("GROUP_ROUND_ROBIN", 1, **second)])
    t = v1.CreateTaskOpts(readable_id=b"x", action=b"x:x", concurrency=[rule("GROUP_ROUND_ROBIN", 1, **second), rule("GROUP_ROUND_ROBIN", 1, **shared)])
    refused("INVALID_ARGUMENT", ["order", shared["name"].decode()], "/v1.AdminService/PutWorkflow",
            v1.CreateWorkflowVersionRequest(name=b(name_of("order")), tasks=[t]), v1.CreateWorkflowVersionResponse)
    w1.close()
    w2.close()


def case_keys_that_fail():
    name, w = workflow(rule("GROUP_ROUND_ROBIN"))
    for data, text in (('{"key":1}', "string"), ("{}", "no such key"), ('{"key":null}', "string"), ('{"key":"%s"}' % ("x" * 1025), "1024"),
                       ("[]", "JSON object")):
        bad = trigger(name, data)
        wait_status(bad, "FAILED")
        has(details(bad).task_runs[0].value.error.decode(), "failed to parse step expression", text)
    empty = run(name, "")
    w.get(empty)
    w.completed(empty)
    odd = [run(name, k) for k in ('\\"', "\\\\", "{}", "NULL", "ü,ß", " ")]
    for r in odd:
        w.get(r)
        w.completed(r)
    equal(len(runs(w)), 1 + len(odd))
    for e, text in (("input.", "line 1"), ("nothing.key", "undeclared"), ("1", "must give a string"), ("", "must not be empty")):
        t = v1.CreateTaskOpts(readable_id=b"x", action=b"x:x", concurrency=[rule("GROUP_ROUND_ROBIN", 1, e)])
        refused("INVALID_ARGUMENT", ["tasks[0].concurrency[0].expression", text], "/v1.AdminService/PutWorkflow",
                v1.CreateWorkflowVersionRequest(name=b(name_of("bad")), tasks=[t]), v1.CreateWorkflowVersionResponse)
    w.close()


def case_retry_and_backoff():
    """An immediate retry comes first; while one backs off, its place is another's."""
    name, w = workflow(rule("GROUP_ROUND_ROBIN"), retries=1)
    first, second = run(name), run(name)
    w.get(first)
    w.failed(first)
    w.get(first, attempt=1)
    equal(runs(w), [first, first])
    w.completed(first, attempt=1)
    w.get(second)
    w.completed(second)
    w.close()
    name, w = workflow(rule("GROUP_ROUND_ROBIN"), retries=1, backoff_factor=1.0)
    first, second = run(name), run(name)
    w.get(first)
    w.failed(first)
    w.get(second)           # while the first backs off for a second
    w.completed(second)
    w.get(first, attempt=1)
    w.completed(first, attempt=1)
    equal(status(first), "COMPLETED")
    w.close()


def case_times_out_while_it_waits():
    name, w = workflow(rule("GROUP_ROUND_ROBIN"), schedule_timeout=b"1s")
    first = run(name)
    w.get(first)
    waits = run(name)
    wait_status(waits, "FAILED")
    has(details(waits).task_runs[0].value.error.decode(), "exceeded its schedule timeout of 1s")
    w.completed(first)
    third = run(name)
    w.get(third)
    w.completed(third)
    w.close()


def case_cancel_gives_the_place_back():
    name, w = workflow(rule("GROUP_ROUND_ROBIN"))
    first, second, third = run(name), run(name), run(name)
    w.get(first)
    m = v1.CancelTasksRequest(external_ids=[b(first), b(second)])
    call("/v1.AdminService/CancelTasks", m, v1.CancelTasksResponse)
    w.get(third)
    w.completed(third)
    equal(runs(w), [first, third])
    w.close()


def case_across_a_crash():
    name, w = workflow(rule("GROUP_ROUND_ROBIN", 2))
    a = [run(name) for _ in range(5)]
    w.get(a[0])
    w.get(a[1])
    w.started(a[0])
    S.kill9()
    S.start()
    fixture.W = Wire(S.grpc, S.token)
    late = run(name)
    again = Worker(name, slots=50)  # it has room for all
    other = run(name, "b")
    again.get(other)
    equal(runs(again), [other], "two of the key still run on the first worker")
    w.wire = Wire(S.grpc, S.token)
    w.completed(a[0])
    again.get(a[2])
    for r in a[2:]:
        again.get(r)
        again.completed(r)
    again.get(late)
    for r in (late, other):
        again.completed(r)
    w.stop.set()
    again.close()


def case_a_line_longer_than_memory():
    """Many keys, each with more than fits: the tail of one hides no other, and each key keeps its order."""
    name, w = workflow(rule("GROUP_ROUND_ROBIN"), slots=100, schedule_timeout=b"1h")
    keys = [f"k{i}" for i in range(10)]
    items = [v1.TriggerWorkflowRequest(name=b(name), input=b'{"key":"%s"}' % b(k)) for k in ["k0"] * 500 + keys[1:] * 40]
    sent = call("/WorkflowService/BulkTriggerWorkflow", wf.BulkTriggerWorkflowRequest(workflows=items), wf.BulkTriggerWorkflowResponse)
    ids = [i.decode() for i in sent.workflow_run_ids]
    key_of = dict(zip(ids, ["k0"] * 500 + keys[1:] * 40))
    until("one of each key", lambda: len(runs(w)) >= 10)
    equal(sorted(key_of[r] for r in runs(w)), sorted(keys), "one of each")
    S.kill9()  # the lanes are found again
    S.start()
    fixture.W = Wire(S.grpc, S.token)
    held = runs(w)
    again = Worker(name, slots=100)
    w.wire = Wire(S.grpc, S.token)
    for r in held:
        w.completed(r)
    done = 0
    while done < len(ids) - len(held):
        until("more", lambda: len(runs(again)) > done)
        have = runs(again)
        live = [key_of[r] for r in have[done:]]
        equal(len(live), len(set(live)), "never two of a key")
        for r in have[done:]:
            again.completed(r)
        done = len(have)
    order = {k: [r for r in held + runs(again) if key_of[r] == k] for k in keys}
    equal(order, {k: [r for r in ids if key_of[r] == k] for k in keys}, "each key in its order")
    w.stop.set()
    again.close()


def case_from_sql():
    name, w = workflow(rule("GROUP_ROUND_ROBIN"))
    rows = S.pg.sql(f"select hatchet.enqueue('{name}', jsonb_build_object('key', 'it''s ' || i / 2)) from generate_series(0, 3) i", S.db)
    until("one of each key", lambda: len(runs(w)) >= 2)
    equal(len(runs(w)), 2)
    for n in range(4):
        until("more", lambda: len(runs(w)) > n)
        w.completed(runs(w)[n])
    for (r,) in rows:
        wait_status(r, "COMPLETED")
    w.close()


def case_exact_under_load():
    """Many callers, many keys: never more of a key at once than it may have."""
    name, w = workflow(rule("GROUP_ROUND_ROBIN", 3), slots=40)
    running, most, lock, done = {}, {}, threading.Lock(), threading.Event()

    def caller(n):
        mine = Wire(S.grpc, S.token)
        for i in range(60):
            m = v1.TriggerWorkflowRequest(name=b(name), input=b'{"key":"%d"}' % ((i * n) % 5))
            call("/WorkflowService/TriggerWorkflow", m, wf.TriggerWorkflowResponse, mine)
    threads = [threading.Thread(target=caller, args=(n,)) for n in range(1, 6)]
    for t in threads:
        t.start()
    finished = 0
    while finished < 300:
        until("more", lambda: len(w.actions) > finished)
        batch = w.actions[finished:]
        for a in batch:
            key = a.action_payload[:200]
            k = str(key).split('"key": "')[-1][:1] if b'"key"' not in key else key.split(b'"key":"')[-1][:1]
            running[k] = running.get(k, 0) + 1
            most[k] = max(most.get(k, 0), running[k])
        for a in batch:
            key = a.action_payload[:200]
            k = str(key).split('"key": "')[-1][:1] if b'"key"' not in key else key.split(b'"key":"')[-1][:1]
            with lock:
                running[k] -= 1
            w.completed(a.task_run_external_id.decode())
        finished += len(batch)
    for t in threads:
        t.join()
    done.set()
    equal({k: n for k, n in most.items() if n > 3}, {})
    w.close()


if __name__ == "__main__":
    main(globals(), flags=["--queue-memory", "64"])
