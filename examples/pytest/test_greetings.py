import greetings
import pytest
from greetings import Name, greet, third_time_lucky


def test_a_result():
    assert greet.run(Name(name="pytest")) == {"greeting": "Hello, pytest!"}


@pytest.mark.parametrize("name", ["Ada", "Grace", "Barbara", "Frances"])
def test_many(name):
    assert greet.run(Name(name=name))["greeting"] == f"Hello, {name}!"


def test_retries():
    assert third_time_lucky.run(Name(name="x")) == {"attempts": 3}


def test_a_fresh_server():
    """Nobody else's workflows are here."""
    assert {w.name for w in greetings.hatchet.workflows.list().rows} == {"greet", "third-time-lucky"}


async def answer():
    return await greet.aio_run(Name(name="await"))


def test_async():
    import asyncio

    assert asyncio.run(answer()) == {"greeting": "Hello, await!"}
