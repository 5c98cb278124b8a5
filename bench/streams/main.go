package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/bench/measure"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "streams:", err)
		os.Exit(1)
	}
}

// options are those that more than one place needs.
type options struct {
	bootstrap, in, out, workload, mode, appID string
	stateDir                                  string // of this application: <state-dir>/<app-id>
	threads                                   int
	commitEvery                               time.Duration
	cache                                     bool
}

func parse(args measure.Args) (options, error) {
	bootstrap, errBootstrap := args.Need("bootstrap")
	in, errIn := args.Need("in")
	out, errOut := args.Need("out")
	parent, errDir := args.Need("state-dir")
	mode := args.Get("mode", "eos")
	var errMode error
	if mode != "eos" && mode != "alo" {
		errMode = fmt.Errorf("--mode eos|alo, not %s", mode)
	}
	commitMs := 100
	if mode == "alo" {
		commitMs = 1000
	}
	workload := args.Get("workload", "count")
	appID := args.Get("app-id", fmt.Sprintf("bench-%s-%d", workload, time.Now().UnixMilli()))
	return options{
		bootstrap: bootstrap, in: in, out: out, workload: workload, mode: mode, appID: appID,
		stateDir:    filepath.Join(parent, appID),
		threads:     args.Int("threads", 1),
		commitEvery: time.Duration(args.Int("commit-ms", commitMs)) * time.Millisecond,
		cache:       args.Flag("cache", true),
	}, errors.Join(errBootstrap, errIn, errOut, errDir, errMode)
}

// shares returns how long the workers together waited for a commit because their buffers were full, and how long they
// forwarded cached updates and encoded epochs.
func shares(ctx context.Context, app *tidemark.App) (stalled, sealing time.Duration, err error) {
	status, err := app.Status(ctx)
	for _, w := range status.Workers {
		stalled, sealing = stalled+w.Stats.Stalled, sealing+w.Stats.Sealing
	}
	return stalled, sealing, err
}

// hooks are what the library's listeners call.
type hooks struct {
	running  func()
	restored func(records int64)

	checkpoints *checkpoints
}

func run() (err error) {
	args, err := measure.ParseArgs(os.Args[1:])
	if err != nil {
		return err
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	stop, err := observe(args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	cluster, err := measure.Connect(o.bootstrap)
	if err != nil {
		return err
	}
	defer func() { _ = cluster.Close() }()
	partitions, err := cluster.Partitions(o.in)
	if err != nil {
		return err
	}
	if err := cluster.CreateTopic(o.out, partitions, false); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if args.Flag("serve", false) {
		return serve(ctx, o, args)
	}
	return batch(ctx, cluster, o, args)
}

// serve runs until a signal. Standard output is for the probes that wait for its lines.
func serve(ctx context.Context, o options, args measure.Args) error {
	var once atomic.Bool
	app, err := newApp(o, args, hooks{
		running: func() {
			if once.CompareAndSwap(false, true) {
				fmt.Println("STATE RUNNING")
			}
		},
		restored: func(n int64) { fmt.Println("RESTORED", n) },

		checkpoints: &checkpoints{},
	})
	if err != nil {
		return err
	}
	stop, err := serveQueries(app, args)
	if err != nil {
		return err
	}
	err = app.Run(ctx)
	if err != nil {
		fmt.Println("STATE ERROR")
	}
	return errors.Join(err, app.Close(), stop())
}

// batch runs until all input is committed and prints the result.
func batch(ctx context.Context, cluster *measure.Cluster, o options, args measure.Args) error {
	var running, restored atomic.Int64
	made := &checkpoints{}
	brokerPid := args.Int("broker-pid", 0)
	load0, cpu0, broker0, all0 := measure.Load1(), measure.SelfCPU(), measure.ProcessCPU(brokerPid), measure.MachineCPU()
	start := time.Now()
	app, err := newApp(o, args, hooks{
		running:  func() { running.CompareAndSwap(0, int64(time.Since(start))) },
		restored: func(n int64) { restored.Add(n) },

		checkpoints: made,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		err := app.Run(ctx)
		cancel(err)
		ended <- err
	}()
	inputs := []string{o.in}
	if o.workload == "join" {
		inputs = append(inputs, args.Get("table", ""))
	}
	first, err := cluster.AwaitCommitted(ctx, o.appID, inputs...)
	if err != nil {
		cancel(err)
		return errors.Join(err, <-ended, app.Close())
	}
	seconds := time.Since(start).Seconds()
	cpu, broker := measure.SelfCPU()-cpu0, measure.ProcessCPU(brokerPid)-broker0
	stalled, sealing, err := shares(ctx, app)
	if err != nil {
		return err
	}
	other := measure.MachineCPU() - all0 - cpu - broker
	closing := time.Now()
	cancel(nil)
	if err := errors.Join(<-ended, app.Close()); err != nil {
		return err
	}
	closed := time.Since(closing).Seconds()

	ends, err := cluster.EndOffsets(o.in)
	if err != nil {
		return err
	}
	var records int64
	for _, end := range ends {
		records += end
	}
	size := func(suffix string) (mb float64) {
		mb, e := cluster.TopicsMB(func(t string) bool {
			return strings.HasPrefix(t, o.appID) && strings.HasSuffix(t, suffix)
		})
		err = errors.Join(err, e)
		return mb
	}
	changelogMB, repartitionMB := size("-changelog"), size("-repartition")
	outMB, errOut := cluster.TopicsMB(func(t string) bool { return t == o.out })
	if err := errors.Join(err, errOut); err != nil {
		return err
	}
	startup := time.Duration(running.Load()).Seconds()
	var l measure.Line
	l.Put("peer", "tidemark").Put("version", runtime.Version()).Put("workload", o.workload).Put("mode", o.mode).
		Put("threads", o.threads).Put("cache", o.cache).Put("commit_ms", o.commitEvery.Milliseconds()).
		Put("dist", args.Get("dist", "uniform")).Put("records", records).Put("keys", args.Int("keys", 100_000)).
		Put("seconds", seconds).Put("records_per_s", float64(records)/seconds).
		Put("stall_s", stalled.Seconds()).Put("sealing_s", sealing.Seconds()).
		Put("startup_s", startup).Put("first_commit_s", first.Sub(start).Seconds()).
		Put("steady_records_per_s", float64(records)/(seconds-startup)).Put("close_s", closed).
		Put("cpu_s", cpu).Put("broker_cpu_s", broker).Put("other_cpu_s", other).
		Put("rss_mb", measure.PeakMB(0)).Put("disk_mb", measure.DirMB(o.stateDir)).
		Put("changelog_mb", changelogMB).Put("repartition_mb", repartitionMB).Put("out_mb", outMB).
		Put("restored", restored.Load()).Put("load1_before", load0).Put("load1_after", measure.Load1())
	made.put(&l)
	fmt.Println(l.String())
	return nil
}
