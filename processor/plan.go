package processor

import (
	"context"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Plan is a topology as the runtime sees it: untyped nodes in order of declaration, stores, internal topics, and the
// sub-topologies they form. Package topology emits it; tasks are made from it. A Plan is immutable once built.
//
// Types live in the closures of Node.New: parents and children are joined once per task by [Attacher], which checks
// that their types agree, and no record is boxed afterwards.
type Plan struct {
	Nodes         []*Node
	Stores        []*StoreSpec
	Repartitions  []*RepartitionTopic
	Subtopologies []*Subtopology
	// Globals are the stores that every instance keeps whole. Their nodes and stores are not among those above.
	Globals []*GlobalStore
	// ForeignKeyJoins are the joins whose rows and messages name partitions.
	ForeignKeyJoins []ForeignKeyJoin
	// Unnamed are the stores and internal topics that the user gave no name.
	Unnamed []Unnamed
}

// Unnamed is a store or a repartition topic whose name was generated. It changes when an operator is inserted above,
// and what was kept under it is then lost.
type Unnamed struct {
	Resource Resource
	Name     string // as in the plan
	Operator string // that made it
	Position string // file:line of its declaration
	// Hint is what to write there.
	Hint string
}

// Resource is a kind of what is kept under a name between two deployments.
type Resource string

// Resources.
const (
	StoreResource       Resource = "store"
	RepartitionResource Resource = "repartition topic"
)

// NodeKind says where a node stands.
type NodeKind int

// Kinds of nodes.
const (
	SourceNode NodeKind = iota
	ProcessorNode
	SinkNode
)

// Node is one node of the topology.
type Node struct {
	Name string
	Kind NodeKind
	// Operator is the function or method that declared the node.
	Operator string
	// Topics are read by a source and written by a sink (empty for a sink that chooses by record). The name of a
	// repartition topic stands without the application id. Of a source with a Pattern they are empty until the plan is
	// resolved, see [Plan.Resolve].
	Topics []string
	// Pattern is the regular expression by which a source reads topics: all whose whole names match.
	Pattern string
	// Chooser names the function by which a sink chooses the topic of each record; it has no Topics then.
	Chooser string
	// External says what system outside of Kafka a sink writes to; it has no Topics then. TwoPhase says that it prepares
	// transactions which only exactly_once_v2 can decide.
	External string
	TwoPhase bool
	// Stores are the names of the stores that the node may use.
	Stores []string
	// Children are forwarded to in this order.
	Children []string
	// New makes the node of one task. The result implements Source or Receiver of its input types, and Attacher if the
	// node has children; it may implement Initializer and Closer.
	New func(ctx TaskContext) (any, error)
	// Position is the file:line of the declaration, for error messages.
	Position string
	// OffsetReset overrides Config.AutoOffsetReset for a source.
	OffsetReset OffsetReset
	// Internal is a source of a repartition topic: its records have their event time, whatever Config.TimestampExtractor
	// says.
	Internal bool
}

// OffsetReset says where to start when the group has no committed offset (auto.offset.reset).
type OffsetReset int

// Policies for a missing offset.
const (
	ResetDefault OffsetReset = iota // Config.AutoOffsetReset decides
	ResetEarliest
	ResetLatest
	ResetNone // fail
)

// StoreSpec is a store and the place of its declaration.
type StoreSpec struct {
	store.Spec

	Position string
	// FromSource makes, for one restore of a store with a SourceTopic, the function that turns a batch of records of that
	// topic into records of a changelog: what the source and the table above the store would have made of them. The
	// result holds until the next call.
	FromSource func() func(records []record.Raw) []record.Raw
}

// PositionKey is the key of the store's changelog position in a checkpoint.
func (s *StoreSpec) PositionKey() string { return store.PositionKey(s.Name, s.SourceTopic) }

// RepartitionTopic is an internal topic between two sub-topologies: what a repartition, or a foreign-key join, sends
// from one to the other. Its records are deleted once they are consumed.
type RepartitionTopic struct {
	// Name is "<name>-repartition" or, of a foreign-key join, "<name>-topic"; the runtime prefixes the application id.
	Name string
	// Partitions is 0 where it follows from the topics upstream (their maximum).
	Partitions int32
	Position   string
}

// ForeignKeyJoin is what has to be known of a foreign-key join when the number of partitions changes.
type ForeignKeyJoin struct {
	// Subscribers is the store of subscriptions, Requests the repartition topic to it, Answers the one back: its
	// partitions are those of the left table.
	Subscribers, Requests, Answers string
	// LeftWindowBytes is how many bytes at the end of a left key did not choose its partition.
	LeftWindowBytes int
	// CustomPartitioner says that the right table is not partitioned by murmur2 of its keys.
	CustomPartitioner bool
}

// Subtopology is a connected part of the topology: nodes that share records or stores and therefore run in one task.
type Subtopology struct {
	ID     int32
	Nodes  []*Node
	Stores []*StoreSpec
	// SourceTopics are all topics its sources read, internal ones without the application id; those with a pattern only
	// if the plan is resolved. They must have the same number of partitions when the sub-topology is stateful.
	SourceTopics []string
	// SinkTopics are all fixed topics its sinks write.
	SinkTopics []string
}

// GlobalStore is a store that every instance fills from all partitions of a topic, and that all of its tasks read.
type GlobalStore struct {
	// ID is its place in the numbering of the sub-topologies, of which it has no task.
	ID        int32
	Source    *Node // of one topic
	Processor *Node // the only one that writes the store
	Store     *StoreSpec
}

// Topic is the topic that fills the store.
func (g *GlobalStore) Topic() string { return g.Source.Topics[0] }

// GlobalSubtopology is what the task of all global stores runs; nil if there are none.
func (p *Plan) GlobalSubtopology() *Subtopology {
	if len(p.Globals) == 0 {
		return nil
	}
	sub := &Subtopology{ID: record.GlobalTaskID().Subtopology}
	for _, g := range p.Globals {
		sub.Nodes = append(sub.Nodes, g.Source, g.Processor)
		sub.Stores = append(sub.Stores, g.Store)
		sub.SourceTopics = append(sub.SourceTopics, g.Topic())
	}
	return sub
}

// Source is the node that decodes raw records. An undecodable one is a *DeserializationError.
type Source interface {
	ReceiveRaw(r *record.Raw) error
}

// TimedSource is a [Source] with a timestamp extractor of its own. Each input partition gets a source of its own from
// it, which may keep what it decoded to extract the time.
type TimedSource interface {
	Source
	ForPartition() PartitionSource
}

// PartitionSource is the source of one input partition. Timestamp is called for each record before ReceiveRaw, which
// follows at once or later, unless the record is dropped; between the two no other record comes. The record's Timestamp
// is by then the extracted one.
type PartitionSource interface {
	Source
	Timestamp(r *record.Raw, at Extraction) (int64, error)
}

// Receiver is a node that takes typed records.
type Receiver[K, V any] interface {
	Receive(r record.Record[K, V]) error
}

// Attacher is a node with children. Attach is called once per child, in order, before any record; a child that does
// not take the node's output types is an error that names both.
type Attacher interface {
	Attach(name string, child any) error
}

// Initializer runs after all nodes of the task are attached and its stores are restored.
type Initializer interface {
	Init() error
}

// Closer runs when the task ends.
type Closer interface {
	Close() error
}

// ExternalSink is the node of a sink outside of Kafka (eos.Sink). It keeps the rows of the active epoch until the
// commit takes them. All but what SealRows returns belongs to the task goroutine, Connect to the one that restores the
// task.
type ExternalSink interface {
	// Connect makes the task's connection, once, before any record.
	Connect(ctx context.Context, at eos.SinkTask) (eos.Participant, error)
	// SealRows ends the epoch for the node and returns what prepares its rows, on any goroutine and as often as it takes;
	// nil if there are none.
	SealRows() func(ctx context.Context, name eos.TransactionName) error
	// DropRows forgets the rows of the active epoch.
	DropRows()
	// RowsBytes estimates their memory.
	RowsBytes() int
	// Idempotent is that of the sink.
	Idempotent() bool
}
