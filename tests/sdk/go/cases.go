package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/hatchet-dev/hatchet/pkg/client/rest"
	"github.com/hatchet-dev/hatchet/pkg/client/types"
	hatchet "github.com/hatchet-dev/hatchet/sdks/go"
	"github.com/hatchet-dev/hatchet/sdks/go/features"
)

const (
	limit      = 4 << 20
	inputLimit = limit - 64<<10
)

func equal(what string, got, want any) error {
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

func has(text string, parts ...string) error {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return fmt.Errorf("%q is not in %.400q", p, text)
		}
	}
	return nil
}

// The result of a task as the type that it is asked for; JSON numbers stay numbers.
func into[T any](r *hatchet.TaskResult, err error) (T, error) {
	var out T
	if err != nil {
		return out, err
	}
	return out, r.Into(&out)
}

func (s *suite) result(ref *hatchet.WorkflowRunRef, name string) (*hatchet.TaskResult, error) {
	r, err := ref.Result()
	if err != nil {
		return nil, err
	}
	return r.TaskOutput("go-" + name), nil
}

func (s *suite) status(ctx context.Context, id string) (rest.V1TaskStatus, error) {
	st, err := s.client.Runs().GetStatus(ctx, id)
	if err != nil {
		return "", err
	}
	return *st, nil
}

func (s *suite) wantStatus(ctx context.Context, id string, want rest.V1TaskStatus) error {
	got, err := s.status(ctx, id)
	return errors.Join(err, equal("status", got, want))
}

func (s *suite) start(ctx context.Context, name string, in In, opts ...hatchet.RunOptFunc) (*hatchet.WorkflowRunRef, error) {
	return s.tasks[name].RunNoWait(ctx, in, opts...)
}

type numbers struct {
	N, Twice, Retry, Got, Lasted, Pid int
	Text, Task, Worker                string
	Meta                              map[string]string
}

func (s *suite) call(ctx context.Context, name string, in In, opts ...hatchet.RunOptFunc) (numbers, error) {
	return into[numbers](s.tasks[name].Run(ctx, in, opts...))
}

func (s *suite) outcome(ref *hatchet.WorkflowRunRef, name string) (numbers, error) {
	return into[numbers](s.result(ref, name))
}

func (s *suite) runAndWait(ctx context.Context) error {
	got, err := s.call(ctx, "wait", In{N: 21, Text: "hé 🦀"})
	return errors.Join(err, equal("result", got, numbers{Twice: 42, Text: "hé 🦀"}))
}

func (s *suite) runMany(ctx context.Context) error {
	items := make([]hatchet.RunManyOpt, 1000)
	for i := range items {
		items[i].Input = In{N: i}
	}
	refs, err := s.tasks["many"].RunMany(ctx, items)
	if err != nil {
		return err
	}
	var got, want []int
	for i := range refs {
		n, err := s.outcome(&refs[i], "many")
		if err != nil {
			return err
		}
		got, want = append(got, n.N), append(want, i)
	}
	sort.Ints(got) // the SDK triggers side by side
	return equal("results", got, want)
}

func (s *suite) runWithoutWaiting(ctx context.Context) error {
	ref, err := s.start(ctx, "nowait", In{N: 1})
	if err != nil {
		return err
	}
	got, err := s.outcome(ref, "nowait")
	if err != nil {
		return err
	}
	id := uuid.MustParse(ref.RunId)
	details, err := s.client.Runs().GetDetails(ctx, id)
	if err != nil {
		return err
	}
	run, err := s.client.Runs().Get(ctx, ref.RunId)
	if err != nil {
		return err
	}
	return errors.Join(equal("result", got.N, 2), equal("details", string(details.Status), "COMPLETED"),
		equal("status over REST", run.Run.Status, rest.V1TaskStatusCOMPLETED), s.wantStatus(ctx, ref.RunId, "COMPLETED"))
}

// This SDK reports an error as a JSON string, quotes and escapes and all; it is carried as it came.
func plain(text string) string {
	var s string
	if at := strings.IndexByte(text, '"'); at >= 0 && json.Unmarshal([]byte(text[at:]), &s) == nil {
		return s
	}
	return text
}

