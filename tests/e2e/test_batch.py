#!/usr/bin/env python3
"""Batch tasks: several of one key go to one worker together.  test_batch.py [NAME...]"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from wire import Wire  # noqa: E402

LONG = 60000


def workflow(size, interval=LONG, key=None, runs=None, slots=20, **task):
    name = name_of("batch")
    how = v1.TaskBatchConfig(batch_max_size=size, batch_max_interval_ms=interval)
    if key:
        how.batch_group_key = b(key)
    if runs:
        how.batch_group_max_runs = runs
    put(name, batch=how, **task)
    return name, Worker(name, slots=slots)


def batches(w):
    """Of each batch: its id, key, and the inputs of its members by their runs."""
    out = []
    for a in w.actions:
        if a.action_type == d.START_BATCH:
            equal((a.task_run_external_id, a.workflow_run_id, a.task_id, a.retry_count), (b"", b"", b"", 0))
            members = json.loads(a.action_payload)
            equal(a.batch_start_payload.expected_size, len(members))
            for run, m in members.items():
                equal(m["workflow_run_id"], run)
                equal(sorted(m["payload"]), ["input", "overrides", "parents", "triggered_by", "triggers", "user_data"])
            out.append((a.batch_id.decode(), a.batch_key.decode(), {run: m["payload"]["input"] for run, m in members.items()}))
    return out


def nth(w, n):
    until(f"batch {n}", lambda: len(batches(w)) > n)
    return batches(w)[n]


def report(w, batch, runs, kind, payload=b"{}", **more):
    items = [d.BatchActionEventItem(task_run_external_id=b(r), event_payload=b(payload), **more) for r in runs]
    m = d.BatchActionEvent(worker_id=w.id, action_id=w.action, batch_id=b(batch), event_type=kind, items=items)
    m.event_timestamp.seconds = int(time.time())
    return call("/Dispatcher/SendBatchActionEvent", m, d.ActionEventResponse, w.wire)


def completed(w, batch, runs, payload=b'{"ok":true}', **more):
    return report(w, batch, runs, d.STEP_EVENT_TYPE_COMPLETED, payload, **more)


def failed(w, batch, runs, text=b"broken", **more):
    return report(w, batch, runs, d.STEP_EVENT_TYPE_FAILED, text, **more)


def pause(name, action):
    flow = [x for x in S.rest("GET", f"/t/workflows?name={name}")[1]["rows"] if x["name"] == name][0]
    equal(S.rest("PATCH", f"/api/v1/workflows/{flow['metadata']['id']}", {"pause": {"action": action}})[0], 200)


def why(run):
    code, got, _ = S.rest("GET", f"/api/v1/stable/tasks/{run}/why")
    equal(code, 200, got)
    return got["rows"][0]


def cancel(*runs):
    call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[b(r) for r in runs]), v1.CancelTasksResponse)


def case_a_full_batch():
    name, w = workflow(3)
    runs = [trigger(name, '{"n":%d}' % i) for i in range(2)]
    equal(batches(w), [])
    equal([status(r) for r in runs], ["QUEUED"] * 2)
    row = why(runs[0])
    equal([row[k] for k in ("reason", "waiting", "size", "running")], ["BATCH", 2, 3, 0])
    has(row["text"], "2 of 3 tasks")
    runs.append(trigger(name, '{"n":2}'))
    batch, key, members = nth(w, 0)
    equal((key, members), ("default", {r: {"n": i} for i, r in enumerate(runs)}))
    report(w, batch, runs, d.STEP_EVENT_TYPE_STARTED)
    equal([status(r) for r in runs], ["RUNNING"] * 3)
    completed(w, batch, runs[:2], '{"done":1}')
    equal([status(r) for r in runs], ["COMPLETED", "COMPLETED", "RUNNING"])
    completed(w, batch, runs[2:], '{"done":2}')
    equal(json.loads(details(runs[2]).task_runs[0].value.output), {"done": 2})
    equal(len(batches(w)), 1)
    w.close()


def case_the_interval():
    """It begins with the first that waits, and a batch goes with those that are there."""
    name, w = workflow(3, interval=400)
    for n in range(2):
        began = time.monotonic()
        runs = [trigger(name), trigger(name)]
        batch, _, members = nth(w, n)
        took = time.monotonic() - began
        equal(sorted(members), sorted(runs))
        if not 0.39 < took < 1.5:
            raise AssertionError(f"after {took:.3f} s")
        completed(w, batch, runs)
    w.close()


def case_keys_are_never_mixed():
    name, w = workflow(2, key="input.k")
    runs = {k: [trigger(name, '{"k":"%s"}' % k) for _ in range(1)] for k in ("a", "b", " a ")}
    first = nth(w, 0)  # trimmed, so two of a
    equal((first[1], sorted(first[2])), ("a", sorted(runs["a"] + runs[" a "])))
    runs["b"].append(trigger(name, '{"k":"b"}'))
    second = nth(w, 1)
    equal((second[1], sorted(second[2])), ("b", sorted(runs["b"])))
    for batch, _, members in (first, second):
        completed(w, batch, members)
    w.close()


def case_a_key_that_fails():
    name, w = workflow(2, key="input.k")
    bad = trigger(name, "{}")
    wait_status(bad, "FAILED")
    error = details(bad).task_runs[0].value.error.decode()
    equal(error.startswith("failed to parse batch group key expression"), True, error)
    runs = [trigger(name, '{"k":"x"}') for _ in range(2)]
    batch, _, members = nth(w, 0)
    equal(sorted(members), sorted(runs))
    completed(w, batch, runs)
    w.close()


def case_a_cancelled_member():
    name, w = workflow(3)
    runs = [trigger(name) for _ in range(2)]
    cancel(runs[0])
    equal(status(runs[0]), "CANCELLED")
    runs += [trigger(name), trigger(name)]
    batch, _, members = nth(w, 0)
    equal(sorted(members), sorted(runs[1:]))
    cancel(runs[1])  # one that runs: its worker is told
    w.get(runs[1], d.CANCEL_STEP_RUN)
    completed(w, batch, runs[1:])
    equal([status(r) for r in runs], ["CANCELLED", "CANCELLED", "COMPLETED", "COMPLETED"])
    w.close()


def case_one_slot_for_all():
    """A batch takes one slot, until its last member is over."""
    name, w = workflow(2, slots=1)
    runs = [trigger(name) for _ in range(4)]
    batch, _, members = nth(w, 0)
    equal(sorted(members), sorted(runs[:2]))
    completed(w, batch, runs[:1])
    equal(len(batches(w)), 1, "batches while a member runs")
    completed(w, batch, runs[1:2])
    batch, _, members = nth(w, 1)
    equal(sorted(members), sorted(runs[2:]))
    equal(S.audit(), [])
    completed(w, batch, runs[2:])
    w.close()


def case_batches_of_a_key_at_once():
    name, w = workflow(2, runs=1)
    runs = [trigger(name) for _ in range(4)]
    batch, _, members = nth(w, 0)
    completed(w, batch, runs[:1])
    equal(len(batches(w)), 1)
    equal(why(runs[2])["text"], "1 of 1 batches of its key run.")
    failed(w, batch, runs[1:2])
    batch, _, members = nth(w, 1)
    equal(sorted(members), sorted(runs[2:]))
    completed(w, batch, runs[2:])
    w.close()


def case_a_member_retries_alone():
    name, w = workflow(2, interval=200, retries=1)
    runs = [trigger(name) for _ in range(2)]
    batch, _, _ = nth(w, 0)
    completed(w, batch, runs[:1])
    failed(w, batch, runs[1:])
    again, _, members = nth(w, 1)
    equal(list(members), runs[1:])
    # what comes late of the first batch is not of the second, with any number of an attempt or none
    completed(w, batch, runs[1:], b'{"late":1}')
    completed(w, batch, runs[1:], b'{"late":1}', retry_count=1)
    equal(status(runs[1]), "RUNNING")
    completed(w, again, runs[1:], b'{"right":1}', retry_count=0)
    equal(json.loads(details(runs[1]).task_runs[0].value.output), {"right": 1})
    w.close()


def case_bytes():
    """A batch stays below 4,000,000 bytes; what is larger goes alone."""
    name, w = workflow(100)
    big = '{"x":"%s"}' % ("a" * 1500000)
    runs = [trigger(name, big) for _ in range(3)]
    batch, _, members = nth(w, 0)
    equal(sorted(members), sorted(runs[:2]))
    completed(w, batch, runs[:2])
    huge = trigger(name, '{"x":"%s"}' % ("a" * 4050000))
    batch, _, members = nth(w, 1)
    equal(list(members), runs[2:])
    completed(w, batch, runs[2:])
    batch, _, members = nth(w, 2)
    equal(list(members), [huge])
    completed(w, batch, [huge])
    w.close()


def case_nobody_there():
    """The members wait for a worker; a lost one gives all of them back, and they go together again."""
    name = name_of("batch")
    put(name, batch=v1.TaskBatchConfig(batch_max_size=2, batch_max_interval_ms=LONG))
    runs = [trigger(name) for _ in range(2)]
    w = Worker(name)
    batch, _, members = nth(w, 0)
    equal(sorted(members), sorted(runs))
    w.close()
    w = Worker(name)
    cancel(*runs)
    w.close()


def case_survives_a_crash():
    """Members that run go on in their batch, those that wait become one."""
    name, w = workflow(2, runs=1, slots=1)
    runs = [trigger(name) for _ in range(3)]
    batch, _, members = nth(w, 0)
    report(w, batch, runs[:2], d.STEP_EVENT_TYPE_STARTED)
    S.kill9()
    S.start()
    fixture.W = Wire(S.grpc, S.token)
    w.wire = Wire(S.grpc, S.token)
    until("the worker listens again", lambda: (w.listen(), True)[1])
    runs.append(trigger(name))
    equal(S.audit(), [])
    equal(len(batches(w)), 1, "one at once of that key")
    completed(w, batch, runs[:1])
    completed(w, batch, runs[1:2], retry_count=0)
    equal([status(r) for r in runs[:2]], ["COMPLETED"] * 2)
    second, _, members = nth(w, 1)
    equal(sorted(members), sorted(runs[2:]))
    completed(w, second, runs[2:])
    w.close()


def case_schedule_timeout():
    name, w = workflow(3, schedule_timeout=b"300ms")
    run = trigger(name)
    wait_status(run, "FAILED")
    has(details(run).task_runs[0].value.error.decode(), "schedule timeout")
    equal(batches(w), [])
    w.close()


def case_paused():
    name, w = workflow(2)
    one = trigger(name)
    pause(name, "pause")
    two = trigger(name)
    equal(S.audit(), [])
    equal(batches(w), [])
    pause(name, "unpause")
    batch, _, members = nth(w, 0)
    equal(sorted(members), sorted([one, two]))
    completed(w, batch, [one, two])
    w.close()


def case_bad_calls():
    name, w = workflow(1)
    run = trigger(name)
    batch, _, _ = nth(w, 0)
    item = d.BatchActionEventItem(task_run_external_id=b(run), event_payload=b"{}")
    for part, m in (("batch_id", d.BatchActionEvent(batch_id=b"x", event_type=2, items=[item])),
                    ("items[0]", d.BatchActionEvent(batch_id=b(batch), event_type=2, items=[d.BatchActionEventItem(task_run_external_id=b"x")])),
                    ("event_type", d.BatchActionEvent(batch_id=b(batch), event_type=9, items=[item]))):
        refused("INVALID_ARGUMENT", part, "/Dispatcher/SendBatchActionEvent", m, d.ActionEventResponse)
    call("/Dispatcher/SendBatchActionEvent", d.BatchActionEvent(batch_id=b(batch), event_type=2), d.ActionEventResponse)
    equal(status(run), "RUNNING")
    completed(w, batch, [run], b"not json")
    equal(status(run), "FAILED")
    for field, how in (("batch_max_size", dict(batch_max_size=0)), ("batch_max_interval_ms", dict(batch_max_size=1, batch_max_interval_ms=0)),
                       ("batch_group_max_runs", dict(batch_max_size=1, batch_group_max_runs=0)),
                       ("batch_group_key", dict(batch_max_size=1, batch_group_key=b"1 +"))):
        n = name_of("bad")
        t = v1.CreateTaskOpts(readable_id=b(n), action=b(f"{n}:{n}"), batch=v1.TaskBatchConfig(**how))
        refused("INVALID_ARGUMENT", field, "/v1.AdminService/PutWorkflow", v1.CreateWorkflowVersionRequest(name=b(n), tasks=[t]),
                v1.CreateWorkflowVersionResponse)
    w.close()


def case_many():
    """Bulk calls of several keys: every run in one batch, none above its size, none of two keys."""
    name, w = workflow(50, interval=300, key="input.k", slots=1000)
    m = wf.BulkTriggerWorkflowRequest(workflows=[v1.TriggerWorkflowRequest(name=b(name), input=b('{"k":"%d"}' % (i % 7))) for i in range(1000)])
    runs = [i.decode() for i in call("/WorkflowService/BulkTriggerWorkflow", m, wf.BulkTriggerWorkflowResponse).workflow_run_ids]
    until("all are sent", lambda: sum(len(x[2]) for x in batches(w)) == 1000)
    got = [r for x in batches(w) for r in x[2]]
    equal(sorted(got), sorted(runs))
    for batch, key, members in batches(w):
        equal(len(members) <= 50, True)
        equal({v["k"] for v in members.values()}, {key})
        completed(w, batch, members)
    equal({status(r) for r in runs[::100]}, {"COMPLETED"})
    w.close()


if __name__ == "__main__":
    fixture.main(globals())
