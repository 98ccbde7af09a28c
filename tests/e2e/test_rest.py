#!/usr/bin/env python3
"""REST and HTTP/1.1 as clients use them: a plain run, its cancel, its logs, its worker; shapes, errors, and HTTP itself.

test_rest.py [NAME...]"""
import gzip
import json
import os
import re
import socket
import sys
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fixture import *  # noqa: E402,F403
import fixture  # noqa: E402
from hatchet import until  # noqa: E402

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
SINCE = "since=2024-01-01T00:00:00Z"


def is_time(v):
    return isinstance(v, str) and bool(TIME.match(v))


def is_uuid(v):
    return str(uuid.UUID(v)) == v


def shape(got, fields):
    """Each field is there and of its kind: a type, a function, or a nested shape."""
    for k, kind in fields.items():
        if k not in got:
            raise AssertionError(f"no {k} in {json.dumps(got)[:500]}")
        v = got[k]
        if isinstance(kind, dict):
            shape(v, kind)
        elif not (isinstance(v, kind) if isinstance(kind, type) else kind(v)):
            raise AssertionError(f"{k} is {v!r}")


META = {"id": is_uuid, "createdAt": is_time, "updatedAt": is_time}
TASK = {"metadata": META, "status": str, "displayName": str, "taskExternalId": is_uuid, "taskId": int, "taskInsertedAt": is_time, "tenantId": is_uuid,
        "type": str, "workflowId": is_uuid, "workflowRunExternalId": is_uuid, "numSpawnedChildren": int, "input": dict, "output": dict}


def get(path, want=200, **more):
    got = S.rest("GET", path, **more)
    equal(got[0], want, f"GET {path}: {got[1]!r}")
    return got[1]


def finished(case):
    name = name_of(case)
    put(name)
    w = Worker(name)
    run = trigger(name, '{"n":1}', additional_metadata=b'{"who":"me"}')
    w.get(run)
    w.started(run)
    w.completed(run, '{"done":true}')
    return name, w, run


def case_a_plain_run():
    name, w, run = finished("plain")
    got = get(f"/api/v1/stable/workflow-runs/{run}")
    shape(got, {"run": {"metadata": META, "status": str, "displayName": str, "workflowId": is_uuid, "tenantId": is_uuid, "input": dict, "output": dict},
                "tasks": list, "taskEvents": list, "shape": list})
    equal((got["run"]["status"], got["run"]["metadata"]["id"], len(got["tasks"])), ("COMPLETED", run, 1))
    equal(got["run"]["additionalMetadata"], {"who": "me"})
    shape(got["tasks"][0], {k: v for k, v in TASK.items() if k not in ("input",)})
    equal(get(f"/api/v1/stable/workflow-runs/{run}/status"), "COMPLETED")
    task = get(f"/api/v1/stable/tasks/{run}")
    shape(task, TASK)
    equal((task["output"], task["attempt"], task["retryCount"]), ({"done": True}, 1, 0))
    for k in ("startedAt", "finishedAt"):
        equal(is_time(task[k]), True, k)
    events = get(f"/api/v1/stable/workflow-runs/{run}/task-events")["rows"]
    for e in events:
        shape(e, {"id": int, "taskId": is_uuid, "timestamp": is_time, "eventType": str, "message": str})
    equal([e["eventType"] for e in sorted(events, key=lambda e: (e["timestamp"], e["id"]))][-1], "FINISHED")
    rows = get(f"/st/workflow-runs?{SINCE}&only_tasks=false&additional_metadata=who:me&limit=1000")["rows"]
    equal(run in [r["metadata"]["id"] for r in rows], True, "listed")
    rows = get(f"/st/workflow-runs?{SINCE}&only_tasks=true&statuses=COMPLETED&workflow_ids={task['workflowId']}")["rows"]
    equal([r["metadata"]["id"] for r in rows], [run])
    rows = get(f"/st/workflow-runs?{SINCE}&only_tasks=true&statuses=FAILED&statuses=QUEUED&workflow_ids={task['workflowId']}")["rows"]
    equal(rows, [])
    equal(get(f"/st/workflow-runs/external-ids?{SINCE}&workflow_ids={task['workflowId']}"), [run])
    counts = {m["status"]: m["count"] for m in get(f"/st/task-metrics?{SINCE}&workflow_ids={task['workflowId']}")}
    equal(counts, {"QUEUED": 0, "RUNNING": 0, "COMPLETED": 1, "CANCELLED": 0, "FAILED": 0})
    w.close()


