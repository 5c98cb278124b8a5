package integration

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
)

// The tests named TestBad… give an application what it should not get. Each expects an error that names the place and
// the remedy, that nothing is lost, and that nothing hangs.

// badPatience bounds every wait of these tests.
const badPatience = time.Minute

// app is an App inside the test process, with its log.
type app struct {
	t   *testing.T
	app *tidemark.App
	log *logBuffer

	done   chan struct{} // closed when Run has returned err
	err    error
	mu     sync.Mutex
	states []tidemark.State
}

// logBuffer collects a log as text.
type logBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// config is a quick configuration of the scenario's application, with a state directory of its own and no restarts.
func (s *scenario) config() tidemark.Config {
	return tidemark.Config{
		ApplicationID: s.app, Brokers: s.cluster.Bootstrap(), StateDir: s.t.TempDir(), Workers: 1, CacheBytesMax: -1,
		CommitInterval: 20 * time.Millisecond, SessionTimeout: s.session, MetadataMaxAge: 100 * time.Millisecond,
		Restart: tidemark.RestartNone(), LeaveGroupOnClose: true,
	}
}

// run starts an App, which the test closes at its end.
func (s *scenario) run(topology tidemark.Topology, cfg tidemark.Config) *app {
	s.t.Helper()
	a := &app{t: s.t, log: &logBuffer{}, done: make(chan struct{})}
	cfg.Logger = slog.New(slog.NewTextHandler(a.log, nil))
	cfg.StateListener = func(_, to tidemark.State) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.states = append(a.states, to)
	}
	var err error
	a.app, err = tidemark.New(topology, cfg)
	require.NoError(s.t, err)
	go func() {
		defer close(a.done)
		a.err = a.app.Run(context.Background())
	}()
	s.t.Cleanup(func() {
		_ = a.app.Close()
		if s.t.Failed() {
			lines := strings.Split(a.log.String(), "\n")
			s.t.Logf("log of %s, last lines:\n%s", s.app, strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	return a
}

// eventually polls until ok, or fails the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, badPatience, 10*time.Millisecond, what)
}

// awaitRunning waits until the App has tasks and all of them run.
func (a *app) awaitRunning() {
	a.t.Helper()
	a.awaitTasks(-1)
}

// awaitTasks waits until the App runs n tasks, -1: any.
func (a *app) awaitTasks(n int) {
	a.t.Helper()
	eventually(a.t, fmt.Sprintf("%d running tasks", n), func() bool {
		s, ok := a.restored()
		return ok && s.Running > 0 && (n < 0 || n == s.Running)
	})
}

// restored returns the status of an App that restores nothing; false if it has none, or is still restoring. An App
// that has failed fails the test.
func (a *app) restored() (s tidemark.Status, ok bool) {
	select {
	case <-a.done:
		require.NoError(a.t, a.err, "Run has ended")
	default:
	}
	s, err := a.app.Status(a.t.Context())
	return s, err == nil && s.Restoring == 0
}

// saw reports whether the App has been in a state.
func (a *app) saw(state tidemark.State) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.states, state)
}

// awaitError waits for the end of Run and returns its error, which must be there and contain all the words.
func (a *app) awaitError(words ...string) error {
	a.t.Helper()
	select {
	case <-a.done:
	case <-time.After(badPatience):
		require.FailNow(a.t, "Run does not end")
	}
	require.Error(a.t, a.err)
	for _, w := range words {
		require.ErrorContains(a.t, a.err, w)
	}
	require.Equal(a.t, tidemark.Failed, a.app.State())
	return a.err
}

// close ends the App, without an error.
func (a *app) close() {
	a.t.Helper()
	require.NoError(a.t, a.app.Close())
	<-a.done
	require.NoError(a.t, a.err)
}

// awaitOutputs waits until a topic has n committed records and returns them.
func (s *scenario) awaitOutputs(topic string, n int) []broker.Record {
	s.t.Helper()
	var got []broker.Record
	eventually(s.t, fmt.Sprintf("%d records in %s", n, topic), func() bool {
		got = s.cluster.ReadCommitted(s.t, topic)
		return len(got) >= n
	})
	require.Len(s.t, got, n)
	return got
}

// values returns the values of records, sorted by nothing but their place.
func values(records []broker.Record) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = string(r.Value)
	}
	return out
}

// header returns a header's value, "" without one.
func header(r broker.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// onePartition is a scenario whose records keep their order.
func onePartition(t *testing.T, c *broker.Cluster) *scenario {
	s := &scenario{
		t: t, cluster: c, app: broker.Name(t, "app"), in: broker.Name(t, "in"), out: broker.Name(t, "out"),
		partitions: 1, session: 6 * time.Second, keys: 7,
	}
	c.CreateTopic(t, s.in, 1, nil)
	c.CreateTopic(t, s.out, 1, nil)
	return s
}

// produce writes values to the input, each with its own text as the key.
func (s *scenario) produce(values ...string) {
	s.t.Helper()
	records := make([]broker.Record, len(values))
	for i, v := range values {
		records[i] = broker.Record{Key: []byte(v), Value: []byte(v)}
	}
	s.cluster.Produce(s.t, s.in, records...)
}
