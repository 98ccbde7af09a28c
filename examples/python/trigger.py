"""Runs the task of worker.py and prints its result."""
from worker import Name, greet

print(greet.run(Name(name="Hatchet"))["greeting"])