func (s *suite) failing(ctx context.Context) error {
	text := "the pump is dry: 42 < 43 – über"
	ref, err := s.start(ctx, "fail", In{})
	if err != nil {
		return err
	}
	_, err = ref.Result()
	if err == nil {
		return errors.New("a failed run gave a result")
	}
	if err = has(plain(err.Error()), text); err != nil {
		return err
	}
	run, err := s.client.Runs().Get(ctx, ref.RunId)
	if err != nil {
		return err
	}
	return errors.Join(equal("status", run.Run.Status, rest.V1TaskStatusFAILED), has(plain(*run.Tasks[0].ErrorMessage), text))
}

func retries(name string) []int {
	var all []int
	for _, m := range marks(name, "ran") {
		all = append(all, m.Retry)
	}
	return all
}

func (s *suite) retryThatSucceeds(ctx context.Context) error {
	got, err := s.call(ctx, "retry", In{})
	return errors.Join(err, equal("retry count", got.Retry, 2), equal("attempts", retries("go-retry"), []int{0, 1, 2}))
}

func (s *suite) nonRetryable(ctx context.Context) error {
	_, err := s.call(ctx, "final", In{})
	if err == nil {
		return errors.New("a failed run gave a result")
	}
	return errors.Join(has(err.Error(), "never again"), equal("attempts", retries("go-final"), []int{0}))
}

func (s *suite) timeout(ctx context.Context) error {
	began := time.Now()
	_, err := s.call(ctx, "timeout", In{})
	took := time.Since(began)
	if err == nil {
		return errors.New("a timed out run gave a result")
	}
	if took < 900*time.Millisecond || took > 10*time.Second {
		return fmt.Errorf("the timeout of 1 s came after %v", took)
	}
	return errors.Join(has(err.Error(), "exceeded timeout of 1s"), seen("go-timeout", "cancelled", 1))
}

func (s *suite) refreshOfTheTimeout(ctx context.Context) error {
	got, err := s.call(ctx, "refresh", In{})
	if err == nil && got.Lasted < 9000 {
		err = fmt.Errorf("ended after %d ms", got.Lasted)
	}
	return err
}

func (s *suite) cancel(ctx context.Context) error {
	ref, err := s.start(ctx, "cancel", In{})
	if err != nil {
		return err
	}
	if err = seen("go-cancel", "started", 1); err != nil {
		return err
	}
	ids := []uuid.UUID{uuid.MustParse(ref.RunId)}
	if _, err = s.client.Runs().Cancel(ctx, rest.V1CancelTaskRequest{ExternalIds: &ids}); err != nil {
		return err
	}
	return errors.Join(s.wantStatus(ctx, ref.RunId, "CANCELLED"), seen("go-cancel", "cancelled", 1))
}

func (s *suite) concurrency(ctx context.Context) error {
	var refs []*hatchet.WorkflowRunRef
	for i := range 6 {
		ref, err := s.start(ctx, "keyed", In{N: i, Text: map[bool]string{true: "a", false: "b"}[i < 5]})
		if err != nil {
			return err
		}
		refs = append(refs, ref)
	}
	if err := errors.Join(seen("go-keyed", "started", 3), s.wantStatus(ctx, refs[2].RunId, "QUEUED")); err != nil {
		return err
	}
	letGo("keyed")
	for i, ref := range refs {
		got, err := s.outcome(ref, "keyed")
		if err = errors.Join(err, equal("result", got, numbers{N: i})); err != nil {
			return err
		}
	}
	running, most := 0, 0
	for _, m := range marks("go-keyed", "") {
		if m.Worker != "a" {
			continue
		}
		running += map[bool]int{true: 1, false: -1}[m.What == "started"]
		most = max(most, running)
	}
	if err := equal("of a at once", most, 2); err != nil {
		return err
	}
	first, err := s.start(ctx, "newest", In{N: 1, Text: "k"})
	if err = errors.Join(err, seen("go-newest", "started", 1)); err != nil {
		return err
	}
	second, err := s.start(ctx, "newest", In{N: 2, Text: "k"})
	if err = errors.Join(err, s.wantStatus(ctx, first.RunId, "CANCELLED")); err != nil {
		return err
	}
	letGo("newest-2")
	got, err := s.outcome(second, "newest")
	return errors.Join(err, equal("result", got, numbers{N: 2}))
}

