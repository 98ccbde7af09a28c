// The worker runs tasks until it is told to stop.
package main

import (
	"context"
	"log"
	"os/signal"
	"syscall"

	hatchet "github.com/hatchet-dev/hatchet/sdks/go"

	"quickstart/greet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	client, err := hatchet.NewClient() // the environment (HATCHET_CLIENT_*) says where the server is
	if err != nil {
		log.Fatal(err)
	}
	worker, err := client.NewWorker("quickstart", hatchet.WithWorkflows(greet.Task(client)))
	if err != nil {
		log.Fatal(err)
	}
	if err := worker.StartBlocking(ctx); err != nil {
		log.Fatal(err)
	}
}