def case_trigger_over_rest():
    name = name_of("resttrigger")
    put(name)
    got = S.rest("POST", "/st/workflow-runs/trigger", {"workflowName": name, "input": {"a": 1}, "additionalMetadata": {"m": "n"}})
    equal(got[0], 200, got[1])
    run = got[1]["run"]["metadata"]["id"]
    equal(json.loads(details(run).input), {"a": 1})
    equal(S.rest("POST", "/st/workflow-runs/trigger", {"workflowName": "nowhere", "input": {}})[0], 404)
    for body in (b"{", b"[]", {"input": {}}, {"workflowName": name, "input": {}, "priority": 99}):
        status, reply, _ = S.rest("POST", "/st/workflow-runs/trigger", body)
        equal((status, bool(reply["errors"][0]["description"])), (400, True), body)


def case_cancel():
    name = name_of("restcancel")
    ids = put(name)
    runs = [trigger(name) for _ in range(3)]
    got = S.rest("POST", "/st/tasks/cancel", {"externalIds": [runs[0]]})
    equal((got[0], got[1]), (200, {"ids": [runs[0]]}))
    equal(get(f"/api/v1/stable/workflow-runs/{runs[0]}/status"), "CANCELLED")
    body = {"filter": {"since": "2024-01-01T00:00:00Z", "workflowIds": [ids.workflow_id.decode()], "statuses": ["QUEUED"]}}
    got = S.rest("POST", "/st/tasks/cancel", body)
    equal((got[0], set(got[1]["ids"])), (200, set(runs[1:])))
    for r in runs:
        equal(get(f"/api/v1/stable/workflow-runs/{r}/status"), "CANCELLED")
    equal(S.rest("POST", "/st/tasks/cancel", {})[0], 400)
    equal(S.rest("POST", "/st/tasks/cancel", {"externalIds": ["x"]})[0], 400)


def case_logs():
    name, w, run = finished("restlogs")
    for i in range(3):
        m = ev.PutLogRequest(task_run_external_id=b(run), message=b(f"line {i}"), level=b"INFO", metadata=b"{}")
        call("/EventsService/PutLog", m, ev.PutLogResponse)
    rows = get(f"/api/v1/stable/tasks/{run}/logs")["rows"]
    for r in rows:
        shape(r, {"createdAt": is_time, "message": str, "metadata": dict, "level": str})
    equal(len(get(f"/api/v1/stable/tasks/{run}/logs?limit=2")["rows"]), 2)
    equal([r["message"] for r in get(f"/api/v1/stable/tasks/{run}/logs?search=line%201")["rows"]], ["line 1"])
    equal(get(f"/api/v1/stable/tasks/{run}/logs?levels=ERROR")["rows"], [])
    get(f"/api/v1/stable/tasks/{run}/logs?levels=LOUD", 400)
    w.close()


def case_workers():
    name = name_of("restworker")
    put(name)
    w = Worker(name, slots=7)
    wid = w.id.decode()
    rows = {r["metadata"]["id"]: r for r in get("/t/worker")["rows"]}
    shape(rows[wid], {"metadata": META, "name": str, "type": str, "status": str, "slotConfig": dict, "actions": list, "lastHeartbeatAt": is_time})
    shape(get(f"/api/v1/workers/{wid}"), {"metadata": META, "name": str, "type": str, "status": str})
    equal(S.rest("PATCH", f"/api/v1/workers/{wid}", {"isPaused": True})[0], 200)
    equal(get(f"/api/v1/workers/{wid}")["status"], "PAUSED")
    run = trigger(name)
    equal(status(run), "QUEUED")
    equal(S.rest("PATCH", f"/api/v1/workers/{wid}", {"isPaused": "yes"})[0], 400)
    equal(S.rest("PATCH", f"/api/v1/workers/{wid}", {"isPaused": False})[0], 200)
    w.get(run)
    equal(get(f"/api/v1/workers/{wid}")["slotConfig"]["default"], {"available": 6, "limit": 7})
    w.completed(run)
    w.close()
    until("inactive", lambda: get(f"/api/v1/workers/{wid}")["status"] == "INACTIVE")
    get(f"/api/v1/workers/{uuid.uuid4()}", 404)


def case_workflows():
    name = name_of("restflow")
    ids = put(name)
    rows = get("/t/workflows?name=" + name.upper())["rows"]
    equal([r["name"] for r in rows], [name], "a substring, whatever its case")
    shape(rows[0], {"metadata": META, "name": str, "tenantId": is_uuid, "versions": list})
    shape(get(f"/api/v1/workflows/{ids.workflow_id.decode()}"), {"metadata": META, "name": str})
    shape(get(f"/api/v1/workflows/{ids.workflow_id.decode()}/versions"), {"metadata": META, "workflowId": is_uuid})


