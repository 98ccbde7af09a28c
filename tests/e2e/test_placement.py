#!/usr/bin/env python3
"""Which worker gets a task, and when: slots, priorities, labels, sticky, pause.  Without an SDK.  test_placement.py [NAME...]"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from hatchet import until  # noqa: E402
from wire import Wire  # noqa: E402


def label(key, value):
    return d.WorkerLabelsEntry(key=b(key), value=d.WorkerLabels(**{"int_value" if isinstance(value, int) else "str_value":
                                                                   value if isinstance(value, int) else b(value)}))


def want(key, value, **more):
    return v1.DesiredWorkerLabelsEntry(key=b(key), value=v1.DesiredWorkerLabels(
        **{"int_value" if isinstance(value, int) else "str_value": value if isinstance(value, int) else b(value)}, **more))


def upsert(worker, *labels):
    call("/Dispatcher/UpsertWorkerLabels", d.UpsertWorkerLabelsRequest(worker_id=worker.id, labels=labels), d.UpsertWorkerLabelsResponse)


def ids(worker):
    return [a.task_run_external_id.decode() for a in worker.actions if a.action_type == d.START_STEP_RUN]


def got_nothing(worker, *runs):
    """The server has been through a whole turn for that queue since: a task placed behind them has come."""
    for run in runs:
        equal(status(run), "QUEUED", run)
        equal(run in ids(worker), False, "it is with the worker")


def pause(worker, on):
    equal(S.rest("PATCH", f"/api/v1/workers/{worker.id.decode()}", {"isPaused": on})[0], 200)


def case_priorities():
    name = name_of("prio")
    put(name)
    w = Worker(name, slots=1)
    first = trigger(name)
    w.get(first)
    runs = [trigger(name, priority=p) for p in (1, 3, 2, 3, 1)]
    order = [runs[i] for i in (1, 3, 2, 0, 4)]
    for run, after in zip([first, *order], order):
        w.completed(run)
        w.get(after)
    equal(ids(w), [first, *order])
    w.completed(order[-1])
    w.close()


def case_a_retry_comes_first():
    name = name_of("retryfirst")
    put(name, retries=1)
    w = Worker(name, slots=1)
    run = trigger(name, priority=1)
    w.get(run)
    others = [trigger(name, priority=3) for _ in range(3)]
    w.failed(run)
    equal(w.get(run, attempt=1).priority, 1, "the user's priority is shown")
    w.completed(run, attempt=1)
    for other in others:
        w.get(other)
        w.completed(other)
    w.close()


def case_slot_costs():
    name = name_of("cost")
    put(name, slot_requests=[v1.Int32Entry(key=b"gpu", value=5), v1.Int32Entry(key=b"default", value=1)])
    small = [Worker(name, slots=None, slot_config=[d.Int32Entry(key=b"gpu", value=3), d.Int32Entry(key=b"default", value=9)]) for _ in range(2)]
    run = trigger(name)
    big = Worker(name, slots=None, slot_config=[d.Int32Entry(key=b"gpu", value=9), d.Int32Entry(key=b"default", value=1)])
    big.get(run)  # not on the two that have 3 each
    second = trigger(name)
    rest = big.rest()["slotConfig"]
    equal((rest["gpu"]["limit"], rest["gpu"]["available"], rest["default"]["available"]), (9, 4, 0))
    big.completed(run)
    big.get(second)
    big.completed(second)
    for w in (*small, big):
        equal(len(ids(w)), 2 if w is big else 0)
        w.close()


def case_required_label():
    name = name_of("required")
    put(name, worker_labels=[want("model", "a100", required=True)])
    w = Worker(name, labels=[label("model", "h100"), label("memory", 512)])
    run = trigger(name)
    plain = trigger(name, desired_worker_labels=[want("memory", 512, comparator=v1.GREATER_THAN_OR_EQUAL, required=True)])
    w.get(plain)  # in place of the step's; and the one before it does not hide it
    got_nothing(w, run)
    upsert(w, label("model", "a100"))
    began = time.monotonic()
    w.get(run)
    equal(time.monotonic() - began < 2, True, "felt at once")
    upsert(w, label("model", 7))  # a number in place of the text
    other, behind = trigger(name), trigger(name, desired_worker_labels=[want("model", 7, required=True)])
    w.get(behind)
    got_nothing(w, other)
    call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[b(other)]), v1.CancelTasksResponse)
    for run in (run, plain, behind):
        w.completed(run)
    w.close()


def case_weights():
    name = name_of("weights")
    put(name, worker_labels=[want("zone", "near", weight=100), want("zone2", "mid", weight=10)])
    near, mid, far = (Worker(name, slots=1, labels=[x]) for x in (label("zone", "near"), label("zone2", "mid"), label("zone", "far")))
    runs = [trigger(name) for _ in range(4)]
    for w, run in zip((near, mid, far), runs):
        w.get(run)
    mid.completed(runs[1])
    mid.get(runs[3])  # a preference waits for nobody
    for w, run in ((near, runs[0]), (far, runs[2]), (mid, runs[3])):
        w.completed(run)
        w.close()


def case_equals_take_turns():
    name = name_of("turns")
    put(name)
    workers = [Worker(name, slots=10) for _ in range(3)]
    runs = [trigger(name) for _ in range(12)]
    until("all given", lambda: sum(len(ids(w)) for w in workers) == 12)
    equal([len(ids(w)) for w in workers], [4, 4, 4])
    for w in workers:
        for run in ids(w):
            w.completed(run)
        w.close()
    equal(sorted(runs), sorted(r for w in workers for r in ids(w)))


def case_hard_and_soft():
    for sticky in (v1.HARD, v1.SOFT, None):
        name = name_of("sticky")
        put(name, schedule_timeout=b"3s", **({} if sticky is None else {"wf_sticky": sticky}))
        one, two = Worker(name, slots=1), Worker(name, slots=1)
        first, second = (trigger(name, desired_worker_id=two.id) for _ in range(2))
        two.get(first)
        if sticky == v1.HARD:
            free = trigger(name)  # one that names nobody
            one.get(free)
            wait_status(second, "FAILED")  # its schedule timeout
            has(details(second).task_runs[0].value.error.decode(), "exceeded its schedule timeout of 3s")
            one.completed(free)
        else:
            one.get(second)
            one.completed(second)
        two.completed(first)
        nobody = trigger(name, desired_worker_id=b"00000000-0000-0000-0000-000000000001")
        if sticky == v1.HARD:
            wait_status(nobody, "FAILED")
        else:
            until("with anyone", lambda: nobody in ids(one) + ids(two))
            (one if nobody in ids(one) else two).completed(nobody)
        for w in (one, two):
            w.close()


def case_sticky_and_labels_survive_a_crash():
    """What a task asks for is stored with it: in the head and in the tail."""
    name, hard = name_of("crash"), name_of("hardcrash")
    put(name)
    put(hard, wf_sticky=v1.HARD)
    w = Worker(hard, slots=1)
    labelled = [trigger(name, desired_worker_labels=[want("size", 3, required=True, comparator=v1.GREATER_THAN)]) for _ in range(3)]
    named = trigger(hard, desired_worker_id=b"00000000-0000-0000-0000-000000000001")
    own = trigger(hard, desired_worker_id=w.id)
    w.get(own)
    S.kill9()
    S.start()
    fixture.W = Wire(S.grpc, S.token)
    small, big = Worker(name, labels=[label("size", 3)]), Worker(name, labels=[label("size", 4)])
    for run in labelled:
        big.get(run)
        big.completed(run)
    equal(ids(small), [])
    again = Worker(hard, slots=5)
    plain = trigger(hard)
    again.get(plain)
    equal(ids(again), [plain])
    equal(status(named), "QUEUED")
    for x in (small, big, again, w):
        x.close()


def case_tail():
    """More waits than memory holds, most of it for a worker that never comes."""
    if "64" not in " ".join(S.flags):
        raise AssertionError("this case needs --queue-memory 64")
    name = name_of("tail")
    put(name, wf_sticky=v1.HARD)
    gone = b"00000000-0000-0000-0000-000000000001"
    stuck = [trigger(name, desired_worker_id=gone) for _ in range(30)]
    w = Worker(name, slots=5)
    runs = [trigger(name) for _ in range(60)]
    for run in runs:
        w.get(run)
        w.completed(run)
    got_nothing(w, *stuck)
    w.close()


def case_pause():
    name = name_of("pause")
    put(name)
    w, other = Worker(name, slots=1), Worker(name, slots=1)
    pause(w, True)
    until("paused", lambda: w.rest()["status"] == "PAUSED")
    runs = [trigger(name) for _ in range(3)]
    other.get(runs[0])
    got_nothing(w, runs[1], runs[2])
    pause(w, False)
    w.get(runs[1])
    pause(w, True)
    w.completed(runs[1])  # what it has goes on
    other.completed(runs[0])
    other.get(runs[2])
    other.completed(runs[2])
    equal(ids(w), [runs[1]])
    for x in (w, other):
        x.close()


def case_graceful_stop():
    """As the SDKs leave: paused, the stream closed, beating on while the last task ends; nothing is given away meanwhile."""
    name = name_of("graceful")
    put(name)
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    w.started(run)
    pause(w, True)
    w.call.cancel()
    until("not listening", lambda: w.rest()["status"] != "ACTIVE")
    other = Worker(name)
    began = time.monotonic()
    while time.monotonic() - began < 6:  # longer than an unconfirmed delivery would take
        try:
            w.beat()
        except Refused as e:
            equal(e.code, "FAILED_PRECONDITION")  # recorded all the same
        equal(status(run), "RUNNING")
        w.stop.wait(0.5)
    w.completed(run)
    wait_status(run, "COMPLETED")
    equal(ids(other), [])
    equal(details(run).task_runs[0].value.error, b"")
    for x in (w, other):
        x.close()


def case_bad_labels():
    name = name_of("bad")
    for entry, words in ((v1.DesiredWorkerLabelsEntry(key=b"k"), "either str_value or int_value"),
                         (want("", "x"), "needs a key"), (want("k", "x", comparator=9), "comparator 9 is not known"),
                         (want("k", b"\xff".decode("latin-1") * 5000), "at most")):
        refused("INVALID_ARGUMENT", ["worker_labels", words], "/v1.AdminService/PutWorkflow", v1.CreateWorkflowVersionRequest(
            name=b(name), tasks=[v1.CreateTaskOpts(readable_id=b(name), action=b(f"{name}:{name}"), worker_labels=[entry])]),
            v1.CreateWorkflowVersionResponse)
    put(name)
    refused("INVALID_ARGUMENT", "desired_worker_labels", "/WorkflowService/TriggerWorkflow", v1.TriggerWorkflowRequest(
        name=b(name), input=b"{}", desired_worker_labels=[v1.DesiredWorkerLabelsEntry(key=b"k")]), wf.TriggerWorkflowResponse)
    refused("INVALID_ARGUMENT", "desired_worker_id", "/WorkflowService/TriggerWorkflow", v1.TriggerWorkflowRequest(
        name=b(name), input=b"{}", desired_worker_id=b"x"), wf.TriggerWorkflowResponse)
    refused("NOT_FOUND", "", "/Dispatcher/UpsertWorkerLabels", d.UpsertWorkerLabelsRequest(
        worker_id=b"00000000-0000-0000-0000-000000000001", labels=[label("a", 1)]), d.UpsertWorkerLabelsResponse)


if __name__ == "__main__":
    main(globals(), flags=["--queue-memory", "64"])
