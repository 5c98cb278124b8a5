package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/assign"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// tables returns the table files below a state directory, largest first.
func tables(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	size := map[string]int64{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".sst" {
			return err
		}
		info, err := d.Info()
		names, size[name] = append(names, name), info.Size()
		return err
	}))
	slices.SortFunc(names, func(a, b string) int { return int(size[b] - size[a]) })
	return names
}

// Files of a local database are damaged while the application is down: after a crash, and after a clean close.
func TestBadDatabaseFile(t *testing.T) {
	for _, end := range []string{"crash", "close"} {
		for damage, do := range map[string]func(data []byte) []byte{
			"flipped": func(data []byte) []byte {
				for i := 0; i < len(data)*3/4; i += 256 { // in every block of data
					data[i] ^= 0xff
				}
				return data
			},
			"one bit": func(data []byte) []byte { // in a block that Badger does not read while it opens
				data[len(data)/3] ^= 1
				return data
			},
			"truncated": func(data []byte) []byte { return data[:len(data)/2] },
		} {
			t.Run(end+"/"+damage, func(t *testing.T) {
				t.Parallel()
				s := newScenario(t, broker.Start(t))
				s.keys = 2000
				dir := t.TempDir()
				i := s.start("a", dir)
				i.awaitRunning()
				s.send(8000)
				s.cluster.AwaitCommitted(t, s.app, s.in, badPatience)
				i.stop() // writes tables
				state := filepath.Join(dir, "a")
				require.NotEmpty(t, tables(t, state))
				i = s.start("a", dir)
				i.awaitRunning()
				s.send(100)
				s.cluster.AwaitCommitted(t, s.app, s.in, badPatience)
				if end == "crash" {
					i.kill()
				} else {
					i.stop()
				}
				for _, name := range tables(t, state) {
					data, err := os.ReadFile(name)
					require.NoError(t, err)
					require.NoError(t, os.WriteFile(name, do(data), 0o600))
				}
				again := s.start("a", dir)
				s.send(8000)
				s.check()
				again.mu.Lock()
				log := strings.Join(again.log, "\n")
				again.mu.Unlock()
				require.Contains(t, log, "level=ERROR")
				require.Regexp(t, `local state cannot be used: restoring without it.* is damaged`, log)
				require.Contains(t, log, ".sst")
				again.stop()
			})
		}
	}
}

// otherTopology is one that shares nothing but the application id with countTopology.
func otherTopology(in, out string) *topology.Builder {
	b := topology.NewBuilder()
	topology.Stream(b, in, serde.String, serde.Bytes).Filter(func(string, []byte) bool { return false }).To(out)
	return b
}

// Two programs use the same application id. The one that runs goes on undisturbed, the other one is told.
func TestBadMixedTopologies(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	first := s.run(countTopology(s.in, s.out), s.config())
	first.awaitRunning()
	s.send(100)
	for range 2 {
		cfg := s.config()
		cfg.AllowStateLoss = true // or it would not even ask the group
		second := s.run(otherTopology(s.in, s.out), cfg)
		err := second.awaitError("the group refuses this member", "run different topologies", "its own application id")
		var mixed *assign.MixedTopologyError
		require.ErrorAs(t, err, &mixed)
	}
	s.send(100)
	s.check()
	require.False(t, first.saw(tidemark.Restarting))
	first.awaitTasks(int(s.partitions))
	first.close()
}

// An instance is deployed with another topology, under the identity of the old one, while others still run the old one;
// and whoever leads the group.
func TestBadMixedTopologiesRolling(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	configs := []tidemark.Config{s.config(), s.config()}
	var apps []*app
	for i := range configs {
		configs[i].LeaveGroupOnClose = false
		apps = append(apps, s.run(countTopology(s.in, s.out), configs[i]))
	}
	for _, a := range apps {
		a.awaitTasks(2)
	}
	for i := range apps {
		s.send(100)
		apps[i].close()
		other := configs[i]
		other.AllowStateLoss = true // or it would not even ask the group
		_ = s.run(otherTopology(s.in, s.out), other).awaitError("run different topologies")
		apps[1-i].awaitTasks(int(s.partitions)) // what the refused one has left
		apps[i] = s.run(countTopology(s.in, s.out), configs[i])
		apps[i].awaitTasks(2)
		apps[1-i].awaitTasks(2)
	}
	s.send(100)
	s.check()
	for _, a := range apps {
		require.False(t, a.saw(tidemark.Restarting))
		a.close()
	}
}

