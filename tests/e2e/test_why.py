#!/usr/bin/env python3
"""Why a task waits: every reason, made by real workers, and its sentence.  test_why.py [NAME...]"""
import os
import http.server
import json
import re
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from hatchet import BIN, Server  # noqa: E402
from wire import Wire  # noqa: E402

QUEUE_MEMORY = 64
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"


def label(key, value):
    return d.WorkerLabelsEntry(key=b(key), value=d.WorkerLabels(**{"int_value" if isinstance(value, int) else "str_value":
                                                                   value if isinstance(value, int) else b(value)}))


def want(key, value, **more):
    return v1.DesiredWorkerLabelsEntry(key=b(key), value=v1.DesiredWorkerLabels(
        **{"int_value" if isinstance(value, int) else "str_value": value if isinstance(value, int) else b(value)}, **more))


def rule(kind="GROUP_ROUND_ROBIN", max_runs=1, expression="input.key"):
    return v1.Concurrency(expression=b(expression), max_runs=max_runs, limit_strategy=getattr(v1, kind))


def why(run):
    code, got, _ = S.rest("GET", f"/api/v1/stable/tasks/{run}/why")
    equal(code, 200, got)
    if got["rows"]:
        equal(got["summary"], got["rows"][0]["text"])
    return got


def reasons(run, *want_):
    """Waits until these are the reasons, in this order; gives their rows."""
    try:
        until(f"why {want_}", lambda: [r["reason"] for r in why(run)["rows"]] == list(want_))
    except TimeoutError:
        raise AssertionError(f"want {want_}, got {why(run)}") from None
    got = why(run)
    equal(got["status"], "QUEUED")
    return got["rows"]


def matches(text, pattern):
    if not re.fullmatch(pattern, text):
        raise AssertionError(f"{text!r} does not match {pattern!r}")


def no_reason(run, state, *parts):
    got = why(run)
    equal((got["rows"], got["status"]), ([], state))
    has(got["summary"], *parts)


def cancel(*runs):
    call("/v1.AdminService/CancelTasks", v1.CancelTasksRequest(external_ids=[b(r) for r in runs]), v1.CancelTasksResponse)


def case_no_worker():
    name = name_of("nobody")
    put(name)
    run = trigger(name)
    row, = reasons(run, "NO_WORKER")
    equal(row["text"], f'No connected worker has the action "{name}:{name}".')
    equal((row["action"], row["workers"], row["workersTotal"]), (f"{name}:{name}", [], 0))
    w = Worker(name)
    w.get(run)
    no_reason(run, "RUNNING", "It does not wait: it was given to worker", f'"{name}"', "has not begun")
    w.started(run)
    no_reason(run, "RUNNING", "It does not wait: it runs on worker", f'"{name}"')
    w.completed(run)
    no_reason(run, "COMPLETED", "It does not wait: it has ended as COMPLETED.")
    w.close()
    until("the worker inactive", lambda: w.rest()["status"] == "INACTIVE")
    run = trigger(name)
    row, = reasons(run, "NO_WORKER")
    matches(row["text"], rf'No connected worker has the action "{name}:{name}"; the last one was "{name}", seen at {TIME}\.')
    equal(([x["name"] for x in row["workers"]], row["workers"][0]["id"], row["workersTotal"]), ([name], w.id.decode(), 1))
    matches(row["workers"][0]["lastHeartbeatAt"], TIME)
    cancel(run)
    no_reason(run, "CANCELLED", "ended as CANCELLED")