func (s *suite) rateLimits(ctx context.Context) error {
	waits, err := s.start(ctx, "metered", In{Text: "u0"})
	if err != nil {
		return err
	}
	if err = s.client.RateLimits().Upsert(features.CreateRatelimitOpts{Key: "go-api", Limit: 8, Duration: types.Hour}); err != nil {
		return err
	}
	if _, err = s.outcome(waits, "metered"); err != nil {
		return err
	}
	for range 2 {
		if _, err = s.call(ctx, "metered", In{Text: "u1"}); err != nil {
			return err
		}
	}
	third, err := s.start(ctx, "metered", In{Text: "u1"})
	if err != nil {
		return err
	}
	if _, err = s.call(ctx, "metered", In{Text: "u2"}); err != nil {
		return err
	}
	if err = s.wantStatus(ctx, third.RunId, "QUEUED"); err != nil {
		return err
	}
	list, err := s.client.RateLimits().List(ctx, nil)
	if err != nil {
		return err
	}
	values := map[string]int{}
	for _, r := range *list.Rows {
		values[r.Key] = r.Value
	}
	ids := []uuid.UUID{uuid.MustParse(third.RunId)}
	_, err = s.client.Runs().Cancel(ctx, rest.V1CancelTaskRequest{ExternalIds: &ids})
	return errors.Join(err, equal("units left", []int{values["go-api"], values["u1"], values["u2"]}, []int{0, 0, 1}))
}

// Three of a key in one call, the one that is left over alone when its time has come; keys apart.
func (s *suite) batch(ctx context.Context) error {
	var refs []*hatchet.WorkflowRunRef
	for i := range 5 {
		ref, err := s.start(ctx, "batch", In{N: i, Text: map[bool]string{true: "a", false: "b"}[i < 4]})
		if err != nil {
			return err
		}
		refs = append(refs, ref)
	}
	var of []int
	for i, ref := range refs {
		got, err := s.outcome(ref, "batch")
		if err = errors.Join(err, equal("member", got.N, i)); err != nil {
			return err
		}
		of = append(of, got.Got)
	}
	sort.Ints(of)
	return equal("sizes", of, []int{1, 1, 3, 3, 3})
}

// One run of a key while it is not over; a bulk says which of its runs were not made.
func (s *suite) idempotency(ctx context.Context) error {
	first, err := s.start(ctx, "once", In{N: 1, Text: "a"})
	if err != nil {
		return err
	}
	_, err = s.start(ctx, "once", In{N: 2, Text: "a"})
	held, ok := hatchet.IsIdempotencyCollisionError(err)
	if !ok {
		return fmt.Errorf("a second run of one key: %v", err)
	}
	_, err = s.tasks["once"].RunMany(ctx, []hatchet.RunManyOpt{{Input: In{N: 3, Text: "a"}}, {Input: In{N: 4, Text: "b"}}})
	bulk, ok := hatchet.IsBulkTriggerIdempotencyCollisionError(err)
	if !ok {
		return fmt.Errorf("a bulk with a key that is held: %v", err)
	}
	letGo("once-a")
	letGo("once-b")
	got, err := s.outcome(first, "once")
	if err != nil {
		return err
	}
	again, err := s.call(ctx, "once", In{N: 6, Text: "a"})
	return errors.Join(err, equal("holder", held.ExistingRunExternalId, first.RunId), equal("first", got.N, 1),
		equal("made", len(bulk.SuccessfulRunExternalIds), 1), equal("refused", len(bulk.Collisions), 1), equal("free again", again.N, 6))
}

