package processor

import (
	"io"
	"log/slog"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// NewNode makes the node of one task from a user's Processor, for Node.New: it gives the processor its [Context], tells
// its errors from those of the nodes below, and calls its optional Init and Close.
func NewNode[KIn, VIn, KOut, VOut any](
	ctx TaskContext, name string, p Processor[KIn, VIn, KOut, VOut],
) Receiver[KIn, VIn] {
	return &processorNode[KIn, VIn, KOut, VOut]{
		nodeContext: nodeContext[KOut, VOut]{
			task:      ctx,
			node:      name,
			log:       ctx.Logger().With(slog.String("node", name)),
			named:     make(map[string]Receiver[KOut, VOut]),
			keyNull:   record.NullnessOf[KOut](),
			valueNull: record.NullnessOf[VOut](),
		},
		user: p,
	}
}

// processorNode runs a user's Processor. Owned by the task goroutine.
type processorNode[KIn, VIn, KOut, VOut any] struct {
	nodeContext[KOut, VOut]

	user Processor[KIn, VIn, KOut, VOut]
}

var (
	_ Attacher    = (*processorNode[string, string, string, string])(nil)
	_ Initializer = (*processorNode[string, string, string, string])(nil)
	_ Closer      = (*processorNode[string, string, string, string])(nil)
)

// Init implements [Initializer].
func (n *processorNode[KIn, VIn, KOut, VOut]) Init() error {
	p, ok := n.user.(ContextInitializer[KOut, VOut])
	if !ok {
		return nil
	}
	n.task.Enter(n.node)
	return n.leave(p.Init(&n.nodeContext))
}

// Receive implements [Receiver].
func (n *processorNode[KIn, VIn, KOut, VOut]) Receive(r record.Record[KIn, VIn]) error {
	current := n.task.Current()
	before := current.Context
	// An operator above may have given the record another time than the input record's: an aggregate, for one.
	current.Context = store.Context{Timestamp: r.Timestamp, Headers: r.Headers}
	n.failed = nil // a panic left it
	n.task.Enter(n.node)
	err := n.leave(n.user.Process(&n.nodeContext, r))
	current.Context = before
	return err
}

// Close implements [Closer].
func (n *processorNode[KIn, VIn, KOut, VOut]) Close() error {
	p, ok := n.user.(io.Closer)
	if !ok {
		return nil
	}
	n.task.Enter(n.node)
	return WrapUserError(n.task, n.node, p.Close())
}
