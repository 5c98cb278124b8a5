package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// TestControl lets the command look after a running application.
func TestControl(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "in"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	brokers := cluster.ListenAddrs()
	root := t.TempDir()
	b := topology.NewBuilder()
	topology.Count(topology.Stream(b, "in", serde.String, serde.String).GroupByKey(), topology.As("counts"))
	app, err := tidemark.New(b, tidemark.Config{
		ApplicationID: "orders", Brokers: brokers, StateDir: t.TempDir(),
		Checkpointing: checkpointing.Config{Storage: dir.New(root)},
	})
	require.NoError(t, err)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- app.Run(ctx) }()
	require.Eventually(t, func() bool {
		s, err := app.Status(t.Context())
		return err == nil && s.Running == 2
	}, time.Minute, 20*time.Millisecond)

	at := []string{"--brokers", brokers[0], "--application-id", "orders", "--wait", "30s"}
	ask := func(args ...string) string {
		t.Helper()
		return command(t, 0, append(args, at...)...)
	}
	require.Contains(t, ask("checkpoint", "trigger", "--full"), "checkpoint 1: orders/chk-1\n")
	var made struct{ Location string }
	require.NoError(t, json.Unmarshal([]byte(ask("savepoint", "create", "--output", "json")), &made))
	t.Setenv(storageVariable, root)
	require.Contains(t, command(t, 0, "savepoint", "verify", made.Location), "good")
	require.Contains(t, command(t, 0, "state", "stores", made.Location), "counts")
	require.Contains(t, ask("checkpoint", "configure", "--interval", "50ms", "--retained", "2"), "changed\n")
	require.Eventually(t, func() bool {
		s, err := app.Status(t.Context())
		return err == nil && s.Checkpoints.Completed >= 4
	}, time.Minute, 20*time.Millisecond, "they are made by themselves now")
	require.JSONEq(t, `{"v":1,"intervalMs":0}`,
		ask("checkpoint", "configure", "--reset", "--interval", "0", "--output", "json"))
	refused := func(want string, args ...string) {
		t.Helper()
		all := append([]string{"checkpoint", "configure"}, args...)
		require.Contains(t, command(t, exitError, append(all, at...)...), want)
	}
	refused("nothing to change")
	refused("whole milliseconds", "--timeout", "1ns")
	refused("Retained", "--retained", "-4")
	require.Contains(t, ask("savepoint", "stop"), "/savepoint-")
	require.NoError(t, <-ended, "the application has ended")

	out := command(t, exitError, "savepoint", "create", "--brokers", brokers[0])
	require.Contains(t, out, "--application-id are needed")
	out = command(t, exitError, "savepoint", "create", "--brokers", brokers[0], "--application-id", "nobody")
	require.Contains(t, out, "no control topic")
	at[5] = "300ms" // --wait
	out = command(t, exitError, append([]string{"checkpoint", "trigger"}, at...)...)
	require.Contains(t, out, "no result within --wait=300ms")
}
