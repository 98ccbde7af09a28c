#!/usr/bin/env python3
"""Pause of workflows: what waits is parked and holds nothing, what runs goes on, its TTL, across restarts.  test_pause.py [NAME...]"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from wire import Wire  # noqa: E402


def sent(w):
    return [a.task_run_external_id.decode() for a in w.actions if a.action_type == d.START_STEP_RUN]


def workflow_id(name):
    return [x for x in S.rest("GET", f"/t/workflows?name={name}")[1]["rows"] if x["name"] == name][0]["metadata"]["id"]


def patch(name, **pause):
    return S.rest("PATCH", f"/api/v1/workflows/{workflow_id(name)}", {"pause": pause})


def pause(name, **more):
    code, body, _ = patch(name, action="pause", **more)
    equal([code, body["isPaused"]], [200, True])
    return body


def unpause(name):
    code, body, _ = patch(name, action="unpause")
    equal([code, body["isPaused"]], [200, False])


def workflow(slots=50, **task):
    name = name_of("paused")
    put(name, **task)
    return name, Worker(name, slots=slots)


def passed(w, name):
    """Whatever could have been sent to the worker has been: a task of another workflow, triggered later, is there."""
    other = name_of("other")
    put(other)
    probe = Worker(other)
    run = trigger(other)
    probe.get(run)
    probe.completed(run)
    probe.close()


def case_nothing_starts():
    name, w = workflow()
    before = trigger(name)
    w.get(before)
    pause(name)
    ids = [trigger(name, priority=p) for p in (1, 3, 2)]
    passed(w, name)
    equal(sent(w), [before])
    equal([status(i) for i in ids], ["QUEUED"] * 3)
    w.completed(before)
    equal(status(before), "COMPLETED", "what runs goes on")
    unpause(name)
    until("all are sent", lambda: len(sent(w)) == 4)
    equal(sent(w), [before, ids[1], ids[2], ids[0]], "in the order of priority")
    for i in ids:
        w.completed(i)
    w.close()


def case_retries_wait_too():
    name, w = workflow(retries=2)
    run = trigger(name)
    w.get(run)
    pause(name)
    w.failed(run)
    passed(w, name)
    equal(sent(w), [run])
    equal(status(run), "QUEUED")
    unpause(name)
    w.get(run, attempt=1)
    w.completed(run, attempt=1)
    equal(status(run), "COMPLETED")
    w.close()


def case_no_place_in_a_key():
    """A parked task holds no place of a key that another workflow shares."""
    rule = v1.Concurrency(expression=b"'k'", max_runs=1, limit_strategy=v1.GROUP_ROUND_ROBIN, name=name_of("shared").encode(), is_tenant_scoped=True)
    one, w1 = workflow(concurrency=[rule], slots=0 or 1)
    two, w2 = workflow(concurrency=[rule])
    busy = trigger(one)
    w1.get(busy)
    waits = trigger(one)
    pause(one)
    w1.completed(busy)
    other = trigger(two)
    w2.get(other)
    w2.completed(other)
    equal(status(waits), "QUEUED")
    unpause(one)
    w1.get(waits)
    w1.completed(waits)
    for w in (w1, w2):
        w.close()


def case_ttl():
    name, w = workflow()
    body = pause(name, pausedWorkflowQueueTTL="1s", pausedWorkflowCronRunQueueBehavior="DROP")
    equal([body["pausedWorkflowQueueTTL"], body["pausedWorkflowCronRunQueueBehavior"], body["pausedWorkflowScheduledRunQueueBehavior"]],
          ["1s", "DROP", "QUEUE"])
    run = trigger(name)
    wait_status(run, "CANCELLED")
    has(str(S.rest("GET", f"/api/v1/stable/workflow-runs/{run}/task-events")), "paused workflow queue item TTL expired.")
    equal(sent(w), [])
    unpause(name)
    again = trigger(name)
    w.get(again)
    w.completed(again)
    w.close()


def case_the_schedule_budget_stands_still():
    name, w = workflow(schedule_timeout=b"1s", slots=1)
    busy = trigger(name)
    w.get(busy)
    pause(name)
    waits = trigger(name)
    short, w2 = workflow(schedule_timeout=b"2s")
    w2.close()
    late = trigger(short)  # as a clock: when it has timed out, the budget of the other would be over twice
    wait_status(late, "FAILED")
    equal(status(waits), "QUEUED")
    unpause(name)
    wait_status(waits, "FAILED")
    has(details(waits).task_runs[0].value.error.decode(), "exceeded its schedule timeout of 1s")
    w.completed(busy)
    w.close()


def case_cancel_while_parked():
    name, w = workflow()
    pause(name)
    first, second = trigger(name), trigger(name)
    call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[b(first)]), v1.CancelTasksResponse)
    equal(status(first), "CANCELLED")
    unpause(name)
    w.get(second)
    equal(sent(w), [second])
    w.completed(second)
    w.close()


def case_across_a_crash():
    name, w = workflow(schedule_timeout=b"1h")
    pause(name)
    items = [v1.TriggerWorkflowRequest(name=b(name), input=b"{}") for _ in range(200)]  # more than memory holds
    m = wf.BulkTriggerWorkflowRequest(workflows=items)
    ids = [i.decode() for i in call("/WorkflowService/BulkTriggerWorkflow", m, wf.BulkTriggerWorkflowResponse).workflow_run_ids]
    S.kill9()
    S.start()
    fixture.W = Wire(S.grpc, S.token)
    w.stop.set()
    again = Worker(name, slots=500)
    passed(again, name)
    equal(sent(again), [])
    equal(S.rest("GET", f"/api/v1/workflows/{workflow_id(name)}")[1]["isPaused"], True)
    unpause(name)
    until("all are sent", lambda: len(sent(again)) == 200)
    equal(sorted(sent(again)), sorted(ids))
    for i in ids:
        again.completed(i)
    again.close()


def case_ttl_of_more_than_memory_holds():
    name, w = workflow(schedule_timeout=b"1h")
    pause(name, pausedWorkflowQueueTTL="1s")
    items = [v1.TriggerWorkflowRequest(name=b(name), input=b"{}") for _ in range(200)]
    m = wf.BulkTriggerWorkflowRequest(workflows=items)
    ids = [i.decode() for i in call("/WorkflowService/BulkTriggerWorkflow", m, wf.BulkTriggerWorkflowResponse).workflow_run_ids]
    for i in ids:
        wait_status(i, "CANCELLED")
    equal(sent(w), [])
    w.close()


def case_bad_requests():
    name, w = workflow()
    for body, field in (({"pause": {"action": "stop"}}, "pause.action"), ({"pause": 1}, "pause"), ([], "body"),
                        ({"pause": {"action": "pause", "pausedWorkflowQueueTTL": "soon"}}, "pausedWorkflowQueueTTL"),
                        ({"pause": {"action": "pause", "pausedWorkflowCronRunQueueBehavior": "MAYBE"}}, "pausedWorkflowCronRunQueueBehavior")):
        code, got, _ = S.rest("PATCH", f"/api/v1/workflows/{workflow_id(name)}", body)
        equal(code, 400)
        has(str(got), field)
    equal(S.rest("PATCH", f"/api/v1/workflows/{workflow_id(name)}", {})[0], 200)
    run = trigger(name)
    w.get(run)
    w.completed(run)
    w.close()


if __name__ == "__main__":
    main(globals(), flags=["--queue-memory", "64"])
