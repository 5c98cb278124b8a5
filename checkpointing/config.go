package checkpointing

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// Retention says what becomes of the retained checkpoints when the application is stopped for good
// (execution.checkpointing.externalized-checkpoint-retention).
type Retention int

const (
	// RetainOnCancellation keeps them (RETAIN_ON_CANCELLATION).
	RetainOnCancellation Retention = iota
	// DeleteOnCancellation deletes them (DELETE_ON_CANCELLATION).
	DeleteOnCancellation
)

// String returns Flink's name.
func (r Retention) String() string {
	if r == DeleteOnCancellation {
		return "DELETE_ON_CANCELLATION"
	}
	return "RETAIN_ON_CANCELLATION"
}

// Values of Config.TolerableFailed beside numbers of checkpoints.
const (
	// TolerateAny goes on whatever happens to checkpoints.
	TolerateAny = -1
	// TolerateNone fails with the first checkpoint that fails. It is what Flink does at 0.
	TolerateNone = -2
)

// Config says when and how checkpoints are made. The zero value makes none; with a Storage, or a SavepointStorage,
// savepoints and checkpoints can be asked for, and with an Interval they are made by themselves. All instances of an
// application must have the same. The names in parentheses are Flink's. Checkpoints are always exactly-once
// (execution.checkpointing.mode EXACTLY_ONCE).
//
// A checkpoint is not what makes results durable: commits do that. It is a nearer place to restore from than the
// beginning of a changelog, and a consistent cut to clone or rescale from. So nothing here delays a commit, and a
// checkpoint that fails is, by default, only a line in the log.
type Config struct {
	// Storage keeps checkpoints (execution.checkpointing.storage, execution.checkpointing.dir). Every instance must
	// reach the same one.
	Storage storage.Storage
	// SavepointStorage keeps savepoints (execution.checkpointing.savepoint-dir). Defaults to Storage.
	SavepointStorage storage.Storage
	// Interval is the time from one periodic checkpoint's start to the next one's (execution.checkpointing.interval).
	// Defaults to 0: none. At least 10 ms.
	Interval time.Duration
	// Timeout is after how long a checkpoint that has not completed is aborted (execution.checkpointing.timeout).
	// Defaults to 10 min.
	Timeout time.Duration
	// MinPause is the least time between the end of a checkpoint and the start of the next periodic one
	// (execution.checkpointing.min-pause). Defaults to 0.
	MinPause time.Duration
	// MaxConcurrent is how many checkpoints may be in progress at a time; savepoints are not held up by it
	// (execution.checkpointing.max-concurrent-checkpoints). 1 to 16, defaults to 1.
	MaxConcurrent int
	// TolerableFailed is how many checkpoints in a row may fail before the application does
	// (execution.checkpointing.tolerable-failed-checkpoints). Defaults to TolerateAny: unlike Flink's, an application
	// loses nothing without checkpoints. TolerateNone is Flink's 0.
	TolerableFailed int
	// Retained is how many completed checkpoints are kept (execution.checkpointing.num-retained). 1 to 1,000, defaults
	// to 1.
	Retained int
	// Retention says what becomes of them when the application is stopped by StopWithSavepoint or Cancel
	// (execution.checkpointing.externalized-checkpoint-retention). An instance that closes is not a stopped
	// application. Defaults to RetainOnCancellation.
	Retention Retention
	// Unaligned lets barriers overtake records: tasks hold nothing back, and what is in flight becomes part of the
	// checkpoint (execution.checkpointing.unaligned.enabled). For savepoints it has no effect. Defaults to false.
	Unaligned bool
	// AlignedTimeout is after how long alignment is given up in favour of an unaligned cut
	// (execution.checkpointing.aligned-checkpoint-timeout). Unlike in Flink it does not need Unaligned. For savepoints it
	// has no effect. Defaults to 0: never.
	AlignedTimeout time.Duration
	// AlignmentBufferBytes bounds what a task holds back while it aligns; beyond it cuts unaligned. No counterpart:
	// Flink lets back-pressure hold senders back. Defaults to 16 MiB.
	AlignmentBufferBytes int64
	// Incremental stores only what has changed since the last checkpoint (execution.checkpointing.incremental). Defaults
	// to false: every checkpoint stores all state.
	Incremental bool
	// IncrementalChainMax is how many increments a full snapshot may have before the next one is full again. Defaults
	// to 10.
	IncrementalChainMax int
	// IncrementalBytesRatio is how large all increments together may become, as a part of the full snapshot, before the
	// next one is full. Defaults to 1.
	IncrementalBytesRatio float64
	// UploadBytesPerSecond bounds what an instance writes to the storage. Defaults to 0: no bound.
	UploadBytesPerSecond int64
	// UploadParallel is how many snapshots an instance stores at the same time
	// (state.backend.rocksdb.checkpoint.transfer.thread.num). Defaults to 4.
	UploadParallel int
	// LazyRestore lets a task that begins with a snapshot run before that is loaded: what is missing is read from the
	// storage on demand, while the load goes on beside it. Checkpoints then have an index beside each file, which only
	// those have that are made with it. Where there is none, or the storage is no [storage.RangeReader], snapshots are
	// loaded first, as without it. No checkpoint can be made before all tasks have loaded theirs. Defaults to false.
	LazyRestore bool
	// EncryptionKey encrypts what is stored with AES-256-GCM: 32 bytes. Defaults to none.
	EncryptionKey []byte
	// OldEncryptionKeys are keys of before, which only decrypt: every file names its key. To change the key, put it here,
	// and the new one into EncryptionKey; drop it when nothing retained needs it any more, which keyId in the manifests
	// tells. Without an EncryptionKey nothing new is encrypted. Defaults to none.
	OldEncryptionKeys [][]byte
}

