// Acceptance cases of the official Go SDK: suite main|restart|tls; suite worker NAME SET SLOTS is one worker process.
// Run by tests/sdk/drive.py, which starts the servers and sets HATCHET_CLIENT_*, SUITE_DIR and CONTROL_URL.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	hatchet "github.com/hatchet-dev/hatchet/sdks/go"
)

type proc struct {
	cmd   *exec.Cmd
	id    string
	ended chan struct{}
	err   error
}

var (
	procsLock sync.Mutex
	procs     []*proc
)

func (p *proc) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func until(what string, seconds int, check func() (bool, error)) error {
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for {
		ok, err := check()
		if err != nil || ok {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited %d s for: %s", seconds, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func seen(name, what string, n int) error {
	return until(name+" "+what, 30, func() (bool, error) { return len(marks(name, what)) >= n, nil })
}

// A worker process, ready when the engine lists it with an open stream.
func (s *suite) startWorker(ctx context.Context, name, set string, slots int, zone ...string) (*proc, error) {
	log, err := os.Create(filepath.Join(dir, "worker-"+name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &proc{cmd: exec.Command(os.Args[0], append([]string{"worker", name, set, strconv.Itoa(slots)}, zone...)...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	procsLock.Lock()
	procs = append(procs, p)
	procsLock.Unlock()
	return p, until("worker "+name+" listed", 60, func() (bool, error) {
		if !p.alive() {
			return false, fmt.Errorf("worker %s ended: see worker-%s.log", name, name)
		}
		list, err := s.client.Workers().List(ctx)
		if err != nil || list.Rows == nil {
			return false, err
		}
		for _, w := range *list.Rows {
			if w.Name == name && w.Status != nil && *w.Status == "ACTIVE" {
				p.id = w.Metadata.Id
				return true, nil
			}
		}
		return false, nil
	})
}

func (s *suite) serve(name, set string, slots int, zone []string) error {
	labels := map[string]any{}
	for _, z := range zone {
		labels["zone"] = z
	}
	w, err := s.client.NewWorker(name, hatchet.WithWorkflows(s.sets[set]...), hatchet.WithSlots(slots), hatchet.WithLabels(labels))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return w.StartBlocking(ctx)
}

func runCase(ctx context.Context, number int, name string, fn func(context.Context) error) bool {
	began := time.Now()
	ctx, stop := context.WithTimeout(ctx, 120*time.Second)
	defer stop()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- fn(ctx)
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = fmt.Errorf("took more than 120 s")
	}
	if err != nil {
		fmt.Printf("not ok %d - %s: %.1500s\n", number, name, err)
		return false
	}
	fmt.Printf("ok %d - %s (%.1f s)\n", number, name, time.Since(began).Seconds())
	return true
}

type namedCase struct {
	name string
	fn   func(context.Context) error
}

func (s *suite) run(group string) int {
	ctx := context.Background()
	list, set := s.mainCases(), "base"
	if group == "restart" {
		list, set = s.restartCases(), "restart"
	} else if group == "tls" {
		list = slices.DeleteFunc(list, func(c namedCase) bool {
			return !slices.Contains([]string{"run_and_wait", "run_many", "run_without_waiting", "large_payload"}, c.name)
		})
	}
	good := 0
	_, err := s.startWorker(ctx, "go-"+group, set, 100)
	if err != nil {
		fmt.Printf("not ok 0 - %s: %v\n", group, err)
	} else if group == "restart" {
		for i, c := range list {
			if runCase(ctx, i+1, c.name, c.fn) {
				good++
			}
		}
	} else {
		var wait sync.WaitGroup
		var lock sync.Mutex
		for i, c := range list {
			wait.Go(func() {
				ok := runCase(ctx, i+1, c.name, c.fn)
				lock.Lock()
				defer lock.Unlock()
				if ok {
					good++
				}
			})
		}
		wait.Wait()
	}
	for _, p := range procs {
		if p.alive() {
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	}
	fmt.Printf("%d passed, %d failed, 0 skipped\n", good, len(list)-good)
	if good < len(list) {
		return 1
	}
	return 0
}

func main() {
	s, err := newSuite()
	if err == nil && len(os.Args) >= 5 && os.Args[1] == "worker" {
		slots, bad := strconv.Atoi(os.Args[4])
		if err = bad; err == nil {
			err = s.serve(os.Args[2], os.Args[3], slots, os.Args[5:])
		}
	} else if err == nil && len(os.Args) == 2 {
		os.Exit(s.run(os.Args[1]))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
