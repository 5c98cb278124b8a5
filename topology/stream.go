package topology

import (
	"reflect"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
)

// KStream is a stream of independent records (Kafka Streams' KStream). Operators do not change it: each returns a new
// stream or table, and a stream may have any number of them.
type KStream[K, V any] struct {
	b          *Builder
	node       *graphNode
	keySerde   serde.Serde[K]
	valueSerde serde.Serde[V]
	// rekeyed says that the key may have changed since the source or the last repartition.
	rekeyed bool
	// repartitioned is the source behind the repartition topic that the joins of this stream share, nil before the first.
	repartitioned *graphNode
}

// derive adds a stateless node below s and returns its stream, with s's serdes where the types are the same.
func derive[K, V, K2, V2 any](
	s *KStream[K, V], operator, prefix string, opts []NodeOption,
	keySerde serde.Serde[K2], valueSerde serde.Serde[V2], rekeyed bool,
	newNode func(ctx processor.TaskContext, name string) processor.Receiver[K, V],
) *KStream[K2, V2] {
	var c nodeConfig
	for _, o := range opts {
		o.applyNode(&c)
	}
	name := s.b.nodeName(c.name, prefix)
	node := s.b.addNode(operator, &graphNode{
		name: name,
		kind: processor.ProcessorNode,
		make: func(ctx processor.TaskContext) (any, error) { return newNode(ctx, name), nil },
	}, s.node)
	return &KStream[K2, V2]{b: s.b, node: node, keySerde: keySerde, valueSerde: valueSerde, rekeyed: rekeyed}
}

// userNode is what nodes share that call a user's function: who they are, for the attribution of panics.
type userNode struct {
	ctx  processor.TaskContext
	name string
}

// enter notes that user code runs next. Call it before every function of the user's.
func (n *userNode) enter() { n.ctx.Enter(n.name) }

// typeName names T in messages.
func typeName[T any]() string { return reflect.TypeFor[T]().String() }

// orCarried returns the serde given to an operator, or else the stream's if the operator did not change the type.
func orCarried[T2, T any](given serde.Serde[T2], carried serde.Serde[T]) serde.Serde[T2] {
	if given != nil {
		return given
	}
	same, _ := any(carried).(serde.Serde[T2])
	return same
}
