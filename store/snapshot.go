package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"sync"

	"github.com/tidwall/btree"
)

// Snapshot is the committed state of a task at one moment, to be read beside processing. It is on its way to the
// engines when it is made; reading it waits for that. It does not change: not by later commits, rollbacks or flushes.
//
// Safe for concurrent use, and by other goroutines than the set's. When the set closes, what still reads ends with
// [ErrClosed].
type Snapshot struct {
	set        *Set // of which it uses what is safe for concurrent use: engines and changes
	job        *flushJob
	version    uint64
	engine     uint64 // the version of the engine on disk; 0: it is empty
	checkpoint Checkpoint
	names      []Entry // the tables of names, in key order
	// rows is the content of the engine in memory, if no flush is running; else the job has it.
	rows *btree.BTreeG[Entry]

	mu struct {
		sync.Mutex

		files    []*changeFile // that Since has handed out
		released bool
	}
}

// frozenState is what is in the engines, or in the flush that is running.
type frozenState struct {
	version    uint64 // of snapshots: the era, and the number of flushes since the set was opened
	engine     uint64 // of the engine on disk
	checkpoint Checkpoint
}

// Bits of a snapshot's version: together no more than any reader of JSON can take.
const (
	eraBits     = 26
	versionBits = 27 // a flush per second for four years
)

// newEra returns what the versions of one set begin with. Two sets on the same directory have different states under
// the same number, and who compares versions may have known both.
func newEra() uint64 {
	return rand.Uint64N(1<<eraBits) << versionBits //nolint:gosec // not a secret
}

// sameEra reports that two versions are of the same set.
func sameEra(a, b uint64) bool { return a>>versionBits == b>>versionBits }

// HoldFlushes delays flushes that only age or size ask for, so that a snapshot need not wait for one; not those at
// twice the limit of memory. false ends it: what is due is flushed at the next commit. It also makes ready what the
// snapshot needs, so that taking it does not depend on how much was written.
func (s *Set) HoldFlushes(hold bool) {
	s.held = hold
	for _, st := range s.stores {
		st.prepare(hold)
	}
}

// FlushRunning reports that a flush has begun and not ended.
func (s *Set) FlushRunning() bool {
	_ = s.poll() // its error stays, and is the next call's
	return s.running != nil
}

// Snapshot freezes what is committed, and begins to flush it unless that is under way already. It takes as long as to
// make a new table for each store, and waits for a flush of an older state if one is running: call it right after
// Commit, when [Set.FlushRunning] says no. The snapshot has to be released.
//
// While a snapshot is being loaded there is no other: [ErrLoading].
//
// Stores on disk and in memory are in it, also those without a changelog; stores of [CustomSpec] are not.
func (s *Set) Snapshot() (*Snapshot, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	if s.lazy != nil && s.disk == nil {
		return nil, ErrLoading
	}
	if s.hasCommitted && !s.flushed {
		if err := s.wait(); err != nil {
			return nil, err
		}
		if err := s.start(); err != nil {
			return nil, err
		}
	}
	snap := &Snapshot{
		set: s, job: s.running, version: s.frozen.version, engine: s.frozen.engine,
		checkpoint: s.frozen.checkpoint.clone(), names: s.nameTables(),
	}
	if s.running == nil {
		rows, err := s.memoryRows()
		if err != nil {
			return nil, err
		}
		snap.rows = rows
	}
	if s.disk != nil {
		s.disk.pins.hold(snap.engine)
	}
	s.changeFiles.begin(snap.version)
	return snap, nil
}

// memoryRows returns the content of the engine in memory, which is never changed; nil if there is none.
func (s *Set) memoryRows() (*btree.BTreeG[Entry], error) {
	if s.memory == nil {
		return nil, nil //nolint:nilnil // no rows
	}
	return s.memory.view()
}

// memoryNamesKey is, in snapshots alone, the key of the prefixes of stores that are kept in memory.
const memoryNamesKey = "\x00\x00m"

// nameTables returns what the prefixes in a snapshot mean.
func (s *Set) nameTables() []Entry {
	disk, memory := maps.Clone(s.names), make(map[string]uint16)
	for _, st := range s.stores {
		if st.spec.InMemory {
			memory[st.spec.Name] = disk[st.spec.Name]
			delete(disk, st.spec.Name)
		}
	}
	var tables []Entry
	if len(memory) > 0 {
		tables = append(tables, Entry{Key: []byte(memoryNamesKey), Value: encodeNames(memory)})
	}
	return append(tables, Entry{Key: []byte(namesKey), Value: encodeNames(disk)})
}