def case_labels():
    name = name_of("labelled")
    put(name, worker_labels=[want("gpu", "a100", required=True), want("memory", 512, required=True, comparator=v1.GREATER_THAN_OR_EQUAL)])
    far = Worker(name, labels=[label("gpu", "t4")])
    run = trigger(name)
    row, = reasons(run, "LABELS")
    equal(row["text"], f'Worker "{name}" lacks gpu = "a100" (it has "t4"), memory >= 512 (it has none).')
    equal(row["workers"], [{"id": far.id.decode(), "name": name, "unmet": [
        {"key": "gpu", "comparator": "EQUAL", "wanted": "a100", "has": "t4"},
        {"key": "memory", "comparator": "GREATER_THAN_OR_EQUAL", "wanted": 512, "has": None}], "unmetTotal": 2, "weight": 0}])
    near = Worker(name, labels=[label("gpu", "a100"), label("memory", 64)])
    row, = reasons(run, "LABELS")
    until("both are told", lambda: why(run)["rows"][0]["workersTotal"] == 2)
    row, = reasons(run, "LABELS")
    equal(row["text"], f'2 workers do not have the labels it asks for; nearest: worker "{name}" lacks memory >= 512 (it has 64).')
    equal([x["id"] for x in row["workers"]], [near.id.decode(), far.id.decode()])
    own = trigger(name, desired_worker_labels=[want("zone", "eu", required=True)])
    row, = reasons(own, "LABELS")
    has(row["text"], 'lacks zone = "eu" (it has none)')
    light = trigger(name, desired_worker_labels=[want("gpu", "t4", weight=-5), want("memory", 64, weight=-7)])
    row, = reasons(light, "LABELS")
    equal(row["text"], f'2 workers do not have the labels it asks for; nearest: the labels of worker "{name}" weigh -5 together.')
    cancel(run, own, light)
    for w in (far, near):
        w.close()


def case_slots():
    name = name_of("full")
    put(name)
    w = Worker(name, slots=2)
    for run in (first := [trigger(name), trigger(name)]):
        w.get(run)
    waits, behind = trigger(name), trigger(name)
    row, = reasons(waits, "SLOTS")
    equal(row["text"], f'Worker "{name}" has 0 of its 2 slots free, 1 is needed.')
    equal(row["workers"], [{"id": w.id.decode(), "name": name, "slotType": "default", "needed": 1, "used": 2, "limit": 2}])
    equal(row["never"], False)
    row, queue = reasons(behind, "SLOTS", "QUEUE")
    equal((queue["text"], queue["ahead"]), ("1 task of its action comes before it.", 1))
    better = trigger(name, priority=3)
    row, queue = reasons(behind, "SLOTS", "QUEUE")
    equal((queue["text"], queue["ahead"]), ("2 tasks of its action come before it.", 2))
    w2 = Worker(name, slots=1)
    w2.get(better)
    row, = reasons(waits, "SLOTS")
    equal(row["text"], f'2 workers would take it, none has enough free slots: nearest is "{name}" with 0 of 2 free, 1 is needed.'
          if row["workers"][0]["limit"] == 2 else
          f'2 workers would take it, none has enough free slots: nearest is "{name}" with 0 of 1 free, 1 is needed.')
    w2.completed(better)
    w2.get(waits)
    cancel(behind, waits, *first)
    w.close()
    w2.close()


def case_slots_that_never_suffice():
    name = name_of("huge")
    put(name, slot_requests=[v1.Int32Entry(key=b"gpu", value=5)])
    w = Worker(name, slots=None, slot_config=[d.Int32Entry(key=b"gpu", value=3)])
    run = trigger(name)
    row, = reasons(run, "SLOTS")
    equal((row["text"], row["never"]), ('It can never run on the 1 worker that would take it: it needs 5 slots of type "gpu", worker '
                                        f'"{name}" has 3.', True))
    cancel(run)
    w.close()


def case_worker_paused():
    name = name_of("pausedworker")
    put(name)
    w = Worker(name)
    equal(S.rest("PATCH", f"/api/v1/workers/{w.id.decode()}", {"isPaused": True})[0], 200)
    run = trigger(name)
    row, = reasons(run, "WORKER_PAUSED")
    equal((row["text"], row["workers"]), (f'Worker "{name}" is paused.', [{"id": w.id.decode(), "name": name}]))
    other = Worker(name, labels=[label("a", 1)])
    other.get(run)
    labelled = trigger(name, desired_worker_labels=[want("a", 2, required=True)])
    row, paused = reasons(labelled, "LABELS", "WORKER_PAUSED")  # the nearest first
    equal(row["text"], f'Worker "{name}" lacks a = 2 (it has 1).')
    cancel(labelled)
    other.completed(run)
    other.close()
    w.close()