def case_tenant_and_versions():
    got = get("/api/v1/tenants/" + S.tenant())
    equal((got["version"], got["metadata"]["id"]), ("V1", S.tenant()))
    equal(get("/api/v1/version")["version"], "v0.110.3")
    equal(S.rest("GET", "/live", token="")[0], 200)
    equal(S.rest("GET", "/ready", token="")[0], 200)
    status, text, headers = S.rest("GET", "/metrics", token="")
    equal((status, headers["Content-Type"].split(";")[0]), (200, "text/plain"))
    for line in text.decode().splitlines():
        if not (line.startswith("# ") or re.match(r'^[a-z_]+(\{[^}]*\})? [0-9.e+-]+$', line)):
            raise AssertionError(f"not a figure: {line}")
    equal(b"hatchet_" in text, True)


def case_errors():
    run = trigger_some()
    for method, path, body, want in (
            ("GET", f"/api/v1/stable/workflow-runs/{uuid.uuid4()}", None, 404), ("GET", "/api/v1/stable/workflow-runs/x", None, 400),
            ("GET", f"/api/v1/stable/tasks/{run}?attempt=x", None, 400), ("GET", "/st/workflow-runs?only_tasks=true", None, 400),
            ("GET", f"/st/workflow-runs?{SINCE}&only_tasks=maybe", None, 400), ("GET", f"/st/workflow-runs?{SINCE}&only_tasks=true&limit=100000", None, 400),
            ("GET", f"/st/workflow-runs?{SINCE}&only_tasks=true&statuses=LOST", None, 400), ("GET", "/st/workflow-runs?since=soon&only_tasks=true", None, 400),
            ("GET", "/api/v1/no/such/path", None, 404), ("DELETE", "/t/workflows", None, 405), ("GET", "/st/filters", None, 501),
            ("GET", f"/api/v1/tenants/{uuid.uuid4()}/workflows", None, 403)):
        status, reply, headers = S.rest(method, path, body)
        equal(status, want, f"{method} {path}: {reply!r}")
        if not (isinstance(reply, dict) and reply["errors"][0]["description"]):
            raise AssertionError(f"{method} {path}: {reply!r}")
        has(headers["Content-Type"], "application/json")
    status, reply, _ = S.rest("GET", "/t/workflows", token="x.y.z")
    equal((status, "errors" in reply), (403, True))


def trigger_some():
    name = name_of("some")
    put(name)
    return trigger(name)


# --- HTTP/1.1 itself ---------------------------------------------------------------------------------------------------------


class Raw:
    def __init__(self):
        self.s = socket.create_connection(("127.0.0.1", S.http_port), timeout=20)
        self.f = self.s.makefile("rb")

    def send(self, text):
        self.s.sendall(text if isinstance(text, bytes) else text.encode())

    def read(self, head=False):
        """(status, headers, body); None at the end of the connection."""
        line = self.f.readline()
        if not line:
            return None
        headers = {}
        while True:
            h = self.f.readline().decode().rstrip("\r\n")
            if not h:
                break
            k, v = h.split(":", 1)
            headers[k.lower()] = v.strip()
        status = int(line.split()[1])
        if head or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                n = int(self.f.readline().split(b";")[0], 16)
                body += self.f.read(n)
                self.f.readline()
                if n == 0:
                    break
        else:
            body = self.f.read(int(headers["content-length"]))
        return status, headers, body

    def ask(self, method, path, more="", body=b""):
        self.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {S.token}\r\n{more}\r\n".encode() + body)
        return self.read(method == "HEAD")


