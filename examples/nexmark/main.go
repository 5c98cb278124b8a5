// Nexmark runs queries of the Nexmark benchmark, about persons, auctions and bids of an auction house, and checks that
// every result is right.
//
//	go run ./examples/nexmark
//	go run ./examples/nexmark -query q5 -events 100000
//
// needs nothing but Go: each query gets a Kafka broker inside the process, events of a generator, and an application
// that computes the results exactly once. They are compared with those of a direct computation over all events. With
// -brokers it does the same on a real cluster, in topics of their own. The queries are in q0.go and so on, with their
// SQL; README.md of the folder above has a table of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/examples/internal/cluster"
	"github.com/tidemarkio/tidemark/topology"
)

const partitions = 4

type options struct {
	brokers, stateDir, query string
	events, show             int
	seed                     uint64
	outOfOrder               time.Duration
	verbose                  bool
}

func main() {
	var o options
	flag.StringVar(&o.brokers, "brokers", "", "host:port,... of a Kafka cluster; empty: a broker inside this process")
	flag.StringVar(&o.stateDir, "state-dir", "", "folder for local state (default: a temporary one)")
	flag.StringVar(&o.query, "query", "all", "queries to run: q0, q1,...")
	flag.IntVar(&o.events, "events", 20_000, "how many events to generate, 50 at least")
	flag.IntVar(&o.show, "show", 3, "how many results to print of each query")
	flag.Uint64Var(&o.seed, "seed", 1, "of the generator: the same seed gives the same events")
	flag.DurationVar(&o.outOfOrder, "out-of-order", 0, "how late events may come, up to "+lateness.String())
	flag.BoolVar(&o.verbose, "verbose", false, "log what Tidemark does")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "nexmark:", err)
		os.Exit(1)
	}
}

// run runs the chosen queries, one after the other.
func run(ctx context.Context, o options) error {
	chosen, err := choose(o.query)
	if err != nil {
		return err
	}
	if o.events < round {
		return fmt.Errorf("-events %d: want %d at least", o.events, round)
	}
	if o.outOfOrder < 0 || o.outOfOrder > lateness {
		return fmt.Errorf("-out-of-order %v: want 0 to %v, for which the windows wait", o.outOfOrder, lateness)
	}
	if o.stateDir == "" {
		if o.stateDir, err = os.MkdirTemp("", "tidemark-nexmark-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.stateDir)) }()
	}
	events := Generate(o.seed, o.events, o.outOfOrder)
	for _, q := range chosen {
		if err := o.runQuery(ctx, q, events); err != nil {
			return fmt.Errorf("%s, %s: %w", q.Name, q.What, err)
		}
	}
	return nil
}

// runQuery feeds the events, runs the query until its results are complete, and checks and shows them.
func (o options) runQuery(ctx context.Context, q Query, events []Event) error {
	id := fmt.Sprintf("nexmark-%s-%d", q.Name, time.Now().UnixMilli())
	kafka, err := cluster.Connect(ctx, o.brokers, filepath.Join(o.stateDir, id+"-embedded-kafka"))
	if err != nil {
		return err
	}
	defer kafka.Close()
	t := Topics{id + "-person", id + "-auction", id + "-bid", id + "-side-input", id + "-results"}
	if err := kafka.CreateTopics(ctx, partitions, t.Person, t.Auction, t.Bid, t.SideInput, t.Results); err != nil {
		return err
	}
	if err := feed(ctx, kafka.Brokers, t, q, events); err != nil {
		return err
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(kafka.Brokers...), kgo.ConsumeTopics(t.Results),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	defer reader.Close()

	r, started := newResults(q), time.Now()
	var last time.Time
	err = whileRunning(ctx, o.app(q, t, id, kafka.Brokers), func(ctx context.Context) (err error) {
		last, err = watch(ctx, reader, r, events)
		return err
	})
	if err != nil {
		return err
	}
	if err := complete(ctx, reader, r, events); err != nil {
		return err
	}
	o.report(r, len(events), last.Sub(started))
	return kafka.Finish(filepath.Join(o.stateDir, id))
}

// app returns what makes the application.
func (o options) app(q Query, t Topics, id string, brokers []string) func() (*tidemark.App, error) {
	level := slog.LevelError
	if o.verbose {
		level = slog.LevelInfo
	}
	return func() (*tidemark.App, error) {
		b := topology.NewBuilder()
		q.Declare(b, t)
		return tidemark.New(b, tidemark.Config{
			ApplicationID: id, Brokers: brokers, StateDir: o.stateDir, CommitInterval: 100 * time.Millisecond,
			AllowGeneratedNames: true, // each run has an id of its own: its state is not there for the next version
			Logger:              slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		})
	}
}

// whileRunning runs the application until work has returned. Its error is the first of the two.
func whileRunning(ctx context.Context, start func() (*tidemark.App, error), work func(context.Context) error) error {
	app, err := start()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	appDone := make(chan error, 1)
	go func() {
		appDone <- app.Run(ctx)
		cancel()
	}()
	err = work(ctx)
	cancel()
	if appErr := <-appDone; appErr != nil {
		return appErr
	}
	return err
}

// complete reads what came after the results were right, when the application has ended: they must still be.
func complete(ctx context.Context, reader *kgo.Client, r *results, events []Event) error {
	for {
		n, err := poll(ctx, reader, r)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		check, err := checker(r, events)
		return errors.Join(err, check())
	}
}

func (o options) report(r *results, events int, took time.Duration) {
	rows := r.sorted()
	fmt.Printf("%s, %s: %d results of %d events, %.0f events/s; checked, every one is right\n",
		r.query.Name, r.query.What, len(rows), events, float64(events)/took.Seconds())
	for _, row := range rows[:min(o.show, len(rows))] {
		fmt.Println("   ", row)
	}
}
