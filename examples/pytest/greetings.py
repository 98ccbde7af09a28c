"""The application: two tasks, written without a thought of tests."""
from hatchet_sdk import Context, Hatchet
from pydantic import BaseModel

hatchet = Hatchet()


class Name(BaseModel):
    name: str


@hatchet.task(name="greet", input_validator=Name)
def greet(input: Name, ctx: Context) -> dict[str, str]:
    return {"greeting": f"Hello, {input.name}!"}


@hatchet.task(name="third-time-lucky", input_validator=Name, retries=2)
def third_time_lucky(input: Name, ctx: Context) -> dict[str, int]:
    if ctx.retry_count < 2:
        raise RuntimeError("not yet")
    return {"attempts": ctx.retry_count + 1}
