package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/examples/internal/cluster"
	"github.com/tidemarkio/tidemark/topology"
)

// Record goes to a topic. After is its time, counted from the demo's first moment, nine in the morning.
type Record struct {
	Topic, Key, Value string
	After             time.Duration
}

// start is a demo's first moment.
func start() time.Time { return time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC) }

// Clock writes a time of a demo, in milliseconds since 1970, as its hour, minute and second.
func Clock(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.TimeOnly) }

// At is the time of a record, in milliseconds since 1970: for tests, which pipe the same records.
func (r Record) At() int64 { return start().Add(r.After).UnixMilli() }

// Main runs a topology until its output topic, of keys and values that are text, has that many results.
func Main(name string, b *topology.Builder, records []Record, output string, results int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := Run(ctx, name, b, records, output, results)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// Run is Main without the process around it.
func Run(
	ctx context.Context, name string, b *topology.Builder, records []Record, output string, results int,
) (err error) {
	dir, err := os.MkdirTemp("", "tidemark-"+name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	kafka, err := cluster.Connect(ctx, "", filepath.Join(dir, "kafka"))
	if err != nil {
		return err
	}
	defer kafka.Close()
	if err := feed(ctx, kafka, records, output); err != nil {
		return err
	}
	app, err := tidemark.New(b, tidemark.Config{
		ApplicationID: name, Brokers: kafka.Brokers, StateDir: filepath.Join(dir, "state"),
		// Every update is shown, not only the last one of a key and commit.
		CacheBytesMax: -1,
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- app.Run(ctx)
		cancel()
	}()
	shown := show(ctx, kafka, output, results)
	cancel()
	if err := <-ended; err != nil {
		return err // that the results are missing follows from it
	}
	return shown
}

// feed writes all records before the application starts: their topics then mix in the order of time, and every run
// shows the same. One partition is enough for that little.
func feed(ctx context.Context, kafka *cluster.Cluster, records []Record, output string) error {
	topics := []string{output}
	all := make([]*kgo.Record, 0, len(records))
	for _, r := range records {
		topics = append(topics, r.Topic)
		all = append(all, &kgo.Record{
			Topic: r.Topic, Key: []byte(r.Key), Value: []byte(r.Value), Timestamp: start().Add(r.After),
		})
	}
	if err := kafka.CreateTopics(ctx, 1, distinct(topics)...); err != nil {
		return err
	}
	return kafka.Client.ProduceSync(ctx, all...).FirstErr()
}

func distinct(topics []string) []string {
	seen := make(map[string]bool)
	var all []string
	for _, t := range topics {
		if !seen[t] {
			seen[t] = true
			all = append(all, t)
		}
	}
	return all
}

// show prints committed results until there are n.
func show(ctx context.Context, kafka *cluster.Cluster, topic string, n int) error {
	reader, err := kgo.NewClient(kgo.SeedBrokers(kafka.Brokers...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	defer reader.Close()
	for n > 0 {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil // interrupted, or the application ended and says why
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read %s-%d: %w", e.Topic, e.Partition, e.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n--
			fmt.Printf("%s  %-6s %s\n", r.Timestamp.UTC().Format(time.TimeOnly), r.Key, r.Value)
		})
	}
	return nil
}
