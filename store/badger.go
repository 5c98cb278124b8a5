package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	sst "github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
	"google.golang.org/protobuf/proto"
)

// badgerEngine keeps committed state in one Badger database, in managed mode.
//
// Versions. Every flush writes at one version: the epoch of its checkpoint, or the next number if that is not above the
// last one (a restore may flush several times at one epoch). Badger keeps only the last version of a key.
//
// Order. A flush writes its data in key order and, when all of that is in Badger's log, the checkpoint. Whatever part
// of the data a crash leaves, the checkpoint is the old one, and every key of that part has a newer record in the
// changelog behind the old checkpoint.
//
// Trust. Badger opens damaged files with log.Fatal, with a panic in a goroutine of its own, or by leaving a table out
// in silence, and takes a block that it cannot read for one without keys. So we look before it does, and read all of
// it; a directory that was closed also carries a seal with the sizes of its files.
type badgerEngine struct {
	dir    string
	budget *Budget
	logger *slog.Logger

	// mu guards db against ingest, which takes the database away. Readers hold it shared while they use db. A scan's
	// loop body may read again, so nobody may begin to ingest during a scan: see beginIngest.
	mu struct {
		sync.RWMutex

		db     *badger.DB // nil between an ingest and the next use
		closed bool
	}

	// The rest belongs to the flush, and to others only while none runs.

	version    uint64 // of the last flush
	checkpoint Checkpoint
	found      bool
	// pins are the versions that snapshots still read; safe for concurrent use.
	pins pins
	// levelZero is the number of tables in level 0 after an ingest, while the database is closed.
	levelZero int
	// unsynced are tables that were written without waiting for the disk. Guarded by mu.
	unsynced []string
	// empty until the end of the first flush. Readers skip an empty engine.
	empty atomic.Bool
}

var _ Engine = (*badgerEngine)(nil)

// Keys of the engine's own data. Store prefixes never begin with two zero bytes.
const (
	checkpointKey = "\x00\x00c"
	namesKey      = "\x00\x00n"
)

// ingestEntriesMin is the size from which ingest pays, since it closes and opens the database.
const ingestEntriesMin = 4096

// badgerBlockBytes is the size of a block in a table before compression.
const badgerBlockBytes = 2 << 10

const corruptHint = "remove the task's directory: its state is restored from a snapshot or the changelog"

func badgerOptions(dir string, memtable int64, budget *Budget, logger *slog.Logger) badger.Options {
	o := badger.DefaultOptions(dir).
		WithLogger(badgerLogger{logger}).
		WithMetricsEnabled(false). // process-wide counters; two Apps must not notice each other
		WithDetectConflicts(false).
		WithSyncWrites(false). // the changelog is the durability; see package doc
		WithNumVersionsToKeep(1).
		WithCompression(options.None).
		WithChecksumVerificationMode(options.OnBlockRead). // 0.4 µs beside 5 µs of decompression
		WithMemTableSize(memtable).
		WithNumMemtables(2).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0). // indexes are memory-mapped
		WithNumGoroutines(1).
		WithNumCompactors(2). // the least that Badger takes
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(8).
		WithBaseTableSize(2 << 20).
		WithBaseLevelSize(4 << 20).
		WithMaxLevels(ingestLevels).
		WithBlockSize(badgerBlockBytes).
		WithCompactL0OnClose(false).
		WithValueLogFileSize(16 << 20)
	// Values inline: value-log collection does not give back what a threshold put there (badger#1228). Badger's own
	// ceilings are 1 MiB and 15 % of a memtable.
	o.ValueThreshold = min(1<<20, memtable*15/100)
	o.LmaxCompaction = true
	o.TableSizeMultiplier = 1
	return o
}

