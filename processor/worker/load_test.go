package worker

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// A partition with all the records does not starve another one of the same worker: its records wait for a step at most.
func TestUnevenPartitionsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		b := topology.NewBuilder()
		topology.Stream(b, "in", serde.String, serde.String).Peek(func(k, _ string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, k)
		}).To("out")
		plan, err := b.Build()
		require.NoError(t, err)
		c := newCluster()
		m := newMember(t, c, plan, nil)
		m.fetcher.batchMax = 10_000
		heavy := make([]string, 50_000)
		for i := range heavy {
			heavy[i] = "heavy"
		}
		m.start()
		m.assign(taskID(0), taskID(1))
		introduced(t, c, in0, in1)
		require.NoError(t, m.worker.do(t.Context(), func(context.Context) error { // both are there before the next pass
			c.produce(in0, heavy...)
			c.produce(in1, "light", "light", "light")
			return nil
		}))
		until(t, "all", func() bool { return c.committed(in0) == int64(len(heavy)) && c.committed(in1) == 3 })
		last := len(order) - 1
		for order[last] != "light" {
			last--
		}
		require.Less(t, last, 2*stepRecords, "of %d", len(order))
		require.NoError(t, m.close(true))
	})
}

// A hot key costs a cache entry, not memory: commits come as the buffers fill, each has the key once, and the count is
// exact. A key beside it does not wait.
func TestHotKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := topology.NewBuilder()
		g := topology.Stream(b, "in", serde.String, serde.String).GroupByKey()
		topology.Count(g, topology.As("counts"), topology.InMemory()).ToStream().To("out")
		plan, err := b.Build()
		require.NoError(t, err)
		const limit = 4 << 10
		c := newCluster()
		m := newMember(t, c, plan, func(cfg *Config) { cfg.UncommittedBytesMax = func() int { return limit } })
		m.fetcher.batchMax = 500
		plain := m.restorer.cfg.Task
		m.restorer.cfg.Task = func(id record.TaskID) task.Config {
			cfg := plain(id)
			cfg.Stores.CachingEnabled = true
			return cfg
		}
		m.start()
		m.assign(taskID(0), taskID(1))
		introduced(t, c, in0, in1)
		const n = 20_000
		hot := make([]string, n)
		for i := range hot {
			hot[i] = "hot"
		}
		c.produce(in0, hot...)
		c.produce(in0, "cold")
		c.produce(in1, "other")
		most := 0
		until(t, "all", func() bool {
			require.NoError(t, m.worker.do(t.Context(), func(context.Context) error {
				most = max(most, m.worker.uncommittedBytes())
				return nil
			}))
			return c.committed(in0) == n+1 && c.committed(in1) == 1
		})
		require.LessOrEqual(t, most, 2*limit)
		s, err := m.worker.Snapshot(t.Context())
		require.NoError(t, err)
		got := c.read(out0)
		hots := 0
		for _, v := range got {
			if strings.HasPrefix(v, "hot=") {
				hots++
			}
		}
		require.LessOrEqual(t, hots, int(s.Stats.Commits))
		require.Subset(t, got, []string{"hot=20000", "cold=1", "other=1"})
		require.NoError(t, m.close(true))
	})
}

// A worker in a processor that does not return is seen from outside: where it is, since when, and what it had then.
func TestLookAtABusyWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		entered, gate := make(chan struct{}), make(chan struct{})
		b := topology.NewBuilder()
		topology.Stream(b, "in", serde.String, serde.String).Peek(func(k, _ string) {
			if k == "block" {
				close(entered)
				<-gate
			}
		}).To("out")
		plan, err := b.Build()
		require.NoError(t, err)
		c := newCluster()
		m := newMember(t, c, plan, nil)
		before, err := New(m.worker.cfg).Look(t.Context(), time.Second)
		require.NoError(t, err)
		require.Empty(t, before.Tasks, "it does not run yet")
		m.start()
		m.assign(taskID(0), taskID(1))
		introduced(t, c, in0, in1)
		idle, err := m.worker.Look(t.Context(), time.Second)
		require.NoError(t, err)
		require.Nil(t, idle.Busy)
		require.Len(t, idle.Tasks, 2)

		began := time.Now()
		c.produce(in1, "block", "more", "more")
		<-entered
		time.Sleep(time.Minute)
		s, err := m.worker.Look(t.Context(), time.Second)
		require.NoError(t, err)
		require.Equal(t, &Busy{Task: taskID(1), Since: s.Busy.Since}, s.Busy)
		require.Less(t, s.Busy.Since.Sub(began), time.Second)
		require.Len(t, s.Tasks, 2)
		require.Less(t, began.Sub(s.At), 2*viewInterval)
		s.Ends(map[record.TopicPartition]int64{in1: 3})
		for _, ts := range s.Tasks {
			want := InputSnapshot{TopicPartition: ts.Inputs[0].TopicPartition}
			if ts.ID == taskID(1) {
				want.End, want.Lag, want.BufferedBytes = 3, 3, 1
			}
			require.Equal(t, want, ts.Inputs[0])
		}
		close(gate)
		until(t, "the rest", func() bool { return c.committed(in1) == 3 })
		require.NoError(t, m.close(true))
	})
}
