// Package greetings is the application: two tasks.
package greetings

import (
	"errors"

	hatchet "github.com/hatchet-dev/hatchet/sdks/go"
)

type Name struct {
	Name string `json:"name"`
}

type Greeting struct {
	Greeting string `json:"greeting"`
}

type Attempts struct {
	Attempts int `json:"attempts"`
}

func Greet(client *hatchet.Client) *hatchet.StandaloneTask {
	return client.NewStandaloneTask("greet", func(ctx hatchet.Context, in Name) (Greeting, error) {
		return Greeting{"Hello, " + in.Name + "!"}, nil
	})
}

func ThirdTimeLucky(client *hatchet.Client) *hatchet.StandaloneTask {
	return client.NewStandaloneTask("third-time-lucky", func(ctx hatchet.Context, in Name) (Attempts, error) {
		if ctx.RetryCount() < 2 {
			return Attempts{}, errors.New("not yet")
		}
		return Attempts{ctx.RetryCount() + 1}, nil
	}, hatchet.WithRetries(2))
}