// openBadger opens the database in dir, or makes one.
func openBadger(dir string, budget *Budget, logger *slog.Logger) (_ *badgerEngine, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	logBytes, err := verifyBadger(dir, logger)
	if err != nil {
		return nil, err
	}
	// From here on the files change.
	if err := os.Remove(filepath.Join(dir, sealFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("store: %w", err)
	}
	e := &badgerEngine{dir: dir, budget: budget, logger: logger}
	defer func() {
		if r := recover(); r != nil {
			err = &CorruptError{Dir: dir, Err: fmt.Errorf("badger panicked: %v", r), Hint: corruptHint}
		}
		if err != nil && e.mu.db != nil {
			_ = e.mu.db.Close() // the first error counts
		}
	}()
	if err := e.reopenLocked(logBytes); err != nil {
		return nil, err
	}
	if err := e.loadCheckpoint(); err != nil {
		return nil, err
	}
	if !e.found {
		// Data without a checkpoint is what a crash left of the first flush. It says nothing that can be relied on.
		if err := e.mu.db.DropAll(); err != nil {
			return nil, fmt.Errorf("store: %s: drop incomplete data: %w", dir, err)
		}
	}
	e.empty.Store(!e.found)
	return e, nil
}

func (e *badgerEngine) reopenLocked(logBytes int64) error {
	memtable := max(e.budget.memtableBytes(), logBytes)
	db, err := badger.OpenManaged(badgerOptions(e.dir, memtable, e.budget, e.logger))
	if err != nil {
		return classifyOpen(e.dir, err)
	}
	e.pins.apply(db.SetDiscardTs)
	e.mu.db = db
	return nil
}

// acquire returns the database, which stays until release is called.
func (e *badgerEngine) acquire() (db *badger.DB, release func(), err error) {
	for {
		e.mu.RLock()
		if e.mu.db != nil && !e.mu.closed {
			return e.mu.db, e.mu.RUnlock, nil
		}
		e.mu.RUnlock()
		e.mu.Lock()
		switch {
		case e.mu.closed:
			err = ErrClosed
		case e.mu.db == nil:
			err = e.reopenLocked(0)
		}
		e.mu.Unlock()
		if err != nil {
			return nil, nil, err
		}
	}
}

// classifyOpen tells damage from circumstances.
func classifyOpen(dir string, err error) error {
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) ||
		errors.Is(err, syscall.ENOMEM) || strings.Contains(err.Error(), "directory lock") {
		return fmt.Errorf("store: open %s: %w", dir, err)
	}
	return &CorruptError{Dir: dir, Err: err, Hint: corruptHint}
}

func (e *badgerEngine) loadCheckpoint() error {
	value, found, err := e.Get([]byte(checkpointKey), nil)
	if err != nil || !found {
		return err
	}
	version, n := binary.Uvarint(value)
	if n <= 0 {
		return &CorruptError{Dir: e.dir, Err: errors.New("checkpoint is malformed"), Hint: corruptHint}
	}
	if e.checkpoint, err = decodeCheckpoint(value[n:]); err != nil {
		return &CorruptError{Dir: e.dir, Err: err, Hint: corruptHint}
	}
	e.version, e.found = version, true
	e.pins.flushed(version)
	e.pins.apply(e.mu.db.SetDiscardTs)
	return nil
}

// Get implements [Engine].
func (e *badgerEngine) Get(key, dst []byte) (value []byte, found bool, err error) {
	db, release, err := e.acquire()
	if err != nil {
		return nil, false, err
	}
	defer release()
	txn := db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, e.readError(err)
	}
	err = item.Value(func(v []byte) error {
		dst = append(dst, v...)
		return nil
	})
	if err != nil {
		return nil, false, e.readError(err)
	}
	return dst, true, nil
}

func (e *badgerEngine) readError(err error) error {
	switch {
	case errors.Is(err, badger.ErrDBClosed):
		return ErrClosed
	case strings.Contains(err.Error(), "CHECKSUM_MISMATCH"), strings.Contains(err.Error(), "corrupt"):
		return &CorruptError{Dir: e.dir, Err: err, Hint: corruptHint}
	}
	return fmt.Errorf("store: %s: %w", e.dir, err)
}

// Scan implements [Engine].
func (e *badgerEngine) Scan(lo, hi []byte, reverse bool) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		db, release, err := e.acquire()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer release()
		txn := db.NewTransactionAt(math.MaxUint64, false)
		defer txn.Discard()
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false // they are inline; prefetching would cost a goroutine
		o.Reverse = reverse
		it := txn.NewIterator(o)
		defer it.Close()
		switch {
		case !reverse:
			it.Seek(lo)
		case hi == nil:
			it.Rewind()
		default:
			it.Seek(hi)
		}
		var value []byte
		for ; it.Valid(); it.Next() {
			item := it.Item()
			key := item.Key()
			if reverse {
				if hi != nil && bytes.Compare(key, hi) >= 0 {
					continue
				}
				if bytes.Compare(key, lo) < 0 {
					return
				}
			} else if hi != nil && bytes.Compare(key, hi) >= 0 {
				return
			}
			var err error
			if value, err = item.ValueCopy(value[:0]); err != nil {
				yield(Entry{}, e.readError(err))
				return
			}
			if value == nil {
				value = []byte{}
			}
			if !yield(Entry{Key: key, Value: value}, nil) {
				return
			}
		}
	}
}

