package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/eos/postgres"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// TestMain is also the program of the instances that tests start and kill.
func TestMain(m *testing.M) {
	if os.Getenv("TIDEMARK_TEST_INSTANCE") != "" {
		if err := runInstance(); err != nil {
			fmt.Fprintln(os.Stderr, "instance:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Steps in which an instance kills itself. Those of a random time are in the middle of what the server does.
var killSteps = []string{
	"connect", "recover", "recovered", "prepare", "preparing", "writing", "prepared", "commit", "committing", "committed",
	"abort", "aborted",
}

// killer ends the process in the n-th occurrence of a step, as kill -9 does.
type killer struct {
	step string
	left atomic.Int64
}

// newKiller reads "step:n".
func newKiller(spec string) *killer {
	step, n, _ := strings.Cut(spec, ":")
	k := &killer{step: step}
	left, err := strconv.Atoi(n)
	if err != nil {
		left = -1 // never
	}
	k.left.Store(int64(left))
	return k
}

func (k *killer) at(step string) {
	if k.step == step && k.left.Add(-1) == 0 {
		killMyself()
	}
}

// soon ends the process within a few milliseconds, while the caller goes on.
func (k *killer) soon(step string) {
	if k.step == step && k.left.Add(-1) == 0 {
		time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, killMyself)
	}
}

func killMyself() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// fragile is a sink whose process may end in any step.
type fragile struct {
	eos.Sink[postgres.Row]

	k *killer
}

func (s fragile) Connect(ctx context.Context, at eos.SinkTask) (eos.SinkConn[postgres.Row], error) {
	c, err := s.Sink.Connect(ctx, at)
	s.k.at("connect")
	return fragileConn{c, s.k}, err
}

type fragileConn struct {
	eos.SinkConn[postgres.Row]

	k *killer
}

func (c fragileConn) Recover(ctx context.Context) ([]eos.TransactionName, error) {
	c.k.at("recover")
	names, err := c.SinkConn.Recover(ctx)
	c.k.at("recovered")
	return names, err
}

func (c fragileConn) Prepare(ctx context.Context, name eos.TransactionName, rows []postgres.Row) error {
	c.k.at("prepare")
	c.k.soon("preparing")
	encoded := make([]postgres.Row, len(rows))
	for i := range rows {
		encoded[i].Values = slices.Clone(rows[i].Values)
		encoded[i].Values[0] = deadly{fmt.Sprint(rows[i].Values[0]), c.k} // in the middle of what is sent
	}
	err := c.SinkConn.Prepare(ctx, name, encoded)
	c.k.at("prepared")
	return err
}

func (c fragileConn) Commit(ctx context.Context, name eos.TransactionName) error {
	c.k.at("commit")
	c.k.soon("committing")
	err := c.SinkConn.Commit(ctx, name)
	c.k.at("committed")
	return err
}

func (c fragileConn) Abort(ctx context.Context, name eos.TransactionName) error {
	c.k.at("abort")
	err := c.SinkConn.Abort(ctx, name)
	c.k.at("aborted")
	return err
}

// deadly is a text whose encoding may end the process.
type deadly struct {
	text string
	k    *killer
}

func (d deadly) String() string {
	d.k.at("writing")
	return d.text
}

// sinkTopology writes every record, the counts by key in two ways, and the counts to a topic.
func sinkTopology(in, out, url string, k *killer) (*topology.Builder, error) {
	cfg := postgres.Config{ConnString: url, TakeOverWait: 200 * time.Millisecond}
	events, counts, last := cfg, cfg, cfg
	events.Table, events.Columns = "events", []string{"key", "value"}
	counts.Table, counts.Columns, counts.Key = "counts", []string{"key", "n"}, []string{"key"}
	last.Table, last.Columns, last.Key = "last_counts", counts.Columns, counts.Key
	eventsDB, err := postgres.TwoPhase(events)
	if err != nil {
		return nil, err
	}
	countsDB, err := postgres.TwoPhase(counts)
	if err != nil {
		return nil, err
	}
	lastDB, err := postgres.Upsert(last)
	if err != nil {
		return nil, err
	}
	b := topology.NewBuilder()
	s := topology.Stream(b, in, serde.String, serde.String)
	topology.SinkTo(s, "events-db", fragile{eventsDB, k},
		func(r record.Record[string, string]) (postgres.Row, error) {
			return postgres.Row{Values: []any{r.Key, r.Value}}, nil
		})
	counted := topology.Count(s.GroupByKey(), topology.As("counts"), topology.WithoutCaching()).ToStream()
	row := func(r record.Record[string, int64]) (postgres.Row, error) {
		return postgres.Row{Values: []any{r.Key, r.Value}}, nil
	}
	topology.SinkTo(counted, "counts-db", fragile{countsDB, k}, row)
	topology.SinkTo(counted, "last-db", fragile{lastDB, k}, row)
	counted.To(out)
	return b, nil
}

func runInstance() error {
	env := func(name string) string { return os.Getenv("TIDEMARK_TEST_" + name) }
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	b, err := sinkTopology(env("IN"), env("OUT"), env("DATABASE"), newKiller(env("KILL")))
	if err != nil {
		return err
	}
	app, err := tidemark.New(b, tidemark.Config{
		ApplicationID: env("APP"), Brokers: strings.Split(env("BROKERS"), ","), StateDir: env("STATE"), Workers: 2,
		CommitInterval: 50 * time.Millisecond, SessionTimeout: 6 * time.Second,
		Restart: tidemark.RestartFixedDelay(1000, 200*time.Millisecond),
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)).With(slog.String("instance", env("NAME"))),
	})
	if err != nil {
		return err
	}
	return app.Run(ctx)
}
