// Query serves the state of a running topology over HTTP: how often each word was counted, as of the last commit.
//
//	go run ./examples/query
//	curl localhost:8080/words/the      a word
//	curl localhost:8080/words          all words, with ?from=a&to=b those between
//
// needs nothing but Go: it starts a Kafka broker inside the process and feeds it lines. With several instances each
// answers for its own partitions, and with 421 for those of the others.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "where to serve HTTP")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *addr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "query:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "lines"))
	if err != nil {
		return err
	}
	defer cluster.Close()
	dir, err := os.MkdirTemp("", "tidemark-query")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	app, err := tidemark.New(WordCount(), tidemark.Config{
		ApplicationID: "query", Brokers: cluster.ListenAddrs(), StateDir: dir,
	})
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	done := make(chan struct{})
	go func() {
		defer close(done)
		failed <- app.Run(ctx)
	}()
	go func() { failed <- feed(ctx, cluster.ListenAddrs()) }()
	server := &http.Server{Addr: addr, Handler: Handler(app), ReadHeaderTimeout: time.Second}
	go func() { failed <- server.ListenAndServe() }()
	fmt.Printf("serving http://%s/words\n", addr)
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	<-done
	return errors.Join(err, server.Close())
}

// feed writes a line again and again.
func feed(ctx context.Context, brokers []string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		line := &kgo.Record{Topic: "lines", Value: []byte("the quick brown fox jumps over the lazy dog")}
		if err := client.ProduceSync(ctx, line).FirstErr(); err != nil {
			if ctx.Err() != nil {
				err = nil // the end
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
