#!/usr/bin/env python3
"""Runs that a task spawns: one for each key of the parent, whatever dies in between.  test_children.py [NAME...]"""
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from wire import Wire  # noqa: E402


def pair(retries=0):
    """A parent's workflow, a child's, a worker for the parent with one run of it."""
    parent, child = name_of("parent"), name_of("child")
    put(parent, retries=retries)
    put(child)
    w = Worker(parent)
    run = trigger(parent)
    return child, w, run, w.get(run)


def spawn(name, a, index=None, key=None, **more):
    if index is not None:
        more["child_index"] = index
    if key is not None:
        more["child_key"] = b(key)
    return trigger(name, parent_id=a.workflow_run_id, parent_task_run_external_id=a.task_run_external_id, **more)


def children(run):
    rows = S.rest("GET", f"/st/workflow-runs?since=2024-01-01T00:00:00Z&only_tasks=true&parent_task_external_id={run}&limit=1000")
    equal(rows[0], 200)
    return sorted(r["metadata"]["id"] for r in rows[1]["rows"])


def case_one_for_each_key():
    child, w, run, a = pair(retries=1)
    zero, one = spawn(child, a, 0), spawn(child, a, 1)
    equal(spawn(child, a, 0), zero, "the same index")
    equal(spawn(child, a, 1), one)
    named = spawn(child, a, 2, "k")
    equal(spawn(child, a, 7, "k"), named, "the key counts, not the index")
    other = spawn(child, a, 2)
    equal(len({zero, one, named, other}), 4)
    equal(spawn(child, a, 0, "0") in (zero, one, named, other), False, "a key is no index")
    put("another-" + child)
    equal(spawn("another-" + child, a, 0), zero, "whatever the workflow")
    no_key = {spawn(child, a) for _ in range(3)}
    equal(len(no_key), 3, "without a key each is new")
    w.failed(run)
    again = w.get(run, attempt=1)
    equal(spawn(child, again, 0), zero, "the next attempt finds it")
    equal(spawn(child, again, 8, "k"), named)
    equal(len(children(run)), 8)
    w.completed(run, attempt=1)
    equal(spawn(child, a, 1), one, "and also when the parent has ended")
    w.close()


def case_only_with_the_task():
    """Index and key mean nothing without the parent's task."""
    name = name_of("orphan")
    put(name)
    equal(len({trigger(name, child_index=0, child_key=b"k") for _ in range(3)}), 3)


def case_bulk():
    child, w, run, a = pair()

    def items(*keys):
        return wf.BulkTriggerWorkflowRequest(workflows=[v1.TriggerWorkflowRequest(
            name=b(child), input=b"{}", parent_id=a.workflow_run_id, parent_task_run_external_id=a.task_run_external_id, child_index=i,
            child_key=b(k)) for i, k in enumerate(keys)])

    def bulk(*keys):
        return list(call("/WorkflowService/BulkTriggerWorkflow", items(*keys), wf.BulkTriggerWorkflowResponse).workflow_run_ids)
    got = bulk("a", "b", "a", "c")
    equal(got[0], got[2], "equal keys in one call")
    equal(len(set(got)), 3)
    equal(bulk("c", "d", "a")[::2], [got[3], got[0]], "in the order of the call")
    equal(len(children(run)), 4)
    w.completed(run)
    w.close()


def case_at_once():
    """Many callers with the same keys, the family not known yet."""
    child, w, run, a = pair()
    ids, errors = [], []

    def many():
        try:
            mine = Wire(S.grpc, S.token)
            for i in range(20):
                m = v1.TriggerWorkflowRequest(name=b(child), input=b"{}", parent_id=a.workflow_run_id,
                                              parent_task_run_external_id=a.task_run_external_id, child_index=i)
                ids.append((i, call("/WorkflowService/TriggerWorkflow", m, wf.TriggerWorkflowResponse, mine).workflow_run_id))
        except Exception as e:
            errors.append(e)
    threads = [threading.Thread(target=many) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(errors, [])
    equal((len(ids), len(set(ids)), len(children(run))), (160, 20, 20))
    w.completed(run)
    w.close()


def case_across_a_crash():
    child, w, run, a = pair(retries=1)
    before = [spawn(child, a, i) for i in range(5)]
    S.kill9()
    S.start()
    fixture.W = Wire(S.grpc, S.token)
    equal([spawn(child, a, i) for i in range(7)][:5], before)
    equal(len(children(run)), 7)
    w.close()


def case_each_parent_its_own():
    """Equal keys of other parents are other children."""
    child, w, run, a = pair()
    second = trigger(w.action.decode().split(":")[0])
    other = w.get(second)
    equal(spawn(child, a, 0) == spawn(child, other, 0), False)
    for r in (run, second):
        equal(len(children(r)), 1)
        w.completed(r)
    w.close()


if __name__ == "__main__":
    main(globals())