def case_keep_alive_and_pipelining():
    r = Raw()
    for _ in range(3):
        equal(r.ask("GET", "/live")[0], 200)
    r.send("GET /live HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
    equal([r.read()[0] for _ in range(5)], [200] * 5)
    got = r.ask("GET", "/live", "Connection: close\r\n")
    equal((got[0], got[1].get("connection")), (200, "close"))
    equal(r.read(), None)
    r = Raw()
    r.send("GET /live HTTP/1.0\r\n\r\n")
    equal(r.read()[0], 200)
    equal(r.read(), None)


def case_bodies():
    name = name_of("body")
    put(name)
    text = json.dumps({"workflowName": name, "input": {"k": "v"}}).encode()
    path = f"/api/v1/stable/tenants/{S.tenant()}/workflow-runs/trigger"
    chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(text[i:i + 7]), text[i:i + 7]) for i in range(0, len(text), 7)) + b"0\r\nTrailer: x\r\n\r\n"
    r = Raw()
    equal(r.ask("POST", path, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", chunks)[0], 200)
    equal(r.ask("POST", path, f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n", text)[0], 200)
    r.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {S.token}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
           f"Content-Length: {len(text)}\r\n\r\n")
    equal(r.f.readline().split()[1], b"100")
    r.f.readline()
    r.send(text)
    equal(r.read()[0], 200)
    for more, body, want in (("Transfer-Encoding: chunked\r\n", b"zz\r\n", 400), ("Content-Length: 5\r\nContent-Length: 6\r\n", b"", 400),
                             ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"", 400), ("Content-Length: -1\r\n", b"", 400),
                             ("Transfer-Encoding: gzip\r\n", b"", 501), (f"Content-Length: {1 << 40}\r\n", b"", 413), ("Bad header\r\n", b"", 400),
                             ("X: " + "a" * 70000 + "\r\n", b"", 431), (" folded: x\r\n", b"", 400)):
        r = Raw()
        got = r.ask("POST", path, more, body)
        equal(got[0], want, more[:60])
        equal(r.read(), None, "closed after a malformed request")
    equal(len(get(f"/st/workflow-runs?{SINCE}&only_tasks=true&workflow_ids={put(name).workflow_id.decode()}")["rows"]), 3)


def case_static_files():
    r = Raw()
    status, headers, body = r.ask("GET", "/")
    equal((status, headers["content-type"].split(";")[0]), (200, "text/html"))
    tag = headers["etag"]
    equal(r.ask("GET", "/", f"If-None-Match: {tag}\r\n")[0], 304)
    equal(r.ask("GET", "/", 'If-None-Match: "other"\r\n')[0], 200)
    status, h, none = r.ask("HEAD", "/")
    equal((status, none, h["content-length"]), (200, b"", headers["content-length"]))
    status, h, part = r.ask("GET", "/", "Range: bytes=5-9\r\n")
    equal((status, part, h["content-range"]), (206, body[5:10], f"bytes 5-9/{len(body)}"))
    equal(r.ask("GET", "/", "Range: bytes=-4\r\n")[2], body[-4:])
    status, h, _ = r.ask("GET", "/", f"Range: bytes={len(body)}-\r\n")
    equal((status, h["content-range"]), (416, f"bytes */{len(body)}"))
    equal(r.ask("GET", "/", "Range: lines=1-2\r\n")[0], 200, "an unknown unit is no range")
    equal(r.ask("GET", "/", f'Range: bytes=5-9\r\nIf-Range: "other"\r\n')[0], 200)
    status, h, packed = r.ask("GET", "/", "Accept-Encoding: gzip\r\n")
    if h.get("content-encoding") == "gzip":
        equal(gzip.decompress(packed), body)
        has(h["vary"].lower(), "accept-encoding")
    status, _, _ = r.ask("GET", "/../etc/passwd")
    equal(status in (400, 404), True, status)


def case_large_replies_are_packed():
    name = name_of("packed")
    put(name)
    trigger(name, json.dumps({"text": "a" * 200000}))
    r = Raw()
    path = f"/api/v1/stable/tenants/{S.tenant()}/workflow-runs?{SINCE}&only_tasks=true&include_payloads=true&limit=10"
    plain = r.ask("GET", path)
    equal(plain[0], 200)
    status, h, packed = r.ask("GET", path, "Accept-Encoding: br, gzip;q=0.8\r\n")
    equal((status, h.get("content-encoding")), (200, "gzip"))
    equal(json.loads(gzip.decompress(packed)), json.loads(plain[2]))
    if len(packed) * 5 > len(plain[2]):
        raise AssertionError(f"{len(packed)} of {len(plain[2])} bytes")
    equal(r.ask("GET", path, "Accept-Encoding: gzip;q=0\r\n")[1].get("content-encoding"), None)


def case_payload_pages_have_a_limit():
    name = name_of("pages")
    ids = put(name)
    for _ in range(6):
        trigger(name, json.dumps({"text": "a" * 4000000}))
    q = f"/st/workflow-runs?{SINCE}&only_tasks=true&workflow_ids={ids.workflow_id.decode()}&include_payloads=true"
    status, reply, _ = S.rest("GET", q)
    equal(status, 400)
    has(reply["errors"][0]["description"], "limit", "fewer runs")
    equal(len(get(q + "&limit=3")["rows"]), 3)


if __name__ == "__main__":
    fixture.main(globals())
