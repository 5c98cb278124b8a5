package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/bench/measure"
)

// load is the queries and what became of them.
type load struct {
	readers []*tidemark.Reader[string, int64]
	names   []string
	known   []atomic.Int64 // the greatest answer, by key
	rnd     *rand.Rand

	pending sync.WaitGroup
	begun   atomic.Int64
	ended   atomic.Int64
	began   time.Time
	seconds float64

	mu struct {
		sync.Mutex
		latencies []time.Duration // of answers
		standby   int
		unserved  int // retriable
		wrong     []string
	}
}

func newLoad(keys int, seed uint64) *load {
	l := &load{known: make([]atomic.Int64, keys), rnd: rand.New(rand.NewPCG(seed, 0))}
	for k := range keys {
		l.names = append(l.names, keyName(k))
	}
	return l
}

// tick is how often queries begin.
const tick = time.Millisecond

// run begins queries until stop says so, and waits for all.
func (l *load) run(ctx context.Context, rate int, stop func() bool) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	l.began = time.Now()
	defer func() { l.seconds = time.Since(l.began).Seconds() }()
	for n := 0; ; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		due := int64(float64(rate) * time.Since(l.began).Seconds())
		for l.begun.Load() < due {
			l.begun.Add(1)
			reader, key, at := l.readers[l.rnd.IntN(len(l.readers))], l.rnd.IntN(len(l.known)), time.Now()
			l.pending.Go(func() { l.ask(ctx, reader, key, at) })
		}
		if pending := l.begun.Load() - l.ended.Load(); pending > pendingMax {
			return fmt.Errorf("%d queries wait for an answer", pending)
		}
		if n%100 == 0 && stop() {
			l.pending.Wait()
			return nil
		}
	}
}

// ask puts one query and checks its answer.
func (l *load) ask(ctx context.Context, r *tidemark.Reader[string, int64], key int, at time.Time) {
	lowest := l.known[key].Load()
	a, err := r.Ask(ctx, l.names[key])
	took := time.Since(at)
	l.ended.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		unavailable, ok := errors.AsType[*tidemark.UnavailableError](err)
		if ok && unavailable.Retriable {
			l.mu.unserved++
		} else {
			l.mu.wrong = append(l.mu.wrong, err.Error())
		}
		return
	}
	l.mu.latencies = append(l.mu.latencies, took)
	if a.Standby {
		l.mu.standby++ // it may be behind: that is what it was asked for
		return
	}
	if a.Value < lowest {
		l.mu.wrong = append(l.mu.wrong, fmt.Sprintf("%s: %d, and %d was answered before: %+v", l.names[key], a.Value, lowest,
			a.QueryInfo))
	}
	for old := lowest; old < a.Value && !l.known[key].CompareAndSwap(old, a.Value); {
		old = l.known[key].Load()
	}
}

// last is the final value of a key.
func (l *load) last(name string, value int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key, ok := keyOf(name)
	if !ok || key >= len(l.known) {
		return // of a load with more keys
	}
	if known := l.known[key].Load(); known > value {
		l.mu.wrong = append(l.mu.wrong, fmt.Sprintf("%s: %d in the end, and %d was answered before", name, value, known))
	}
}

// failure says what was wrong, nil if nothing was.
func (l *load) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	const shown = 5
	if n := len(l.mu.wrong); n > 0 {
		return fmt.Errorf("%d wrong answers or errors that no retry mends, as %q", n, l.mu.wrong[:min(n, shown)])
	}
	if len(l.mu.latencies) == 0 {
		return errors.New("not one answer")
	}
	return nil
}

// line is the result.
func (l *load) line(records int64) *measure.Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.mu.latencies)
	percentile := func(p float64) float64 {
		n := len(l.mu.latencies)
		if n == 0 {
			return 0
		}
		return l.mu.latencies[min(int(p*float64(n)), n-1)].Seconds() * 1000
	}
	var line measure.Line
	return line.Put("query", "count").Put("seconds", l.seconds).Put("queries", l.begun.Load()).
		Put("queries_per_s", float64(l.begun.Load())/l.seconds).Put("answers", len(l.mu.latencies)).
		Put("from_standbys", l.mu.standby).Put("unavailable", l.mu.unserved).Put("wrong", len(l.mu.wrong)).
		Put("p50_ms", percentile(0.5)).Put("p99_ms", percentile(0.99)).Put("p999_ms", percentile(0.999)).
		Put("max_ms", percentile(1)).Put("records", records)
}

const keyFormat = "k%08d" // as the load's generator writes keys

func keyName(k int) string { return fmt.Sprintf(keyFormat, k) }

func keyOf(name string) (k int, ok bool) {
	n, err := fmt.Sscanf(name, keyFormat, &k)
	return k, err == nil && n == 1
}
