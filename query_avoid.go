package tidemark

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemarkio/tidemark/internal/clock"
)

// avoidFor is how long nobody but one tries an instance again that has not answered.
const avoidFor = 50 * time.Millisecond

// avoidances remembers who has just not answered, so that thousands of queries that wait for one restart do not knock
// at its door ten times a second each: one of them tries, the others take its error for theirs, and the first answer
// lets everybody in.
type avoidances struct {
	clock clock.Clock
	n     atomic.Int64 // of entries: in good times nobody takes the lock

	mu struct {
		sync.Mutex
		at map[avoidance]avoided
	}
}

// avoidance is what is avoided: an instance for a partition of a store, or altogether.
type avoidance struct {
	endpoint, store string
	partition       int32
}

type avoided struct {
	until time.Time
	err   error
}

// check returns the error of who has tried just now; nil: try, and tell what comes of it.
func (a *avoidances) check(endpoint string, q *ask) error {
	if a.n.Load() == 0 {
		return nil
	}
	now := a.clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range keysOfAvoidance(endpoint, q) {
		was, ok := a.mu.at[key]
		if !ok {
			continue
		}
		if now.Before(was.until) {
			return was.err
		}
		was.until = now.Add(avoidFor) // it is we who try
		a.mu.at[key] = was
	}
	return nil
}

// failed notes that an instance has not answered: about one partition, or at all.
func (a *avoidances) failed(endpoint string, q *ask, err error, altogether bool) {
	key := avoidance{endpoint: endpoint, store: q.store, partition: q.partition}
	if altogether {
		key = avoidance{endpoint: endpoint}
	}
	until := a.clock.Now().Add(avoidFor)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.at == nil {
		a.mu.at = make(map[avoidance]avoided)
	}
	a.mu.at[key] = avoided{until: until, err: err}
	a.n.Store(int64(len(a.mu.at)))
}

// answered forgets what was noted.
func (a *avoidances) answered(endpoint string, q *ask) {
	if a.n.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range keysOfAvoidance(endpoint, q) {
		delete(a.mu.at, key)
	}
	a.n.Store(int64(len(a.mu.at)))
}

func keysOfAvoidance(endpoint string, q *ask) [2]avoidance {
	return [2]avoidance{{endpoint: endpoint}, {endpoint: endpoint, store: q.store, partition: q.partition}}
}
