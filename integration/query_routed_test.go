package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// served is an instance with a server for queries, which can be restarted at the same address.
type served struct {
	*app

	s      *scenario
	cfg    tidemark.Config
	server *http.Server
}

const secret = "Bearer 1234"

// authorized adds the secret to requests.
type authorized struct{ http.RoundTripper }

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", secret)
	return a.RoundTripper.RoundTrip(r)
}

func (s *scenario) serve(change func(*tidemark.Config)) *served {
	s.t.Helper()
	i := &served{s: s, cfg: s.config()}
	i.cfg.LeaveGroupOnClose = false
	i.cfg.QueryTransport = authorized{&http.Transport{MaxIdleConnsPerHost: 16}}
	if change != nil {
		change(&i.cfg)
	}
	i.start()
	s.t.Cleanup(func() { _ = i.server.Close() })
	return i
}

func (i *served) start() {
	i.s.t.Helper()
	if i.cfg.ApplicationServer == "" {
		i.cfg.ApplicationServer = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", i.cfg.ApplicationServer)
	require.NoError(i.s.t, err)
	i.cfg.ApplicationServer = listener.Addr().String()
	i.app = i.s.run(i.s.queried(), i.cfg)
	mux := http.NewServeMux()
	mux.Handle(tidemark.QueryPath, i.app.app.QueryHandler(func(r *http.Request) error {
		if r.Header.Get("Authorization") != secret {
			return errors.New("no secret")
		}
		return nil
	}))
	i.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = i.server.Serve(listener) }()
}

func (i *served) stop() {
	i.s.t.Helper()
	require.NoError(i.s.t, i.server.Close())
	i.close()
}

// position is behind everything that was sent, given that nothing else is in the topic.
func (s *scenario) position(sent int) tidemark.Position {
	p := tidemark.Position{}
	for partition := range s.partitions {
		p[record.TopicPartition{Topic: s.in, Partition: partition}] = 0
	}
	for i := range sent {
		key := fmt.Sprintf("key-%02d", i%s.keys)
		p[record.TopicPartition{Topic: s.in, Partition: processor.DefaultPartition([]byte(key), s.partitions)}]++
	}
	return p
}

// askers query one key after the other by changing readers, and check every answer: it must not be less than the
// greatest one that was there when the query began.
type askers struct {
	s         *scenario
	readers   []atomic.Pointer[tidemark.Reader[string, int64]]
	atLeast   []atomic.Int64 // by key
	sent      atomic.Int64
	answers   atomic.Int64
	remote    atomic.Int64
	unserved  atomic.Int64
	wrong     atomic.Pointer[string]
	wait      sync.WaitGroup
	stop      context.CancelFunc
	tolerance time.Duration
}

func (a *askers) run(n int) {
	ctx, cancel := context.WithCancel(context.Background())
	a.stop = cancel
	a.atLeast = make([]atomic.Int64, a.s.keys)
	for seed := range n {
		a.wait.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(seed), 1))
			for ctx.Err() == nil && a.wrong.Load() == nil {
				a.ask(ctx, rnd.IntN(len(a.readers)), rnd.IntN(a.s.keys))
			}
		})
	}
}

func (a *askers) ask(ctx context.Context, reader, key int) {
	fail := func(format string, args ...any) {
		text := fmt.Sprintf("reader %d, key %d: %s", reader, key, fmt.Sprintf(format, args...))
		a.wrong.CompareAndSwap(nil, &text)
	}
	lowest := a.atLeast[key].Load()
	answer, err := a.readers[reader].Load().RetryFor(a.tolerance).Ask(ctx, fmt.Sprintf("key-%02d", key))
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if unavailable, ok := errors.AsType[*tidemark.UnavailableError](err); !ok || !unavailable.Retriable {
			fail("%v", err)
		}
		a.unserved.Add(1)
		return
	}
	if answer.Value < lowest || answer.Value > a.sent.Load()/int64(a.s.keys)+1 {
		fail("%d, before that %d was answered, and %d records were sent: %+v", answer.Value, lowest, a.sent.Load(), answer)
	}
	a.answers.Add(1)
	if answer.Instance != "" {
		a.remote.Add(1)
	}
	for old := a.atLeast[key].Load(); old < answer.Value && !a.atLeast[key].CompareAndSwap(old, answer.Value); {
		old = a.atLeast[key].Load()
	}
}

