package processor

import (
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
}

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
	// Topics are read by a source and written by a sink (empty for a sink that chooses by record). The name of a
	// repartition topic stands without the application id.
	Topics []string
	// Chooser names the function by which a sink chooses the topic of each record; it has no Topics then.
	Chooser string
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
	// SourceTopic is the topic that already is the store's changelog (optimisation of source tables), "" otherwise.
	SourceTopic string
}

// RepartitionTopic is an internal topic between two sub-topologies: what a repartition, or a foreign-key join, sends
// from one to the other. Its records are deleted once they are consumed.
type RepartitionTopic struct {
	// Name is "<name>-repartition" or, of a foreign-key join, "<name>-topic"; the runtime prefixes the application id.
	Name string
	// Partitions is 0 where it follows from the topics upstream (their maximum).
	Partitions int32
	Position   string
}

// Subtopology is a connected part of the topology: nodes that share records or stores and therefore run in one task.
type Subtopology struct {
	ID     int32
	Nodes  []*Node
	Stores []*StoreSpec
	// SourceTopics are all topics its sources read, internal ones without the application id. They must have the same
	// number of partitions when the sub-topology is stateful.
	SourceTopics []string
	// SinkTopics are all fixed topics its sinks write.
	SinkTopics []string
}

// Source is the node that decodes raw records. An undecodable one is a *DeserializationError.
type Source interface {
	ReceiveRaw(r *record.Raw) error
}

// TimestampExtractor is a [Source] that gives its records their event time, in milliseconds, before they are queued:
// stream time and the choice between partitions follow it. partitionTime is the highest time seen in the partition, -1
// before the first. A negative result drops the record: it is not handed to the source and moves no time.
type TimestampExtractor interface {
	Timestamp(r *record.Raw, partitionTime int64) int64
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
