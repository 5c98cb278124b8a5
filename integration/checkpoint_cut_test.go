package integration

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// TestConsistentCut makes checkpoints of an application of two repartition hops in three instances under load, at
// random moments, and starts another application from one of them. What that has put out and what it keeps at the end
// must be what the first one does, which was not interrupted: no record of before the cut counts twice, none of behind
// it is missing, in whichever of the stages it was.
//
//	go test ./integration -run TestConsistentCut -v -runs 200 -seed 1
func TestConsistentCut(t *testing.T) {
	ofSeeds(t, func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		c := newCut(t, r)
		c.runOriginal()
		c.runClone(c.locations[r.IntN(len(c.locations))])
	})
}

// cut is one run of the test.
type cut struct {
	*scenario

	r *rand.Rand
	// to has the checkpoints, locations are their folders.
	to        *mem.Storage
	mu        sync.Mutex
	locations []string
	words     map[string]int64
}

// letter is what the second stage keeps: how many updates of the first there were, and their sum. A lost or doubled
// update changes it whatever the order of updates is.
type letter struct{ updates, sum int64 }

func (l letter) String() string { return fmt.Sprintf("%d %d", l.updates, l.sum) }

func newCut(t *testing.T, r *rand.Rand) *cut {
	return &cut{scenario: newScenario(t, broker.Start(t)), r: r, to: mem.New(), words: make(map[string]int64)}
}

// stages counts words, and then the counts by the first letter of their words.
func stages(in, out string, partitions int32) *topology.Builder {
	b := topology.NewBuilder()
	byWord := topology.SelectKey(topology.Stream(b, in, serde.String, serde.String),
		func(_, word string) string { return word }, serde.String).
		Repartition(topology.Named("by-word"), topology.Partitions(partitions))
	words := topology.Count(byWord.GroupByKey(), topology.As("words")).ToStream()
	byLetter := topology.SelectKey(words, func(word string, _ int64) string { return word[:1] }, serde.String).
		Repartition(topology.Named("by-letter"), topology.Partitions(partitions))
	letters := topology.Aggregate(byLetter.GroupByKey(), func() string { return letter{}.String() },
		func(_ string, n int64, have string) string {
			l := parseLetter(have)
			return letter{l.updates + 1, l.sum + n}.String()
		}, serde.String, topology.As("letters"))
	letters.ToStream().To(out)
	return b
}

func parseLetter(s string) (l letter) {
	if _, err := fmt.Sscanf(s, "%d %d", &l.updates, &l.sum); err != nil {
		panic(fmt.Sprintf("%q is no letter: %v", s, err))
	}
	return l
}

// want is what letters are at the end.
func (c *cut) want() map[string]letter {
	want := make(map[string]letter)
	for word, n := range c.words {
		l := want[word[:1]]
		want[word[:1]] = letter{l.updates + n, l.sum + n*(n+1)/2}
	}
	return want
}

// start starts instances of an application.
func (c *cut) start(name, out string, partitions int32, instances int, to storage.Storage) []*app {
	apps := make([]*app, instances)
	workers, commit := 1+c.r.IntN(2), time.Duration(5+c.r.IntN(40))*time.Millisecond
	unaligned, incremental := c.r.IntN(2) == 0, c.r.IntN(2) == 0
	aligned := time.Duration(c.r.IntN(3)) * 10 * time.Millisecond
	for i := range apps {
		cfg := c.config()
		cfg.ApplicationID, cfg.StateDir = name, filepath.Join(c.t.TempDir(), strconv.Itoa(i))
		cfg.Workers, cfg.CommitInterval = workers, commit
		cfg.Checkpointing = checkpointing.Config{
			Storage: to, Retained: 100, MaxConcurrent: 3, Unaligned: unaligned, AlignedTimeout: aligned,
			Incremental: incremental, Timeout: badPatience,
		}
		apps[i] = c.run(stages(c.in, out, partitions), cfg)
	}
	return apps
}

// runOriginal feeds the application while checkpoints are made of it, and checks its results.
func (c *cut) runOriginal() {
	const few, many = 3, 40
	apps := c.start(c.app, c.out, 4, 3, c.to)
	awaitSettled(c.t, 12, apps...)
	moments := make(map[int]bool)
	for range 1 + c.r.IntN(few) {
		moments[c.r.IntN(many)] = true
	}
	var made sync.WaitGroup
	for i := range many {
		if moments[i] {
			by := apps[c.r.IntN(len(apps))]
			made.Go(func() { c.checkpoint(by) })
		}
		c.feed(1 + c.r.IntN(80))
	}
	made.Wait()
	// Should the machine be so busy that a session ended, tasks that moved may have declined all of them.
	for until := time.Now().Add(badPatience); len(c.locations) == 0; {
		require.True(c.t, time.Now().Before(until), "no checkpoint was made")
		c.feed(10)
		c.checkpoint(apps[0])
	}
	c.await(c.app)
	c.checkOutputs(c.out, nil)
	for _, a := range apps {
		a.close()
	}
}

