package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidemarkio/tidemark/record"
)

// SetConfig describes the stores of one task.
type SetConfig struct {
	// Dir is the task's directory. Needed if any store is on disk.
	Dir    string
	TaskID record.TaskID
	// Specs are the stores, those that feed others first: caches are flushed in this order.
	Specs []Spec
	// Context is what the task sets before each record. Defaults to an empty one.
	Context *Context
	// Times are those of the task, which sets them; stores with a TTL go by them. Defaults to times that stand still.
	Times *Times
	// Budget is shared by all sets of the instance. Defaults to one of 512 MiB for this set alone.
	Budget *Budget
	// CachingEnabled is false if the instance's cache size is 0; no store caches then.
	CachingEnabled bool
	// FlushInterval is the longest that committed state stays in memory only, which bounds what the start after a crash
	// replays. Defaults to 30 s. Without a Clock there is no such bound.
	FlushInterval time.Duration
	// TrackChanges keeps what flushes write in files beside the database, for [Snapshot.Since].
	TrackChanges bool
	// ChangesBytesMax bounds these files; beyond it they are dropped, and the next snapshot is read in full. Defaults to
	// 1 GiB.
	ChangesBytesMax int64
	// Lazy begins with a snapshot that is still to be loaded. Nil: with what is in Dir.
	Lazy *Lazy
	// Logger defaults to one that discards.
	Logger *slog.Logger
	// Clock returns milliseconds since the Unix epoch.
	Clock func() int64
}

const flushIntervalDefault = 30 * time.Second

func (c SetConfig) withDefaults() SetConfig {
	if c.Context == nil {
		c.Context = &Context{}
	}
	if c.Times == nil {
		c.Times = &Times{Stream: -1}
	}
	if c.Budget == nil {
		c.Budget = NewBudget(0)
	}
	if c.FlushInterval <= 0 {
		c.FlushInterval = flushIntervalDefault
	}
	if c.ChangesBytesMax <= 0 {
		c.ChangesBytesMax = changesBytesMaxDefault
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c SetConfig) validate() error {
	var errs []error
	seen := make(map[string]bool)
	for i, spec := range c.Specs {
		switch {
		case spec.Name == "":
			errs = append(errs, fmt.Errorf("store: spec %d has no name", i))
		case seen[spec.Name]:
			errs = append(errs, fmt.Errorf("store: two stores are named %q", spec.Name))
		case spec.New == nil:
			errs = append(errs, fmt.Errorf("store: %s: Spec.New is nil", spec.Name))
		case !spec.InMemory && c.Dir == "":
			errs = append(errs, fmt.Errorf("store: %s is kept on disk, but there is no directory", spec.Name))
		}
		seen[spec.Name] = true
	}
	return errors.Join(errs...)
}

// Set is all stores of one task, over one Badger database and one engine in memory. It decides when committed state is
// flushed.
//
// Owned by the task goroutine. A flush runs in one goroutine beside it, which reads only frozen tables; Close waits for
// it. Close may be called from another goroutine once the task is done with the set.
type Set struct {
	config SetConfig
	stores []setStore
	byName map[string]int
	// base is what stores on disk read and flushes write; nil without such stores. It is disk, or lazy.
	base Engine
	disk *badgerEngine // nil until it is loaded
	// lazy stands in for disk until that is loaded, and passes everything on then; nil if there is nothing to load.
	lazy   *lazyEngine
	memory *memEngine // nil without stores in memory
	names  map[string]uint16

	// committed is the last checkpoint that Commit or Replayed gave; what a flush may claim.
	committed    Checkpoint
	hasCommitted bool
	// flushed says that nothing was committed since the last freeze, written that there was a flush outside a restore.
	flushed, written bool
	// dirtySince is when the first commit since the last freeze was, by the clock.
	dirtySince int64

	// restoring says that records were replayed since the last epoch was sealed: nobody reads beside a flush.
	restoring bool

	// frozen is the state that a snapshot has now: what was flushed, or is being flushed.
	frozen frozenState
	// held says that flushes wait for a snapshot.
	held        bool
	changeFiles *changes

	running *flushJob // at most one
	err     error     // of a flush; final
	closed  bool

	// changes counts the flushes that ended: what a view remembers of the engines may be old after one.
	changes atomic.Uint64
}

type setStore struct {
	layered

	spec   Spec
	prefix uint16
}

// namesVersion is the first byte of the table of store names in the engine, and the version of the layout of data.
const namesVersion = 1

// storesMax keeps prefixes away from those of Badger's own keys ("!badger!").
const storesMax = 0x2000

// OpenSet opens the stores of a task. A [*CorruptError] says that the directory cannot be used: remove it and restore.
func OpenSet(ctx context.Context, config SetConfig) (_ *Set, err error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("store: open task %s: %w", config.TaskID, err)
	}
	s := &Set{config: config.withDefaults(), byName: make(map[string]int), flushed: true}
	s.config.Budget.join()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeEngines())
			s.config.Budget.leave()
		}
	}()
	for _, spec := range s.config.Specs {
		switch {
		case spec.InMemory && s.memory == nil:
			s.memory = newMemEngine()
		case !spec.InMemory && s.base == nil:
			if err := s.openBase(ctx); err != nil {
				return nil, err
			}
		}
	}
	if err := s.assignPrefixes(); err != nil {
		return nil, err
	}
	if err := s.beginChanges(); err != nil {
		return nil, err
	}
	for i, spec := range s.config.Specs {
		made, err := spec.New(s.envOf(spec, s.config.Context))
		if err != nil {
			return nil, fmt.Errorf("store: make %s: %w", spec.Name, err)
		}
		st, ok := made.(layered)
		if !ok {
			if st, err = newCustom(&spec, made); err != nil {
				return nil, err
			}
		}
		if _, ok := made.(Expiring); !ok && spec.TTL != (TTL{}) {
			return nil, fmt.Errorf("store: %s: TTL: only the entries of a key-value store have one, and this is a %T",
				spec.Name, made)
		}
		s.stores = append(s.stores, setStore{layered: st, spec: spec, prefix: s.names[spec.Name]})
		s.byName[spec.Name] = i
	}
	return s, nil
}