func (s *suite) replay(ctx context.Context) error {
	ref, err := s.start(ctx, "mended", In{})
	if err != nil {
		return err
	}
	if _, err = ref.Result(); err == nil {
		return errors.New("it did not fail")
	}
	letGo("mended")
	ids := []uuid.UUID{uuid.MustParse(ref.RunId)}
	if _, err = s.client.Runs().Replay(ctx, rest.V1ReplayTaskRequest{ExternalIds: &ids}); err != nil {
		return err
	}
	return until("the replay to end", 30, func() (bool, error) {
		st, err := s.status(ctx, ref.RunId)
		return st == "COMPLETED", err
	})
}

func (s *suite) childrenEndWithTheirParent(ctx context.Context) error {
	ref, err := s.start(ctx, "mother", In{})
	if err = errors.Join(err, seen("go-orphan", "started", 1)); err != nil {
		return err
	}
	child := marks("go-orphan", "started")[0].Worker
	ids := []uuid.UUID{uuid.MustParse(ref.RunId)}
	if _, err = s.client.Runs().Cancel(ctx, rest.V1CancelTaskRequest{ExternalIds: &ids}); err != nil {
		return err
	}
	return until("the child cancelled", 30, func() (bool, error) {
		st, err := s.status(ctx, child)
		return st == "CANCELLED", err
	})
}

func (s *suite) largePayload(ctx context.Context) error {
	in, out := inputLimit-2048, limit-2048
	got, err := s.call(ctx, "large", In{Text: strings.Repeat("a", in)})
	if err = errors.Join(err, equal("bytes that reached the worker", got.Got, in)); err != nil {
		return err
	}
	got, err = s.call(ctx, "large", In{Size: out})
	return errors.Join(err, equal("bytes of the result", len(got.Text), out))
}

func (s *suite) payloadOverTheLimit(ctx context.Context) error {
	_, err := s.start(ctx, "large", In{Text: strings.Repeat("a", inputLimit+1)})
	if err == nil {
		return errors.New("an input over the limit was taken")
	}
	text := err.Error()
	for _, number := range regexp.MustCompile(`\d{7,}`).FindAllString(text, -1) {
		if n, _ := strconv.Atoi(number); n > inputLimit && n < limit {
			return has(text, strconv.Itoa(inputLimit))
		}
	}
	return fmt.Errorf("the size asked for is not named: %.400s", text)
}

func (s *suite) metadata(ctx context.Context) error {
	meta := map[string]string{"customer": "go-acme", "trace": "a:b,c"}
	ref, err := s.start(ctx, "meta", In{}, hatchet.WithRunMetadata(meta))
	if err != nil {
		return err
	}
	got, err := s.outcome(ref, "meta")
	if err != nil {
		return err
	}
	run, err := s.client.Runs().Get(ctx, ref.RunId)
	if err != nil {
		return err
	}
	filter := []string{"customer:go-acme"}
	found, err := s.client.Runs().List(ctx, rest.V1WorkflowRunListParams{Since: time.Now().Add(-time.Hour), AdditionalMetadata: &filter})
	if err != nil {
		return err
	}
	var ids []string
	for _, r := range found.Rows {
		ids = append(ids, r.Metadata.Id)
	}
	return errors.Join(equal("metadata in the task", got.Meta, meta),
		equal("metadata over REST", (*run.Run.AdditionalMetadata)["trace"], any("a:b,c")),
		equal("runs listed by metadata", ids, []string{ref.RunId}))
}

func (s *suite) logs(ctx context.Context) error {
	got, err := s.call(ctx, "logs", In{})
	if err != nil {
		return err
	}
	id := uuid.MustParse(got.Task)
	want := "line 0 of the log,line 1 of the log,line 2 of the log,line 3 of the log,line 4 of the log"
	return until("the five lines over REST", 30, func() (bool, error) {
		list, err := s.client.Logs().List(ctx, id, nil)
		if err != nil || list.Rows == nil {
			return false, err
		}
		var lines []string
		for _, l := range *list.Rows {
			lines = append(lines, l.Message)
		}
		sort.Strings(lines)
		return strings.Join(lines, ",") == want, nil
	})
}

