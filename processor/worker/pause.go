package worker

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/tidemarkio/tidemark/record"
)

// Pauses says which tasks stand still (KIP-834): they process nothing and no punctuator of theirs is called. What they
// have processed is still committed, inputs are fetched as far as buffers go, and the member stays in its group. The
// zero value pauses nothing. Safe for concurrent use.
type Pauses struct {
	mu     sync.Mutex
	paused atomic.Pointer[pauses] // replaced whole: workers look at it before each step
}

type pauses struct {
	all           bool
	subtopologies map[int32]bool
}

// Pause stops the tasks of the given sub-topologies; all tasks without any.
func (p *Pauses) Pause(subtopologies ...int32) {
	p.change(func(now *pauses) {
		now.all = now.all || len(subtopologies) == 0
		for _, s := range subtopologies {
			now.subtopologies[s] = true
		}
	})
}

// Resume lets the tasks of the given sub-topologies go on, unless all tasks are paused; without any, all tasks.
func (p *Pauses) Resume(subtopologies ...int32) {
	p.change(func(now *pauses) {
		if len(subtopologies) == 0 {
			now.all = false
			clear(now.subtopologies)
		}
		for _, s := range subtopologies {
			delete(now.subtopologies, s)
		}
	})
}

func (p *Pauses) change(fn func(now *pauses)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := &pauses{subtopologies: make(map[int32]bool)}
	if now := p.paused.Load(); now != nil {
		next.all = now.all
		maps.Copy(next.subtopologies, now.subtopologies)
	}
	fn(next)
	p.paused.Store(next)
}

// Paused reports whether a task stands still.
func (p *Pauses) Paused(id record.TaskID) bool {
	if p == nil {
		return false
	}
	now := p.paused.Load()
	return now != nil && (now.all || now.subtopologies[id.Subtopology])
}
