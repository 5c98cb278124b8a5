package tidemark

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strconv"
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
	// or of another kind; or whose rows would stay in the wrong partitions, since an input has more of them than before
	// and the store has no changelog of its own. By default Run refuses, with the list (StateLossError, TopicError). Kafka
	// Streams has no such check; Flink calls it allowNonRestoredState.
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
	// and block caches. What fits is read from memory; beyond it reads go to disk, through the page cache, at several µs
	// each. Defaults to 512 MiB.
	StateBytesMax int64
	// FlushInterval is the longest time that committed state waits in memory before it goes to disk. What has not been
	// flushed is replayed from the changelog after a crash. Defaults to 30 s.
	FlushInterval time.Duration

	// GroupInstanceID is the static membership id (group.instance.id). Defaults to an id that is made once and kept in
	// the state directory, so that a process that restarts, even after a crash, gets its tasks back at once.
	// DynamicMembership turns static membership off.
	GroupInstanceID   string
	DynamicMembership bool
	// LeaveGroupOnClose makes a static member give its tasks to others when it closes. It goes on until they have warmed
	// up, for half of CloseTimeout at most. By default it does not: its tasks wait for its restart for up to
	// SessionTimeout. Dynamic members always do.
	LeaveGroupOnClose bool
	// SessionTimeout is after how long without a sign of life a member's tasks go to others (session.timeout.ms).
	// Defaults to 45 s.
	SessionTimeout time.Duration
	// HeartbeatInterval is also how fast a member notices a rebalance (heartbeat.interval.ms). Defaults to a fifteenth of
	// SessionTimeout, at most 500 ms: an instance that was killed is missed so much later.
	HeartbeatInterval time.Duration
	// RebalanceTimeout bounds how long a member may take to commit and give up tasks (max.poll.interval.ms).
	// Defaults to 60 s.
	RebalanceTimeout time.Duration

	// StandbyReplicas is how many other instances keep the state of each task up to date, to go on with it in less than a
	// second if its instance dies, and to answer queries (num.standby.replicas). All instances should have the same value;
	// it is the group's leader's that counts, here and in the next three. Defaults to 0.
	StandbyReplicas int
	// MaxWarmupReplicas is how many tasks at a time, in the whole group, are brought up to date at another instance before
	// they move there (max.warmup.replicas). They run on meanwhile. Defaults to 2.
	MaxWarmupReplicas int
	// AcceptableRecoveryLag is how many records of its changelogs an instance may be behind that gets a task
	// (acceptable.recovery.lag). -1 is none: it has to be at the end. Defaults to 10,000.
	AcceptableRecoveryLag int64
	// RackAwareTags are tags of ClientTags over whose values a task and its standbys are spread, the most important first:
	// "zone", for instance (rack.aware.assignment.tags).
	RackAwareTags []string
	// ClientTags say where this instance is, as in {"zone": "eu-1a"} (client.tag.<name>). At most 5, of at most 20 and 80
	// bytes.
	ClientTags map[string]string
	// ApplicationServer is the host:port under which other instances and clients reach this one for queries
	// (application.server): a server of yours listens there, with App.QueryHandler. Queries are then answered wherever a
	// key lives. Defaults to none.
	ApplicationServer string
	// QueryTransport sends this instance's queries to others: for credentials, TLS, limits or traces of your own. Defaults
	// to one with keep-alive. QueryScheme is "http", the default, or "https".
	QueryTransport http.RoundTripper
	QueryScheme    string

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

	// TransactionTimeout is after how long the broker aborts an open transaction (transaction.timeout.ms). Nobody waits
	// for it as a rule: a new owner ends the transaction of a dead one, and the group's leader those of processes that are
	// no members any more. Rounded down to 10 ms: the last digit is in use, see docs/format/transaction-timeout.md. At
	// least 100 ms, defaults to 60 s.
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
	// IgnoreAddedPartitions lets tasks with stores go on when their inputs have more partitions than there is state for:
	// those that were added are not read, and wait. It is for the time until a savepoint is made from which the
	// application goes on with all of them; without it the application stops with an error that says so. Who writes places
	// keys by the new number at once: unless it is a multiple of the old one (6 for 3, not 4), keys change between the
	// partitions that are read as well, tasks meet them without their state, and results are wrong. That is logged as an
	// error; stop who writes first.
	IgnoreAddedPartitions bool
	// CloseTimeout bounds how long Run goes on when its context ends: half of it for others to take the tasks of a member
	// that leaves (LeaveGroupOnClose), the rest for the last commit. Defaults to 30 s.
	CloseTimeout time.Duration
	// ReplicationFactor of internal topics (replication.factor). Defaults to -1, the broker's default.
	ReplicationFactor int16
	// RestoreParallel is how many tasks restore at the same time, and how many standbys and warm-ups do beside them.
	// Defaults to twice Workers.
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
	// RebalanceListener is told which tasks come and go, from one goroutine. It holds up the rebalance: it should be
	// quick.
	RebalanceListener RebalanceListener
	// RestoreListener is told how restoring goes, from several goroutines.
	RestoreListener RestoreListener
	// StandbyListener is told how standbys and warm-ups go, from several goroutines. It should be quick.
	StandbyListener StandbyListener
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
	workersMax                = 1024
	defaultCacheBytesMax      = 64 << 20
	defaultStateBytesMax      = 512 << 20
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
	heartbeatIntervalMax      = 500 * time.Millisecond
	defaultMaxWarmupReplicas  = 2
	defaultRecoveryLag        = 10_000
)

