"""What the processes of the crash loop share: calls of the wire without an SDK, and the history each of them appends to."""
import os
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PB = os.path.join(TOP, "build", "crash-pb")
# gRPC would do work of its own in a child between fork and exec, and sometimes not come back from it
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

GONE = "gone"  # nobody answered: what became of the call is unknown


def generate():
    """Python messages from proto/; made once by the loop, before its processes start."""
    os.makedirs(PB, exist_ok=True)
    proto = os.path.join(TOP, "proto")
    files = [f for f in sorted(os.listdir(proto)) if f.endswith(".proto")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I" + proto, "--python_out=" + PB, *files], check=True)


sys.path.insert(0, PB)


class History:
    """One event a line: time, kind, words.  One write per line, so that a kill loses at most the line being written."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def put(self, kind, *words, at=None):
        t = time.monotonic() if at is None else at
        os.write(self.fd, f"{t:.6f} {kind} {' '.join(map(str, words))}\n".encode())
        return t


class Wire:
    """Unary calls by path.  call() gives the answer, or raises Refused with the code's name."""

    def __init__(self, address, token):
        import grpc
        self.grpc = grpc
        self.meta = (("authorization", "Bearer " + token),)
        self.channel = grpc.insecure_channel(address, options=[
            ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 400),
            ("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20),
            ("grpc.keepalive_time_ms", 10000), ("grpc.keepalive_timeout_ms", 20000)])
        self.methods = {}

    def method(self, path, reply):
        m = self.methods.get(path)
        if not m:
            m = self.methods[path] = self.channel.unary_unary(path, lambda x: x.SerializeToString(), reply.FromString)
        return m

    def call(self, path, request, reply, timeout=20):
        try:
            return self.method(path, reply)(request, metadata=self.meta, timeout=timeout)
        except self.grpc.RpcError as e:
            raise Refused(e.code().name, e.details(), dict(e.trailing_metadata() or ())) from None

    def stream(self, path, request, reply):
        m = self.channel.unary_stream(path, lambda x: x.SerializeToString(), reply.FromString)
        return m(request, metadata=self.meta)


class Refused(Exception):
    def __init__(self, code, text, trailers=None):
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.trailers = trailers or {}


def every(seconds, stop, fn):
    """Call fn each `seconds` until the event is set; a thread of its own."""
    def run():
        while not stop.wait(seconds):
            fn()
    t = threading.Thread(target=run, daemon=True)
    t.start()
    return t