// Three instances and a client answer for all keys, while instances restart, come and go: every answer has what was
// answered before, and in the end all of it.
func TestQueriesAreRoutedThroughRebalances(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	s.keys = 40
	instances := []*served{s.serve(nil), s.serve(nil), s.serve(nil)}
	for _, i := range instances {
		i.awaitRunning()
	}
	client, err := tidemark.NewQueryClient(tidemark.QueryClientConfig{
		Servers: []string{instances[1].cfg.ApplicationServer}, Transport: authorized{&http.Transport{}},
	})
	require.NoError(t, err)
	defer client.Close()
	a := &askers{s: s, readers: make([]atomic.Pointer[tidemark.Reader[string, int64]], 4), tolerance: 20 * time.Second}
	for i, instance := range instances {
		a.readers[i].Store(tidemark.Query[string, int64](instance.app.app, "counts"))
	}
	a.readers[3].Store(tidemark.QueryFrom(client, "counts", serde.String, serde.Int64))
	send := func(n int) {
		for range n {
			a.sent.Add(int64(s.keys))
			s.send(s.keys)
		}
	}
	send(2)
	a.run(4)
	defer a.stop()
	for i, instance := range instances { // a rolling restart
		send(3)
		instance.stop()
		send(1)
		instance.start()
		a.readers[i].Store(tidemark.Query[string, int64](instance.app.app, "counts"))
		instance.awaitRunning()
	}
	another := s.serve(func(c *tidemark.Config) { c.LeaveGroupOnClose = true })
	send(3)
	eventually(t, "tasks move to a fourth instance", func() bool {
		s, err := another.app.app.Status(t.Context())
		return err == nil && s.Running > 0
	})
	send(3)
	another.stop()
	send(3)
	before := a.answers.Load()
	eventually(t, "answers go on", func() bool { return a.answers.Load() > before+500 || a.wrong.Load() != nil })
	a.stop()
	a.wait.Wait()
	if wrong := a.wrong.Load(); wrong != nil {
		t.Fatal(*wrong)
	}
	t.Logf("%d answers, %d of them from other instances; %d queries had no answer", a.answers.Load(), a.remote.Load(),
		a.unserved.Load())
	require.Positive(t, a.remote.Load())

	awaitSettled(t, int(s.partitions), instances[0].app, instances[1].app, instances[2].app)
	ctx, position := t.Context(), s.position(s.sent)
	for n := range a.readers {
		counts := a.readers[n].Load().AtLeast(position)
		for k := range s.keys {
			v, found, err := counts.Get(ctx, fmt.Sprintf("key-%02d", k))
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, int64(s.sent/s.keys), v, "read your writes")
		}
		all := map[string]int64{}
		var infos []tidemark.QueryInfo
		for e, err := range counts.OnAnswer(func(i tidemark.QueryInfo) { infos = append(infos, i) }).All(ctx) {
			require.NoError(t, err)
			all[e.Key] = e.Value
		}
		require.Len(t, all, s.keys)
		require.Len(t, infos, int(s.partitions))
		for p, info := range infos {
			require.Equal(t, int32(p), info.Partition)
			require.False(t, info.Standby)
			require.NotEmpty(t, info.Position)
		}
		total, err := counts.Count(ctx)
		require.NoError(t, err)
		require.Equal(t, int64(s.keys), total)
		reversed := 0
		for _, err := range counts.ReverseRange(ctx, "key-10", "key-19") {
			require.NoError(t, err)
			reversed++
		}
		require.Equal(t, 10, reversed)
	}
	s.checkMetadata(instances, client)
}

