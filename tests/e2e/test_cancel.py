#!/usr/bin/env python3
"""A cancel reaches what a task has spawned, and only that.  test_cancel.py [NAME...]"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from wire import Wire  # noqa: E402


def cancel(*runs):
    m = v1.CancelTasksRequest(external_ids=[b(r) for r in runs])
    return call("/v1.AdminService/CancelTasks", m, v1.CancelTasksResponse)


def spawn(name, a, **more):
    return trigger(name, parent_id=a.workflow_run_id, parent_task_run_external_id=a.task_run_external_id, **more)


def parent(**task):
    """A workflow, its worker and a run of it that runs."""
    name = name_of("parent")
    put(name, **task)
    w = Worker(name)
    run = trigger(name)
    a = w.get(run)
    w.started(run)
    return w, run, a


def counts(run):
    got = S.rest("GET", f"/st/workflow-runs?since=2024-01-01T00:00:00Z&only_tasks=true&parent_task_external_id={run}&limit=1000")
    equal(got[0], 200)
    states = [r["status"] for r in got[1]["rows"]]
    return {s: states.count(s) for s in set(states)}


def case_reaches_children():
    w, run, a = parent()
    child, grandchild, idle = name_of("child"), name_of("grandchild"), name_of("idle")
    for name in (child, grandchild, idle):
        put(name)
    of_child, of_grandchild = Worker(child), Worker(grandchild)
    runs = [spawn(child, a, child_index=0), spawn(child, a)]
    below = spawn(grandchild, of_child.get(runs[0]))
    of_child.get(runs[1])
    of_grandchild.get(below)
    waits = spawn(idle, a)
    done = spawn(child, a)
    of_child.get(done)
    of_child.completed(done)
    cancel(run)
    for r in (run, *runs, below, waits):
        equal(status(r), "CANCELLED", "at the answer")
    equal(status(done), "COMPLETED")
    for r in runs:
        of_child.get(r, d.CANCEL_STEP_RUN)
    of_grandchild.get(below, d.CANCEL_STEP_RUN)
    of_child.completed(runs[0])
    equal(status(runs[0]), "CANCELLED", "after a completion that came too late")
    late = Worker(idle)
    fresh = trigger(idle)
    late.get(fresh)
    equal([x.task_run_external_id for x in late.actions], [b(fresh)], "what was cancelled does not start")
    for x in (w, of_child, of_grandchild, late):
        x.close()


def case_reported_by_the_worker():
    w, run, a = parent()
    child = name_of("child")
    put(child)
    runs = [spawn(child, a) for _ in range(3)]
    w.report(run, d.STEP_EVENT_TYPE_CANCELLED)
    equal([status(r) for r in (run, *runs)], ["CANCELLED"] * 4)
    w.close()


def case_other_ends_leave_children_alone():
    child = name_of("child")
    put(child)
    runs = []
    w, run, a = parent()
    runs.append(spawn(child, a))
    w.failed(run)
    equal(status(run), "FAILED")
    w2, run, a = parent(timeout=b"1s")
    runs.append(spawn(child, a))
    wait_status(run, "FAILED")
    of_child = Worker(child)
    for r in runs:
        of_child.get(r)
        of_child.completed(r)
        equal(status(r), "COMPLETED")
    for x in (w, w2, of_child):
        x.close()


def case_born_cancelled():
    """Who spawns from a cancelled task gets a run, and it is over."""
    w, run, a = parent()
    child = name_of("child")
    put(child)
    of_child = Worker(child)
    cancel(run)
    late = [spawn(child, a), spawn(child, a, child_index=0), spawn(child, a, child_key=b"k")]
    equal([status(r) for r in late], ["CANCELLED"] * 3)
    equal(spawn(child, a, child_index=0), late[1], "the same child")
    S.kill9()
    S.start()
    fixture.W = Wire(S.grpc, S.token)
    late.append(spawn(child, a))
    equal(spawn(child, a, child_key=b"k"), late[2])
    equal(len(set(late)), 4)
    for r in late:
        got = details(r)
        equal((v1.RunStatus.Name(got.status), got.done), ("CANCELLED", True))
        equal(got.task_runs[0].value.error, b"", "the reason is no error")
        events = S.rest("GET", f"/api/v1/stable/workflow-runs/{r}/task-events")
        has(str(events), "cancelled with its parent")
    equal(of_child.actions, [])
    w.close()
    of_child.close()


def case_children_in_the_tail():
    """More than memory holds."""
    w, run, a = parent()
    child = name_of("child")
    put(child, schedule_timeout=b"1h")
    items = [v1.TriggerWorkflowRequest(name=b(child), input=b"{}", parent_id=a.workflow_run_id, child_index=i,
                                       parent_task_run_external_id=a.task_run_external_id) for i in range(400)]
    call("/WorkflowService/BulkTriggerWorkflow", wf.BulkTriggerWorkflowRequest(workflows=items), wf.BulkTriggerWorkflowResponse)
    equal(counts(run), {"QUEUED": 400})
    cancel(run)
    until("all cancelled", lambda: counts(run) == {"CANCELLED": 400})
    of_child = Worker(child)
    fresh = trigger(child)
    of_child.get(fresh)
    equal(len(of_child.actions), 1)
    w.close()
    of_child.close()


def case_across_a_crash():
    w, run, a = parent()
    child = name_of("child")
    put(child, schedule_timeout=b"1h")
    items = [v1.TriggerWorkflowRequest(name=b(child), input=b"{}", parent_id=a.workflow_run_id,
                                       parent_task_run_external_id=a.task_run_external_id) for _ in range(300)]
    call("/WorkflowService/BulkTriggerWorkflow", wf.BulkTriggerWorkflowRequest(workflows=items), wf.BulkTriggerWorkflowResponse)
    cancel(run)
    S.kill9()
    S.start()
    fixture.W = Wire(S.grpc, S.token)
    of_child = Worker(child)  # it would run them: loads see whose children they are
    until("all cancelled", lambda: counts(run) == {"CANCELLED": 300})
    equal(of_child.actions, [])
    w.close()
    of_child.close()


if __name__ == "__main__":
    main(globals(), flags=["--queue-memory", "64"])
