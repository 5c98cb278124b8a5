package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/bench/measure"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

// plan is what the command line asks for.
type plan struct {
	in, out, changelog, group string
	addr                      string
	partitions                int32
	threads                   int
	commitEvery               time.Duration
	cache                     bool
}

func run(ctx context.Context, argv []string, stdout io.Writer) error {
	args, err := measure.ParseArgs(argv)
	if err != nil {
		return err
	}
	bootstrap, errBootstrap := args.Need("bootstrap")
	in, errIn := args.Need("in")
	out, errOut := args.Need("out")
	if err := errors.Join(errBootstrap, errIn, errOut); err != nil {
		return err
	}
	if w := args.Get("workload", "count"); w != "count" {
		return fmt.Errorf("the floor only counts, not --workload %s", w)
	}
	p := plan{
		in: in, out: out,
		group:       args.Get("app-id", fmt.Sprintf("floor-%d", time.Now().UnixMilli())),
		threads:     args.Int("threads", 1),
		commitEvery: time.Duration(args.Int("commit-ms", 100)) * time.Millisecond,
		cache:       args.Flag("cache", true),
	}
	p.changelog = p.group + "-counts-changelog"

	cluster, err := measure.Connect(bootstrap)
	if err != nil {
		return err
	}
	defer func() { _ = cluster.Close() }()
	ends, err := prepare(cluster, &p)
	if err != nil {
		return err
	}

	brokerPid := args.Int("broker-pid", 0)
	cpu0, broker0, all0, load0 := measure.SelfCPU(), measure.ProcessCPU(brokerPid), measure.MachineCPU(), measure.Load1()
	start := time.Now()
	workers, failed := startWorkers(p, ends)
	first, err := awaitCommitted(ctx, cluster, p, failed)
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	cpu, broker := measure.SelfCPU()-cpu0, measure.ProcessCPU(brokerPid)-broker0
	other := measure.MachineCPU() - all0 - cpu - broker

	var records int64
	for _, end := range ends {
		records += end
	}
	commits, stall := 0, time.Duration(0)
	for _, w := range workers {
		commits += w.commits
		stall += w.stall
	}
	changelogMB, err := cluster.TopicsMB(func(t string) bool { return t == p.changelog })
	if err != nil {
		return err
	}
	outMB, err := cluster.TopicsMB(func(t string) bool { return t == p.out })
	if err != nil {
		return err
	}
	var l measure.Line
	l.Put("peer", "floor").Put("version", runtime.Version()).Put("workload", "count").Put("mode", "eos").
		Put("threads", p.threads).Put("cache", p.cache).Put("commit_ms", p.commitEvery.Milliseconds()).
		Put("dist", args.Get("dist", "uniform")).Put("records", records).Put("keys", args.Int("keys", 100_000)).
		Put("seconds", seconds).Put("records_per_s", float64(records)/seconds).
		Put("startup_s", 0.0).Put("first_commit_s", first.Sub(start).Seconds()).
		Put("steady_records_per_s", float64(records)/seconds).
		Put("cpu_s", cpu).Put("broker_cpu_s", broker).Put("other_cpu_s", other).
		Put("rss_mb", measure.PeakMB(0)).Put("disk_mb", 0.0).Put("changelog_mb", changelogMB).Put("out_mb", outMB).
		Put("commits", commits).Put("stall_s", stall.Seconds()).
		Put("load1_before", load0).Put("load1_after", measure.Load1())
	_, err = fmt.Fprintln(stdout, l.String())
	return err
}

// prepare makes the output topics and finds the one broker and the ends of the input.
func prepare(cluster *measure.Cluster, p *plan) (map[int32]int64, error) {
	var err error
	if p.partitions, err = cluster.Partitions(p.in); err != nil {
		return nil, err
	}
	p.threads = min(p.threads, int(p.partitions))
	if err := cluster.CreateTopic(p.out, p.partitions, false); err != nil {
		return nil, err
	}
	if err := cluster.CreateTopic(p.changelog, p.partitions, true); err != nil {
		return nil, err
	}
	if n := len(cluster.Client.Brokers()); n != 1 {
		return nil, fmt.Errorf("the floor runs on a cluster of one broker, this one has %d", n)
	}
	p.addr = cluster.Client.Brokers()[0].Addr()
	all, err := cluster.EndOffsets(p.in)
	if err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	for tp, end := range all {
		ends[tp.Partition] = end
	}
	// Asking for the coordinators makes the broker create their topics.
	if _, err := cluster.Client.TransactionCoordinator(p.group); err != nil {
		return nil, fmt.Errorf("find the transaction coordinator: %w", err)
	}
	if _, err := cluster.Client.Coordinator(p.group); err != nil {
		return nil, fmt.Errorf("find the group coordinator: %w", err)
	}
	return ends, nil
}

// awaitCommitted waits as all programs do, by asking the broker, but ends early when a worker failed.
func awaitCommitted(ctx context.Context, c *measure.Cluster, p plan, failed <-chan error) (time.Time, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-failed:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	first, err := c.AwaitCommitted(ctx, p.group, p.in)
	if err != nil {
		return first, errors.Join(err, context.Cause(ctx))
	}
	return first, nil
}

// dial opens a connection of its own, since a sarama connection handles one request of a kind at a time.
func dial(addr string) (*sarama.Broker, error) {
	conf := measure.Config()
	conf.Net.MaxOpenRequests = 5 // what an idempotent producer may have in flight
	b := sarama.NewBroker(addr)
	if err := b.Open(conf); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	if _, err := b.Connected(); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return b, nil
}
