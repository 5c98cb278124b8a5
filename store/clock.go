package store

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// Clock is a number that only the task moves and that commits with its store: the time an operator has observed, for
// one. It survives what the store survives. Owned by the task goroutine.
type Clock struct {
	now       int64
	sealed    int64 // as of the last Seal
	committed int64
	flushed   int64 // as of the last freeze

	// before is what tasks of before had, see clock_before.go. Only a restore changes it: what now has passed stays and
	// does not matter, so that a rollback finds what it needs.
	before       []tasksBefore
	latestBefore int64
	replayed     bool // since the last freeze: before may not be in the engine
}

// clockStart is the value of a clock before the first Advance or Set.
const clockStart = -1

// Now returns the clock's value, -1 before the first Advance.
func (c *Clock) Now() int64 { return c.now }

// Advance moves the clock forward to t; an earlier t changes nothing.
func (c *Clock) Advance(t int64) {
	if t > c.now {
		c.now = t
	}
}

// Set moves the clock to t, also backward.
func (c *Clock) Set(t int64) { c.now = t }

// start sets what is committed.
func (c *Clock) start(t int64, before []tasksBefore) {
	c.now, c.sealed, c.committed = t, t, t
	c.before, c.latestBefore = before, latestOf(before)
}

// clocks is the part of a composite store that keeps its clocks: one row each, written only when it moved.
type clocks struct {
	name   string
	prefix []byte
	tag    byte
	engine Engine
	all    map[string]*Clock
	// local are facts about the rows in the engine: kept beside them, not in the changelog, and no rollback takes them
	// back.
	local map[string]bool
	// sealedNames are those that the sealed epoch wrote.
	sealedNames []string
	closed      bool
}

const clockBytes = 8

var _ layered = (*clocks)(nil)

func newClocks(name string, env Env, tag byte) *clocks {
	return &clocks{name: name, prefix: env.of(tag).Prefix, tag: tag, engine: env.Engine, all: make(map[string]*Clock)}
}

// clock returns the clock of that name. Ask once: it stays the same.
func (c *clocks) clock(name string) (*Clock, error) {
	if k, ok := c.all[name]; ok {
		return k, nil
	}
	k := &Clock{flushed: clockStart}
	k.start(clockStart, nil)
	if !c.engine.Empty() {
		data, found, err := c.engine.Get(append(slices.Clone(c.prefix), name...), nil)
		if err != nil {
			return nil, fmt.Errorf("store: %s: read clock %q: %w", c.name, name, err)
		}
		if found {
			t, before, err := parseClock(data)
			if err != nil {
				return nil, fmt.Errorf("store: %s: clock %q: %w", c.name, name, err)
			}
			k.start(t, before)
			k.flushed = t
		}
	}
	c.all[name] = k
	return k, nil
}

// Name implements [Store].
func (c *clocks) Name() string { return c.name }

// FlushCache implements [Store].
func (c *clocks) FlushCache() error { return nil }

// Seal implements [Store].
func (c *clocks) Seal(_ record.Epoch, changelog *record.Batch) error {
	if c.closed {
		return fmt.Errorf("store: %s: %w", c.name, ErrClosed)
	}
	for _, name := range slices.Sorted(maps.Keys(c.all)) {
		k := c.all[name]
		if k.now == k.sealed {
			continue
		}
		k.sealed = k.now
		c.sealedNames = append(c.sealedNames, name)
		if changelog != nil {
			key := append([]byte{c.tag}, name...)
			changelog.Append(key, appendClock(nil, k.now, k.before), max(0, k.now), nil)
		}
	}
	return nil
}

// Commit implements [Store].
func (c *clocks) Commit(record.Epoch) {
	for _, name := range c.sealedNames {
		c.all[name].committed = c.all[name].sealed
	}
	c.sealedNames = c.sealedNames[:0]
}

// Rollback implements [Store].
func (c *clocks) Rollback() error {
	for _, k := range c.all {
		k.now, k.sealed = k.committed, k.committed
	}
	c.sealedNames = c.sealedNames[:0]
	return nil
}

// localFact returns a clock that says something about the rows in the engine; change it with setLocal only.
func (c *clocks) localFact(name string) (*Clock, error) {
	if c.local == nil {
		c.local = make(map[string]bool)
	}
	c.local[name] = true
	return c.clock(name)
}

// setLocal changes a local fact, with the next flush.
func (c *Clock) setLocal(t int64) { c.now, c.sealed, c.committed = t, t, t }

// Replay implements [Store]. The key is the clock's name.
func (c *clocks) Replay(r *record.Raw) error {
	if c.local[string(r.Key)] {
		return nil // not about this engine
	}
	k, err := c.clock(string(r.Key))
	if err != nil {
		return err
	}
	t := int64(clockStart)
	var before []tasksBefore
	if r.Value != nil {
		if t, before, err = parseClock(r.Value); err != nil {
			return fmt.Errorf("store: %s: changelog record at offset %d: %w", c.name, r.Offset, err)
		}
	}
	k.start(t, before)
	k.replayed = true
	return nil
}

// UncommittedBytes implements [Store].
func (c *clocks) UncommittedBytes() int { return 0 }

func (c *clocks) activeBytes() int    { return 0 }
func (c *clocks) frozenBytes() int    { return 0 }
func (c *clocks) mostlyExpired() bool { return false }
func (c *clocks) cachedUpdates() int  { return 0 }

func (c *clocks) committedCount() int {
	n := 0
	for _, k := range c.all {
		if k.committed != k.flushed || k.replayed {
			n++
		}
	}
	return n
}

func (c *clocks) prepare(bool) {}
func (c *clocks) freeze()      {}

// frozenTable returns the rows that moved since the last flush, in key order.
func (c *clocks) frozenTable() any {
	var rows []Entry
	for _, name := range slices.Sorted(maps.Keys(c.all)) {
		if k := c.all[name]; k.committed != k.flushed || k.replayed {
			k.flushed, k.replayed = k.committed, false
			rows = append(rows, Entry{
				Key:   append(slices.Clone(c.prefix), name...),
				Value: appendClock(nil, k.committed, k.before),
			})
		}
	}
	return rows
}

func (c *clocks) eachFrozen(table any, _ bool, yield func(Entry) bool) bool {
	rows, _ := table.([]Entry)
	for _, row := range rows {
		if !yield(row) {
			return false
		}
	}
	return true
}

func (c *clocks) close() { c.closed = true }
