// Package greet has the task.
package greet

import hatchet "github.com/hatchet-dev/hatchet/sdks/go"

type Name struct {
	Name string `json:"name"`
}

type Greeting struct {
	Greeting string `json:"greeting"`
}

func Task(client *hatchet.Client) *hatchet.StandaloneTask {
	return client.NewStandaloneTask("greet", func(ctx hatchet.Context, in Name) (Greeting, error) {
		return Greeting{"Hello, " + in.Name + "!"}, nil
	}, hatchet.WithRetries(3))
}