// checkpoint makes one, unless a newer one is quicker or a task moves.
func (c *cut) checkpoint(by *app) {
	info, err := by.app.TriggerCheckpoint(context.Background(), tidemark.CheckpointOptions{})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.t.Logf("no checkpoint: %v", err)
		return
	}
	c.locations = append(c.locations, info.Location)
}

// feed sends n words.
func (c *cut) feed(n int) {
	records := make([]broker.Record, n)
	for i := range records {
		word := fmt.Sprintf("%c-%d", 'a'+rune(c.r.IntN(12)), c.r.IntN(5))
		records[i] = broker.Record{Partition: -1, Key: strconv.AppendInt(nil, int64(c.sent), 10), Value: []byte(word)}
		c.words[word]++
		c.sent++
	}
	c.cluster.Produce(c.t, c.in, records...)
}

// await waits until an application has processed everything, stage by stage.
func (c *cut) await(name string) {
	for _, topic := range []string{c.in, name + "-by-word-repartition", name + "-by-letter-repartition"} {
		c.cluster.AwaitCommitted(c.t, name, topic, badPatience)
	}
}

// checkOutputs compares the outputs of an application that began with this state: the updates of each letter go on from
// there one by one, to the end.
func (c *cut) checkOutputs(out string, from map[string]letter) {
	c.t.Helper()
	last := make(map[string]letter)
	maps.Copy(last, from)
	c.cluster.AwaitDecided(c.t, out)
	for _, r := range c.cluster.ReadCommitted(c.t, out) {
		l, before := parseLetter(string(r.Value)), last[string(r.Key)]
		require.Equal(c.t, before.updates+1, l.updates, "update of %q at %d-%d", r.Key, r.Partition, r.Offset)
		last[string(r.Key)] = l
	}
	require.Equal(c.t, c.want(), last)
}

// runClone starts another application from a checkpoint, sometimes with other numbers of partitions, and checks it.
func (c *cut) runClone(location string) {
	name, out := c.app+"-clone", c.out+"-clone"
	partitions := []int32{4, 4, 7, 3}[c.r.IntN(4)]
	c.cluster.CreateTopic(c.t, out, 4, nil)
	before := c.lettersIn(location)
	cfg := c.config()
	cfg.ApplicationID, cfg.Checkpointing = name, checkpointing.Config{Storage: c.to}
	report, err := tidemark.StartFrom(c.t.Context(), stages(c.in, out, partitions), cfg, location,
		tidemark.StartOptions{})
	require.NoError(c.t, err)
	apps := c.start(name, out, partitions, 1+c.r.IntN(3), nil)
	c.await(name)
	updates := int64(0)
	for _, l := range before {
		updates += l.updates
	}
	c.t.Logf("%s into %d partitions: %d of %d updates were in it, %d records in flight",
		location, partitions, updates, c.sent, report.InFlight)
	c.checkOutputs(out, before)
	c.checkState(name, partitions)
	for _, a := range apps {
		a.close()
	}
}

// lettersIn reads the second stage's state in a checkpoint.
func (c *cut) lettersIn(location string) map[string]letter {
	r, err := checkpointing.OpenReader(c.t.Context(), c.to, location, nil)
	require.NoError(c.t, err)
	letters := make(map[string]letter)
	require.NoError(c.t, r.Each(c.t.Context(), "letters", func(key, value []byte, _ int64) error {
		letters[string(key)] = parseLetter(string(value))
		return nil
	}))
	return letters
}

// checkState compares what an application keeps, as its changelogs have it, each row where its key belongs.
func (c *cut) checkState(name string, partitions int32) {
	c.t.Helper()
	words, letters := make(map[string]int64), make(map[string]letter)
	c.cluster.AwaitDecided(c.t, name+"-words-changelog")
	c.cluster.AwaitDecided(c.t, name+"-letters-changelog")
	for _, r := range c.cluster.ReadCommitted(c.t, name+"-words-changelog") {
		words[string(r.Key)] = int64(binary.BigEndian.Uint64(r.Value))
		require.Equal(c.t, processor.DefaultPartition(r.Key, partitions), r.Partition, "%q", r.Key)
	}
	for _, r := range c.cluster.ReadCommitted(c.t, name+"-letters-changelog") {
		letters[string(r.Key)] = parseLetter(string(r.Value))
		require.Equal(c.t, processor.DefaultPartition(r.Key, partitions), r.Partition, "%q", r.Key)
	}
	require.Equal(c.t, c.words, words)
	require.Equal(c.t, c.want(), letters)
}