func (s *suite) childrenOnce(ctx context.Context) error {
	got, err := s.call(ctx, "again", In{})
	return errors.Join(err, equal("result", got.N, 123), equal("children of both attempts", len(marks("go-kid", "ran")), 3))
}

func (s *suite) twoWorkersShare(ctx context.Context) error {
	for _, name := range []string{"go-share-a", "go-share-b"} {
		if _, err := s.startWorker(ctx, name, "share", 5); err != nil {
			return err
		}
	}
	refs, err := s.tasks["share"].RunMany(ctx, make([]hatchet.RunManyOpt, 12))
	if err != nil {
		return err
	}
	if err = seen("go-share", "started", 10); err != nil {
		return err
	}
	counts := map[int]int{}
	for _, m := range marks("go-share", "started") {
		counts[m.Pid]++
	}
	for pid, n := range counts {
		if n != 5 {
			return fmt.Errorf("worker %d runs %d tasks, want 5: %v", pid, n, counts)
		}
	}
	letGo("share")
	for i := range refs {
		if _, err := refs[i].Result(); err != nil {
			return err
		}
	}
	return nil
}

func inZone(zone string) hatchet.RunOptFunc {
	return hatchet.WithDesiredWorkerLabels(map[string]*types.DesiredWorkerLabel{"zone": {Value: zone, Required: true}})
}

func (s *suite) labelsAndSticky(ctx context.Context) error {
	workers := map[string]*proc{}
	for _, zone := range []string{"a", "b"} {
		w, err := s.startWorker(ctx, "go-zone-"+zone, "zones", 4, zone)
		if err != nil {
			return err
		}
		workers[zone] = w
	}
	runsOn := func(in In, zone, worker string) error {
		got, err := s.call(ctx, "zone", in, inZone(zone))
		return errors.Join(err, equal("worker for zone "+zone, got.Worker, workers[worker].id))
	}
	for range 3 {
		if err := errors.Join(runsOn(In{}, "a", "a"), runsOn(In{}, "b", "b")); err != nil {
			return err
		}
	}
	ref, err := s.start(ctx, "zone", In{}, inZone("c"))
	if err != nil {
		return err
	}
	if err = errors.Join(runsOn(In{}, "a", "a"), s.wantStatus(ctx, ref.RunId, "QUEUED"), runsOn(In{Text: "c"}, "b", "b")); err != nil {
		return err
	}
	got, err := s.outcome(ref, "zone")
	if err = errors.Join(err, equal("worker for zone c", got.Worker, workers["b"].id)); err != nil {
		return err
	}
	for range 3 {
		got, err = s.call(ctx, "parent", In{})
		if err = errors.Join(err, equal("where the child ran", got.Text, got.Worker)); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) workerKilled(ctx context.Context) error {
	first, err := s.startWorker(ctx, "go-lost-a", "lost", 1)
	if err != nil {
		return err
	}
	ref, err := s.start(ctx, "lost", In{})
	if err != nil {
		return err
	}
	if err = seen("go-lost", "started", 1); err != nil {
		return err
	}
	if err = first.cmd.Process.Kill(); err != nil {
		return err
	}
	killed := time.Now().UnixMilli()
	if _, err = s.startWorker(ctx, "go-lost-b", "lost", 1); err != nil {
		return err
	}
	letGo("lost")
	got, err := s.outcome(ref, "lost")
	if err != nil {
		return err
	}
	began := marks("go-lost", "started")
	if len(began) != 2 || began[0].Pid == began[1].Pid {
		return fmt.Errorf("starts: %v", began)
	}
	if after := began[1].At - killed; after < 20000 || after > 45000 {
		return fmt.Errorf("second start %d ms after the kill", after)
	}
	return equal("result", got, numbers{Pid: began[1].Pid, Retry: 1})
}

func (s *suite) workerPaused(ctx context.Context) error {
	w, err := s.startWorker(ctx, "go-pause", "pause", 1)
	if err != nil {
		return err
	}
	got, err := s.call(ctx, "pause", In{})
	if err = errors.Join(err, equal("worker", got.Worker, w.id)); err != nil {
		return err
	}
	if _, err = s.client.Workers().Pause(ctx, w.id); err != nil {
		return err
	}
	ref, err := s.start(ctx, "pause", In{})
	if err != nil {
		return err
	}
	if _, err = s.call(ctx, "wait", In{N: 1}); err != nil { // a run that came later has passed through
		return err
	}
	if err = errors.Join(s.wantStatus(ctx, ref.RunId, "QUEUED"), equal("starts", len(marks("go-pause", "started")), 1)); err != nil {
		return err
	}
	if _, err = s.client.Workers().Unpause(ctx, w.id); err != nil {
		return err
	}
	got, err = s.outcome(ref, "pause")
	return errors.Join(err, equal("worker", got.Worker, w.id))
}

// This SDK drops what it runs when it is told to stop: the task is lost with its worker and goes to the next one.
func (s *suite) workerStopped(ctx context.Context) error {
	w, err := s.startWorker(ctx, "go-stop", "stop", 2)
	if err != nil {
		return err
	}
	ref, err := s.start(ctx, "stop", In{})
	if err != nil {
		return err
	}
	if err = seen("go-stop", "started", 1); err != nil {
		return err
	}
	if err = w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-w.ended:
	case <-ctx.Done():
		return errors.New("the worker did not end")
	}
	err = until("the worker not active", 30, func() (bool, error) {
		got, err := s.client.Workers().Get(ctx, w.id)
		return err == nil && *got.Status != "ACTIVE", err
	})
	if err = errors.Join(err, w.err); err != nil {
		return err
	}
	late, err := s.start(ctx, "stop", In{})
	if err != nil {
		return err
	}
	letGo("stop")
	other, err := s.startWorker(ctx, "go-stop-b", "stop", 2)
	if err != nil {
		return err
	}
	got, err := s.outcome(late, "stop")
	if err = errors.Join(err, equal("worker of the later task", got.Worker, other.id)); err != nil {
		return err
	}
	got, err = s.outcome(ref, "stop")
	return errors.Join(err, equal("worker of the lost task", got.Worker, other.id), equal("starts", len(marks("go-stop", "started")), 3))
}

