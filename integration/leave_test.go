package integration

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/integration/broker"
)

// TestLeavingWaitsForTheOthers closes one of two instances for good, under load: it goes on until the other has
// followed its changelogs to their ends, so that no task waits for its state. Then the last one closes, which nobody
// can relieve.
func TestLeavingWaitsForTheOthers(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	s.keys = 300
	var restores watchedRestores
	cfg := s.config()
	cfg.CloseTimeout = 4 * badPatience
	cfg.StateDir = t.TempDir()
	stays := cfg
	stays.StateDir, stays.RestoreListener = t.TempDir(), restores.listener()
	topology := countTopology(s.in, s.out)
	b := s.run(topology, stays)
	b.awaitTasks(int(s.partitions))
	a := s.run(topology, cfg)
	s.send(3000)
	a.awaitTasks(int(s.partitions) / 2)
	b.awaitTasks(int(s.partitions) / 2)
	before := len(restores.all())
	closed := make(chan error, 1)
	go func() { closed <- a.app.Close() }()
	for open := true; open; {
		s.send(50)
		select {
		case err := <-closed:
			require.NoError(t, err)
			open = false
		default:
		}
	}
	b.awaitTasks(int(s.partitions))
	taken := restores.all()[before:]
	require.Len(t, taken, int(s.partitions)/2)
	for _, r := range taken {
		require.Equal(t, "standby", r.Base, "task %s", r.Task)
	}
	require.Contains(t, a.log.String(), "may leave the group")
	require.NotContains(t, a.log.String(), "no state of yet")
	s.check()
	require.NoError(t, b.app.Close())
	require.Contains(t, b.log.String(), "may leave the group")
}
