package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/integration/broker"
)

// chaosPatience bounds each wait of TestCheckpointChaos; the session of a dead process is part of some.
const chaosPatience = 2 * time.Minute

// TestCheckpointChaos makes checkpoints while everything fails that may. Three processes count under load, their
// storage refuses, hangs, is full and lies, processes are killed at the worst moments, lose their state, and find
// checkpoints that somebody has damaged. Whatever happened: no record is lost or counted twice, the last checkpoint is
// whole, an application that starts from it comes to the same totals, and nothing is left of all the others.
//
// What is done follows from the seed, when exactly it happens does not: a failure comes again with luck only, so its
// logs are in the output, and in $TIDEMARK_TEST_LOGS.
//
//	go test ./integration -run TestCheckpointChaos -v -runs 100 -seed 1
func TestCheckpointChaos(t *testing.T) {
	ofSeeds(t, func(t *testing.T, seed uint64) { newChaos(t, seed).run() })
}

// chaos is one run.
type chaos struct {
	*scenario
	r      *rand.Rand
	life   chaosLife
	states string // the state directories of all processes
	// instances are those that run, all also those that have ended.
	instances, all []*instance
	// damaged are the names of objects that this test has damaged.
	damaged map[string]bool
	did     map[string]int
	// What the input amounts to. Owned by the feeding goroutine while it runs.
	words, initials map[string]uint64
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{
		scenario: newScenario(t, broker.Start(t)), r: rand.New(rand.NewPCG(seed, 3)), states: t.TempDir(),
		damaged: make(map[string]bool), did: make(map[string]int), words: make(map[string]uint64),
		initials: make(map[string]uint64),
	}
	c.keys = 97
	c.life = drawLife(c.r)
	l := &c.life
	l.ApplicationID, l.Brokers, l.In, l.First, l.Second = c.app, c.cluster.Bootstrap(), c.in, c.out, broker.Name(t, "out2")
	l.Storage, l.Calm = t.TempDir(), filepath.Join(t.TempDir(), "calm")
	c.session = ms(l.SessionMs)
	if c.cluster.Real() { // commits take their time there
		l.TimeoutMs *= 3
	}
	c.cluster.CreateTopic(t, l.Second, c.partitions, nil)
	t.Cleanup(c.deleteTopics)
	told, err := json.Marshal(l)
	require.NoError(t, err)
	t.Logf("life: %s", told)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what happened: %v", c.did)
		}
	})
	return c
}

func (c *chaos) run() {
	began := time.Now()
	stop := c.feed()
	for i := range 3 {
		c.instances = append(c.instances, nil)
		c.begin(i)
	}
	c.await("first checkpoint", 5*time.Second, func(now stored) bool { return now.newest > 0 })
	for range 3 + c.r.IntN(3) {
		c.moment()
		c.disturb()
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), chaosPatience)
	defer cancel()
	control, err := tidemark.NewControl(ctx, c.at(c.app))
	require.NoError(c.t, err)
	defer func() { require.NoError(c.t, control.Close()) }()
	never := int64(0)
	require.NoError(c.t, control.Configure(ctx, checkpointing.Overrides{IntervalMs: &never}))
	c.verify(false)
	require.NoError(c.t, os.WriteFile(c.life.Calm, nil, 0o600))
	c.checkpoint(control, false)
	c.alive()
	stop()
	c.drain(c.app)
	c.checkOutputs(c.app, c.life.First, c.life.Second)
	good := c.verify(true)
	if len(good) == 0 { // all of them build on what was damaged
		c.checkpoint(control, true)
		good = c.verify(true)
		require.NotEmpty(c.t, good)
	}
	clone := "none"
	if c.r.IntN(3) == 0 {
		clone = c.clone(good[c.r.IntN(len(good))])
	}
	c.tidy(control)
	c.alive()
	for _, i := range c.instances {
		i.stop()
	}
	c.checkOutputs(c.app, c.life.First, c.life.Second)
	c.t.Logf("%s: %d inputs, %v, clone from %s; %s", time.Since(began).Round(time.Millisecond), c.sent, c.did, clone,
		c.checkLogs())
}

// at is the configuration of an application that is no process: it reaches the storage without faults.
func (c *chaos) at(name string) tidemark.Config {
	cfg := c.config()
	cfg.ApplicationID = name
	cfg.Checkpointing = checkpointing.Config{Storage: dir.New(c.life.Storage)}
	return cfg
}

// begin starts a process on what its predecessor has left.
func (c *chaos) begin(i int) {
	told, err := json.Marshal(&c.life)
	require.NoError(c.t, err)
	c.instances[i] = c.launch(string(rune('a'+i)), chaosLifeEnv+"="+string(told), chaosStateEnv+"="+c.stateOf(i),
		fmt.Sprintf("%s=%d", chaosFaultsEnv, c.r.Uint64()))
	c.all = append(c.all, c.instances[i])
}

func (c *chaos) stateOf(i int) string { return filepath.Join(c.states, string(rune('a'+i))) }

// feed sends records until the returned function is called.
func (c *chaos) feed() (stop func()) {
	c.sendWords(400)
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(10 * time.Millisecond):
				c.sendWords(30)
			}
		}
	})
	stop = sync.OnceFunc(func() { close(end); done.Wait() })
	c.t.Cleanup(stop)
	return stop
}

func (c *chaos) sendWords(n int) {
	records := make([]broker.Record, n)
	for i := range records {
		word := fmt.Sprintf("%c%02d", 'a'+c.sent%13, c.sent%c.keys)
		records[i] = broker.Record{Partition: -1, Key: fmt.Appendf(nil, "line-%d", c.sent), Value: []byte(word)}
		c.words[word]++
		c.initials[word[:1]]++
		c.sent++
	}
	c.cluster.Produce(c.t, c.in, records...)
}

// deleteTopics gives back to the shared broker what the run has filled.
func (c *chaos) deleteTopics() {
	var mine []string
	for _, topic := range c.cluster.Topics(c.t) {
		if strings.HasPrefix(topic, c.app) || topic == c.in || topic == c.life.First || topic == c.life.Second {
			mine = append(mine, topic)
		}
	}
	c.cluster.DeleteTopics(c.t, mine...)
}