// chunkBytes is how much a reader of an old version takes out of the database at a time.
const chunkBytes = 256 << 10

// chunk is entries in a row: bounds has the end of each key and value in data.
type chunk struct {
	data   []byte
	bounds []int
}

// scanAt yields the entries with lo <= key as of a version that is pinned. It takes them out in chunks and holds no
// lock while the loop body runs, which may wait for a network: neither Close nor an ingest waits for it. The slices
// hold until the next step.
func (e *badgerEngine) scanAt(ctx context.Context, version uint64, lo []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var c chunk
		from := slices.Clone(lo)
		for more := true; more; {
			err := ctx.Err()
			if err == nil {
				more, err = e.readChunk(&c, version, from)
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			at := 0
			for i := 0; i < len(c.bounds); i += 2 {
				k, v := c.bounds[i], c.bounds[i+1]
				if !yield(Entry{Key: c.data[at:k:k], Value: c.data[k:v:v]}, nil) {
					return
				}
				from = append(append(from[:0], c.data[at:k]...), 0) // the least key behind it
				at = v
			}
		}
		// Badger's iterators end in silence at a block that does not match its checksum.
		if err := e.verifyTables(); err != nil {
			yield(Entry{}, err)
		}
	}
}

// readChunk fills c with entries from a key on. more says that there may be others behind them.
func (e *badgerEngine) readChunk(c *chunk, version uint64, from []byte) (more bool, err error) {
	c.data, c.bounds = c.data[:0], c.bounds[:0]
	db, release, err := e.acquire()
	if err != nil {
		return false, err
	}
	defer release()
	defer e.recoverTo(&err, "a snapshot's read")
	txn := db.NewTransactionAt(version, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	it := txn.NewIterator(o)
	defer it.Close()
	for it.Seek(from); it.Valid(); it.Next() {
		if len(c.data) >= chunkBytes {
			return true, nil
		}
		item := it.Item()
		c.data = append(c.data, item.Key()...)
		c.bounds = append(c.bounds, len(c.data))
		if err := item.Value(func(v []byte) error { c.data = append(c.data, v...); return nil }); err != nil {
			return false, e.readError(err)
		}
		c.bounds = append(c.bounds, len(c.data))
	}
	return false, nil
}

// verifyTables compares every block of the tables on disk with its checksum.
func (e *badgerEngine) verifyTables() (err error) {
	db, release, err := e.acquire()
	if err != nil {
		return err
	}
	defer release()
	defer func() {
		if r := recover(); r != nil {
			err = &CorruptError{Dir: e.dir, Err: fmt.Errorf("badger panicked: %v", r), Hint: corruptHint}
		}
	}()
	if err := db.VerifyChecksum(); err != nil {
		return &CorruptError{Dir: e.dir, Err: err, Hint: corruptHint}
	}
	return nil
}

// unpin lets a version go.
func (e *badgerEngine) unpin(version uint64) {
	e.pins.letGo(version)
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.mu.db != nil && !e.mu.closed {
		e.pins.apply(e.mu.db.SetDiscardTs)
	}
}

// Flush implements [Engine].
func (e *badgerEngine) Flush(entries iter.Seq[Entry], checkpoint Checkpoint) (err error) {
	defer e.recoverTo(&err, "flush")
	next, stop := iter.Pull(entries)
	defer stop()
	var first []Entry
	if e.Empty() {
		for len(first) < ingestEntriesMin {
			at, ok := next()
			if !ok {
				break
			}
			first = append(first, at)
		}
		if len(first) == ingestEntriesMin {
			e.mu.Lock() // nobody reads an empty engine
			defer e.mu.Unlock()
			if err := e.ingestLocked(first, withoutErrors(next), checkpoint); err != nil {
				return err
			}
			return e.reopenLocked(0)
		}
	}
	db, release, err := e.acquire()
	if err != nil {
		return err
	}
	defer release()
	version := e.nextVersion(checkpoint)
	if err = batch(db, first, next, version); err != nil {
		return fmt.Errorf("store: %s: write: %w", e.dir, err)
	}
	txn := db.NewTransactionAt(version, true)
	defer txn.Discard()
	if err = txn.Set([]byte(checkpointKey), encodeVersioned(version, checkpoint)); err == nil {
		err = txn.CommitAt(version, nil)
	}
	if err != nil {
		return fmt.Errorf("store: %s: write checkpoint: %w", e.dir, err)
	}
	e.flushed(version, checkpoint)
	e.pins.apply(db.SetDiscardTs)
	return nil
}

func (e *badgerEngine) recoverTo(err *error, what string) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("store: %s: badger panicked during %s: %v", e.dir, what, r)
	}
}

