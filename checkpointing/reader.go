package checkpointing

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Reader reads the state in a checkpoint or savepoint without the application: neither Kafka nor the program that made
// it is needed. It is what Flink's State Processor API is for. Safe for concurrent use.
type Reader struct {
	files    Files
	manifest *Manifest
}

// Row is an entry of a store, with key and value as its changelog has them. The slices hold until the next one.
type Row struct {
	Task record.TaskID
	Key  []byte
	// Value is nil only in a versioned store, for the end of a version.
	Value []byte
	// Timestamp is that of the record that wrote the row, in milliseconds since the Unix epoch.
	Timestamp int64
}

// OpenReader opens the checkpoint or savepoint in a folder of a storage, such as word-count/chk-17. cipher has the keys,
// and is nil if nothing is encrypted. Errors are [*SnapshotError].
func OpenReader(ctx context.Context, s storage.Storage, location string, cipher *storage.Cipher) (*Reader, error) {
	m, err := Load(ctx, s, location)
	if err != nil {
		return nil, err
	}
	return &Reader{files: Files{Storage: s, Cipher: cipher}, manifest: m}, nil
}

// Manifest describes what is read.
func (r *Reader) Manifest() *Manifest { return r.manifest }

// OnRead has f called with the number of bytes of each piece that is read, for those who show progress. Call it before
// anything is read.
func (r *Reader) OnRead(f func(bytes int)) { r.files.Read = f }

// StateBytes is how much [Reader.Rows] reads.
func (r *Reader) StateBytes(storeName string, tasks ...record.TaskID) (n int64) {
	for t := range r.tasks(storeName, tasks) {
		n += t.StateBytes()
	}
	return n
}

// tasks yields the tasks that have a store, of the given ones if there are any.
func (r *Reader) tasks(storeName string, only []record.TaskID) iter.Seq[*TaskSnapshot] {
	return func(yield func(*TaskSnapshot) bool) {
		info, ok := r.manifest.Store(storeName)
		for i := range r.manifest.Tasks {
			t := &r.manifest.Tasks[i]
			if !ok || t.Task.Subtopology != info.Subtopology || len(only) > 0 && !slices.Contains(only, t.Task) {
				continue
			}
			if !yield(t) {
				return
			}
		}
	}
}

// Stores lists the stores, in the order of their names.
func (r *Reader) Stores() []StoreInfo {
	stores := slices.Clone(r.manifest.Stores)
	slices.SortFunc(stores, func(a, b StoreInfo) int { return strings.Compare(a.Name, b.Name) })
	return stores
}

// Rows yields the rows of a store, task by task, in the order of their keys. Without tasks it reads all. An error ends
// it: damage is a [*SnapshotError], at the latest at the end of a task.
func (r *Reader) Rows(ctx context.Context, storeName string, tasks ...record.TaskID) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		info, ok := r.manifest.Store(storeName)
		if !ok {
			yield(Row{}, &SnapshotError{
				Storage: r.files.Storage.String(), Location: r.manifest.Location,
				Err: fmt.Errorf("it has no store %q", storeName), Hint: "Stores lists those it has",
			})
			return
		}
		for t := range r.tasks(storeName, tasks) {
			if !r.rows(ctx, t, info, yield) {
				return
			}
		}
	}
}

// rows yields the rows of one task; false ends it.
func (r *Reader) rows(ctx context.Context, t *TaskSnapshot, info StoreInfo, yield func(Row, error) bool) bool {
	if len(t.Files) == 0 {
		return true
	}
	// The rows of a store end before the files do; only at their end the files are known to be good.
	pull, stop := iter.Pull2(r.files.Task(ctx, r.manifest, t))
	defer stop()
	entries := func(yield func(store.Entry, error) bool) {
		for {
			at, err, ok := pull()
			if !ok || !yield(at, err) {
				return
			}
		}
	}
	for raw, err := range store.ChangelogRecords(info.Name, info.Type, entries) {
		if !yield(Row{Task: t.Task, Key: raw.Key, Value: raw.Value, Timestamp: raw.Timestamp}, err) || err != nil {
			return false
		}
	}
	for {
		_, err, ok := pull()
		if err != nil {
			yield(Row{}, err)
			return false
		}
		if !ok {
			return true
		}
	}
}

// Each calls do for each row of a store, as [Reader.Rows] yields them, until it returns an error.
func (r *Reader) Each(
	ctx context.Context, storeName string, do func(key, value []byte, timestamp int64) error,
) error {
	for row, err := range r.Rows(ctx, storeName) {
		if err == nil {
			err = do(row.Key, row.Value, row.Timestamp)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// InFlight yields the records that were in flight when a savepoint was made, task by task. Of checkpoints they are in
// their topics only: see [TaskSnapshot.InFlight].
func (r *Reader) InFlight(ctx context.Context) iter.Seq2[InFlightRecord, error] {
	return func(yield func(InFlightRecord, error) bool) {
		for i := range r.manifest.Tasks {
			for rec, err := range r.files.InFlight(ctx, r.manifest, &r.manifest.Tasks[i]) {
				if !yield(rec, err) || err != nil {
					return
				}
			}
		}
	}
}
