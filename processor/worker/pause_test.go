package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/topology"
)

// A paused task commits what it has processed and processes no more, while others go on; resumed it loses nothing.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var pauses Pauses
		m := newMember(t, c, countPlan(t, topology.InMemory()), func(cfg *Config) { cfg.Pauses = &pauses })
		m.start()
		m.assign(taskID(0))
		c.produce(in0, keys(4)...)
		until(t, "the first commit", func() bool { return c.committed(in0) == 4 })
		pauses.Pause(7) // of another sub-topology
		c.produce(in0, keys(6)[4:]...)
		until(t, "the commit beside a pause of others", func() bool { return c.committed(in0) == 6 })
		for _, which := range [][]int32{nil, {0}} {
			pauses.Resume()
			pauses.Pause(which...)
			committed := c.committed(in0)
			c.produce(in0, "k0")
			time.Sleep(time.Minute)
			require.Equal(t, committed, c.committed(in0))
			s, err := m.worker.Snapshot(t.Context())
			require.NoError(t, err)
			require.True(t, s.Tasks[0].Paused)
			pauses.Resume(which...)
			until(t, "the commit after it", func() bool { return c.committed(in0) == committed+1 })
		}
		require.Equal(t, counted(append(keys(6), "k0", "k0")), c.read(out0))
		require.NoError(t, m.close(true))
	})
}

func TestPausesAddUp(t *testing.T) {
	var p Pauses
	require.False(t, p.Paused(taskID(0)))
	p.Pause(0, 1)
	p.Pause()
	p.Resume(0)
	require.True(t, p.Paused(taskID(0)), "all are paused")
	p.Resume()
	require.False(t, p.Paused(taskID(0)))
	p.Pause(1)
	p.Pause(0)
	p.Resume(1)
	require.True(t, p.Paused(taskID(0)))
	require.False(t, (*Pauses)(nil).Paused(taskID(0)))
}