func (e *badgerEngine) nextVersion(checkpoint Checkpoint) uint64 {
	return max(uint64(checkpoint.Epoch), e.version+1)
}

func encodeVersioned(version uint64, checkpoint Checkpoint) []byte {
	return appendCheckpoint(binary.AppendUvarint(nil, version), checkpoint)
}

func (e *badgerEngine) flushed(version uint64, checkpoint Checkpoint) {
	e.version, e.checkpoint, e.found = version, checkpoint.clone(), true
	e.pins.flushed(version)
	e.empty.Store(false)
}

// batch writes through Badger's log and memtable.
func batch(db *badger.DB, first []Entry, next func() (Entry, bool), version uint64) error {
	w := db.NewWriteBatchAt(version)
	w.SetMaxPendingTxns(4)
	defer w.Cancel()
	// Badger keeps the entries until they are written. One allocation for many.
	var slab []badger.Entry
	put := func(at Entry) error {
		if at.Value == nil {
			return w.DeleteAt(at.Key, version)
		}
		if len(slab) == cap(slab) {
			slab = make([]badger.Entry, 0, 512)
		}
		slab = append(slab, badger.Entry{Key: at.Key, Value: at.Value})
		return w.SetEntryAt(&slab[len(slab)-1], version)
	}
	for _, at := range first {
		if err := put(at); err != nil {
			return entryError(at, err)
		}
	}
	for {
		at, ok := next()
		if !ok {
			return w.Flush()
		}
		if err := put(at); err != nil {
			return entryError(at, err)
		}
	}
}

func entryError(at Entry, err error) error {
	if errors.Is(err, badger.ErrTxnTooBig) {
		return fmt.Errorf("an entry of %d bytes is too large; a larger state budget allows larger ones: %w",
			len(at.Key)+len(at.Value), err)
	}
	return err
}

// ingestLevelZeroMax is how many tables of level 0 an ingest may find. Every ingest uses the next higher level; from
// level 0 on they pile up, and as nothing compacts while the database is closed, reads would get slower and slower. A
// standby would never stop.
const ingestLevelZeroMax = 12

// mayIngest reports that an ingest is allowed; otherwise use Flush, which lets Badger compact. Not beside a flush.
func (e *badgerEngine) mayIngest() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.mu.db == nil {
		return e.levelZero < ingestLevelZeroMax
	}
	return e.mu.db.Levels()[0].NumTables < ingestLevelZeroMax
}

// beginIngest takes the database away from readers until ingest returns. Called by the task goroutine, which cannot be
// in a scan then; were the lock taken by the flush goroutine, a scan that began before it could wait for itself.
func (e *badgerEngine) beginIngest() { e.mu.Lock() }

// ingest is Flush for large amounts while nobody reads, as in a restore. It writes tables in key order and makes them
// part of the database with one rename: no log, no memtable, no compaction before the restore is over. The database
// stays closed until somebody needs it.
func (e *badgerEngine) ingest(entries iter.Seq[Entry], checkpoint Checkpoint) (err error) {
	defer e.mu.Unlock()
	defer e.recoverTo(&err, "ingest")
	next, stop := iter.Pull(entries)
	defer stop()
	return e.ingestLocked(nil, withoutErrors(next), checkpoint)
}

// entrySource gives one entry after the other, in key order; ok is false at the end.
type entrySource func() (at Entry, ok bool, err error)

func withoutErrors(next func() (Entry, bool)) entrySource {
	return func() (Entry, bool, error) {
		at, ok := next()
		return at, ok, nil
	}
}

