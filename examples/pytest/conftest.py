"""A Hatchet server for the tests: a fresh one per test process, so that `pytest -n 8` has eight of them, and none knows of another."""
import asyncio
import contextlib
import os
import signal
import threading
import time

import pytest
from hatchet_sdk import WorkerStatus
from hatchet_sdk.config import EmbeddedHatchetConfig
from hatchet_sdk.embedded import start_embedded_sidecar, stop_embedded_sidecar


def pytest_configure(config):
    """Before any test module is imported: a `Hatchet()` at the top of the application takes its settings from the environment."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # with xdist this process only hands out tests
    os.environ.pop("HATCHET_CLIENT_TOKEN", None)  # a developer's own
    server = start_embedded_sidecar(EmbeddedHatchetConfig(binary_path=os.environ.get("HATCHET_BINARY", "hatchet"))).handshake
    os.environ.update(HATCHET_CLIENT_TOKEN=server.token, HATCHET_CLIENT_HOST_PORT=server.grpc_address, HATCHET_CLIENT_TLS_STRATEGY="none",
                      HATCHET_CLIENT_SERVER_URL=server.api_url)


def pytest_unconfigure(config):
    stop_embedded_sidecar()


@pytest.fixture(scope="session", autouse=True)
def worker():
    """A worker in a thread of this process: what a test patches, its tasks see."""
    from greetings import greet, hatchet, third_time_lucky

    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)}
    worker = hatchet.worker("tests", workflows=[greet, third_time_lucky])
    for s, handler in handlers.items():
        signal.signal(s, handler)  # Ctrl-C is for pytest

    def run():
        with contextlib.suppress(SystemExit):  # the end of a worker would be that of its process
            worker.start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while worker.status != WorkerStatus.HEALTHY:
        assert thread.is_alive(), "the worker did not start"
        time.sleep(0.02)
    yield worker
    asyncio.run_coroutine_threadsafe(worker.exit_gracefully(), worker.loop)
    thread.join(10)
