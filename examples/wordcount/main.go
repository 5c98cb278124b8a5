// Wordcount counts the words of a book, exactly once.
//
//	go run ./examples/wordcount
//
// needs nothing but Go: it starts a Kafka broker inside the process, feeds the book line by line, shows the most
// frequent words while they are being counted, and ends with exact totals. Interrupt it and run it again: it goes on
// where its last commit was. With --brokers it does the same on a real cluster.
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

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/examples/internal/cluster"
)

type options struct {
	brokers, applicationID, stateDir, input, output, instanceID, guarantee string
	commitInterval                                                         time.Duration
	workers, linesPerSecond                                                int
	verbose                                                                bool
}

func main() {
	var o options
	flag.StringVar(&o.brokers, "brokers", "", "host:port,... of a Kafka cluster; empty: a broker inside this process")
	flag.StringVar(&o.applicationID, "application-id", "wordcount", "consumer group and prefix of internal topics")
	flag.StringVar(&o.stateDir, "state-dir", "", "folder for local state (default: the user's state folder)")
	flag.StringVar(&o.input, "input", "lines", "topic to read lines from")
	flag.StringVar(&o.output, "output", "word-counts", "topic to write counts to")
	flag.DurationVar(&o.commitInterval, "commit-interval", 100*time.Millisecond, "time between commits")
	flag.IntVar(&o.workers, "workers", 0, "goroutines that run tasks (default: GOMAXPROCS)")
	flag.StringVar(&o.instanceID, "instance-id", "", "static membership id (default: kept in the state folder)")
	flag.StringVar(&o.guarantee, "guarantee", "exactly_once_v2", "exactly_once_v2 or at_least_once")
	flag.IntVar(&o.linesPerSecond, "lines-per-second", 2500, "how fast the book is fed")
	flag.BoolVar(&o.verbose, "verbose", false, "log what Tidemark does")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

// run counts the whole book, or returns early without error if ctx ends.
func run(ctx context.Context, o options) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	kafka, err := cluster.Connect(ctx, o.brokers, filepath.Join(cfg.StateDir, o.applicationID+"-embedded-kafka"))
	if err != nil {
		return err
	}
	defer kafka.Close()
	cfg.Brokers = kafka.Brokers
	if err := kafka.CreateTopics(ctx, partitions, o.input, o.output); err != nil {
		return err
	}
	app, err := tidemark.New(WordCount(o.input, o.output), cfg)
	if err != nil {
		return err
	}
	appDone := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { appDone <- app.Run(ctx) }()

	lines, expected := bookLines()
	fed := make(chan error, 1)
	go func() { fed <- feed(ctx, kafka, o.input, lines, o.linesPerSecond) }()
	counted := make(chan result, 1)
	go func() { counted <- watch(ctx, kafka.Brokers, o.output, expected) }()

	for {
		select {
		case err := <-fed:
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("feed the book: %w", err)
			}
			fed = nil
		case err := <-appDone:
			if err == nil {
				fmt.Println("\ninterrupted: run it again, and it goes on from its last commit")
			}
			return err
		case r := <-counted:
			if r.err != nil && ctx.Err() != nil {
				continue // interrupted: the application's end is what counts
			}
			if r.err != nil {
				return r.err
			}
			cancel()
			if err := <-appDone; err != nil {
				return err
			}
			fmt.Printf("\n%d words, %d distinct, counted exactly once: every count equals the book's.\n", r.words, r.distinct)
			fmt.Printf("On a real cluster: go run ./examples/wordcount --brokers host:9092\n")
			return kafka.Finish(filepath.Join(cfg.StateDir, o.applicationID))
		}
	}
}

func (o options) config() (tidemark.Config, error) {
	cfg := tidemark.Config{
		ApplicationID: o.applicationID, StateDir: o.stateDir, Workers: o.workers, CommitInterval: o.commitInterval,
		GroupInstanceID: o.instanceID,
	}
	switch o.guarantee {
	case eos.ExactlyOnceV2.String():
	case eos.AtLeastOnce.String():
		cfg.ProcessingGuarantee = eos.AtLeastOnce
	default:
		return cfg, fmt.Errorf("--guarantee %q: want exactly_once_v2 or at_least_once", o.guarantee)
	}
	level := slog.LevelError
	if o.verbose {
		level = slog.LevelInfo
	}
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if cfg.StateDir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return cfg, errors.Join(errors.New("no home folder to keep state in: set --state-dir"), err)
		}
		cfg.StateDir = filepath.Join(home, ".local", "state", "tidemark-examples")
	}
	return cfg, nil
}
