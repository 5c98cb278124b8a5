package main

import (
	"sync"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/bench/measure"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
)

// checkpoints adds up what the checkpoints of a run took.
type checkpoints struct {
	mu                      sync.Mutex
	n                       int64
	syncMs, alignMs, tookMs int64 // the longest ones
	fullBytes, increment    int64 // the last ones
}

// configure switches checkpoints on, if the options say so.
func (c *checkpoints) configure(config *tidemark.Config, o options, args measure.Args) {
	ms := args.Int("checkpoint-ms", 0)
	if ms == 0 {
		return
	}
	config.Checkpointing = checkpointing.Config{
		Interval: time.Duration(ms) * time.Millisecond, Incremental: args.Flag("incremental", true), Retained: 2,
		Unaligned: args.Flag("unaligned", false), LazyRestore: args.Flag("checkpoint-lazy", false),
		Storage: dir.New(args.Get("checkpoint-dir", o.stateDir+"-checkpoints")),
	}
	config.CheckpointListener.OnCompleted = c.completed
}

func (c *checkpoints) completed(m checkpointing.Completed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.tookMs = max(c.tookMs, m.CompletedMs-m.TriggeredMs)
	full := true
	for _, t := range m.Tasks {
		c.syncMs, c.alignMs = max(c.syncMs, t.SyncMs), max(c.alignMs, t.AlignmentMs)
		full = full && t.Full
	}
	if full {
		c.fullBytes = m.Bytes
	} else {
		c.increment = m.Bytes
	}
}

// put adds the figures to a result line.
func (c *checkpoints) put(l *measure.Line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.Put("checkpoints", c.n).Put("checkpoint_max_ms", c.tookMs).Put("sync_max_ms", c.syncMs).
		Put("alignment_max_ms", c.alignMs).Put("full_bytes", c.fullBytes).Put("increment_bytes", c.increment)
}