// forgetCustom removes the positions of stores that keep their state themselves.
func (s *Set) forgetCustom(c Checkpoint) Checkpoint {
	for _, st := range s.stores {
		if _, ok := st.layered.(custom); ok {
			forgetPositions(c, st.spec.Name)
		}
	}
	return c
}

// Checkpoint describes exactly the state of the snapshot. It has no positions of stores that are not in it.
func (s *Snapshot) Checkpoint() Checkpoint { return s.checkpoint.clone() }

// Version numbers what was flushed. Later snapshots of a set have greater ones, or the same if nothing was committed
// since. Another set has other ones, also one that opens the same directory later. Below 2^53.
func (s *Snapshot) Version() uint64 { return s.version }

// wait returns when the state is in the engines.
func (s *Snapshot) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil || s.job == nil {
		return err
	}
	select {
	case <-s.job.done:
		return s.job.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Full yields everything, in key order: the tables of names, then the rows of all stores. It waits for the flush. It
// may be called more than once. The slices hold until the next step; the loop body may take its time.
func (s *Snapshot) Full(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := s.readable(ctx); err != nil {
			yield(Entry{}, fmt.Errorf("store: snapshot of task %s: %w", s.set.config.TaskID, err))
			return
		}
		for _, at := range s.names {
			if !yield(at, nil) {
				return
			}
		}
		for at, err := range s.rowsOf(ctx) {
			if err != nil {
				err = fmt.Errorf("store: snapshot of task %s: %w", s.set.config.TaskID, err)
			}
			if !yield(at, err) || err != nil {
				return
			}
		}
	}
}

// readable waits for the flush.
func (s *Snapshot) readable(ctx context.Context) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.released:
		return errReleased
	case s.set.changeFiles.isClosed():
		return ErrClosed
	}
	return nil
}

// rowsOf yields the rows of all stores.
func (s *Snapshot) rowsOf(ctx context.Context) iter.Seq2[Entry, error] {
	var engines []iter.Seq2[Entry, error]
	if s.set.disk != nil && s.engine > 0 {
		first := binary.BigEndian.AppendUint16(nil, 1) // what is below is the engine's own
		engines = append(engines, s.set.disk.scanAt(ctx, s.engine, first))
	}
	rows := s.rows
	if s.job != nil {
		rows = s.job.rows
	}
	if rows != nil {
		engines = append(engines, func(yield func(Entry, error) bool) {
			rows.Scan(func(at Entry) bool {
				if err := ctx.Err(); err != nil {
					yield(Entry{}, err)
					return false
				}
				return yield(at, nil)
			})
		})
	}
	return MergeEntries(engines...)
}

// Since yields what has changed since a version, of an earlier snapshot of the same set, in key order: of each key its
// newest value, nil if it was deleted. The tables of names do not change. ok is false if that is not known, or not any
// more: then the snapshot is read in full. It waits for the flush. The entries are good until Release, and may be read
// more than once.
func (s *Snapshot) Since(base uint64) (entries iter.Seq2[Entry, error], ok bool) {
	if s.job != nil {
		<-s.job.done
		if s.job.err != nil {
			return nil, false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.released {
		return nil, false
	}
	files, ok := s.set.changeFiles.since(base, s.version)
	if !ok {
		return nil, false
	}
	s.mu.files = append(s.mu.files, files...)
	all := make([]iter.Seq2[Entry, error], len(files))
	for i, f := range files {
		all[i] = s.set.changeFiles.read(f)
	}
	return MergeEntries(all...), true
}

// Release lets the snapshot go. Nothing of it may be read afterwards. Calling it again does nothing.
func (s *Snapshot) Release() {
	s.mu.Lock()
	files, again := s.mu.files, s.mu.released
	s.mu.files, s.mu.released = nil, true
	s.mu.Unlock()
	if again {
		return
	}
	s.set.changeFiles.release(files)
	if s.set.disk != nil {
		s.set.disk.unpin(s.engine)
	}
}

// ForgetChanges says that no later snapshot will be asked for what changed since a version below upTo. Without it the
// changes grow up to SetConfig.ChangesBytesMax, and all are dropped then. Safe for concurrent use.
func (s *Set) ForgetChanges(upTo uint64) { s.changeFiles.forget(upTo) }
