"""One worker process: worker.py NAME SET SLOTS [ZONE]; ZONE is a label of it."""
import sys

from tasks import SETS, hatchet

if __name__ == "__main__":
    labels = {"zone": zone for zone in sys.argv[4:]}
    hatchet.worker(sys.argv[1], slots=int(sys.argv[3]), workflows=SETS[sys.argv[2]], labels=labels).start()