func control(what string) error {
	r, err := http.Get(os.Getenv("CONTROL_URL") + what)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK {
		return errors.New(string(text))
	}
	return nil
}

func (s *suite) restarted(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		ref, err := s.start(ctx, name, In{N: 7})
		if err != nil {
			return err
		}
		if err = seen("go-"+name, "started", 1); err != nil {
			return err
		}
		if err = control("restart-" + name); err != nil {
			return err
		}
		letGo(name)
		got, err := s.outcome(ref, name)
		return errors.Join(err, equal("result", got, numbers{N: 7}), equal("starts", len(marks("go-"+name, "started")), 1))
	}
}

func (s *suite) mainCases() []namedCase {
	return []namedCase{{"run_and_wait", s.runAndWait}, {"run_many", s.runMany}, {"run_without_waiting", s.runWithoutWaiting},
		{"failing", s.failing}, {"retry_that_succeeds", s.retryThatSucceeds}, {"non_retryable", s.nonRetryable},
		{"timeout", s.timeout}, {"refresh_of_the_timeout", s.refreshOfTheTimeout}, {"cancel", s.cancel},
		{"large_payload", s.largePayload}, {"payload_over_the_limit", s.payloadOverTheLimit}, {"metadata", s.metadata},
		{"logs", s.logs}, {"children_once", s.childrenOnce}, {"two_workers_share", s.twoWorkersShare}, {"labels_and_sticky", s.labelsAndSticky},
		{"concurrency", s.concurrency}, {"rate_limits", s.rateLimits}, {"batch", s.batch}, {"idempotency", s.idempotency}, {"replay", s.replay},
		{"children_end_with_their_parent", s.childrenEndWithTheirParent}, {"worker_killed", s.workerKilled},
		{"worker_paused", s.workerPaused}, {"worker_stopped", s.workerStopped}}
}

func (s *suite) restartCases() []namedCase {
	return []namedCase{{"server_restarted", s.restarted("server")}, {"postgres_restarted", s.restarted("postgres")}}
}
