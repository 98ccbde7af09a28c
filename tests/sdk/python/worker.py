"""One worker process: worker.py NAME SET SLOTS."""
import sys

from tasks import SETS, hatchet

if __name__ == "__main__":
    hatchet.worker(sys.argv[1], slots=int(sys.argv[3]), workflows=SETS[sys.argv[2]]).start()
