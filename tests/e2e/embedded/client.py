"""The embedded mode of the Python SDK with a binary of one's own: client.py [wait]."""
import json
import os
import sys
import threading

from hatchet_sdk import Context, Hatchet
from hatchet_sdk.config import ClientConfig, EmbeddedHatchetConfig
from hatchet_sdk.embedded import _active_sidecars
from pydantic import BaseModel

hatchet = Hatchet.from_embedded(ClientConfig(embedded=EmbeddedHatchetConfig(binary_path=os.environ["HATCHET_BINARY"])))


class Name(BaseModel):
    name: str


@hatchet.task(name="greet", input_validator=Name)
def greet(input: Name, ctx: Context) -> dict[str, str]:
    return {"greeting": f"Hello, {input.name}!"}


def tell(what):
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    tell({"pid": _active_sidecars[0].process.pid})
    if sys.argv[1:] == ["wait"]:
        threading.Event().wait()
    worker = hatchet.worker("embedded", workflows=[greet])
    worker.register_workflow(greet)  # else it would be unknown until the worker's thread has told the server
    threading.Thread(target=worker.start, daemon=True).start()
    tell(greet.run(Name(name="embed")))
    hatchet.stop_embedded()
    tell({"stopped": True})
    os._exit(0)