def case_sticky():
    name = name_of("sticky")
    put(name, wf_sticky=v1.HARD)
    w, other = Worker(name), Worker(name)
    w.close()
    until("the worker inactive", lambda: w.rest()["status"] == "INACTIVE")
    run = trigger(name, desired_worker_id=w.id)
    row, = reasons(run, "STICKY")
    equal(row["text"], f'It may only run on worker "{name}", which cannot take it; 1 other is not that one.')
    equal((row["desiredWorkerId"], row["workers"]), (w.id.decode(), [{"id": other.id.decode(), "name": name}]))
    cancel(run)
    other.close()


def case_concurrency():
    name = name_of("keyed")
    put(name, concurrency=[rule()])
    w = Worker(name, slots=50)
    first = trigger(name, '{"key":"a"}')
    w.get(first)
    second, third = trigger(name, '{"key":"a"}'), trigger(name, '{"key":"a"}')
    row, = reasons(third, "CONCURRENCY")
    matches(row["text"], rf'Its key "a" allows 1 at once and it is taken \(held by task {first} since {TIME}\); 1 waits before it\.')
    equal((row["key"], row["expression"], row["strategy"], row["limit"], row["never"], row["waiting"], row["ahead"], row["holdersTotal"]),
          ("a", "input.key", "GROUP_ROUND_ROBIN", 1, False, 2, 1, 1))
    held, = row["holders"]
    equal((held["taskId"], held["status"]), (first, "RUNNING"))
    assigned = S.pg.sql("select to_char(max(assigned_at) at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from hatchet.live "
                        f"where worker_no = (select worker_no from hatchet.worker where id = '{w.id.decode()}')")[0][0]
    equal(held["since"], assigned)
    w.completed(first)
    w.get(second)
    equal(reasons(third, "CONCURRENCY")[0]["holders"][0]["taskId"], second)
    # nobody to run it either
    w.close()
    until("the worker inactive", lambda: w.rest()["status"] == "INACTIVE")
    rows = reasons(third, "CONCURRENCY", "NO_WORKER")
    has(rows[0]["text"], "0 wait before it")
    cancel(second, third)


def case_concurrency_many_holders():
    name = name_of("manykeys")
    put(name, concurrency=[rule(max_runs=12)])
    w = Worker(name, slots=50)
    first = [trigger(name, '{"key":"a"}') for _ in range(12)]
    w.get(first[11])
    last = trigger(name, '{"key":"a"}')
    row, = reasons(last, "CONCURRENCY")
    equal((row["holdersTotal"], [h["taskId"] for h in row["holders"]]), (12, first[:10]))
    has(row["text"], "allows 12 at once and all are taken (held longest by task " + first[0])
    cancel(last, *first)
    w.close()


def case_concurrency_zero():
    name = name_of("zero")
    put(name, concurrency=[v1.Concurrency(expression=b"input.key", max_runs=1, limit_strategy=v1.GROUP_ROUND_ROBIN, max_runs_expression=b"input.n")])
    w = Worker(name)
    run = trigger(name, '{"key":"a","n":0}')
    row, = reasons(run, "CONCURRENCY")
    equal((row["text"], row["never"]), ('The limit of its key "a" is 0: nothing may run under it until the limit changes.', True))
    cancel(run)
    w.close()


