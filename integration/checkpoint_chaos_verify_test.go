package integration

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/integration/broker"
)

// checkpoint has one made. Those that are aborted because processes have just come back are asked for again.
func (c *chaos) checkpoint(control *tidemark.Control, full bool) tidemark.SnapshotInfo {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), chaosPatience)
	defer cancel()
	for {
		made, err := control.TriggerCheckpoint(ctx, tidemark.CheckpointOptions{Full: full, Timeout: 20 * time.Second})
		if err == nil {
			return made
		}
		var refused *tidemark.CommandError
		require.ErrorAs(c.t, err, &refused)
	}
}

// verify reads all checkpoints that are there, the newest first, except those that this test has damaged. While
// storages fail, only those count that are still there afterwards and that have a manifest which can be read; at last
// there are no others, and no more than are retained, unless a damaged manifest keeps clean-up from knowing what is
// needed.
func (c *chaos) verify(last bool) (good []*checkpointing.Manifest) {
	c.t.Helper()
	to := dir.New(c.life.Storage)
	var problems []string
	for deadline := time.Now().Add(badPatience); ; {
		good, problems = nil, nil
		found, err := checkpointing.List(c.t.Context(), to, c.app)
		require.NoError(c.t, err)
		manifests, blind := 0, false
		for _, f := range found {
			if errors.Is(f.Err, checkpointing.ErrNoManifest) {
				continue
			}
			manifests++
			blind = blind || c.damaged[checkpointing.ManifestName(f.Location)]
			err := f.Err
			if err == nil {
				err = checkpointing.Files{Storage: to}.Verify(c.t.Context(), f.Manifest)
			}
			_, gone := os.Stat(filepath.Join(c.life.Storage, checkpointing.ManifestName(f.Location)))
			switch {
			case err == nil:
				good = append(good, f.Manifest)
			case c.spoilt(f) || gone != nil || !last && f.Manifest == nil:
			default:
				problems = append(problems, err.Error())
			}
		}
		if last && manifests > c.life.Retained && !blind {
			problems = append(problems, fmt.Sprintf("%d checkpoints are retained", manifests))
		}
		if len(problems) == 0 {
			return good[:min(len(good), c.life.Retained)]
		}
		if !last || time.Now().After(deadline) {
			require.FailNowf(c.t, "checkpoints", "%s\nin the storage:\n%s", strings.Join(problems, "\n"),
				strings.Join(c.look().files, "\n"))
		}
		<-time.After(10 * time.Millisecond)
	}
}

// spoilt tells whether this test has damaged something of a checkpoint.
func (c *chaos) spoilt(f checkpointing.Found) bool {
	if c.damaged[checkpointing.ManifestName(f.Location)] {
		return true
	}
	if f.Manifest == nil {
		return false
	}
	for _, t := range f.Manifest.Tasks { // also of what is beside the state, as indexes are
		if slices.ContainsFunc(t.Beside, func(name string) bool { return c.damaged[name] }) {
			return true
		}
	}
	return slices.ContainsFunc(f.Manifest.Files(), func(f checkpointing.File) bool { return c.damaged[f.Name] })
}

// drain waits until an application has processed everything, hop by hop.
func (c *chaos) drain(app string) {
	c.t.Helper()
	for _, topic := range []string{c.in, app + "-by-word-repartition", app + "-by-initial-repartition"} {
		c.cluster.AwaitCommitted(c.t, app, topic, chaosPatience)
	}
}

// checkOutputs demands one output of each hop for each input, and the totals in the changelogs.
func (c *chaos) checkOutputs(app, first, second string) {
	c.t.Helper()
	for _, topic := range []string{first, second} {
		var outputs []broker.Record
		for deadline := time.Now().Add(badPatience); time.Now().Before(deadline); {
			// Committed offsets are known before the markers are everywhere.
			if outputs = c.cluster.ReadCommitted(c.t, topic); len(outputs) >= c.sent {
				break
			}
		}
		if len(outputs) != c.sent {
			require.FailNowf(c.t, "each input record has exactly one output", "%d outputs in %s:\n%s", len(outputs), topic,
				c.traces(app, outputs))
		}
		checkCounts(c.t, outputs, c.sent)
	}
	c.checkTotals(app)
}