// Cipher returns what decrypts snapshots, and encrypts them if there is an EncryptionKey; nil without keys.
func (c *Config) Cipher() (*storage.Cipher, error) {
	keys := c.OldEncryptionKeys
	if len(c.EncryptionKey) > 0 {
		keys = append([][]byte{c.EncryptionKey}, keys...)
	}
	if len(keys) == 0 {
		return nil, nil //nolint:nilnil // nothing is encrypted
	}
	return storage.NewCipher(keys[0], keys[1:]...)
}

const (
	intervalMin                  = 10 * time.Millisecond
	defaultTimeout               = 10 * time.Minute
	maxConcurrentLimit           = 16
	retainedLimit                = 1000
	defaultAlignmentBufferBytes  = 16 << 20
	defaultIncrementalChainMax   = 10
	defaultIncrementalBytesRatio = 1
	defaultUploadParallel        = 4
	encryptionKeyBytes           = 32
)

// Enabled reports whether there can be checkpoints or savepoints at all.
func (c *Config) Enabled() bool { return c.Storage != nil || c.SavepointStorage != nil }

// WithDefaults returns a copy in which no field is zero that has a default.
func (c Config) WithDefaults() Config {
	def(&c.Timeout, defaultTimeout)
	def(&c.MaxConcurrent, 1)
	def(&c.TolerableFailed, TolerateAny)
	def(&c.Retained, 1)
	def(&c.AlignmentBufferBytes, defaultAlignmentBufferBytes)
	def(&c.IncrementalChainMax, defaultIncrementalChainMax)
	def(&c.IncrementalBytesRatio, defaultIncrementalBytesRatio)
	def(&c.UploadParallel, defaultUploadParallel)
	if c.SavepointStorage == nil {
		c.SavepointStorage = c.Storage
	}
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// FieldError says what is wrong with a field of a Config.
type FieldError struct {
	Field string
	Value any
	Hint  string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("checkpointing: Config.%s is %v: %s", e.Field, e.Value, e.Hint)
}

// Validate checks all fields of a Config with defaults, and returns every mistake: *FieldError, joined.
func (c *Config) Validate() error {
	var errs []error
	bad := func(field string, value any, hint string) {
		errs = append(errs, &FieldError{Field: field, Value: value, Hint: hint})
	}
	if c.Interval != 0 && c.Interval < intervalMin {
		bad("Interval", c.Interval, "want 0 for none, or at least "+intervalMin.String())
	}
	if c.Interval > 0 && c.Storage == nil {
		bad("Storage", "nil", "periodic checkpoints need one: set it, or set Interval to 0")
	}
	if c.Timeout < intervalMin {
		bad("Timeout", c.Timeout, "want at least "+intervalMin.String())
	}
	if c.MinPause < 0 {
		bad("MinPause", c.MinPause, "want 0 or a positive duration")
	}
	if c.MaxConcurrent < 1 || c.MaxConcurrent > maxConcurrentLimit {
		bad("MaxConcurrent", c.MaxConcurrent, fmt.Sprintf("want 1 to %d", maxConcurrentLimit))
	}
	if c.MinPause > 0 && c.MaxConcurrent > 1 {
		bad("MaxConcurrent", c.MaxConcurrent, "contradicts MinPause, which leaves no time for a second checkpoint: want 1")
	}
	if c.TolerableFailed < TolerateNone {
		bad("TolerableFailed", c.TolerableFailed, "want a number of checkpoints, TolerateAny or TolerateNone")
	}
	if c.Retained < 1 || c.Retained > retainedLimit {
		bad("Retained", c.Retained, fmt.Sprintf("want 1 to %d", retainedLimit))
	}
	if c.Retention != RetainOnCancellation && c.Retention != DeleteOnCancellation {
		bad("Retention", int(c.Retention), "want RetainOnCancellation or DeleteOnCancellation")
	}
	if c.AlignedTimeout < 0 {
		bad("AlignedTimeout", c.AlignedTimeout, "want 0 for never, or a positive duration")
	}
	if c.AlignedTimeout >= c.Timeout && c.Timeout >= intervalMin {
		bad("AlignedTimeout", c.AlignedTimeout, fmt.Sprintf("want less than Timeout (%s)", c.Timeout))
	}
	if c.AlignmentBufferBytes < 0 {
		bad("AlignmentBufferBytes", c.AlignmentBufferBytes, "want a size in bytes")
	}
	if c.IncrementalChainMax < 1 {
		bad("IncrementalChainMax", c.IncrementalChainMax, "want at least 1, or leave Incremental off")
	}
	if c.IncrementalBytesRatio < 0 {
		bad("IncrementalBytesRatio", c.IncrementalBytesRatio, "want a positive number")
	}
	if c.UploadBytesPerSecond < 0 {
		bad("UploadBytesPerSecond", c.UploadBytesPerSecond, "want 0 for no bound, or a number of bytes")
	}
	if c.UploadParallel < 1 {
		bad("UploadParallel", c.UploadParallel, "want at least 1")
	}
	if n := len(c.EncryptionKey); n != 0 && n != encryptionKeyBytes {
		bad("EncryptionKey", fmt.Sprintf("%d bytes", n), fmt.Sprintf("want %d bytes, or none", encryptionKeyBytes))
	}
	for i, key := range c.OldEncryptionKeys {
		if n := len(key); n != encryptionKeyBytes {
			bad("OldEncryptionKeys", fmt.Sprintf("%d bytes at index %d", n, i), fmt.Sprintf("want %d bytes", encryptionKeyBytes))
		}
	}
	return errors.Join(errs...)
}

// Overrides are settings that were changed while the application runs; nil fields are as configured. They are kept in
// the control topic and hold, also over restarts, until they are changed again.
type Overrides struct {
	V               int    `json:"v"`
	IntervalMs      *int64 `json:"intervalMs,omitempty"`
	TimeoutMs       *int64 `json:"timeoutMs,omitempty"`
	MinPauseMs      *int64 `json:"minPauseMs,omitempty"`
	AlignedTimeout  *int64 `json:"alignedTimeoutMs,omitempty"`
	MaxConcurrent   *int   `json:"maxConcurrent,omitempty"`
	TolerableFailed *int   `json:"tolerableFailed,omitempty"`
	Retained        *int   `json:"retained,omitempty"`
	Unaligned       *bool  `json:"unaligned,omitempty"`
	// Incremental has no effect where Config.Incremental is off: tasks do not note what changes.
	Incremental *bool `json:"incremental,omitempty"`
	// Reset drops all earlier overrides before these apply.
	Reset bool `json:"reset,omitempty"`
}

// Merge returns what holds when next comes after o.
func (o Overrides) Merge(next Overrides) Overrides {
	if next.Reset {
		o = Overrides{}
	}
	take(&o.IntervalMs, next.IntervalMs)
	take(&o.TimeoutMs, next.TimeoutMs)
	take(&o.MinPauseMs, next.MinPauseMs)
	take(&o.AlignedTimeout, next.AlignedTimeout)
	take(&o.MaxConcurrent, next.MaxConcurrent)
	take(&o.TolerableFailed, next.TolerableFailed)
	take(&o.Retained, next.Retained)
	take(&o.Unaligned, next.Unaligned)
	take(&o.Incremental, next.Incremental)
	o.V, o.Reset = messageVersion, false
	return o
}

func take[T any](field **T, value *T) {
	if value != nil {
		*field = value
	}
}

// Apply returns a Config with the overrides.
func (o Overrides) Apply(c Config) Config {
	ms := func(field *time.Duration, value *int64) {
		if value != nil {
			*field = time.Duration(*value) * time.Millisecond
		}
	}
	ms(&c.Interval, o.IntervalMs)
	ms(&c.Timeout, o.TimeoutMs)
	ms(&c.MinPause, o.MinPauseMs)
	ms(&c.AlignedTimeout, o.AlignedTimeout)
	set(&c.MaxConcurrent, o.MaxConcurrent)
	set(&c.TolerableFailed, o.TolerableFailed)
	set(&c.Retained, o.Retained)
	set(&c.Unaligned, o.Unaligned)
	set(&c.Incremental, o.Incremental)
	return c.WithDefaults()
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}
