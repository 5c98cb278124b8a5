package topology

import (
	"maps"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// Options come in families, one per kind of operator, so that the compiler rejects one in the wrong place. An option
// may belong to several.
type (
	// NodeOption is for operators without state: [Named].
	NodeOption interface{ applyNode(c *nodeConfig) }
	// SourceOption is for [Stream], [Streams], [StreamPattern] and [AddGlobalStore] (Kafka Streams' Consumed): [Named],
	// [WithOffsetReset], [WithTimestampExtractor], [WithTypedTimestampExtractor].
	SourceOption interface{ applySource(c *sourceConfig) }
	// TableOption is for [Table] and [GlobalTable]: the options of a source and those of a store.
	TableOption interface{ applyTable(c *tableConfig) }
	// StoreOption is for operators with a store (Kafka Streams' Materialized): [As], [WithoutCaching],
	// [WithoutLogging], [InMemory], [ChangelogConfig], [TTL], [Retention], [Versioned], [LateRecords], and [Named] for
	// the node.
	StoreOption interface{ applyStore(c *storeConfig) }
	// GroupOption is for [GroupBy] and GroupByKey (Kafka Streams' Grouped): [Named], [WithSerdes].
	GroupOption interface{ applyGroup(c *groupConfig) }
	// RepartitionOption is for Repartition (Kafka Streams' Repartitioned): [Named], [Partitions], [WithSerdes].
	RepartitionOption interface{ applyRepartition(c *repartitionConfig) }
	// SinkOption is for To and ToEach (Kafka Streams' Produced): [Named], [WithSerdes], [WithPartitioner],
	// [WithMulticast].
	SinkOption interface{ applySink(c *sinkConfig) }
	// ProcessOption is for [Process] and [ProcessValues]: [Named], [WithStores].
	ProcessOption interface{ applyProcess(c *processConfig) }
	// PrintOption is for Print (Kafka Streams' Printed): [Named], [WithLabel], [WithFormat].
	PrintOption interface{ applyPrint(c *printConfig) }
	// JoinTableOption is for [JoinTable] and [LeftJoinTable] (Kafka Streams' Joined): [Named], [WithSerdes] for the
	// stream's repartition topic and the buffer, and [JoinGrace].
	JoinTableOption interface{ applyJoinTable(c *joinTableConfig) }
	// ForeignKeyJoinOption is for [ForeignKeyJoin] and [LeftForeignKeyJoin] (Kafka Streams' TableJoined and
	// Materialized): [Named] for all that the join adds, [WithOtherPartitioner], and [As] and the other options of a
	// store for the result.
	ForeignKeyJoinOption interface {
		applyForeignKeyJoin(c *foreignKeyJoinConfig)
	}
	// StreamJoinOption is for [Join], [LeftJoin] and [OuterJoin] (Kafka Streams' StreamJoined): [Named] for the nodes and
	// repartition topics, [As] for the stores, [WithJoinSerdes], [WithoutLogging], [InMemory], [ChangelogConfig].
	StreamJoinOption interface{ applyStreamJoin(c *streamJoinConfig) }
	// BranchOption is for the branches of a Split (Kafka Streams' Branched): [Named], [WithFunction], [WithConsumer].
	BranchOption interface{ applyBranch(c *branchConfig) }
)

type (
	nodeConfig   struct{ name string }
	sourceConfig struct {
		nodeConfig

		reset   processor.OffsetReset
		extract processor.TimestampExtractor
		// typed is a func(record.Record[K, V], processor.Extraction) (int64, error); the source asserts the types.
		typed any
	}
	tableConfig struct {
		sourceConfig
		storeConfig
	}
	storeConfig struct {
		nodeConfig

		store           string
		cachingDisabled bool
		loggingDisabled bool
		inMemory        bool
		changelog       map[string]string
		versioned       bool
		history         time.Duration
		retention       time.Duration
		late            []any // of LateConsumer
		ttl             store.TTL
	}
	groupConfig struct {
		nodeConfig
		serdeConfig
	}
	repartitionConfig struct {
		nodeConfig
		serdeConfig

		partitions int32
	}
	sinkConfig struct {
		nodeConfig
		serdeConfig

		partitioner any
	}
	processConfig struct {
		nodeConfig

		stores []string
	}
	printConfig struct {
		nodeConfig

		label  string
		format any // a PrintFormat
	}
	joinTableConfig struct {
		nodeConfig
		serdeConfig

		buffered bool
		grace    time.Duration
	}
	foreignKeyJoinConfig struct {
		storeConfig

		partitioner any // a KeyPartitioner
	}
	streamJoinConfig struct {
		storeConfig

		left, right serdeConfig
	}
	branchConfig struct {
		nodeConfig

		chain any // a BranchFunction or a BranchConsumer
	}
	// serdeConfig holds serde.Serde[K] and serde.Serde[V]; the operator, which knows the types, asserts them.
	serdeConfig struct{ key, value any }
)

// Name is the option that [Named] returns.
type Name string

// Named names the node of an operator; for a group or a repartition also the internal topic, <name>-repartition, that
// it may need; the node of a branch is <name of the split><name>. Names are unique in a topology. Defaults to Kafka
// Streams' generated name, which changes when operators are added above.
func Named(name string) Name { return Name(name) }

func (n Name) applyNode(c *nodeConfig)                     { c.name = string(n) }
func (n Name) applySource(c *sourceConfig)                 { c.name = string(n) }
func (n Name) applyTable(c *tableConfig)                   { c.storeConfig.name = string(n) }
func (n Name) applyStore(c *storeConfig)                   { c.name = string(n) }
func (n Name) applyGroup(c *groupConfig)                   { c.name = string(n) }
func (n Name) applyRepartition(c *repartitionConfig)       { c.name = string(n) }
func (n Name) applySink(c *sinkConfig)                     { c.name = string(n) }
func (n Name) applyProcess(c *processConfig)               { c.name = string(n) }
func (n Name) applyPrint(c *printConfig)                   { c.name = string(n) }
func (n Name) applyJoinTable(c *joinTableConfig)           { c.name = string(n) }
func (n Name) applyForeignKeyJoin(c *foreignKeyJoinConfig) { c.name = string(n) }
func (n Name) applyStreamJoin(c *streamJoinConfig)         { c.name = string(n) }
func (n Name) applyBranch(c *branchConfig)                 { c.name = string(n) }

// Materialized is an option about the store of an operator.
type Materialized func(c *storeConfig)

func (m Materialized) applyStore(c *storeConfig)                   { m(c) }
func (m Materialized) applyTable(c *tableConfig)                   { m(&c.storeConfig) }
func (m Materialized) applyForeignKeyJoin(c *foreignKeyJoinConfig) { m(&c.storeConfig) }

func (m Materialized) applyStreamJoin(c *streamJoinConfig) { m(&c.storeConfig) }

// As names the store of an operator, and with it the changelog topic <application-id>-<name>-changelog. A table
// operator that can do without a store gets one by it. Defaults to a generated name, or to no store where none is
// needed.
func As(store string) Materialized { return func(c *storeConfig) { c.store = store } }

// WithoutCaching forwards every update instead of a key's last one per commit. Defaults to caching.
func WithoutCaching() Materialized { return func(c *storeConfig) { c.cachingDisabled = true } }

// WithoutLogging keeps the store out of the changelog: what a crash loses is lost. Defaults to logging.
func WithoutLogging() Materialized { return func(c *storeConfig) { c.loggingDisabled = true } }

// InMemory keeps the store in memory; it is restored from the changelog at each start. Defaults to disk.
func InMemory() Materialized { return func(c *storeConfig) { c.inMemory = true } }

// ChangelogConfig overrides topic configuration of the store's changelog, by Kafka's names. The map is copied; later
// options win.
func ChangelogConfig(config map[string]string) Materialized {
	return func(c *storeConfig) {
		if c.changelog == nil {
			c.changelog = make(map[string]string, len(config))
		}
		maps.Copy(c.changelog, config)
	}
}

// Retention says how long the store of a windowed aggregation keeps a window, in event time behind the newest (Kafka
// Streams' Materialized.withRetention). It serves interactive reads and must not be less than the default: what results
// need, the size of a window and its grace (of sessions, the gap and the grace).
func Retention(retention time.Duration) Materialized {
	return func(c *storeConfig) { c.retention = retention }
}

// Versioned makes a table keep its history: the store also knows what each row was at any time up to the history
// retention ago, and takes updates in the order of their timestamps instead of their arrival (Kafka Streams' versioned
// stores, KIP-889 and KIP-914). It is for [Table] and ToTable, implies a store, and switches its caching off. The
// history retention, in whole milliseconds, is also how late an update may come: an older one is dropped.
//
// A join of a stream with such a table finds the row as of the record's time. An update that came after a newer one of
// the same row is passed on by filters, by mappings of values and to streams; joins of tables and groupings ignore it.
// A filter or a mapping of values without a store of its own is versioned as its table is; no other result is.
func Versioned(history time.Duration) Materialized {
	return func(c *storeConfig) { c.versioned, c.history = true, history }
}

// notVersioned reports the option where it is of no use.
func (c *storeConfig) notVersioned(b *Builder, operator string) {
	if c.versioned {
		b.fail(operator, "Versioned is for Table and ToTable: make the result a stream, and that a table with ToTable")
	}
}

// configure carries the options that every kind of store has into its spec.
func (c *storeConfig) configure(spec *store.Spec) {
	spec.LoggingDisabled = c.loggingDisabled
	spec.CachingEnabled = !c.cachingDisabled
	spec.InMemory = c.inMemory
	spec.ChangelogConfig = c.changelog
	spec.TTL = c.ttl
}

// Consumed is an option about how a topic is read.
type Consumed func(c *sourceConfig)

func (o Consumed) applySource(c *sourceConfig) { o(c) }
func (o Consumed) applyTable(c *tableConfig)   { o(&c.sourceConfig) }

// WithOffsetReset says where to start reading when the group has no committed offset. Defaults to
// Config.AutoOffsetReset.
func WithOffsetReset(reset processor.OffsetReset) Consumed {
	return func(c *sourceConfig) { c.reset = reset }
}

// WithTimestampExtractor says where the event time of the topic's records comes from (Kafka Streams'
// TimestampExtractor): one of package processor's, as processor.WallclockTimestampExtractor, or a function of your own
// on the undecoded record. A negative result drops the record. Defaults to Config.TimestampExtractor; of several such
// options the last counts.
func WithTimestampExtractor(extract processor.TimestampExtractor) Consumed {
	return func(c *sourceConfig) { c.extract, c.typed = extract, nil }
}

// WithTypedTimestampExtractor is [WithTimestampExtractor] with a function on the decoded record, whose Timestamp is the
// record's own. Records are decoded when they come next in their partition, and only once.
func WithTypedTimestampExtractor[K, V any](
	extract func(r record.Record[K, V], at processor.Extraction) (timestamp int64, err error),
) Consumed {
	return func(c *sourceConfig) { c.extract, c.typed = nil, extract }
}

// Serdes is the option that [WithSerdes] returns.
type Serdes serdeConfig

// WithSerdes replaces the serdes that a stream carries, for one topic. A nil one keeps the stream's.
func WithSerdes[K, V any](key serde.Serde[K], value serde.Serde[V]) Serdes {
	var s Serdes
	if key != nil {
		s.key = key
	}
	if value != nil {
		s.value = value
	}
	return s
}

func (s Serdes) applyGroup(c *groupConfig)             { c.serdeConfig = serdeConfig(s) }
func (s Serdes) applyRepartition(c *repartitionConfig) { c.serdeConfig = serdeConfig(s) }
func (s Serdes) applyJoinTable(c *joinTableConfig)     { c.serdeConfig = serdeConfig(s) }
func (s Serdes) applySink(c *sinkConfig)               { c.serdeConfig = serdeConfig(s) }

// JoinSerdes is the option that [WithJoinSerdes] returns.
type JoinSerdes struct{ left, right serdeConfig }

// WithJoinSerdes replaces the serdes that the two streams of a join carry, for the join's stores and repartition
// topics. A nil one keeps the stream's.
func WithJoinSerdes[K, L, R any](key serde.Serde[K], left serde.Serde[L], right serde.Serde[R]) JoinSerdes {
	return JoinSerdes{left: serdeConfig(WithSerdes(key, left)), right: serdeConfig(WithSerdes(key, right))}
}

func (s JoinSerdes) applyStreamJoin(c *streamJoinConfig) { c.left, c.right = s.left, s.right }

// serdesOf returns the serdes of an operator's option, or else the stream's.
func serdesOf[K, V any](
	b *Builder, operator string, c serdeConfig, key serde.Serde[K], value serde.Serde[V],
) (serde.Serde[K], serde.Serde[V]) {
	return serdeOf(b, operator, "key", c.key, key), serdeOf(b, operator, "value", c.value, value)
}

func serdeOf[T any](b *Builder, operator, part string, given any, carried serde.Serde[T]) serde.Serde[T] {
	if given == nil {
		return carried
	}
	s, ok := given.(serde.Serde[T])
	if !ok {
		b.fail(operator, "WithSerdes: the %s serde is a %T, which is not for %s", part, given, typeName[T]())
		return carried
	}
	return s
}

// needSerdes reports serdes that are missing where records are written or read as bytes.
func needSerdes[K, V any](b *Builder, operator, what string, key serde.Serde[K], value serde.Serde[V]) {
	if key == nil {
		b.fail(operator, "no key serde for %s: give one to the operator above that makes keys of type %s", what,
			typeName[K]())
	}
	if value == nil {
		b.fail(operator, "no value serde for %s: give one to the operator above that makes values of type %s", what,
			typeName[V]())
	}
}

// Partitions fixes the number of partitions of a repartition topic. Defaults to the highest number among the topics
// that feed it.
func Partitions(n int32) PartitionCount { return PartitionCount(n) }

// PartitionCount is the option that [Partitions] returns.
type PartitionCount int32

func (n PartitionCount) applyRepartition(c *repartitionConfig) { c.partitions = int32(n) }

// Partitioner is the option that [WithPartitioner] returns.
type Partitioner[K, V any] func(topic string, r record.Record[K, V], partitions int32) int32

// WithPartitioner chooses the partition of each record that a sink writes (Kafka Streams' StreamPartitioner). A result
// outside [0, partitions) is an error of user code. Defaults to murmur2 of the key, as in Kafka's Java client.
func WithPartitioner[K, V any](
	choose func(topic string, r record.Record[K, V], partitions int32) int32,
) Partitioner[K, V] {
	return choose
}

func (p Partitioner[K, V]) applySink(c *sinkConfig) { c.partitioner = p }

// Multicast is the option that [WithMulticast] returns.
type Multicast[K, V any] func(topic string, r record.Record[K, V], partitions int32) (to []int32, chosen bool)

// WithMulticast is [WithPartitioner] for any number of partitions (StreamPartitioner since KIP-837): the record is
// written once to each of them, and dropped if there are none. Without chosen, the default partitioner decides.
func WithMulticast[K, V any](
	choose func(topic string, r record.Record[K, V], partitions int32) (to []int32, chosen bool),
) Multicast[K, V] {
	return choose
}

func (m Multicast[K, V]) applySink(c *sinkConfig) { c.partitioner = m }

// Grace is the option that [JoinGrace] returns.
type Grace time.Duration

// JoinGrace makes the records of a stream wait for late updates of the table that they are joined with, which must be
// [Versioned] (Kafka Streams' Joined.withGracePeriod, KIP-923): a record is joined once the greatest timestamp among
// those that wait or waited is its own plus grace, with the row as of its own time. Records then leave in the order of
// their timestamps; one that is older than that already is joined at once, and so is one with a null key. 0 waits for
// nothing. What waits is kept in a store of its own, <name of the node>-Buffer, for which the stream needs both serdes.
func JoinGrace(grace time.Duration) Grace { return Grace(grace) }

func (g Grace) applyJoinTable(c *joinTableConfig) { c.buffered, c.grace = true, time.Duration(g) }

// KeyPartitioner is the option that [WithOtherPartitioner] returns.
type KeyPartitioner[K any] func(topic string, key K, partitions int32) int32

// WithOtherPartitioner says how the topic of a foreign-key join's right table is partitioned, if not by murmur2 of the
// key (Kafka Streams' TableJoined.withOtherPartitioner, KIP-775). A result outside [0, partitions) is an error of user
// code. The left table needs no such option: a subscription says from which partition it comes.
func WithOtherPartitioner[K any](choose func(topic string, key K, partitions int32) int32) KeyPartitioner[K] {
	return choose
}

func (p KeyPartitioner[K]) applyForeignKeyJoin(c *foreignKeyJoinConfig) { c.partitioner = p }

// ConnectedStores is the option that [WithStores] returns.
type ConnectedStores []string

// WithStores connects a processor to stores, by name: those of [Builder.AddStore] and those of tables.
func WithStores(names ...string) ConnectedStores { return names }

func (s ConnectedStores) applyProcess(c *processConfig) { c.stores = append(c.stores, s...) }

// BranchFunction is the option that [WithFunction] returns.
type BranchFunction[K, V any] func(branch *KStream[K, V]) *KStream[K, V]

// WithFunction puts what f returns in the place of the branch (Kafka Streams' Branched.withFunction): operators of the
// branch, declared where it is. The branch is left out of the split's result if f returns nil.
func WithFunction[K, V any](f func(branch *KStream[K, V]) *KStream[K, V]) BranchFunction[K, V] {
	return f
}

func (f BranchFunction[K, V]) applyBranch(c *branchConfig) { c.chain = f }

// BranchConsumer is the option that [WithConsumer] returns.
type BranchConsumer[K, V any] func(branch *KStream[K, V])

// WithConsumer hands the branch to f (Kafka Streams' Branched.withConsumer), and leaves it out of the split's result.
func WithConsumer[K, V any](f func(branch *KStream[K, V])) BranchConsumer[K, V] { return f }

func (f BranchConsumer[K, V]) applyBranch(c *branchConfig) { c.chain = f }

// Label is the option that [WithLabel] returns.
type Label string

// WithLabel says what stands in front of each record that Print writes (Kafka Streams' Printed.withLabel). Defaults to
// the name of the node above.
func WithLabel(label string) Label { return Label(label) }

func (l Label) applyPrint(c *printConfig) { c.label = string(l) }

// PrintFormat is the option that [WithFormat] returns.
type PrintFormat[K, V any] func(r record.Record[K, V]) string

// WithFormat says how Print writes a record behind the label (Kafka Streams' Printed.withKeyValueMapper). Defaults to
// "key, value".
func WithFormat[K, V any](format func(r record.Record[K, V]) string) PrintFormat[K, V] { return format }

func (f PrintFormat[K, V]) applyPrint(c *printConfig) { c.format = f }
