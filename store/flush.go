package store

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/tidwall/btree"
)

// flushJob writes the frozen tables of all stores of a task. The goroutine owns it until done is closed.
type flushJob struct {
	done chan struct{}
	// The rest is valid when done is closed.

	err error
	// rows is what the engine in memory has then.
	rows *btree.BTreeG[Entry]
}

// frozenStore is a store with the table that a job writes.
type frozenStore struct {
	setStore

	table any
}

// firstTables is how many times the usual limit the tables may take while Badger's memtables are empty: during a
// restore, and after it until the first flush. So a restarted task catches up before it writes.
const firstTables = 2

// maybeFlush starts a flush if memory or age ask for it. Called at committed points.
func (s *Set) maybeFlush() error {
	if err := s.poll(); err != nil {
		return err
	}
	bytes, limit := 0, s.config.Budget.tableBytesMax()
	if !s.written && s.lazy == nil {
		limit *= firstTables // nothing else needs the memory yet, and fewer flushes are fewer tables to merge
	}
	expired := false
	for _, st := range s.stores {
		bytes += st.activeBytes()
		expired = expired || st.mostlyExpired()
	}
	old := s.config.Clock != nil && s.config.Clock()-s.dirtySince >= s.config.FlushInterval.Milliseconds()
	if bytes <= limit && !old && !expired {
		return nil
	}
	if s.held && bytes <= 2*limit {
		return nil
	}
	if s.running != nil {
		if bytes <= 2*limit {
			return nil // later
		}
		// The disk is slower than the input. Waiting here is what bounds memory.
		if err := s.wait(); err != nil {
			return err
		}
	}
	return s.start()
}

// start freezes the tables and begins to write them. Only at a committed point, with no flush running.
func (s *Set) start() error {
	s.flushed = true
	s.written = s.written || !s.restoring
	var disk, memory []frozenStore
	changes := 0
	for _, st := range s.stores {
		changes += st.committedCount()
		st.freeze()
		f := frozenStore{setStore: st, table: st.frozenTable()}
		if st.spec.InMemory {
			memory = append(memory, f)
		} else {
			disk = append(disk, f)
		}
	}
	s.frozen.checkpoint = s.forgetCustom(s.committed.clone())
	if changes == 0 && s.base == nil {
		return nil // nothing but cached reads
	}
	job := &flushJob{done: make(chan struct{})}
	s.running = job
	checkpoint, names := s.committed.clone(), maps.Clone(s.names)
	s.frozen.version++
	if s.disk != nil {
		s.frozen.engine = s.disk.nextVersion(checkpoint)
	}
	for _, st := range s.stores {
		if st.spec.InMemory { // nothing of it will be on disk
			forgetPositions(checkpoint, st.spec.Name)
			delete(names, st.spec.Name)
		}
	}
	encoded := encodeNames(names)
	ingest := s.restoring && s.disk != nil && changes >= ingestEntriesMin && s.disk.mayIngest()
	if ingest {
		s.disk.beginIngest()
	}
	version := s.frozen.version
	go func() {
		defer close(job.done)
		job.err = s.runFlush(disk, memory, encoded, checkpoint, version, ingest)
		if job.err == nil {
			job.rows, job.err = s.memoryRows()
		}
		s.changes.Add(1) // after all is written: a view that reads in between forgets it once more
	}()
	return nil
}

// runFlush is the flush goroutine. It touches nothing of the set but the engines.
func (s *Set) runFlush(
	disk, memory []frozenStore, names []byte, checkpoint Checkpoint, version uint64, ingest bool,
) error {
	var err error
	if s.base != nil {
		changes := s.changeFiles.record(version, "")
		// What has expired stays until all is loaded: looking for it would read the snapshot's files.
		entries := changes.tee(entriesOf(disk, names, !ingest && s.disk != nil))
		if ingest {
			err = s.disk.ingest(entries, checkpoint)
		} else {
			err = s.base.Flush(entries, checkpoint)
		}
		changes.end(err)
	}
	if err == nil && s.memory != nil {
		changes := s.changeFiles.record(version, memoryChanges)
		err = s.memory.Flush(changes.tee(entriesOf(memory, nil, true)), checkpoint)
		changes.end(err)
	}
	if err != nil {
		return &FlushError{Task: s.config.TaskID, Dir: s.config.Dir, Err: err}
	}
	return nil
}

// entriesOf yields the committed entries of the stores in key order, behind the table of names. With expire the engine
// may be read.
func entriesOf(stores []frozenStore, names []byte, expire bool) iter.Seq[Entry] {
	slices.SortFunc(stores, func(a, b frozenStore) int { return int(a.prefix) - int(b.prefix) })
	return func(yield func(Entry) bool) {
		if names != nil && !yield(Entry{Key: []byte(namesKey), Value: names}) {
			return
		}
		for _, st := range stores {
			if !st.eachFrozen(st.table, expire, yield) {
				return
			}
		}
	}
}

// poll takes the result of a flush that has ended.
func (s *Set) poll() error {
	if s.running != nil {
		select {
		case <-s.running.done:
			s.err, s.running = s.running.err, nil
		default:
		}
	}
	if s.lazy != nil && s.disk == nil {
		if s.adopt(); s.disk == nil && s.err == nil {
			s.err = s.lazy.failure()
		}
	}
	return s.err
}

// wait takes the result of the running flush when it has ended.
func (s *Set) wait() error {
	if s.running != nil {
		<-s.running.done
	}
	return s.poll()
}

// Flush writes what is committed and returns when it is on disk, or when ctx ends; the flush goes on then.
func (s *Set) Flush(ctx context.Context) error {
	if err := s.usable(); err != nil {
		return err
	}
	for s.running != nil || s.hasCommitted && !s.flushed {
		if s.running == nil {
			if err := s.start(); err != nil {
				return err
			}
			continue
		}
		select {
		case <-s.running.done:
			if err := s.poll(); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("store: flush of task %s: %w", s.config.TaskID, ctx.Err())
		}
	}
	return nil
}
