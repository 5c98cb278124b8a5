package topology

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// addJoinBuffer declares the store in which the records of a join with grace wait, and returns its name.
func addJoinBuffer[K, V any](
	s *KStream[K, V], operator string, node *graphNode, versioned bool, c joinTableConfig,
) string {
	if !versioned {
		s.b.fail(operator, "JoinGrace: the table is not versioned: declare it with Versioned, and join it before any "+
			"operator but Filter and MapTableValues, without stores of their own")
	}
	if c.grace < 0 {
		s.b.fail(operator, "JoinGrace(%v): want 0 or more", c.grace)
	}
	name := node.name + "-Buffer"
	var keySerde serde.Serde[K]
	var valueSerde serde.Serde[V]
	keySerde, valueSerde = serdesOf(s.b, operator, c.serdeConfig, s.keySerde, s.valueSerde)
	needSerdes(s.b, operator, fmt.Sprintf("the store %q", name), keySerde, valueSerde)
	s.b.addStore(operator, store.TimeBufferSpec(name, keySerde, valueSerde))
	node.useStore(name)
	return name
}

// joinGraceNode is a joinTableNode whose records wait for late updates of the table. Owned by the task goroutine.
type joinGraceNode[K, V, T, R any] struct {
	*joinTableNode[K, V, T, R]

	buffer *store.TimeBuffer[K, V]
	grace  int64
}

func newJoinGraceNode[K, V, T, R any](
	n *joinTableNode[K, V, T, R], buffer string, grace time.Duration,
) (*joinGraceNode[K, V, T, R], error) {
	b, err := processor.StateStore[*store.TimeBuffer[K, V]](n.ctx, buffer)
	if err != nil {
		return nil, wrapNode(n.name, err)
	}
	return &joinGraceNode[K, V, T, R]{joinTableNode: n, buffer: b, grace: grace.Milliseconds()}, nil
}

// Receive implements processor.Receiver.
func (n *joinGraceNode[K, V, T, R]) Receive(r record.Record[K, V]) error {
	late := r.Timestamp < n.buffer.ObservedTime()-n.grace
	if late || r.NullKey || r.NullValue {
		return n.joinTableNode.Receive(r) // which drops what cannot be joined
	}
	if err := n.buffer.Put(r); err != nil {
		return err
	}
	for waited, err := range n.buffer.Take(n.buffer.ObservedTime() - n.grace) {
		if err == nil {
			err = n.joinWaited(waited)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// joinWaited joins a record that has waited. Stores below see its time and headers, and not those of the record that
// ended its wait.
func (n *joinGraceNode[K, V, T, R]) joinWaited(r record.Record[K, V]) error {
	current := n.ctx.Current()
	before := current.Context
	current.Context = store.Context{Timestamp: r.Timestamp, Headers: r.Headers}
	err := n.join(r)
	current.Context = before
	return err
}
