// Package topology is the DSL: typed streams and tables, and the operators between them. It runs nothing. A [Builder]
// collects what is declared, and [Builder.Build] lowers it to the [processor.Plan] that the runtime makes tasks from.
//
//	Stream ──► KStream[K,V] ──GroupByKey──► KGroupedStream[K,V]
//	             ▲     │ ▲                         │ WindowedBy, SessionWindowedBy, Cogroup, or nothing
//	             │     │ │                         │ Count, Reduce, Aggregate
//	Filter, Map… └─────┘ │ ToStream                ▼
//	                     └──────────────────── KTable[K,V] ◄── Table, ToTable
//	                     │ To
//	                     ▼
//	declared             Builder   (names, graph, mistakes with file:line)
//	───────────────────────┼────────────────────────────────────────────────
//	lowered                ▼
//	                  processor.Plan   nodes, stores, internal topics, sub-topologies
//
// Operators that keep the types are methods (orders.Filter(f)), those that change them functions
// (MapValues(orders, f, serde)), since Go's methods have no type parameters. A serde is given where a type enters or
// changes, and is carried along; it may be nil where nothing below writes the type to a topic or a store. Names are
// given with [Named] (nodes, groups, branches) and [As] (stores); without them Kafka Streams' names are generated.
//
// Null. Records carry null beside the value ([record.Record.NullValue]) or as the nil of a nil-able type. Functions are
// called with the zero value for a null argument, unless an operator says otherwise; a nil result is null.
//
// Functions given to operators run on the task goroutine: they need no locks as long as they share nothing, since every
// task calls the same function value. They must be deterministic and must not block.
//
// Mistakes do not panic: every operator returns something to go on with, and Build returns all mistakes at once.
//
// A Builder and what hangs on it belong to one goroutine; the Plan is immutable.
package topology
