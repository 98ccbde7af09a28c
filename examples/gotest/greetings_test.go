package greetings

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	hatchet "github.com/hatchet-dev/hatchet/sdks/go"

	"hatchet-example-gotest/hatchettest"
)

var (
	client *hatchet.Client
	greet  *hatchet.StandaloneTask
	lucky  *hatchet.StandaloneTask
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// A server and a worker for all tests of this package.
func run(m *testing.M) (code int, err error) {
	server, err := hatchettest.Start()
	if err != nil {
		return 1, err
	}
	defer func() {
		if stopErr := server.Stop(); err == nil {
			err = stopErr
		}
	}()
	if client, err = hatchet.NewClient(); err != nil {
		return 1, err
	}
	greet, lucky = Greet(client), ThirdTimeLucky(client)
	worker, err := client.NewWorker("tests", hatchet.WithWorkflows(greet, lucky))
	if err != nil {
		return 1, err
	}
	stop, err := worker.Start()
	if err != nil {
		return 1, err
	}
	code = m.Run()
	return code, stop()
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func result[T any](t *testing.T, task *hatchet.StandaloneTask, in any) (out T) {
	t.Helper()
	r, err := task.Run(within(t), in)
	if err == nil {
		err = r.Into(&out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestResult(t *testing.T) {
	if got := result[Greeting](t, greet, Name{"Go"}); got.Greeting != "Hello, Go!" {
		t.Errorf("got %q", got.Greeting)
	}
}

func TestRetries(t *testing.T) {
	if got := result[Attempts](t, lucky, Name{}); got.Attempts != 3 {
		t.Errorf("got %d attempts", got.Attempts)
	}
}

func TestFreshServer(t *testing.T) {
	list, err := client.Workflows().List(within(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(*list.Rows) != 2 {
		t.Errorf("%d workflows, only 2 are ours", len(*list.Rows))
	}
}