def case_backoff():
    name = name_of("backoff")
    put(name, retries=3, backoff_factor=100.0, backoff_max_seconds=100)
    w = Worker(name)
    run = trigger(name)
    w.get(run)
    w.started(run)
    w.failed(run)
    row, = reasons(run, "BACKOFF")
    matches(row["text"], rf"Attempt 1 failed; attempt 2 may begin at {TIME}\.")
    equal(row["attempt"], 2)
    due = S.pg.sql("select to_char(due_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from hatchet.live where state = 3")
    equal([row["until"]], due[0])
    w.close()
    until("the worker inactive", lambda: w.rest()["status"] == "INACTIVE")
    reasons(run, "BACKOFF", "NO_WORKER")
    cancel(run)


def case_tail():
    """More wait than memory holds: the last one's rows are all there is of it."""
    name = name_of("long")
    put(name, worker_labels=[want("gpu", "a100", required=True)])
    w = Worker(name, labels=[label("gpu", "t4")])
    n = QUEUE_MEMORY * 3
    items = [v1.TriggerWorkflowRequest(name=b(name), input=b"{}") for _ in range(n)]
    m = wf.BulkTriggerWorkflowRequest(workflows=items)
    runs = [i.decode() for i in call("/WorkflowService/BulkTriggerWorkflow", m, wf.BulkTriggerWorkflowResponse).workflow_run_ids]
    labels, tail = reasons(runs[-1], "LABELS", "TAIL")
    equal(labels["text"], f'Worker "{name}" lacks gpu = "a100" (it has "t4").')
    equal((tail["text"], tail["ahead"], tail["aheadIsMore"]),
          (f"It waits in the database; {n - 1} other tasks of its action may come first.", n - 1, False))
    own = trigger(name, desired_worker_labels=[want("zone", "eu", required=True)])
    labels, tail = reasons(own, "LABELS", "TAIL")
    equal((labels["text"], tail["ahead"]), (f'Worker "{name}" lacks zone = "eu" (it has none).', n))
    cancel(*runs, own)
    w.close()


def case_tail_of_a_key():
    name = name_of("longkey")
    put(name, concurrency=[rule()])
    w = Worker(name, slots=50)
    n = QUEUE_MEMORY * 3
    items = [v1.TriggerWorkflowRequest(name=b(name), input=b'{"key":"a"}') for _ in range(n)]
    m = wf.BulkTriggerWorkflowRequest(workflows=items)
    runs = [i.decode() for i in call("/WorkflowService/BulkTriggerWorkflow", m, wf.BulkTriggerWorkflowResponse).workflow_run_ids]
    w.get(runs[0])
    row, tail = reasons(runs[-1], "CONCURRENCY", "TAIL")
    equal((row["key"], [h["taskId"] for h in row["holders"]]), ("a", runs[:1]))
    has(row["text"], f'Its key "a" allows 1 at once and it is taken (held by task {runs[0]} since ')
    cancel(*runs)
    w.close()


def case_sql_request():
    name = name_of("fromsql")
    put(name)
    rid = S.pg.sql(f"select hatchet.enqueue('{name}', '{{}}')")[0][0]
    until("the request is a run", lambda: S.rest("GET", f"/api/v1/stable/workflow-runs/{rid}/status")[0] == 200)
    reasons(rid, "NO_WORKER")
    cancel(rid)


def case_not_found():
    for path, code in (("nonsense", 400), ("00000000-0000-4000-8000-000000000001", 404)):
        equal(S.rest("GET", f"/api/v1/stable/tasks/{path}/why")[0], code)
    equal(S.rest("GET", "/api/v1/stable/tasks/00000000-0000-4000-8000-000000000001/why", token="x")[0], 403)


# --- the command ----------------------------------------------------------------------------------------------------------------


