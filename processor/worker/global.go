package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// GlobalConfig is what a Global is made from.
type GlobalConfig struct {
	Stores []*processor.GlobalStore
	// Task is the configuration of the task that fills them; its directory is filled in here.
	Task task.Config
	// Fetcher is this Global's alone.
	Fetcher  Fetcher
	Admin    Admin
	StateDir StateDir
	// TopicConfig returns the configuration of a topic, as read at start.
	TopicConfig func(topic string) map[string]string
	Listener    RestoreListener
	Clock       clock.Clock
	Logger      *slog.Logger
}

// Global keeps the global stores of an instance: a task that reads all partitions of their topics and writes nothing
// but its stores. Its positions are in the checkpoint of its database, not in the group, and it takes part in no
// transaction.
//
// OpenGlobal brings the stores to the end of their topics; Follow is the goroutine that owns the task from then on.
// View, Snapshot and the views may be used from others meanwhile.
type Global struct {
	cfg   GlobalConfig
	task  *task.Task
	bases []*globalBase
	// failed says that Follow ended with an error, after which the files are not trusted without a look.
	failed bool

	mu struct {
		sync.Mutex
		inputs map[record.TopicPartition]InputSnapshot
	}
}

// followBatches is how many batches are put into one epoch: more would let the views wait.
const followBatches = 32

// globalPatience is how long a start waits before it says which partitions it is waiting for.
const globalPatience = 10 * time.Second

// OpenGlobal opens the stores, from trusted local state if there is some, and reads to the end that their topics have
// now. On error, or if ctx ends, nothing is left open.
func OpenGlobal(ctx context.Context, cfg GlobalConfig) (*Global, error) {
	cfg.Task.MaxTaskIdle = -1 // one table does not wait for another
	g := &Global{cfg: cfg}
	g.mu.inputs = make(map[record.TopicPartition]InputSnapshot)
	err := g.open(ctx)
	if err == nil {
		err = g.catchUp(ctx)
	}
	if err == nil {
		return g, nil
	}
	if g.task != nil {
		err = errors.Join(err, g.task.Close(false))
	}
	return nil, fmt.Errorf("global stores: %w", err)
}

// View makes a view of a store for one goroutine; false if there is no store of that name.
func (g *Global) View(name string) (store.Store, bool, error) {
	if !slices.ContainsFunc(g.cfg.Stores, func(s *processor.GlobalStore) bool { return s.Store.Name == name }) {
		return nil, false, nil
	}
	s, err := g.task.Stores().View(name)
	return s, err == nil, err
}

// Follow keeps the stores up to date until ctx ends. An error that no handler takes ends it.
func (g *Global) Follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-g.cfg.Fetcher.Batches():
			if err := g.apply(ctx, f); err != nil {
				if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
					return nil
				}
				g.failed = true
				return fmt.Errorf("global stores: %w", err)
			}
		}
	}
}

// apply puts a batch, and those that wait behind it, into the stores and shows them to the views.
func (g *Global) apply(ctx context.Context, f *Fetched) error {
	now := g.cfg.Clock.NowMs()
	if err := g.take(f, now); err != nil {
		return err
	}
	for range min(len(g.cfg.Fetcher.Batches()), followBatches) { // nobody else receives from it
		if err := g.take(<-g.cfg.Fetcher.Batches(), now); err != nil {
			return err
		}
	}
	if err := g.commit(now); err != nil {
		return err
	}
	return g.task.Stores().Flush(ctx)
}

// take processes a batch. wallTimeMs is that of the checkpoint, if a processor asks for one.
func (g *Global) take(f *Fetched, wallTimeMs int64) error {
	if g.cfg.Fetcher.Stale(f) {
		g.cfg.Fetcher.Release(f)
		return nil
	}
	if f.Err != nil {
		// A position that the log no longer has is found again by the next start, which reads all of the topic.
		return fmt.Errorf("fetch %s: %w", f.TopicPartition, f.Err)
	}
	now := g.cfg.Clock.NowMs()
	g.task.Add(task.Input{
		TopicPartition: f.TopicPartition, Records: f.Records, Next: f.Next, HighWatermark: f.HighWatermark, Token: f,
	})
	for g.task.Buffered() {
		if _, err := g.task.Process(stepRecords, now); err != nil {
			return err
		}
		if g.task.CommitRequested() { // otherwise it would not go on
			if err := g.commit(wallTimeMs); err != nil {
				return err
			}
		}
	}
	g.mu.Lock()
	g.mu.inputs[f.TopicPartition] = InputSnapshot{
		TopicPartition: f.TopicPartition, Committed: f.Next, Lag: max(0, f.HighWatermark-f.Next),
	}
	g.mu.Unlock()
	for _, token := range g.task.Released() {
		g.cfg.Fetcher.Release(token.(*Fetched)) //nolint:forcetypeassert,errcheck // put there above
	}
	return nil
}

// commit ends an epoch. There is no transaction: the topics have all that the stores have.
func (g *Global) commit(wallTimeMs int64) error {
	if e, err := g.task.Seal(); err != nil || e == nil {
		return err
	}
	return g.task.Committed(nil, wallTimeMs)
}

// Close closes the stores. Follow has ended, and so has everybody who reads a view. With clean, and if Follow did not
// fail, the next start trusts the local state without a look.
func (g *Global) Close(clean bool) error {
	clean = clean && !g.failed
	if err := g.task.Close(clean); err != nil {
		return fmt.Errorf("global stores: %w", err)
	}
	if !clean {
		return nil
	}
	return g.cfg.StateDir.MarkClean(record.GlobalTaskID(), -1)
}

// GlobalSnapshot is what a global store shows of itself.
type GlobalSnapshot struct {
	Store string
	// Inputs are the partitions of its topic, in order. Committed is the position up to which the store has them.
	Inputs []InputSnapshot
}

// Snapshot returns how far each store is.
func (g *Global) Snapshot() []GlobalSnapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]GlobalSnapshot, 0, len(g.cfg.Stores))
	for _, s := range g.cfg.Stores {
		snapshot := GlobalSnapshot{Store: s.Store.Name}
		for _, tp := range g.cfg.Task.Inputs {
			if tp.Topic == s.Topic() {
				snapshot.Inputs = append(snapshot.Inputs, g.mu.inputs[tp])
			}
		}
		all = append(all, snapshot)
	}
	return all
}
