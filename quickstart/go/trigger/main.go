// Asks for a run of the task and waits for its result.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	hatchet "github.com/hatchet-dev/hatchet/sdks/go"

	"quickstart/greet"
)

func main() {
	name := "Hatchet"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	client, err := hatchet.NewClient()
	if err != nil {
		log.Fatal(err)
	}
	result, err := greet.Task(client).Run(context.Background(), greet.Name{Name: name})
	if err != nil {
		log.Fatal(err)
	}
	var out greet.Greeting
	if err := result.Into(&out); err != nil {
		log.Fatal(err)
	}
	fmt.Println(out.Greeting)
}