func (s *scenario) checkMetadata(instances []*served, client *tidemark.QueryClient) {
	t, ctx := s.t, s.t.Context()
	windows, err := tidemark.QueryWindowFrom(client, "per-hour", serde.String, serde.Int64).FetchAll(ctx, 0, 1<<50)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(windows), s.keys)
	for k := range s.keys {
		key := fmt.Sprintf("key-%02d", k)
		owner := ""
		for _, i := range instances {
			_, _, err := tidemark.Query[string, int64](i.app.app, "counts").Here().Get(ctx, key)
			if _, elsewhere := errors.AsType[*tidemark.NotHereError](err); elsewhere {
				continue
			}
			require.NoError(t, err)
			require.Empty(t, owner, "two owners of %q", key)
			owner = i.cfg.ApplicationServer
		}
		eventually(t, "everybody knows the owner of "+key, func() bool {
			where, err := tidemark.Locate(ctx, instances[0].app.app, "counts", key)
			require.NoError(t, err)
			return where.Active != nil && where.Active.Endpoint == owner
		})
	}
	m, err := client.Metadata(ctx)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(m.WithStore("counts")), len(instances))

	servers := []string{instances[0].cfg.ApplicationServer}
	stranger, err := tidemark.NewQueryClient(tidemark.QueryClientConfig{Servers: servers})
	require.NoError(t, err)
	defer stranger.Close()
	_, err = stranger.Metadata(ctx)
	require.ErrorContains(t, err, "403 Forbidden: no secret")
	_, _, err = tidemark.QueryFrom(client, "nope", serde.String, serde.Int64).Get(ctx, "k")
	require.ErrorContains(t, err, `no store "nope"`)
	_, _, err = tidemark.QueryFrom(client, "per-hour", serde.String, serde.Int64).Get(ctx, "k")
	require.ErrorContains(t, err, "use the reader of its kind")
	elsewhere := tidemark.Position{{Topic: s.out}: 1}
	_, _, err = tidemark.QueryFrom(client, "counts", serde.String, serde.Int64).AtLeast(elsewhere).Get(ctx, "k")
	require.ErrorContains(t, err, "do not read that topic")
	far := tidemark.Position{}
	for p := range s.partitions {
		far[record.TopicPartition{Topic: s.in, Partition: p}] = 1 << 40
	}
	_, _, err = tidemark.QueryFrom(client, "counts", serde.String, serde.Int64).AtLeast(far).
		RetryFor(50*time.Millisecond).Get(ctx, "k")
	unavailable, ok := errors.AsType[*tidemark.UnavailableError](err)
	require.True(t, ok, "%v", err)
	require.True(t, unavailable.Retriable)
	require.ErrorContains(t, err, "the query demands")
}

// A standby answers in the place of an owner that is gone, if it may.
func TestStandbyAnswersForItsOwner(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	s.session = 5 * time.Minute // nobody takes over
	standbys := func(c *tidemark.Config) { c.StandbyReplicas = 1 }
	one := s.serve(standbys)
	one.awaitTasks(int(s.partitions))
	s.send(2 * s.keys)
	two := s.serve(standbys)
	awaitSettled(t, int(s.partitions), one.app, two.app) // and both own some
	ctx := t.Context()
	counts := tidemark.Query[string, int64](one.app.app, "counts").AtLeast(s.position(s.sent))
	for k := range s.keys {
		_, _, err := counts.Get(ctx, fmt.Sprintf("key-%02d", k))
		require.NoError(t, err)
	}
	eventually(t, "each task has an owner and a standby", func() bool {
		m, err := one.app.app.Metadata(ctx)
		require.NoError(t, err)
		for p := range s.partitions {
			k := m.Of("counts", p)
			if k.Active == nil || len(k.Standbys) != 1 {
				return false
			}
		}
		return true
	})
	fresh := tidemark.Query[string, int64](one.app.app, "counts")
	stale := fresh.Stale(tidemark.StaleBound{MaxLag: 1000})
	eventually(t, "the standbys have it all", func() bool {
		for k := range s.keys {
			a, err := stale.Here().Ask(ctx, fmt.Sprintf("key-%02d", k))
			if err != nil || a.Value != 2 {
				return false
			}
		}
		return true
	})
	two.stop()
	fromStandbys := 0
	for k := range s.keys {
		key := fmt.Sprintf("key-%02d", k)
		a, err := stale.Ask(ctx, key)
		require.NoError(t, err)
		require.Equal(t, int64(2), a.Value)
		if !a.Standby {
			continue
		}
		fromStandbys++
		_, err = fresh.RetryFor(20*time.Millisecond).Ask(ctx, key)
		unavailable, ok := errors.AsType[*tidemark.UnavailableError](err)
		require.True(t, ok, "%v", err)
		require.True(t, unavailable.Retriable)
	}
	require.Positive(t, fromStandbys)
}
