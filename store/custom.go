package store

import (
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/record"
)

// CustomSpec describes a logged store of your own, in memory: newStore makes that of one task. Processors get what it
// returns, through processor.StateStore; how they write and read is up to its type. What a [Store] has to do is what
// exactly-once relies on:
//
//   - Writes belong to the active epoch. Seal appends what restores them to the changelog (nil: logging is off) and
//     begins the next epoch; what it appended, and the bytes in it, stay as they are until Commit or Rollback. Keys are
//     not nil; a record replaces those before it with the same key, which compaction removes, and a nil value is a
//     deletion.
//   - Commit makes the sealed epoch final. Rollback drops it and the active one: the store is as of the last Commit.
//   - Replay takes the records of committed epochs, in order, into an empty store; of each key the last one at least.
//     It is then as if those epochs had committed.
//   - FlushCache is called before each Seal, and more than once if stores feed each other. UncommittedBytes is what
//     makes the task commit early.
//
// The task goroutine makes all calls; a store that has a Close() error method is closed at the end. A custom store is
// restored from the whole changelog at each start: it has no place on disk that would commit with the others. With
// LoggingDisabled it starts empty.
//
// storetest.RunCustom checks a store against this list.
func CustomSpec(name string, newStore func(env Env) (Store, error)) Spec {
	return Spec{Name: name, Type: TypeCustom, InMemory: true, New: newStore}
}

// TypeCustom is the [Spec.Type] of stores of [CustomSpec]; set your own to tell them apart.
const TypeCustom = "custom"

// custom is a store of the user's as the set sees it: it keeps all of its state itself, and a flush takes none of it.
type custom struct{ Store }

var _ layered = custom{}

func newCustom(spec *Spec, made Store) (layered, error) {
	switch {
	case made == nil:
		return nil, fmt.Errorf("store: %s: Spec.New returned no store", spec.Name)
	case !spec.InMemory:
		return nil, fmt.Errorf("store: %s: a %T is a custom store, which has no place on disk: use store.CustomSpec, or set "+
			"Spec.InMemory", spec.Name, made)
	case made.Name() != spec.Name:
		return nil, fmt.Errorf("store: %s: the store that Spec.New made is named %q", spec.Name, made.Name())
	}
	return custom{made}, nil
}

func (c custom) facade() Store { return c.Store }

func (c custom) Seal(epoch record.Epoch, changelog *record.Batch) error {
	if err := c.Store.Seal(epoch, changelog); err != nil {
		return fmt.Errorf("store: %s: seal: %w", c.Name(), err)
	}
	return nil
}

func (c custom) activeBytes() int    { return 0 }
func (c custom) frozenBytes() int    { return 0 }
func (c custom) committedCount() int { return 0 }
func (c custom) mostlyExpired() bool { return false }
func (c custom) cachedUpdates() int  { return 0 }
func (c custom) prepare(bool)        {}
func (c custom) freeze()             {}
func (c custom) frozenTable() any    { return nil }

func (c custom) eachFrozen(any, bool, func(Entry) bool) bool { return true }

// close is followed by Close, whose error the set returns.
func (c custom) close() {}

// closeCustom closes the stores that ask for it.
func (s *Set) closeCustom() error {
	var errs []error
	for _, st := range s.stores {
		c, ok := st.layered.(custom)
		if !ok {
			continue
		}
		if closer, ok := c.Store.(interface{ Close() error }); ok {
			if err := closer.Close(); err != nil {
				errs = append(errs, fmt.Errorf("store: %s: close: %w", c.Name(), err))
			}
		}
	}
	return errors.Join(errs...)
}