// traces says where records were lost or doubled: for each word, or initial, that has another number of outputs than it
// should, what each topic has of it.
func (c *chaos) traces(app string, outputs []broker.Record) string {
	wrong := make(map[string]int)
	for _, r := range outputs {
		wrong[string(r.Key)]++
	}
	for key, n := range c.words {
		wrong[key] -= int(n)
	}
	for key, n := range c.initials {
		wrong[key] -= int(n)
	}
	var b strings.Builder
	in := c.cluster.ReadCommitted(c.t, c.in)
	fmt.Fprintf(&b, "%d records were sent, %d are in the input\n", c.sent, len(in))
	byWord := c.cluster.ReadCommitted(c.t, app+"-by-word-repartition")
	byInitial := c.cluster.ReadCommitted(c.t, app+"-by-initial-repartition")
	for key, n := range wrong {
		if n == 0 || n == -int(c.words[key]+c.initials[key]) { // the other topic's
			continue
		}
		fmt.Fprintf(&b, "%s: %+d", key, n)
		for name, records := range map[string][]broker.Record{
			"in": in, "by-word": byWord, "by-initial": byInitial, "out": outputs,
		} {
			fmt.Fprintf(&b, "\n  %s", name)
			for _, r := range records {
				if string(r.Key) == key || string(r.Value) == key {
					fmt.Fprintf(&b, " %d:%d=%q", r.Partition, r.Offset, r.Value)
				}
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// checkTotals compares the changelogs of an application with what the input amounts to.
func (c *chaos) checkTotals(app string) {
	c.t.Helper()
	for store, want := range map[string]map[string]uint64{"words": c.words, "initials": c.initials} {
		got := make(map[string]uint64)
		for _, r := range c.cluster.ReadCommitted(c.t, app+"-"+store+"-changelog") {
			got[string(r.Key)] = binary.BigEndian.Uint64(r.Value)
		}
		require.Equal(c.t, want, got, "%s of %s", store, app)
	}
}

// clone starts another application from a checkpoint, which must come to the same totals.
func (c *chaos) clone(m *checkpointing.Manifest) string {
	c.t.Helper()
	name := c.app + "-clone"
	first, second := name+"-first", name+"-second"
	c.cluster.CreateTopic(c.t, first, c.partitions, nil)
	c.cluster.CreateTopic(c.t, second, c.partitions, nil)
	cfg := c.at(name)
	report, err := tidemark.StartFrom(c.t.Context(), hops(c.in, first, second), cfg, m.Location, tidemark.StartOptions{})
	require.NoError(c.t, err)
	a := c.scenario.run(hops(c.in, first, second), cfg)
	a.awaitRunning()
	c.drain(name)
	c.checkTotals(name)
	a.close()
	return fmt.Sprintf("%s with %d records in flight", filepath.Base(m.Location), report.InFlight)
}

// tidy replaces all that is retained by checkpoints that build on nothing, and sees that nothing else is left. What a
// full snapshot beside increments has left late goes with the next clean-up.
func (c *chaos) tidy(control *tidemark.Control) {
	c.t.Helper()
	for range c.life.Retained {
		c.checkpoint(control, true)
	}
	const patience = 3 * time.Second
	for rounds := 3; ; rounds-- {
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			if len(c.leaks()) == 0 {
				return
			}
			<-time.After(10 * time.Millisecond)
		}
		if rounds == 0 {
			require.Empty(c.t, c.leaks(), "files that nobody refers to are left")
		}
		c.did["tidied again"]++
		c.checkpoint(control, true)
	}
}

// leaks are the files that no retained checkpoint refers to.
func (c *chaos) leaks() []string {
	c.t.Helper()
	found, err := checkpointing.List(c.t.Context(), dir.New(c.life.Storage), c.app)
	require.NoError(c.t, err)
	needed, manifests := make(map[string]bool), 0
	for _, f := range found {
		if f.Manifest == nil {
			continue
		}
		manifests++
		needed[checkpointing.ManifestName(f.Location)] = true
		for _, file := range f.Manifest.Files() {
			needed[file.Name] = true
		}
		for i := range f.Manifest.Tasks {
			for _, name := range f.Manifest.Tasks[i].Beside {
				needed[name] = true
			}
		}
	}
	left := slices.DeleteFunc(c.look().files, func(name string) bool { return needed[name] })
	if manifests != c.life.Retained {
		left = append(left, fmt.Sprintf("%d manifests instead of %d", manifests, c.life.Retained))
	}
	return left
}

// checkLogs sees that no process has panicked or raced, and says what they say of their checkpoints.
func (c *chaos) checkLogs() string {
	c.t.Helper()
	completed, aborted := make(map[string]bool), make(map[string]bool)
	loaded, unusable := 0, 0
	id := func(line string) string {
		_, rest, _ := strings.Cut(line, " id=")
		at, _, _ := strings.Cut(rest, " ")
		return at
	}
	for _, i := range c.all {
		for _, line := range i.lines() {
			for _, bad := range []string{"DATA RACE", "panic: ", "fatal error: "} {
				require.NotContains(c.t, line, bad, "instance %s (pid %d)", i.name, i.cmd.Process.Pid)
			}
			switch {
			case strings.Contains(line, `msg="checkpoint completed"`):
				completed[id(line)] = true
			case strings.Contains(line, `msg="checkpoint aborted`):
				aborted[id(line)] = true
			case strings.Contains(line, `msg="snapshot loaded"`):
				loaded++
			case strings.Contains(line, `msg="snapshot cannot be used`):
				unusable++
			}
		}
	}
	return fmt.Sprintf("%d checkpoints completed, %d aborted; %d snapshots loaded, %d refused", len(completed),
		len(aborted), loaded, unusable)
}