// openBase opens the database, or begins to load it.
func (s *Set) openBase(ctx context.Context) (err error) {
	if s.config.Lazy != nil { // which openLazy takes
		if s.lazy, err = openLazy(ctx, &s.config); err == nil {
			s.base = s.lazy
		}
		return err
	}
	if s.disk, err = openBadger(s.config.Dir, s.config.Budget, s.config.Logger); err == nil {
		s.base = s.disk
	}
	return err
}

// assignPrefixes gives every store a key prefix: the one it had before, or a free one. What a store left that is no
// longer in the topology (or no longer on disk) is deleted: were it to come back, its data would be stale.
func (s *Set) assignPrefixes() error {
	s.names = make(map[string]uint16)
	if s.disk != nil {
		value, found, err := s.disk.Get([]byte(namesKey), nil)
		if err != nil {
			return err
		}
		if found {
			if s.names, err = decodeNames(value); err != nil {
				return &CorruptError{Dir: s.config.Dir, Err: err, Hint: corruptHint}
			}
		}
		if err := s.dropRemoved(); err != nil {
			return err
		}
	}
	used := make(map[uint16]bool)
	if s.lazy != nil {
		taken, err := s.lazyNames()
		if err != nil {
			return err
		}
		for _, prefix := range taken {
			used[prefix] = true
		}
	}
	for _, prefix := range s.names {
		used[prefix] = true
	}
	next := uint16(1) // 0 is the engine's own
	for _, spec := range s.config.Specs {
		if _, ok := s.names[spec.Name]; ok {
			continue
		}
		for used[next] {
			next++
		}
		if next >= storesMax {
			return fmt.Errorf("store: more than %d stores in a task", storesMax)
		}
		s.names[spec.Name], used[next] = next, true
	}
	return nil
}

// beginChanges notes what is on disk, from where changes are kept.
func (s *Set) beginChanges() (err error) {
	if s.base != nil {
		s.frozen.checkpoint, _, _ = s.base.Checkpoint() // never fails
	}
	if s.disk != nil {
		s.frozen.engine = s.disk.version
	}
	s.frozen.version = newEra()
	s.changeFiles, err = openChanges(&s.config, s.frozen.version)
	return err
}

// dropRemoved deletes what removed stores left, in an order that a crash may interrupt anywhere: the checkpoint
// forgets their changelog positions, the data goes, then the names.
func (s *Set) dropRemoved() error {
	removed := make(map[string]uint16)
	for name, prefix := range s.names {
		if !slices.ContainsFunc(s.config.Specs, func(c Spec) bool { return c.Name == name && !c.InMemory }) {
			removed[name] = prefix
		}
	}
	if len(removed) == 0 {
		return nil
	}
	checkpoint, _, _ := s.disk.Checkpoint() // never fails
	writeNames := func() error {
		names := Entry{Key: []byte(namesKey), Value: encodeNames(s.names)}
		return s.disk.Flush(slices.Values([]Entry{names}), checkpoint)
	}
	for name := range removed {
		forgetPositions(checkpoint, name)
	}
	if err := writeNames(); err != nil {
		return err
	}
	for name, prefix := range removed {
		s.config.Logger.Info("deleting state of a removed store",
			slog.String("store", name), slog.String("task", s.config.TaskID.String()))
		if err := s.disk.dropPrefix(binary.BigEndian.AppendUint16(nil, prefix)); err != nil {
			return err
		}
		delete(s.names, name)
	}
	return writeNames()
}

