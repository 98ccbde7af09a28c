"""A worker with the official SDK: worker.py WORKFLOW FILE.  Each run appends the number of its input to the file."""
import os
import sys

from hatchet_sdk import Context, Hatchet
from pydantic import BaseModel

hatchet = Hatchet()
out = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


class Number(BaseModel):
    i: int


@hatchet.task(name=sys.argv[1], input_validator=Number, execution_timeout="60s", schedule_timeout="600s")
async def count(input: Number, ctx: Context) -> dict[str, int]:
    os.write(out, f"{input.i}\n".encode())
    return {"i": input.i}


if __name__ == "__main__":
    hatchet.worker("sql", slots=200, workflows=[count]).start()
