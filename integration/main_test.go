package integration

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/eos"
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
	if told := os.Getenv(chaosLifeEnv); told != "" {
		if err := runChaosInstance(told); err != nil {
			fmt.Fprintln(os.Stderr, "instance:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// countTopology counts the records of each key.
func countTopology(in, out string) *topology.Builder {
	b := topology.NewBuilder()
	counts := topology.Count(topology.Stream(b, in, serde.String, serde.Bytes).GroupByKey(), topology.As("counts"))
	counts.ToStream().To(out)
	return b
}

// repartitionTopology counts by the value's first byte, through a repartition topic.
func repartitionTopology(in, out string) *topology.Builder {
	b := topology.NewBuilder()
	by := topology.GroupBy(topology.Stream(b, in, serde.String, serde.String),
		func(_, v string) string { return v[:1] }, serde.String, topology.Named("by-first"))
	topology.Count(by, topology.As("counts")).ToStream().To(out)
	return b
}

func runInstance() error {
	env := func(name string) string { return os.Getenv("TIDEMARK_TEST_" + name) }
	session, err := strconv.Atoi(env("SESSION_MS"))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	build := countTopology
	if env("TOPOLOGY") == "repartition" {
		build = repartitionTopology
	}
	standbys, err := strconv.Atoi(env("STANDBYS"))
	if err != nil {
		return err
	}
	guarantee := eos.ExactlyOnceV2
	if env("GUARANTEE") == eos.AtLeastOnce.String() {
		guarantee = eos.AtLeastOnce
	}
	var checkpoints checkpointing.Config
	if at := env("CHECKPOINTS"); at != "" {
		checkpoints = checkpointing.Config{
			Storage: dir.New(at), Interval: 100 * time.Millisecond, Retained: 2, Incremental: true, Timeout: 5 * time.Second,
		}
	}
	app, err := tidemark.New(build(env("IN"), env("OUT")), tidemark.Config{
		ProcessingGuarantee: guarantee, ApplicationID: env("APP"), Brokers: strings.Split(env("BROKERS"), ","),
		StateDir: env("STATE"), Workers: 2, Checkpointing: checkpoints, StandbyReplicas: standbys,
		RestoreListener: tidemark.RestoreListener{OnEnd: func(e tidemark.RestoreEnd) {
			fmt.Println("RESTORED", e.Task, e.Base, e.Records)
		}},
		CacheBytesMax: -1, CommitInterval: 50 * time.Millisecond, SessionTimeout: time.Duration(session) * time.Millisecond,
		FlushInterval: 200 * time.Millisecond, Restart: tidemark.RestartFixedDelay(1000, 200*time.Millisecond),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)).With(slog.String("instance", env("NAME"))),
		StateListener: func(_, to tidemark.State) {
			fmt.Println("STATE", to)
		},
	})
	if err != nil {
		return err
	}
	go tell(ctx, app)
	return app.Run(ctx)
}

// tell has the test know how the instance is.
func tell(ctx context.Context, app *tidemark.App) {
	for range time.Tick(50 * time.Millisecond) {
		if s, err := app.Status(ctx); err == nil {
			fmt.Println("TASKS", s.Running, s.Restoring)
			fmt.Println("COORDINATES", s.Checkpoints.Coordinator)
			following, lag := 0, int64(0)
			for _, st := range s.Standbys {
				lag += st.Lag
				if st.State == tidemark.StandbyFollowing {
					following++
				}
			}
			fmt.Println("STANDBYS", following, lag)
		}
	}
}
