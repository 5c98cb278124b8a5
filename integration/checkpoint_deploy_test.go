package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/integration/broker"
)

// A rolling deploy switches checkpoints on, and another one off again: meanwhile instances of both kinds share the
// tasks. Checkpoints cannot complete then, which hurts nobody; they do as soon as all instances take part.
func TestRollingDeployOfCheckpoints(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	to := dir.New(t.TempDir())
	stateDirs := []string{t.TempDir(), t.TempDir()}
	start := func(i int, checkpoints bool) *app {
		cfg := s.config()
		if checkpoints {
			cfg = s.checkpointed(to, 100*time.Millisecond)
			cfg.Checkpointing.Timeout = time.Second
		}
		cfg.StateDir, cfg.LeaveGroupOnClose = stateDirs[i], false
		return s.run(repartitionTopology(s.in, s.out), cfg)
	}
	apps := []*app{start(0, false), start(1, false)}
	awaitSettled(t, 8, apps...)
	stop := s.load()
	for _, on := range []bool{true, false} {
		for i := range apps {
			apps[i].close()
			apps[i] = start(i, on)
			apps[i].awaitRunning()
			s.cluster.AwaitCommitted(t, s.app, s.in, 60*time.Second)
		}
		if on {
			for _, a := range apps {
				a.awaitCheckpoints(2)
			}
		}
	}
	stop()
	s.check()
	for _, a := range apps {
		require.Equal(t, tidemark.Running, a.app.State())
		a.close()
	}
}
