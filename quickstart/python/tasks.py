from hatchet_sdk import Context, Hatchet
from pydantic import BaseModel

hatchet = Hatchet()  # the environment or the file .env (HATCHET_CLIENT_*) says where the server is


class Name(BaseModel):
    name: str


@hatchet.task(name="greet", input_validator=Name, retries=3)
def greet(input: Name, ctx: Context) -> dict[str, str]:
    return {"greeting": f"Hello, {input.name}!"}