// Bounds of Config.ClientTags: they are in every member's subscription, which the broker keeps.
const (
	clientTagsMax       = 5
	clientTagKeyMax     = 20
	clientTagValueMax   = 80
	standbyReplicasMax  = 100
	applicationHostsMax = 255 // bytes
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
	def(&c.HeartbeatInterval, min(c.SessionTimeout/15, heartbeatIntervalMax))
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
	def(&c.QueryScheme, schemeDefault)
	def(&c.MaxWarmupReplicas, defaultMaxWarmupReplicas)
	def(&c.AcceptableRecoveryLag, defaultRecoveryLag)
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
	if c.Workers < 1 || c.Workers > workersMax {
		bad("Workers", c.Workers, fmt.Sprintf("want 1 to %d", workersMax))
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
	c.validateScaling(bad)
	c.validateCheckpointing(bad)
	return errors.Join(errs...)
}

// validateScaling checks what is about several instances.
func (c *Config) validateScaling(bad func(field string, value any, hint string)) {
	if c.StandbyReplicas < 0 || c.StandbyReplicas > standbyReplicasMax {
		bad("StandbyReplicas", c.StandbyReplicas, fmt.Sprintf("want 0 to %d", standbyReplicasMax))
	}
	if c.MaxWarmupReplicas < 1 {
		bad("MaxWarmupReplicas", c.MaxWarmupReplicas, "want at least 1: nothing with state could move otherwise")
	}
	if c.AcceptableRecoveryLag < -1 {
		bad("AcceptableRecoveryLag", c.AcceptableRecoveryLag, "want a number of records, or -1 for none")
	}
	if len(c.ClientTags) > clientTagsMax {
		bad("ClientTags", len(c.ClientTags), fmt.Sprintf("want at most %d", clientTagsMax))
	}
	for key, value := range c.ClientTags {
		if key == "" || len(key) > clientTagKeyMax || value == "" || len(value) > clientTagValueMax {
			bad("ClientTags", fmt.Sprintf("%q: %q", key, value),
				fmt.Sprintf("want a name of 1 to %d bytes and a value of 1 to %d", clientTagKeyMax, clientTagValueMax))
		}
	}
	for _, tag := range c.RackAwareTags {
		if _, ok := c.ClientTags[tag]; !ok {
			bad("RackAwareTags", fmt.Sprintf("%q", tag), "want the names of tags in ClientTags")
		}
	}
	if c.QueryScheme != "" && c.QueryScheme != schemeDefault && c.QueryScheme != "https" {
		bad("QueryScheme", fmt.Sprintf("%q", c.QueryScheme), "want http or https")
	}
	if c.ApplicationServer == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.ApplicationServer)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || portErr != nil || n == 0 || len(c.ApplicationServer) > applicationHostsMax {
		bad("ApplicationServer", fmt.Sprintf("%q", c.ApplicationServer), "want host:port, as others reach this instance")
	}
}

// recoveryLag is AcceptableRecoveryLag as a number of records.
func (c *Config) recoveryLag() int64 { return max(c.AcceptableRecoveryLag, 0) }

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
