package main

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// testOptions are the defaults of the flags, fast.
func testOptions(t *testing.T) options {
	return options{
		applicationID: "wordcount", stateDir: t.TempDir(), input: "lines", output: "word-counts", workers: 2,
		guarantee: "exactly_once_v2", commitInterval: 50 * time.Millisecond, linesPerSecond: 100_000,
	}
}

// totals reads the last committed count of every word and checks that counts only ever grow by what a commit brings.
func totals(ctx context.Context, t *testing.T, addr, topic string, expected map[string]int64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.NoError(t, err)
	defer client.Close()
	counts := make(map[string]int64)
	var have, want int64
	for _, n := range expected {
		want += n
	}
	for have < want {
		fetches := client.PollFetches(ctx)
		require.NoError(t, ctx.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			n := int64(binary.BigEndian.Uint64(r.Value))
			require.Greater(t, n, counts[string(r.Key)], "count of %q", r.Key)
			have += n - counts[string(r.Key)]
			counts[string(r.Key)] = n
		})
	}
	require.Equal(t, expected, counts)
}

// The whole book, on the embedded broker: run itself compares every count with the book.
func TestWordCount(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o := testOptions(t)
	require.NoError(t, run(ctx, o))
	require.NoError(t, ctx.Err())
	left, err := os.ReadDir(o.stateDir)
	require.NoError(t, err)
	require.Empty(t, left, "the next run counts anew")
}

// Interrupted half-way and run again, it goes on from its last commit.
func TestWordCountResumes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(t.TempDir()))
	require.NoError(t, err)
	defer cluster.Close()
	o := testOptions(t)
	o.brokers, o.linesPerSecond = cluster.ListenAddrs()[0], 4000
	_, expected := bookLines()

	first, interrupt := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- run(first, o) }()
	awaitRecords(ctx, t, o, 1000)
	interrupt()
	require.NoError(t, <-done)
	require.NoError(t, ctx.Err())
	require.DirExists(t, filepath.Join(o.stateDir, o.applicationID))

	o.linesPerSecond = 100_000
	require.NoError(t, run(ctx, o))
	require.NoError(t, ctx.Err())
	totals(ctx, t, o.brokers, o.output, expected)
}

// awaitRecords waits until n committed counts are there: the run is in the middle of the book.
func awaitRecords(ctx context.Context, t *testing.T, o options, n int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(o.brokers), kgo.ConsumeTopics(o.output), kgo.UnknownTopicRetries(-1),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.MetadataMinAge(50*time.Millisecond), kgo.MetadataMaxAge(200*time.Millisecond))
	require.NoError(t, err)
	defer client.Close()
	for have := 0; have < n; {
		have += client.PollFetches(ctx).NumRecords()
		require.NoError(t, ctx.Err())
	}
}