// bitDelete is Badger's mark of a deletion.
const bitDelete = 1

// ingestLocked writes nothing that counts if the source fails.
func (e *badgerEngine) ingestLocked(first []Entry, next entrySource, checkpoint Checkpoint) error {
	if e.mu.closed {
		return ErrClosed
	}
	if e.mu.db != nil {
		db := e.mu.db
		e.mu.db = nil
		if err := db.Close(); err != nil {
			return fmt.Errorf("store: %s: close for ingest: %w", e.dir, err)
		}
	}
	tables, err := readManifest(e.dir)
	if err != nil {
		return &CorruptError{Dir: e.dir, File: manifestFile, Err: err, Hint: corruptHint}
	}
	// Above all that is there, so that it is found first; in level 0 the higher number is.
	w := tableWriter{dir: e.dir, version: e.nextVersion(checkpoint), level: ingestLevels - 1}
	for id, t := range tables {
		w.nextID = max(w.nextID, id)
		w.level = min(w.level, max(int(t.Level), 1)-1)
	}
	w.nextID++
	w.pool = z.NewAllocatorPool(2)
	defer w.pool.Release()
	deletions := e.found // otherwise there is nothing to delete
	err = w.add([]byte(checkpointKey), encodeVersioned(w.version, checkpoint))
	for i := 0; err == nil; i++ {
		var at Entry
		if i < len(first) {
			at = first[i]
		} else {
			var ok bool
			if at, ok, err = next(); !ok || err != nil {
				break
			}
		}
		if at.Value != nil || deletions {
			err = w.add(at.Key, at.Value)
		}
	}
	if err = errors.Join(err, w.finish()); err == nil {
		err = w.register(tables)
	}
	for _, id := range w.made {
		e.unsynced = append(e.unsynced, sst.NewFilename(id, e.dir))
	}
	e.levelZero = 0
	for _, t := range tables {
		if t.Level == 0 {
			e.levelZero++
		}
	}
	if w.level == 0 {
		e.levelZero += len(w.made)
	}
	if err != nil {
		// Badger removes tables that its manifest does not list.
		return fmt.Errorf("store: %s: ingest: %w", e.dir, err)
	}
	e.flushed(w.version, checkpoint)
	return nil
}

// installBadger makes a database of a source in a new directory, and closes it.
func installBadger(
	dir string, next entrySource, checkpoint Checkpoint, budget *Budget, logger *slog.Logger,
) (err error) {
	e, err := openBadger(dir, budget, logger)
	if err != nil {
		return err
	}
	if err := e.install(next, checkpoint); err != nil {
		e.mu.closed = true
		if e.mu.db != nil {
			err = errors.Join(err, e.mu.db.Close())
		}
		return err
	}
	return e.Close()
}

func (e *badgerEngine) install(next entrySource, checkpoint Checkpoint) (err error) {
	defer e.recoverTo(&err, "install")
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ingestLocked(nil, next, checkpoint)
}

// tableWriter writes Badger's tables.
type tableWriter struct {
	dir     string
	version uint64
	level   int
	nextID  uint64
	pool    *z.AllocatorPool

	builder *sst.Builder
	key     []byte // scratch
	made    []uint64
}

// ingestLevels is the number of levels, and ingestTableBytes the size of the tables that ingest makes.
const (
	ingestLevels     = 5
	ingestTableBytes = 4 << 20
)

func (w *tableWriter) add(key, value []byte) error {
	if w.builder != nil && w.builder.ReachedCapacity() {
		if err := w.finish(); err != nil {
			return err
		}
	}
	if w.builder == nil {
		w.builder = sst.NewTableBuilder(sst.Options{
			TableSize: ingestTableBytes, BlockSize: badgerBlockBytes, BloomFalsePositive: 0.01,
			Compression: options.None, AllocPool: w.pool,
		})
	}
	w.key = binary.BigEndian.AppendUint64(append(w.key[:0], key...), math.MaxUint64-w.version)
	v := y.ValueStruct{Value: value}
	if value == nil {
		v.Meta = bitDelete
	}
	w.builder.Add(w.key, v, 0)
	return nil
}