// encodeNames encodes the prefixes of stores on disk: version byte, count, and for each its name and prefix.
func encodeNames(names map[string]uint16) []byte {
	dst := binary.AppendUvarint([]byte{namesVersion}, uint64(len(names)))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		dst = binary.AppendUvarint(appendString(dst, name), uint64(names[name]))
	}
	return dst
}

func decodeNames(data []byte) (map[string]uint16, error) {
	if len(data) == 0 || data[0] != namesVersion {
		return nil, fmt.Errorf("layout of state is of another version than %d", namesVersion)
	}
	d := decoder{data: data[1:]}
	names := make(map[string]uint16)
	for range d.count() {
		name := d.string()
		names[name] = uint16(d.uvarint())
	}
	if d.failed || len(d.data) > 0 {
		return nil, errors.New("table of store names is malformed")
	}
	return names, nil
}

// Store returns a store by its name.
func (s *Set) Store(name string) (Store, bool) {
	i, ok := s.byName[name]
	if !ok {
		return nil, false
	}
	return s.stores[i].facade(), true
}

// facade is what processors get of a store.
func (s *setStore) facade() Store {
	if f, ok := s.layered.(interface{ facade() Store }); ok {
		return f.facade()
	}
	return s.layered
}

// Expiring returns the stores with a TTL.
func (s *Set) Expiring() []Expiring {
	var all []Expiring
	for _, st := range s.stores {
		if e, ok := st.layered.(Expiring); ok {
			all = append(all, e)
		}
	}
	return all
}

// View makes a read-only view of a store for another goroutine. It shows what was flushed; see [Set.Flush]. The set is
// closed after all who read its views have ended.
func (s *Set) View(name string) (Store, error) {
	i, ok := s.byName[name]
	if !ok {
		return nil, fmt.Errorf("store: there is no store %q", name)
	}
	st := s.stores[i]
	if st.spec.NewGlobal == nil {
		return nil, fmt.Errorf("store: %s is of a kind that only its task can read: use a key-value store", name)
	}
	return st.spec.NewGlobal(s.envOf(st.spec, &Context{}), &s.changes)
}

// envOf is what a store works with.
func (s *Set) envOf(spec Spec, context *Context) Env {
	env := Env{
		TTL: spec.TTL, Times: s.config.Times, KeyWindows: spec.KeyWindows,
		Prefix: binary.BigEndian.AppendUint16(nil, s.names[spec.Name]), Context: context,
		CachingEnabled: spec.CachingEnabled && s.config.CachingEnabled,
	}
	if spec.InMemory {
		env.Engine = s.memory
	} else {
		env.Engine = s.base
	}
	return env
}

// Checkpoint returns what is durable on disk; false if nothing is. It has no changelog position for stores in memory:
// they are restored from the beginning.
func (s *Set) Checkpoint() (Checkpoint, bool) {
	if s.base == nil {
		return Checkpoint{}, false
	}
	if s.running != nil {
		<-s.running.done // the engine's checkpoint belongs to the flush until then
	}
	c, found, _ := s.base.Checkpoint() // never fails
	for key := range c.Changelog {
		if !slices.ContainsFunc(s.stores, func(st setStore) bool {
			return !st.spec.InMemory && PositionOf(key, st.spec.Name)
		}) {
			delete(c.Changelog, key)
		}
	}
	return c, found
}

// FlushCaches hands what the caches hold back to the flush listeners, store by store in the order of the specs. A
// listener may write to stores before its own; then there is another round.
func (s *Set) FlushCaches() error {
	for range len(s.stores) + 1 {
		for _, st := range s.stores {
			if _, ok := st.layered.(custom); !ok && st.cachedUpdates() == 0 { // a custom store does not tell
				continue
			}
			if err := st.FlushCache(); err != nil {
				return err
			}
		}
		if !slices.ContainsFunc(s.stores, func(st setStore) bool { return st.cachedUpdates() > 0 }) {
			return nil
		}
	}
	return fmt.Errorf("store: task %s: flush listeners of its stores feed each other endlessly", s.config.TaskID)
}

