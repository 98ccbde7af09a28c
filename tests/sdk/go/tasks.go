package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hatchet-dev/hatchet/pkg/client/types"
	"github.com/hatchet-dev/hatchet/pkg/worker"
	hatchet "github.com/hatchet-dev/hatchet/sdks/go"
)

// The workflows of the suite, one per case, and the marks by which workers and suite tell each other what happened: a line
// appended to a file of SUITE_DIR is seen by the suite, a file `go-X` lets the tasks that wait for X go on.

var dir = os.Getenv("SUITE_DIR")

type In struct {
	N    int    `json:"n"`
	Text string `json:"text"`
	Size int    `json:"size"`
}

type Out map[string]any

type markLine struct {
	What   string `json:"what"`
	Pid    int    `json:"pid"`
	At     int64  `json:"at"` // ms
	Retry  int    `json:"retry"`
	Worker string `json:"worker"`
}

func mark(name string, m markLine) {
	m.Pid, m.At = os.Getpid(), time.Now().UnixMilli()
	line, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "mark-"+name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err = f.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

func marks(name, what string) []markLine {
	text, err := os.ReadFile(filepath.Join(dir, "mark-"+name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		panic(err)
	}
	var all []markLine
	for _, line := range strings.Split(string(text), "\n") {
		var m markLine
		if line == "" {
			continue
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			panic(err)
		}
		if what == "" || m.What == what {
			all = append(all, m)
		}
	}
	return all
}

func letGo(name string) {
	if err := os.WriteFile(filepath.Join(dir, "go-"+name), nil, 0o600); err != nil {
		panic(err)
	}
}

func gate(ctx context.Context, name string) error {
	for {
		if _, err := os.Stat(filepath.Join(dir, "go-"+name)); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func untilCancelled(ctx hatchet.Context, name string) (Out, error) {
	err := gate(ctx, "never")
	mark(name, markLine{What: "cancelled"})
	return nil, err
}

type suite struct {
	client *hatchet.Client
	tasks  map[string]*hatchet.StandaloneTask
	sets   map[string][]hatchet.WorkflowBase
}

func newSuite() (*suite, error) {
	client, err := hatchet.NewClient()
	if err != nil {
		return nil, err
	}
	s := &suite{client: client, tasks: map[string]*hatchet.StandaloneTask{}, sets: map[string][]hatchet.WorkflowBase{}}
	add := func(set, name string, fn func(ctx hatchet.Context, in In) (Out, error), options ...hatchet.StandaloneTaskOption) {
		t := client.NewStandaloneTask("go-"+name, fn, options...)
		s.tasks[name] = t
		s.sets[set] = append(s.sets[set], t)
	}
	add("base", "wait", func(ctx hatchet.Context, in In) (Out, error) {
		return Out{"twice": in.N * 2, "text": in.Text}, nil
	})
	add("base", "many", func(ctx hatchet.Context, in In) (Out, error) { return Out{"n": in.N}, nil })
	add("base", "nowait", func(ctx hatchet.Context, in In) (Out, error) { return Out{"n": in.N + 1}, nil })
	add("base", "fail", func(ctx hatchet.Context, in In) (Out, error) {
		return nil, errors.New("the pump is dry: 42 < 43 – über")
	})
	add("base", "retry", func(ctx hatchet.Context, in In) (Out, error) {
		mark("go-retry", markLine{What: "ran", Retry: ctx.RetryCount()})
		if ctx.RetryCount() < 2 {
			return nil, errors.New("not yet")
		}
		return Out{"retry": ctx.RetryCount()}, nil
	}, hatchet.WithRetries(3))
	add("base", "final", func(ctx hatchet.Context, in In) (Out, error) {
		mark("go-final", markLine{What: "ran", Retry: ctx.RetryCount()})
		return nil, worker.NewNonRetryableError(errors.New("never again"))
	}, hatchet.WithRetries(5))
	add("base", "timeout", func(ctx hatchet.Context, in In) (Out, error) {
		return untilCancelled(ctx, "go-timeout")
	}, hatchet.WithExecutionTimeout(time.Second))
	add("base", "refresh", func(ctx hatchet.Context, in In) (Out, error) {
		began := time.Now()
		if err := ctx.RefreshTimeout("30s"); err != nil {
			return nil, err
		}
		for time.Since(began) < 9*time.Second {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		}
		return Out{"lasted": time.Since(began).Milliseconds()}, nil
	}, hatchet.WithExecutionTimeout(6*time.Second))
	add("base", "cancel", func(ctx hatchet.Context, in In) (Out, error) {
		mark("go-cancel", markLine{What: "started"})
		return untilCancelled(ctx, "go-cancel")
	})
	places := func(maxRuns int32, kind types.WorkflowConcurrencyLimitStrategy) *types.Concurrency {
		return &types.Concurrency{Expression: "input.text", MaxRuns: &maxRuns, LimitStrategy: &kind}
	}
	add("base", "keyed", func(ctx hatchet.Context, in In) (Out, error) {
		mark("go-keyed", markLine{What: "started", Worker: in.Text})
		err := gate(ctx, "keyed")
		mark("go-keyed", markLine{What: "ended", Worker: in.Text})
		return Out{"n": in.N}, err
	}, hatchet.WithConcurrency(places(2, types.GroupRoundRobin)))
	add("base", "newest", func(ctx hatchet.Context, in In) (Out, error) {
		mark("go-newest", markLine{What: "started"})
		return Out{"n": in.N}, gate(ctx, fmt.Sprintf("newest-%d", in.N))
	}, hatchet.WithConcurrency(places(1, types.CancelInProgress)))
	one, two, userKey, userLimit, hour := 1, 2, "input.text", "2", types.Hour
	add("base", "metered", func(ctx hatchet.Context, in In) (Out, error) { return Out{"n": in.N}, nil },
		hatchet.WithRateLimits(&types.RateLimit{Key: "go-api", Units: &two},
			&types.RateLimit{Key: userKey, KeyExpr: &userKey, Units: &one, LimitValueExpr: &userLimit, Duration: &hour}))
	half, byText := 500*time.Millisecond, "input.text"
	batch := client.NewStandaloneBatchTask("go-batch", func(ctx hatchet.Context, in map[string]In) (map[string]Out, error) {
		out := map[string]Out{}
		for member, i := range in {
			out[member] = Out{"n": i.N, "got": len(in)}
		}
		return out, nil
	}, hatchet.BatchConfig{MaxSize: 3, MaxInterval: &half, GroupKey: &byText})
	s.tasks["batch"] = batch
	s.sets["base"] = append(s.sets["base"], batch)
	add("base", "once", func(ctx hatchet.Context, in In) (Out, error) {
		return Out{"n": in.N}, gate(ctx, "once-"+in.Text)
	}, hatchet.WithWorkflowIdempotency(hatchet.IdempotencyConfig{Expression: "'go-' + input.text", TTL: time.Hour, Method: hatchet.IdempotencyMethodStatus}))
	add("base", "mended", func(ctx hatchet.Context, in In) (Out, error) {
		if _, err := os.Stat(filepath.Join(dir, "go-mended")); err != nil {
			return nil, errors.New("broken")
		}
		return Out{"retry": ctx.RetryCount()}, nil
	})
	add("base", "orphan", func(ctx hatchet.Context, in In) (Out, error) {
		mark("go-orphan", markLine{What: "started", Worker: ctx.WorkflowRunId()})
		return nil, gate(ctx, "never")
	})
	add("base", "mother", func(ctx hatchet.Context, in In) (Out, error) {
		_, err := s.tasks["orphan"].Run(ctx, In{})
		return Out{}, err
	})
	add("base", "large", func(ctx hatchet.Context, in In) (Out, error) {
		return Out{"got": len(in.Text), "text": strings.Repeat("b", in.Size)}, nil
	})
	add("base", "meta", func(ctx hatchet.Context, in In) (Out, error) {
		return Out{"meta": ctx.AdditionalMetadata()}, nil
	})
	add("base", "logs", func(ctx hatchet.Context, in In) (Out, error) {
		for i := range 5 {
			ctx.Log(fmt.Sprintf("line %d of the log", i))
		}
		return Out{"task": ctx.StepRunId()}, nil
	})
	add("share", "share", func(ctx hatchet.Context, in In) (Out, error) {
		mark("go-share", markLine{What: "started"})
		return Out{"pid": os.Getpid()}, gate(ctx, "share")
	})
	add("lost", "lost", func(ctx hatchet.Context, in In) (Out, error) {
		mark("go-lost", markLine{What: "started", Retry: ctx.RetryCount()})
		return Out{"pid": os.Getpid(), "retry": ctx.RetryCount()}, gate(ctx, "lost")
	}, hatchet.WithExecutionTimeout(300*time.Second))
	add("pause", "pause", func(ctx hatchet.Context, in In) (Out, error) {
		mark("go-pause", markLine{What: "started", Worker: ctx.Worker().ID()})
		return Out{"worker": ctx.Worker().ID()}, nil
	})
	add("stop", "stop", func(ctx hatchet.Context, in In) (Out, error) {
		mark("go-stop", markLine{What: "started", Worker: ctx.Worker().ID()})
		return Out{"worker": ctx.Worker().ID()}, gate(ctx, "stop")
	})
	add("base", "kid", func(ctx hatchet.Context, in In) (Out, error) {
		mark("go-kid", markLine{What: "ran", Retry: in.N})
		return Out{"n": in.N}, nil
	})
	add("base", "again", func(ctx hatchet.Context, in In) (Out, error) {
		sum := 0
		for n := 1; n <= 3; n++ {
			got, err := into[numbers](s.tasks["kid"].Run(ctx, In{N: n}))
			if err != nil {
				return nil, err
			}
			sum = sum*10 + got.N
		}
		if ctx.RetryCount() == 0 {
			return nil, errors.New("after its children")
		}
		return Out{"n": sum}, nil
	}, hatchet.WithRetries(1))
	add("zones", "zone", func(ctx hatchet.Context, in In) (Out, error) {
		if in.Text != "" {
			if err := ctx.Worker().UpsertLabels(map[string]any{"zone": in.Text}); err != nil {
				return nil, err
			}
		}
		return Out{"worker": ctx.Worker().ID()}, nil
	})
	add("zones", "child", func(ctx hatchet.Context, in In) (Out, error) {
		return Out{"worker": ctx.Worker().ID()}, nil
	}, hatchet.WithWorkflowStickyStrategy(types.StickyStrategy_HARD))
	add("zones", "parent", func(ctx hatchet.Context, in In) (Out, error) {
		got, err := into[numbers](s.tasks["child"].Run(ctx, In{}, hatchet.WithRunSticky(true)))
		return Out{"worker": ctx.Worker().ID(), "text": got.Worker}, err
	})
	for _, name := range []string{"server", "postgres"} {
		add("restart", name, func(ctx hatchet.Context, in In) (Out, error) {
			mark("go-"+name, markLine{What: "started", Retry: ctx.RetryCount()})
			return Out{"n": in.N, "retry": ctx.RetryCount()}, gate(ctx, name)
		}, hatchet.WithExecutionTimeout(120*time.Second))
	}
	return s, nil
}
