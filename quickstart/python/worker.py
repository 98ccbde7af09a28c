from tasks import greet, hatchet

if __name__ == "__main__":
    hatchet.worker("quickstart", workflows=[greet]).start()