// All instances were stopped: the next topology takes over, although the group remembers the former assignment.
func TestBadMixedTopologiesReplaced(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	cfg := s.config()
	cfg.LeaveGroupOnClose = false
	a := s.run(otherTopology(s.in, s.out), cfg)
	a.awaitRunning()
	a.close()
	s.send(100)
	s.cluster.CreateTopic(t, s.app+"-more", 8, nil)
	b := topology.NewBuilder()
	topology.Streams(b, []string{s.in, s.app + "-more"}, serde.String, serde.Bytes).To(s.out)
	c := s.run(b, cfg)
	c.awaitTasks(8)
	s.awaitOutputs(s.out, 100)
	c.close()
}

// Two instances have the same static id: the older one is fenced and says so.
func TestBadSameInstanceID(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	one, two := s.config(), s.config()
	one.GroupInstanceID, two.GroupInstanceID = "same", "same"
	// The fenced one may leave a transaction open, which then holds readers up until its timeout.
	one.TransactionTimeout, two.TransactionTimeout = 4*time.Second, 4*time.Second
	first := s.run(countTopology(s.in, s.out), one)
	first.awaitRunning()
	s.send(100)
	second := s.run(countTopology(s.in, s.out), two)
	_ = first.awaitError(`another process uses the instance id "same"`, "its own state directory and instance id")
	s.send(100)
	s.check()
	second.awaitTasks(int(s.partitions))
	second.close()
}

// busy has something to commit all the time.
type busy struct{}

func (busy) Init(ctx processor.Context[string, []byte]) error {
	ctx.Schedule(time.Millisecond, processor.WallClockTime, func(int64) error { return nil })
	return nil
}

func (busy) Process(processor.Context[string, []byte], record.Record[string, []byte]) error {
	return nil
}

// busyTopology is countTopology that commits even without input.
func busyTopology(in, out string) *topology.Builder {
	b := topology.NewBuilder()
	s := topology.Stream(b, in, serde.String, serde.Bytes)
	topology.Process(s, func() processor.Processor[string, []byte, string, []byte] { return busy{} }, serde.String,
		serde.Bytes)
	topology.Count(s.GroupByKey(), topology.As("counts")).ToStream().To(out)
	return b
}

// The broker goes away and comes back: a failure that time mends.
func TestBadTransientFailure(t *testing.T) {
	t.Parallel()
	c := broker.StartPrivate(t)
	s := newScenario(t, c)
	cfg := s.config()
	// Enough to start on a busy machine.
	cfg.RetryTimeout, cfg.ConnectTimeout = 2*time.Second, time.Second
	if c.Real() { // its coordinators take a while to load
		cfg.RetryTimeout, cfg.ConnectTimeout = 3*time.Second, 2*time.Second
	}
	cfg.CloseTimeout = time.Second
	none := s.run(busyTopology(s.in, s.out), cfg)
	none.awaitRunning()
	s.send(500)
	s.check()
	c.Kill9(t)
	// The last commit may have been on its way, although its results are there: then its outcome is asked for in vain.
	err := none.awaitError("kafka:")
	require.Regexp(t, "commits have failed for "+cfg.RetryTimeout.String()+"|after a commit of unknown outcome",
		err.Error())
	c.Restart(t)

	cfg.Restart = tidemark.RestartFixedDelay(2, 10*time.Millisecond)
	c.Kill9(t)
	fixed := s.run(busyTopology(s.in, s.out), cfg)
	_ = fixed.awaitError("restart strategy gives up", "do not answer within "+cfg.ConnectTimeout.String())
	require.True(t, fixed.saw(tidemark.Restarting))
	require.Equal(t, 2, strings.Count(fixed.log.String(), "starting again from the last commit"))
	c.Restart(t)

	cfg.Restart = tidemark.RestartExponentialDelay(10*time.Millisecond, 100*time.Millisecond, 2, time.Minute)
	exponential := s.run(busyTopology(s.in, s.out), cfg)
	exponential.awaitRunning()
	c.Kill9(t)
	eventually(t, "a restart", func() bool { return exponential.saw(tidemark.Restarting) })
	c.Restart(t)
	s.send(500)
	s.check()
	exponential.close()
}
