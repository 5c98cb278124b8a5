package tidemark

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
)

// Config is how an App runs. The zero value of every field means its default; ApplicationID and Brokers have none. The
// names in parentheses are Kafka Streams'.
type Config struct {
	// ApplicationID names the application: it is the consumer group and the prefix of internal topics and transactional
	// ids (application.id). Letters, digits, '.', '_' and '-'.
	ApplicationID string
	// Brokers are host:port addresses to find the cluster by (bootstrap.servers).
	Brokers []string
	// StateDir holds local state, in a folder per application (state.dir). One process at a time may use the folder of
	// an application. Defaults to the user's state directory ($XDG_STATE_HOME/tidemark); never to a temporary one.
	StateDir string
	// AllowGeneratedNames lets stores and repartition topics have generated names, which change, and leave behind what
	// was kept under them, when an operator is inserted above. By default New lists them as mistakes
	// (ensure.explicit.internal.resource.naming, KIP-1111, which Kafka Streams has off by default).
	AllowGeneratedNames bool
	// AllowStateLoss lets an instance start that would leave stores behind which the application has: removed, renamed,
	// or of another kind. By default Run refuses, with the list (StateLossError). Kafka Streams has no such check; Flink
	// calls it allowNonRestoredState.
	AllowStateLoss bool
	// Workers is the number of goroutines that run tasks, each with a producer of its own (num.stream.threads).
	// Defaults to GOMAXPROCS.
	Workers int
	// CommitInterval is the longest time from processing a record to its commit (commit.interval.ms). Outputs become
	// visible with the commit. Defaults to 100 ms under exactly-once, 30 s under at-least-once.
	CommitInterval time.Duration
	// ProcessingGuarantee defaults to eos.ExactlyOnceV2 (processing.guarantee).
	ProcessingGuarantee eos.Guarantee
	// CacheBytesMax bounds what all workers together hold uncommitted before they commit early
	// (statestore.cache.max.bytes). -1 switches the record caches off: every update is forwarded. Defaults to 64 MiB.
	CacheBytesMax int64
	// StateBytesMax bounds the memory of all stores beside the cache: committed data not yet on disk, Badger's memtables
	// and block caches. Defaults to 256 MiB.
	StateBytesMax int64
	// FlushInterval is the longest time that committed state waits in memory before it goes to disk. What has not been
	// flushed is replayed from the changelog after a crash. Defaults to 30 s.
	FlushInterval time.Duration

	// GroupInstanceID is the static membership id (group.instance.id). Defaults to an id that is made once and kept in
	// the state directory, so that a process that restarts, even after a crash, gets its tasks back at once.
	// DynamicMembership turns static membership off.
	GroupInstanceID   string
	DynamicMembership bool
	// LeaveGroupOnClose makes a static member give its tasks to others when it closes. By default it does not: its tasks
	// wait for its restart for up to SessionTimeout.
	LeaveGroupOnClose bool
	// SessionTimeout is after how long without a sign of life a member's tasks go to others (session.timeout.ms).
	// Defaults to 45 s.
	SessionTimeout time.Duration
	// HeartbeatInterval defaults to a fifteenth of SessionTimeout (heartbeat.interval.ms).
	HeartbeatInterval time.Duration
	// RebalanceTimeout bounds how long a member may take to commit and give up tasks (max.poll.interval.ms).
	// Defaults to 60 s.
	RebalanceTimeout time.Duration
	// AutoOffsetReset says where to start without a committed offset (auto.offset.reset): processor.ResetEarliest, the
	// default, ResetLatest, or ResetNone, which fails.
	AutoOffsetReset processor.OffsetReset
	// TimestampExtractor gives the records of sources without one of their own their event time
	// (default.timestamp.extractor). Defaults to processor.FailOnInvalidTimestamp.
	TimestampExtractor processor.TimestampExtractor
	// MaxTaskIdle says what a task with several inputs does while one of them is empty, whose next record may be older
	// than those of the others (max.task.idle.ms). 0, the default, waits as long as the broker has records of it that were
	// not fetched yet. A positive duration also waits that long for new ones, which delays the other inputs. -1 never
	// waits: inputs that are read at different speeds mix without regard to time.
	MaxTaskIdle time.Duration

	// TransactionTimeout is after how long the broker aborts an open transaction (transaction.timeout.ms). A new owner
	// ends a dead one's transaction without waiting for it; but if only tasks without state had written in it, and the
	// process does not come back with its state directory, who reads what they wrote waits so long. Rounded down to
	// 10 ms: the last digit is in use, see docs/format/transaction-timeout.md. At least 100 ms, defaults to 60 s.
	TransactionTimeout time.Duration
	// MaxRequestBytes bounds one record batch (max.request.size). Defaults to 1 MiB less a little, as the broker's
	// max.message.bytes does.
	MaxRequestBytes int
	// Compression of produced batches: "none", "snappy", "lz4", "zstd", "gzip" (compression.type). Defaults to "none".
	Compression string
	// RetryTimeout bounds how long commits may fail before the application stops with an error, which the restart
	// strategy then handles (task.timeout.ms). Defaults to 5 min.
	RetryTimeout time.Duration
	// ConnectTimeout bounds how long Run looks for a broker at start. Defaults to 30 s.
	ConnectTimeout time.Duration
	// MetadataMaxAge is how often to look for new partitions of input topics, and for topics that match the patterns of
	// sources (metadata.max.age.ms). Defaults to 30 s.
	MetadataMaxAge time.Duration
	// IgnoreAddedPartitions lets tasks with stores go on when their inputs have more partitions than their changelogs:
	// those that were added are not read, and wait. It is for the time until a savepoint is made from which the
	// application goes on with all of them; without it the application stops with an error that says so.
	IgnoreAddedPartitions bool
	// CloseTimeout bounds the last commit and the hand-over when the context of Run ends. Defaults to 30 s.
	CloseTimeout time.Duration
	// ReplicationFactor of internal topics (replication.factor). Defaults to -1, the broker's default.
	ReplicationFactor int16
	// RestoreParallel is how many tasks restore at the same time. Defaults to twice Workers.
	RestoreParallel int

	// Checkpointing says when checkpoints are made and where they and savepoints are kept. Needs eos.ExactlyOnceV2.
	// Defaults to none.
	Checkpointing checkpointing.Config

	// TLS and SASL secure the connections to the brokers. Nil TLS is plain text.
	TLS  *tls.Config
	SASL SASL
	// ClientID names the connections in the broker's logs and quotas (client.id). Defaults to ApplicationID.
	ClientID string

	// OnDeserializationError, OnProcessingError and OnProductionError decide about records that cannot be decoded, that
	// user code fails on, and that the broker refuses (…exception.handler). Default: processor.Fail().
	OnDeserializationError processor.Handler
	OnProcessingError      processor.Handler
	OnProductionError      processor.Handler
	// Restart says what happens after any other error: the application starts again from its last commit. Defaults to
	// RestartExponentialDelay(time.Second, time.Minute, 2, 10*time.Minute).
	Restart RestartStrategy

	// StateListener is told of every change of state, in order.
	StateListener func(from, to State)
	// RestoreListener is told how restoring goes, from several goroutines.
	RestoreListener RestoreListener
	// CheckpointListener is told of checkpoints and savepoints, from one goroutine. It should be quick.
	CheckpointListener CheckpointListener
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

// SASL authenticates a client. The zero value does not.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
	Mechanism string
	User      string
	Password  string
	// Token returns a bearer token for OAUTHBEARER. Called from several goroutines.
	Token func() (string, error)
}

