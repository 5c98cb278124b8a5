package topology

import (
	"context"
	"fmt"
	"reflect"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// SinkTo writes the stream to a system outside of Kafka, exactly once (Flink's sinkTo; Kafka Streams leaves this to
// Connect). sink is one of eos/postgres, or an implementation of [eos.Sink] of your own. row makes of each record what
// is written there. It runs when the record arrives, and must copy what later records may change; its error is one of
// user code. Null keys and values are given as zero values with the flags of [record.Record].
//
// A two-phase sink is prepared before the commit of the input and becomes visible after it, both or neither, through
// any crash. It needs eos.ExactlyOnceV2. An idempotent sink is written before the commit, perhaps twice.
//
// name is a part of the names of prepared transactions: letters, digits, '.', '_' and '-'. Change it only after a clean
// stop. A processor reaches the sink by ForwardTo(name, …).
func SinkTo[K, V, R any](
	s *KStream[K, V], name string, sink eos.Sink[R], row func(r record.Record[K, V]) (R, error),
) {
	const operator = "SinkTo"
	s.b.needFunc(operator, row == nil)
	node := &graphNode{name: name, kind: processor.SinkNode}
	if !eos.ValidSinkName(name) {
		s.b.fail(operator, "the name %q cannot be part of the name of a transaction: want letters, digits, '.', '_' and '-'",
			name)
	}
	if absent(sink) {
		s.b.fail(operator, "the sink is nil")
	} else {
		node.external, node.twoPhase = sink.String(), !sink.Idempotent()
	}
	node.make = func(ctx processor.TaskContext) (any, error) {
		return &externalNode[K, V, R]{userNode: userNode{ctx, name}, sink: sink, row: row}, nil
	}
	s.b.addNode(operator, node, s.node)
}

// absent recognises a nil sink, also one of a pointer type.
func absent[R any](sink eos.Sink[R]) bool {
	if sink == nil {
		return true
	}
	v := reflect.ValueOf(sink)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// externalNode keeps rows until the commit takes them. Owned by the task goroutine.
type externalNode[K, V, R any] struct {
	userNode

	sink eos.Sink[R]
	row  func(record.Record[K, V]) (R, error)
	conn eos.SinkConn[R] // set before the first record

	rows  []R
	bytes int
}

var _ processor.ExternalSink = (*externalNode[string, string, string])(nil)

// Receive implements processor.Receiver.
func (n *externalNode[K, V, R]) Receive(r record.Record[K, V]) error {
	n.enter()
	row, err := n.row(r)
	if err != nil {
		return processor.WrapUserError(n.ctx, n.name, fmt.Errorf("topology: make a row of a record: %w", err))
	}
	n.rows = append(n.rows, row)
	n.bytes += n.sink.SizeBytes(row)
	return nil
}

// Connect implements processor.ExternalSink.
func (n *externalNode[K, V, R]) Connect(ctx context.Context, at eos.SinkTask) (eos.Participant, error) {
	conn, err := n.sink.Connect(ctx, at)
	if err != nil {
		return nil, err
	}
	n.conn = conn
	return conn, nil
}

// SealRows implements processor.ExternalSink. The rows are the commit's from now on.
func (n *externalNode[K, V, R]) SealRows() func(ctx context.Context, name eos.TransactionName) error {
	if len(n.rows) == 0 {
		return nil
	}
	rows, conn := n.rows, n.conn
	n.rows, n.bytes = make([]R, 0, len(rows)), 0
	return func(ctx context.Context, name eos.TransactionName) error { return conn.Prepare(ctx, name, rows) }
}

// DropRows implements processor.ExternalSink.
func (n *externalNode[K, V, R]) DropRows() {
	clear(n.rows)
	n.rows, n.bytes = n.rows[:0], 0
}

// RowsBytes implements processor.ExternalSink.
func (n *externalNode[K, V, R]) RowsBytes() int { return n.bytes }

// Idempotent implements processor.ExternalSink.
func (n *externalNode[K, V, R]) Idempotent() bool { return n.sink.Idempotent() }