func (w *tableWriter) finish() error {
	if w.builder == nil {
		return nil
	}
	defer func() {
		w.builder.Close()
		w.builder = nil
	}()
	id := w.nextID
	w.nextID++
	// Not synced before the database is closed: after a crash of the machine a directory that was not closed is not
	// trusted anyway, and syncing took a fifth of a restore.
	name := sst.NewFilename(id, w.dir)
	if err := os.WriteFile(name, w.builder.Finish(), 0o600); err != nil {
		return err
	}
	w.made = append(w.made, id)
	return nil
}

// register replaces the manifest by one with the new tables. Its format: a magic number, then change sets, each behind
// its length and CRC-32C. What was written is read back by Badger's own reader before it takes effect.
func (w *tableWriter) register(tables map[uint64]badger.TableManifest) error {
	var set pb.ManifestChangeSet
	change := func(id uint64, level int, keyID uint64, compression options.CompressionType) {
		set.Changes = append(set.Changes, &pb.ManifestChange{
			Id: id, Op: pb.ManifestChange_CREATE, Level: uint32(level), KeyId: keyID, Compression: uint32(compression),
			EncryptionAlgo: pb.EncryptionAlgo_aes, // what Badger writes also without encryption
		})
	}
	for _, id := range slices.Sorted(maps.Keys(tables)) {
		change(id, int(tables[id].Level), tables[id].KeyID, tables[id].Compression)
	}
	for _, id := range w.made {
		change(id, w.level, 0, options.None)
	}
	body, err := proto.Marshal(&set)
	if err != nil {
		return err
	}
	data := []byte("Bdgr\x00\x00\x00\x08")
	data = binary.BigEndian.AppendUint32(data, uint32(len(body)))
	data = binary.BigEndian.AppendUint32(data, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	data = append(data, body...)
	check, err := os.MkdirTemp(w.dir, "manifest-check-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(check) }()
	if err := os.WriteFile(filepath.Join(check, manifestFile), data, 0o600); err != nil {
		return err
	}
	got, err := readManifest(check)
	if err == nil && len(got) != len(set.Changes) {
		err = fmt.Errorf("%d tables instead of %d", len(got), len(set.Changes))
	}
	if err != nil {
		return fmt.Errorf("manifest cannot be read back: %w", err)
	}
	if err := syncDir(w.dir); err != nil { // the tables first
		return err
	}
	return writeFileAtomic(filepath.Join(w.dir, manifestFile), data)
}

// Checkpoint implements [Engine].
func (e *badgerEngine) Checkpoint() (Checkpoint, bool, error) {
	return e.checkpoint.clone(), e.found, nil
}

// Empty implements [Engine].
func (e *badgerEngine) Empty() bool { return e.empty.Load() }

// countExactMax is the size up to which ApproximateCount counts instead of estimating.
const countExactMax = 100_000

// ApproximateCount implements [Engine].
func (e *badgerEngine) ApproximateCount(prefix []byte) (uint64, error) {
	if e.Empty() {
		return 0, nil
	}
	db, release, err := e.acquire()
	if err != nil {
		return 0, err
	}
	defer release()
	var estimate uint64
	for _, t := range db.Tables() {
		left, right := bytes.HasPrefix(t.Left, prefix), bytes.HasPrefix(t.Right, prefix)
		switch {
		case left && right:
			estimate += uint64(t.KeyCount)
		case left || right:
			estimate += uint64(t.KeyCount) / 2
		}
	}
	txn := db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = prefix
	it := txn.NewIterator(o)
	defer it.Close()
	var n uint64
	for it.Rewind(); it.Valid(); it.Next() {
		if n++; n > countExactMax {
			return max(n, estimate), nil // tables overlap: the estimate counts a key once for each that has it
		}
	}
	return n, nil
}

// dropPrefix deletes every key with the prefix. Not beside anything else.
func (e *badgerEngine) dropPrefix(prefix []byte) error {
	db, release, err := e.acquire()
	if err != nil {
		return err
	}
	defer release()
	if err := db.DropPrefix(prefix); err != nil {
		return fmt.Errorf("store: %s: drop a removed store: %w", e.dir, err)
	}
	return nil
}

// Close implements [Engine]. It seals the directory.
func (e *badgerEngine) Close() (err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.closed {
		return errors.New("store: engine closed twice")
	}
	e.mu.closed = true
	defer e.recoverTo(&err, "close")
	if e.mu.db != nil {
		if err := e.mu.db.Close(); err != nil {
			return fmt.Errorf("store: %s: close: %w", e.dir, err)
		}
	}
	for _, name := range e.unsynced {
		if err := syncFile(name); err != nil && !errors.Is(err, os.ErrNotExist) { // compaction removes files
			return fmt.Errorf("store: %s: close: %w", e.dir, err)
		}
	}
	return writeSeal(e.dir)
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// verifyBadger returns a [*CorruptError] for what Badger would not survive or not notice, and the memtable size that
// the replay of the logs needs: with a smaller one, as after a change of the budget, Badger ends the process.
func verifyBadger(dir string, logger *slog.Logger) (logBytes int64, err error) {
	damaged := func(file string, err error) error {
		return &CorruptError{Dir: dir, File: file, Err: err, Hint: corruptHint}
	}
	sizes, err := vitalFiles(dir)
	if err != nil || len(sizes) == 0 {
		return 0, err
	}
	if _, ok := sizes[manifestFile]; !ok {
		for name := range sizes {
			if strings.HasSuffix(name, ".sst") {
				return 0, damaged(manifestFile, os.ErrNotExist)
			}
		}
	}
	sealed, err := checkSeal(dir, sizes)
	if err != nil {
		return 0, err
	}
	tables, err := readManifest(dir)
	if err != nil {
		return 0, damaged(manifestFile, err)
	}
	if !sealed && len(tables) > 0 {
		logger.Info("verifying state that was not closed", slog.String("dir", dir), slog.Int("tables", len(tables)))
	}
	// All blocks, also of what was closed cleanly: a block that Badger cannot read is to it as if its keys were not there,
	// and what is read then is nothing, or an older row.
	for _, id := range slices.Sorted(maps.Keys(tables)) {
		name := sst.IDToFilename(id)
		if err := verifyTable(filepath.Join(dir, name), tables[id].Compression); err != nil {
			return 0, damaged(name, err)
		}
	}
	return verifyLogs(dir, sizes, damaged)
}

func readManifest(dir string) (_ map[uint64]badger.TableManifest, err error) {
	f, err := os.Open(filepath.Join(dir, manifestFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("badger panicked: %v", r)
		}
	}()
	m, end, err := badger.ReplayManifestFile(f, 0, badger.Options{})
	if err != nil {
		return nil, err
	}
	// Badger cuts an incomplete last change off. A process that dies does not leave one, since each is a single write,
	// and a machine that dies takes the trust in the directory with it.
	if info, err := f.Stat(); err != nil || info.Size() != end {
		return nil, errors.Join(err, errors.New("last change is incomplete"))
	}
	return m.Tables, nil
}

// verifyTable checks the footer, the index and all blocks of a table.
func verifyTable(path string, compression options.CompressionType) (err error) {
	if err := verifyFooter(path); err != nil {
		return err
	}
	f, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("badger panicked: %v", r)
		}
		err = errors.Join(err, z.Munmap(f.Data), f.Fd.Close())
	}()
	// Badger does not verify while it opens: it would unmap the file when it finds damage, and so would we, by then
	// perhaps the memory of somebody else. Not Close or DecrRef on the result: the one truncates, the other deletes the
	// file.
	t, err := sst.OpenTable(f, sst.Options{
		ReadOnly: true, ChkMode: options.NoVerification, Compression: compression, BlockSize: badgerBlockBytes,
	})
	if err != nil {
		return err
	}
	return t.VerifyChecksum()
}

// badgerLogger passes Badger's messages on. What Badger calls information is detail to us.
type badgerLogger struct{ logger *slog.Logger }

func (l badgerLogger) log(level slog.Level, format string, args []any) {
	if ctx := context.Background(); l.logger.Enabled(ctx, level) {
		l.logger.LogAttrs(ctx, level, "badger", slog.String("message", strings.TrimSpace(fmt.Sprintf(format, args...))))
	}
}

func (l badgerLogger) Errorf(format string, args ...any)   { l.log(slog.LevelWarn, format, args) }
func (l badgerLogger) Warningf(format string, args ...any) { l.log(slog.LevelWarn, format, args) }
func (l badgerLogger) Infof(format string, args ...any)    { l.log(slog.LevelDebug, format, args) }
func (l badgerLogger) Debugf(string, ...any)               {} // several per write
