package store

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/record"
)

// composite is a store made of parts, each with its own kind of rows: data, an index by time, clocks. A part's keys
// begin with its tag, behind the store's prefix and in the changelog. All parts share one changelog topic, and pass
// through an epoch together.
//
// Owned by the task goroutine.
type composite struct {
	name  string
	parts []part // in ascending order of their tags
}

// part is one kind of rows of a composite store.
type part struct {
	layered

	tag byte
}

var _ layered = (*composite)(nil)

// of returns the environment of the part of a store with this tag. Its buffers come from newPartBuffer.
func (e Env) of(tag byte) Env {
	e.Prefix = append(append(make([]byte, 0, len(e.Prefix)+1), e.Prefix...), tag)
	return e
}

// Name implements [Store].
func (c *composite) Name() string { return c.name }

// FlushCache implements [Store].
func (c *composite) FlushCache() error {
	for _, p := range c.parts {
		if err := p.FlushCache(); err != nil {
			return err
		}
	}
	return nil
}

// Seal implements [Store].
func (c *composite) Seal(epoch record.Epoch, changelog *record.Batch) error {
	for _, p := range c.parts {
		if err := p.Seal(epoch, changelog); err != nil {
			return err
		}
	}
	return nil
}

// Commit implements [Store].
func (c *composite) Commit(epoch record.Epoch) {
	for _, p := range c.parts {
		p.Commit(epoch)
	}
}

// Rollback implements [Store].
func (c *composite) Rollback() error {
	var errs []error
	for _, p := range c.parts {
		errs = append(errs, p.Rollback())
	}
	return errors.Join(errs...)
}

// Replay implements [Store].
func (c *composite) Replay(r *record.Raw) error {
	for _, p := range c.parts {
		if len(r.Key) > 0 && r.Key[0] == p.tag {
			row := *r
			row.Key = r.Key[1:]
			return p.Replay(&row)
		}
	}
	return fmt.Errorf("store: %s: changelog record at offset %d is of no known kind (key %x): "+
		"was the changelog written by another kind of store, or by a newer version?", c.name, r.Offset, r.Key)
}

// UncommittedBytes implements [Store].
func (c *composite) UncommittedBytes() int { return c.sum(layered.UncommittedBytes) }

func (c *composite) activeBytes() int    { return c.sum(layered.activeBytes) }
func (c *composite) frozenBytes() int    { return c.sum(layered.frozenBytes) }
func (c *composite) committedCount() int { return c.sum(layered.committedCount) }
func (c *composite) cachedUpdates() int  { return c.sum(layered.cachedUpdates) }

func (c *composite) sum(of func(layered) int) int {
	n := 0
	for _, p := range c.parts {
		n += of(p.layered)
	}
	return n
}

func (c *composite) mostlyExpired() bool {
	return slices.ContainsFunc(c.parts, func(p part) bool { return p.mostlyExpired() })
}

func (c *composite) prepare(wanted bool) {
	for _, p := range c.parts {
		p.prepare(wanted)
	}
}

func (c *composite) freeze() {
	for _, p := range c.parts {
		p.freeze()
	}
}

func (c *composite) frozenTable() any {
	tables := make([]any, len(c.parts))
	for i, p := range c.parts {
		tables[i] = p.frozenTable()
	}
	return tables
}

func (c *composite) eachFrozen(table any, expire bool, yield func(Entry) bool) bool {
	tables, ok := table.([]any)
	if !ok || len(tables) != len(c.parts) {
		panic(fmt.Sprintf("store: %s: %T is a table of another store", c.name, table))
	}
	for i, p := range c.parts {
		if !p.eachFrozen(tables[i], expire, yield) {
			return false
		}
	}
	return true
}

func (c *composite) close() {
	for _, p := range c.parts {
		p.close()
	}
}