// ConfigError is one mistake in a Config.
type ConfigError struct {
	Field string
	Value any
	Hint  string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("tidemark: Config.%s = %v: %s", e.Field, e.Value, e.Hint)
}

// Defaults.
const (
	defaultCacheBytesMax      = 64 << 20
	defaultStateBytesMax      = 256 << 20
	defaultFlushInterval      = 30 * time.Second
	defaultSessionTimeout     = 45 * time.Second
	defaultRebalanceTimeout   = 60 * time.Second
	defaultTransactionTimeout = 60 * time.Second
	transactionTimeoutMin     = 100 * time.Millisecond
	defaultRetryTimeout       = 5 * time.Minute
	defaultConnectTimeout     = 30 * time.Second
	defaultMetadataMaxAge     = 30 * time.Second
	defaultCloseTimeout       = 30 * time.Second
	defaultMaxRequestBytes    = 1<<20 - 4<<10
	commitIntervalMin         = time.Millisecond
)

// withDefaults returns a copy in which no field is zero that has a default.
func (c Config) withDefaults() (Config, error) {
	def(&c.Workers, runtime.GOMAXPROCS(0))
	if c.CommitInterval == 0 {
		c.CommitInterval = 100 * time.Millisecond
		if c.ProcessingGuarantee == eos.AtLeastOnce {
			c.CommitInterval = 30 * time.Second
		}
	}
	def(&c.CacheBytesMax, defaultCacheBytesMax)
	def(&c.StateBytesMax, defaultStateBytesMax)
	def(&c.FlushInterval, defaultFlushInterval)
	def(&c.SessionTimeout, defaultSessionTimeout)
	def(&c.HeartbeatInterval, c.SessionTimeout/15)
	def(&c.RebalanceTimeout, defaultRebalanceTimeout)
	def(&c.TransactionTimeout, defaultTransactionTimeout)
	def(&c.MaxRequestBytes, defaultMaxRequestBytes)
	def(&c.Compression, "none")
	def(&c.RetryTimeout, defaultRetryTimeout)
	def(&c.ConnectTimeout, defaultConnectTimeout)
	def(&c.MetadataMaxAge, defaultMetadataMaxAge)
	def(&c.CloseTimeout, defaultCloseTimeout)
	def(&c.ReplicationFactor, -1)
	def(&c.RestoreParallel, 2*c.Workers)
	def(&c.ClientID, c.ApplicationID)
	def(&c.AutoOffsetReset, processor.ResetEarliest)
	c.Checkpointing = c.Checkpointing.WithDefaults()
	if c.Restart == nil {
		c.Restart = RestartExponentialDelay(time.Second, time.Minute, 2, 10*time.Minute)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.StateDir == "" {
		dir, err := store.DefaultStateDir()
		if err != nil {
			return c, &ConfigError{Field: "StateDir", Value: `""`, Hint: err.Error()}
		}
		c.StateDir = dir
	}
	return c, nil
}

// def sets a zero field to its default.
func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// idPattern is what Kafka allows in topic names, which the application id becomes a part of.
var idPattern = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,100}$`)

// validate checks all fields, each against its neighbours too, and returns every mistake.
func (c *Config) validate() error {
	var errs []error
	bad := func(field string, value any, hint string) {
		errs = append(errs, &ConfigError{Field: field, Value: value, Hint: hint})
	}
	if !idPattern.MatchString(c.ApplicationID) {
		bad("ApplicationID", fmt.Sprintf("%q", c.ApplicationID), "want 1 to 100 letters, digits, '.', '_' or '-'")
	}
	if len(c.Brokers) == 0 {
		bad("Brokers", "[]", "want at least one host:port")
	}
	if c.Workers < 1 || c.Workers > 1024 {
		bad("Workers", c.Workers, "want 1 to 1024")
	}
	if c.CommitInterval < commitIntervalMin {
		bad("CommitInterval", c.CommitInterval, "want at least "+commitIntervalMin.String())
	}
	if c.ProcessingGuarantee != eos.ExactlyOnceV2 && c.ProcessingGuarantee != eos.AtLeastOnce {
		bad("ProcessingGuarantee", c.ProcessingGuarantee, "want eos.ExactlyOnceV2 or eos.AtLeastOnce")
	}
	if c.CacheBytesMax < -1 {
		bad("CacheBytesMax", c.CacheBytesMax, "want a size in bytes, or -1 to switch record caches off")
	}
	if c.StateBytesMax < 16<<20 {
		bad("StateBytesMax", c.StateBytesMax, "want at least 16 MiB")
	}
	if c.FlushInterval < 0 {
		bad("FlushInterval", c.FlushInterval, "want a positive duration")
	}
	if c.GroupInstanceID != "" && !idPattern.MatchString(c.GroupInstanceID) {
		bad("GroupInstanceID", fmt.Sprintf("%q", c.GroupInstanceID), "want 1 to 100 letters, digits, '.', '_' or '-'")
	}
	if c.GroupInstanceID != "" && c.DynamicMembership {
		bad("GroupInstanceID", c.GroupInstanceID, "contradicts DynamicMembership")
	}
	if c.HeartbeatInterval <= 0 || c.HeartbeatInterval*3 > c.SessionTimeout {
		bad("HeartbeatInterval", c.HeartbeatInterval,
			fmt.Sprintf("want at most a third of SessionTimeout (%s)", c.SessionTimeout))
	}
	if c.CommitInterval >= c.TransactionTimeout && c.ProcessingGuarantee == eos.ExactlyOnceV2 {
		bad("TransactionTimeout", c.TransactionTimeout,
			fmt.Sprintf("want more than CommitInterval (%s), or the broker aborts every transaction", c.CommitInterval))
	}
	if c.TransactionTimeout < transactionTimeoutMin {
		bad("TransactionTimeout", c.TransactionTimeout, fmt.Sprintf("want at least %s", transactionTimeoutMin))
	}
	if c.RebalanceTimeout < time.Second {
		bad("RebalanceTimeout", c.RebalanceTimeout, "want at least 1s")
	}
	if c.MetadataMaxAge < 10*time.Millisecond {
		bad("MetadataMaxAge", c.MetadataMaxAge, "want at least 10ms")
	}
	for field, d := range map[string]time.Duration{
		"RetryTimeout": c.RetryTimeout, "ConnectTimeout": c.ConnectTimeout, "CloseTimeout": c.CloseTimeout,
	} {
		if d < 0 {
			bad(field, d, "want a positive duration")
		}
	}
	if c.RestoreParallel < 0 && c.Workers > 0 { // else it follows from Workers
		bad("RestoreParallel", c.RestoreParallel, "want a number of tasks")
	}
	if c.AutoOffsetReset < processor.ResetDefault || c.AutoOffsetReset > processor.ResetNone {
		bad("AutoOffsetReset", int(c.AutoOffsetReset), "want processor.ResetEarliest, ResetLatest or ResetNone")
	}
	if c.MaxRequestBytes < 1<<10 {
		bad("MaxRequestBytes", c.MaxRequestBytes, "want at least 1 KiB")
	}
	switch c.Compression {
	case "none", "gzip", "snappy", "lz4", "zstd":
	default:
		bad("Compression", c.Compression, "want none, gzip, snappy, lz4 or zstd")
	}
	if c.MaxTaskIdle < 0 && c.MaxTaskIdle != -1 {
		bad("MaxTaskIdle", c.MaxTaskIdle, "want a duration, or -1 to wait for no input")
	}
	if c.ReplicationFactor < -1 {
		bad("ReplicationFactor", c.ReplicationFactor, "want a number of replicas, or -1 for the broker's default")
	}
	c.validateCheckpointing(bad)
	return errors.Join(errs...)
}

// validateCheckpointing checks what is about checkpoints.
func (c *Config) validateCheckpointing(bad func(field string, value any, hint string)) {
	if c.Checkpointing.Enabled() && c.ProcessingGuarantee == eos.AtLeastOnce {
		bad("ProcessingGuarantee", c.ProcessingGuarantee,
			"checkpoints need eos.ExactlyOnceV2: what a task's cut consists of is decided by its transaction")
	}
	var walk func(err error)
	walk = func(err error) {
		if e, ok := err.(*checkpointing.FieldError); ok { //nolint:errorlint // the tree is walked by hand
			bad("Checkpointing."+e.Field, e.Value, e.Hint)
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
		}
	}
	walk(c.Checkpointing.Validate())
}