def cli(*words, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SERVER_", "HATCHET_", "DATABASE_"))}
    return subprocess.run([BIN, "runs", "why", *words], env={**clean, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)


def done(p, want_, *parts):
    equal((p.returncode, p.stderr if want_ == 0 else ""), (want_, ""), p.stdout + p.stderr)
    has(p.stdout if want_ == 0 else p.stderr, *parts)
    if want_:
        equal(len(p.stderr.splitlines()), 1, p.stderr)


def timeless(text):
    """The last sign of a worker that goes may come between two answers."""
    return re.sub(TIME, "TIME", text)


def case_cli():
    name = name_of("cli")
    put(name, concurrency=[rule()])
    w = Worker(name)
    first = trigger(name, '{"key":"a"}')
    w.get(first)
    run = trigger(name, '{"key":"a"}')
    w.close()
    until("the worker inactive", lambda: w.rest()["status"] == "INACTIVE")
    rows = reasons(run, "CONCURRENCY", "NO_WORKER")
    human = "".join(["QUEUED\n", *(f"{i + 1}. {r['text']}\n" for i, r in enumerate(rows))])
    here = ["--data-dir", S.data_dir]
    p = cli(run, *here, "--token", S.token)
    equal((p.returncode, timeless(p.stdout), p.stderr), (0, timeless(human), ""))
    env = S.client_env()
    p = cli(run, **{k: env[k] for k in ("HATCHET_CLIENT_TOKEN", "HATCHET_CLIENT_SERVER_URL")})
    equal((p.returncode, timeless(p.stdout), p.stderr), (0, timeless(human), ""))
    p = cli(run, "--json", "--url", S.url + "/", "--token", S.token)
    equal((p.returncode, json.loads(p.stdout)["rows"]), (0, rows))
    cancel(first, run)
    done(cli(run, *here, "--token", S.token), 0, "CANCELLED\nIt does not wait: it has ended as CANCELLED.\n")
    done(cli(run, *here), 1, "the server wants a token", "HATCHET_CLIENT_TOKEN")
    done(cli(run, *here, "--token", "nonsense"), 1, "hatchet: ")
    done(cli("00000000-0000-4000-8000-000000000001", *here, "--token", S.token), 1, "hatchet: task: there is no 00000000-0000-4000-8000-000000000001")
    done(cli("../../x", *here), 2, "ID: expected")
    done(cli(*here), 2, "ID is missing")
    done(cli(run, "--url", "ftp://x"), 2, "--url: expected")
    done(cli(run, "--data-dir", S.dir + "/none"), 1, "no server runs on", "HATCHET_CLIENT_SERVER_URL")
    done(cli(run, "--url", "http://127.0.0.1:1"), 1, "cannot reach 127.0.0.1:1: Connection refused")
    done(cli(run, "--url", f"https://127.0.0.1:{S.http_port}"), 1, "no TLS with")


def case_rate_limits():
    L = v1.CreateTaskRateLimit
    hour, unset, small = name_of("hour"), name_of("unset"), name_of("small")
    for key, units in ((hour, 2), (small, 1)):
        call("/WorkflowService/PutRateLimit", wf.PutRateLimitRequest(key=b(key), limit=units, duration=2), wf.PutRateLimitResponse)
    name = name_of("metered")
    put(name, rate_limits=[L(key=b(hour), units=2)])
    w = Worker(name)
    first = trigger(name)
    w.get(first)
    row = reasons(trigger(name), "RATE_LIMIT")[0]
    matches(row["text"], f'Rate limit "{hour}" has 0 of 2 units left, it needs 2; more come at {TIME}[.]')
    equal([row["key"], row["units"], row["limit"], row["left"], row["never"]], [hour, 2, 2, 0, False])
    put(name, rate_limits=[L(key=b(unset), units=1)])
    equal(reasons(trigger(name), "RATE_LIMIT")[0]["text"], f'Rate limit "{unset}" is not set.')
    put(name, rate_limits=[L(key=b(small), units=3), L(key=b(hour), units=1)])
    rows = reasons(trigger(name), "RATE_LIMIT", "RATE_LIMIT")
    equal(rows[0]["text"], f'It needs 3 units of rate limit "{small}", which allows 1: it can never run.')
    equal([r["never"] for r in rows], [True, False])
    w.completed(first)
    w.close()


def case_paused_workflow():
    name = name_of("resting")
    put(name)
    w = Worker(name)
    flow = S.rest("GET", f"/t/workflows?name={name}")[1]["rows"][0]["metadata"]["id"]
    equal(S.rest("PATCH", f"/api/v1/workflows/{flow}", {"pause": {"action": "pause"}})[0], 200)
    run = trigger(name)
    matches(reasons(run, "PAUSED")[0]["text"], f'Workflow "{name}" is paused since {TIME}[.]')
    equal(S.rest("PATCH", f"/api/v1/workflows/{flow}", {"pause": {"action": "pause", "pausedWorkflowQueueTTL": "1h"}})[0], 200)
    matches(reasons(run, "PAUSED")[0]["text"], f'Workflow "{name}" is paused since {TIME}[.] It is cancelled at {TIME} if it still waits then[.]')
    equal(S.rest("PATCH", f"/api/v1/workflows/{flow}", {"pause": {"action": "unpause"}})[0], 200)
    w.get(run)
    w.completed(run)
    w.close()


def proxied(reply):
    """A server that answers every request with these bytes; gives its port."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.wfile.write(reply)
            self.close_connection = True

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def case_cli_replies():
    """What proxies make of an answer, and what is none."""
    some = "00000000-0000-4000-8000-000000000001"
    body = b'{"status":"QUEUED","rows":[],"summary":"well"}'
    head = b"HTTP/1.1 200 OK\r\n"
    halves = b"".join(b"%x;x=y\r\n%s\r\n" % (len(p), p) for p in (body[:20], body[20:]))
    good = [head + b"\r\n" + body, head + b"content-LENGTH:  %d \r\n\r\n" % len(body) + body + b"more",
            head + b"Transfer-Encoding: chunked\r\n\r\n" + halves + b"0\r\n\r\n"]
    for reply in good:
        done(cli(some, "--url", f"http://localhost:{proxied(reply)}"), 0, "QUEUED\nwell\n")
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    short = [head + b"Content-Length: 1000\r\n\r\n" + body, chunked + halves, chunked + b"ffffffffffffffffff\r\nx", chunked + b"\r\n", chunked]
    for reply in short:
        done(cli(some, "--url", f"http://127.0.0.1:{proxied(reply)}"), 1, "the answer ends in the middle")
    for reply in (b"", b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n\r\n"):
        done(cli(some, "--url", f"http://127.0.0.1:{proxied(reply)}"), 1, "does not speak HTTP/1.1")
    done(cli(some, "--url", f"http://127.0.0.1:{proxied(b'HTTP/1.1 404 No' + bytes([13, 10, 13, 10]) + b'<html>')}"), 1,
         "is no hatchet server (status 404)")


def case_cli_over_tls():
    S.pg.create("overtls")
    other = Server(S.pg, db="overtls", flags=["--tls", "self"])
    try:
        other.spawn()
        until("the server is ready", lambda: os.path.exists(other.env_file) or not other.alive())
        env = other.client_env()
        own = {k: env[k] for k in ("HATCHET_CLIENT_TOKEN", "HATCHET_CLIENT_SERVER_URL", "HATCHET_CLIENT_TLS_ROOT_CA_FILE")}
        has(own["HATCHET_CLIENT_SERVER_URL"], "https://")
        some = "00000000-0000-4000-8000-000000000001"
        done(cli(some, **own), 1, "hatchet: task: there is no 00000000-0000-4000-8000-000000000001")
        done(cli(some, "--data-dir", other.data_dir, "--token", own["HATCHET_CLIENT_TOKEN"]), 1, "hatchet: task: there is no 00000000-0000-4000-8000-000000000001")
        own["HATCHET_CLIENT_TLS_ROOT_CA_FILE"] = __file__
        done(cli(some, **own), 1, "cannot be read as certificates")
        own.pop("HATCHET_CLIENT_TLS_ROOT_CA_FILE")
        done(cli(some, **own), 1, "hatchet: ")
    finally:
        other.stop()
        other.close()


if __name__ == "__main__":
    fixture.main(globals(), flags=["--queue-memory", str(QUEUE_MEMORY)])
