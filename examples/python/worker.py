"""A worker with one task.  The environment (HATCHET_CLIENT_*) is what `hatchet server start --env-file` writes."""
from hatchet_sdk import Context, Hatchet
from pydantic import BaseModel

hatchet = Hatchet()


class Name(BaseModel):
    name: str


@hatchet.task(name="greet", input_validator=Name)
def greet(input: Name, ctx: Context) -> dict[str, str]:
    return {"greeting": f"Hello, {input.name}!"}


if __name__ == "__main__":
    hatchet.worker("demo-worker", workflows=[greet]).start()