// Seal encodes what the active epoch wrote into the changelog batches that batchFor returns and begins the next epoch.
// batchFor is called once for every logged store, also if nothing was written. The batches must stay as they are until
// Commit or Rollback returned. After an error the caller rolls back.
func (s *Set) Seal(epoch record.Epoch, batchFor func(storeName string) *record.Batch) error {
	if err := s.usable(); err != nil {
		return err
	}
	s.restoring = false
	for _, st := range s.stores {
		var batch *record.Batch
		if st.spec.Changelogged() {
			if batch = batchFor(st.spec.Name); batch == nil {
				return fmt.Errorf("store: %s: no changelog batch", st.spec.Name)
			}
		}
		if err := st.Seal(epoch, batch); err != nil {
			return err
		}
	}
	return nil
}

// Commit says that the transaction of the sealed epoch committed. The checkpoint describes the state with that epoch.
// It may start a flush, and waits for one only if memory is twice over its limit. An error ends the task: the state in
// memory is right, but it cannot reach the disk.
func (s *Set) Commit(checkpoint Checkpoint) error {
	if s.closed {
		return fmt.Errorf("store: task %s: %w", s.config.TaskID, ErrClosed)
	}
	for _, st := range s.stores {
		st.Commit(checkpoint.Epoch)
	}
	return s.advance(checkpoint)
}

// Rollback drops everything that is not committed.
func (s *Set) Rollback() error {
	var errs []error
	for _, st := range s.stores {
		errs = append(errs, st.Rollback())
	}
	return errors.Join(errs...)
}

// Replay applies changelog records to the committed state of a store. Only while restoring.
func (s *Set) Replay(storeName string, records []record.Raw) error {
	if err := s.usable(); err != nil {
		return err
	}
	i, ok := s.byName[storeName]
	if !ok {
		return fmt.Errorf("store: replay: task %s has no store %q", s.config.TaskID, storeName)
	}
	s.restoring = true
	for j := range records {
		if err := s.stores[i].Replay(&records[j]); err != nil {
			return err
		}
	}
	return nil
}

// Replayed says that everything replayed so far makes the state that the checkpoint describes, so that it may be
// flushed. Call it after each fetched batch: memory is bounded here.
func (s *Set) Replayed(checkpoint Checkpoint) error {
	if err := s.usable(); err != nil {
		return err
	}
	return s.advance(checkpoint)
}

func (s *Set) advance(checkpoint Checkpoint) error {
	s.committed, s.hasCommitted = checkpoint.clone(), true
	if s.flushed {
		s.flushed = false
		if s.config.Clock != nil {
			s.dirtySince = s.config.Clock()
		}
	}
	return s.maybeFlush()
}

// UncommittedBytes estimates the memory of writes that are not committed. The task should commit early when it exceeds
// the instance's limit for it divided by its tasks.
func (s *Set) UncommittedBytes() int {
	n := 0
	for _, st := range s.stores {
		n += st.UncommittedBytes()
	}
	return n
}

// MemoryBytes estimates the memory of the tables; what Badger uses is beside that.
func (s *Set) MemoryBytes() int {
	n := 0
	for _, st := range s.stores {
		n += st.activeBytes() + st.frozenBytes()
	}
	return n
}

// Close ends the set. With clean it first flushes what is committed, so that the next start replays nothing, unless a
// snapshot is still being loaded: then the next start has to load it again.
func (s *Set) Close(clean bool) error {
	if s.closed {
		return nil
	}
	gaveUp := s.giveUp(clean)
	err := s.wait()
	if gaveUp {
		clean, err = false, nil // a flush may have waited for the load
	}
	if clean && err == nil && s.hasCommitted && !s.flushed {
		if err = s.start(); err == nil {
			err = s.wait()
		}
	}
	s.closed = true
	s.changeFiles.close()
	for _, st := range s.stores {
		st.close()
	}
	err = errors.Join(err, s.closeCustom(), s.closeEngines())
	s.config.Budget.leave()
	return err
}

func (s *Set) closeEngines() error {
	var errs []error
	if s.base != nil {
		errs = append(errs, s.base.Close())
	}
	if s.memory != nil {
		errs = append(errs, s.memory.Close())
	}
	return errors.Join(errs...)
}

// usable returns the error that ended the set.
func (s *Set) usable() error {
	if s.closed {
		return fmt.Errorf("store: task %s: %w", s.config.TaskID, ErrClosed)
	}
	return s.poll()
}
