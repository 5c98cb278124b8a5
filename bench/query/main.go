package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/bench/measure"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "query:", err)
		os.Exit(1)
	}
}

// Defaults, and a bound.
const (
	rateDefault     = 10_000
	keysDefault     = 10_000
	clientsDefault  = 4
	patienceDefault = 10_000 // milliseconds
	// pendingMax bounds the queries that have begun: more than that means that nobody answers any more.
	pendingMax = 200_000
	finalTries = 30 * time.Second
)

func run() error {
	args, err := measure.ParseArgs(os.Args[1:])
	if err != nil {
		return err
	}
	bootstrap, errBootstrap := args.Need("bootstrap")
	in, errIn := args.Need("in")
	list, errServers := args.Need("servers")
	stop, errStop := args.Need("stop-file")
	if err := errors.Join(errBootstrap, errIn, errServers, errStop); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if file := args.Get("profile", ""); file != "" {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	servers := strings.Split(list, ",")
	l := newLoad(args.Int("keys", keysDefault), uint64(args.Int("seed", 1)))
	for i := range args.Int("clients", clientsDefault) {
		c, err := tidemark.NewQueryClient(tidemark.QueryClientConfig{Servers: []string{servers[i%len(servers)]}})
		if err != nil {
			return err
		}
		defer c.Close()
		r := tidemark.QueryFrom(c, "counts", serde.String, serde.Int64).
			RetryFor(time.Duration(args.Int("patience-ms", patienceDefault)) * time.Millisecond)
		if args.Flag("standby", false) {
			r = r.Stale(tidemark.StaleBound{})
		}
		l.readers = append(l.readers, r)
	}
	stopped := func() bool { _, err := os.Stat(stop); return err == nil }
	if err := l.run(ctx, args.Int("rate", rateDefault), stopped); err != nil {
		return err
	}
	records, err := l.final(ctx, bootstrap, in)
	fmt.Println(l.line(records).String())
	if err != nil {
		return err
	}
	return l.failure()
}

// final reads everything that was committed for all of the input, and compares.
func (l *load) final(ctx context.Context, bootstrap, in string) (records int64, err error) {
	cluster, err := measure.Connect(bootstrap)
	if err != nil {
		return 0, err
	}
	defer func() { _ = cluster.Close() }()
	ends, err := cluster.EndOffsets(in)
	if err != nil {
		return 0, err
	}
	position := tidemark.Position{}
	for p, end := range ends {
		position[record.TopicPartition{Topic: p.Topic, Partition: p.Partition}] = end
		records += end
	}
	var total int64
	for e, err := range l.readers[0].RetryFor(finalTries).AtLeast(position).All(ctx) {
		if err != nil {
			return records, err
		}
		total += e.Value
		l.last(e.Key, e.Value)
	}
	if total != records {
		return records, fmt.Errorf("all keys together have counted %d of %d records", total, records)
	}
	return records, nil
}
