package processor

import (
	"github.com/tidemarkio/tidemark/record"
)

// Processor handles the records of one node of the topology, with state and timers (Kafka Streams' api.Processor). One
// instance exists per task, and only the task goroutine calls it: it needs no locks.
//
// A processor that wants to prepare itself implements [ContextInitializer] too, one that holds something to release
// implements io.Closer.
type Processor[KIn, VIn, KOut, VOut any] interface {
	// Process handles one record. Its error, or panic, goes to the handler for processing errors, as a *UserError.
	// An error of ctx.Forward or of a store is to be returned; swallowing it does not make it vanish.
	Process(ctx Context[KOut, VOut], r record.Record[KIn, VIn]) error
}

// Void is what a processor forwards that has nobody to forward to, as that of a global store.
type Void = struct{}

// ContextInitializer is a [Processor] with something to do before the first record: look up its stores, schedule its
// punctuators. The stores are restored by then. It may keep ctx for the life of the task.
type ContextInitializer[KOut, VOut any] interface {
	Init(ctx Context[KOut, VOut]) error
}

// Func makes a [Processor] of a function that needs neither state nor timers.
type Func[KIn, VIn, KOut, VOut any] func(ctx Context[KOut, VOut], r record.Record[KIn, VIn]) error

// Process implements [Processor].
func (f Func[KIn, VIn, KOut, VOut]) Process(ctx Context[KOut, VOut], r record.Record[KIn, VIn]) error {
	return f(ctx, r)
}
