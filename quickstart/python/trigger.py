import sys

from tasks import Name, greet

result = greet.run(Name(name=sys.argv[1] if len(sys.argv) > 1 else "Hatchet"))
print(result["greeting"])
