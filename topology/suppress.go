package topology

import (
	"fmt"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
)

// Suppress holds the table's updates back, so that of several updates of a key only the last is forwarded (Kafka
// Streams' KTable.suppress, KIP-328): until they are final with [UntilWindowCloses], or for some time with
// [UntilTimeLimit]. What is due leaves with the next update that reaches the operator, of any key, in the order of time
// and key bytes. It has the timestamp and the headers of the key's last update; what else a processor below sees of the
// record being processed is that of the update that made it leave.
//
// The observed time is the greatest timestamp of the updates that came in. Updates that wait are kept in a store,
// <name>-store with [Named], which survives what other stores do and need not fit into memory; the options of a store
// apply, other than [Retention] and [WithoutCaching]. Tables below that read this one by key see what was forwarded
// last, without its timestamp while an update waits. Versioned tables cannot be suppressed.
func Suppress[K, V any](t *KTable[K, V], until Suppressed, opts ...StoreOption) *KTable[K, V] {
	const operator = "Suppress"
	b := t.b
	var c storeConfig
	for _, o := range opts {
		o.applyStore(&c)
	}
	name := b.storeName(c.name, "KTABLE-SUPPRESS-")
	storeName := c.store
	if storeName == "" && c.name != "" {
		storeName = c.name + "-store"
	}
	storeName = b.storeName(storeName, "KTABLE-SUPPRESS-STATE-STORE-")
	if t.state.versioned() {
		b.fail(operator, "the table is versioned: Suppress knows the last update of a key only; "+
			"make it a stream, and that a table with ToTable")
	}
	s := suppressionOf(b, operator, until)
	if s.windows {
		s.waitMs = windowsWait[K](b, operator, t.node)
	}
	// Which also decides what the tables above forward.
	t.state.sendOldValues(true)
	state := &suppressState{tableState: tableState{store: storeName, keepsOld: true}}
	node := b.addNode(operator, &graphNode{
		name: name, kind: processor.ProcessorNode,
		bind: func() func(ctx processor.TaskContext) (any, error) {
			state := *state
			return func(ctx processor.TaskContext) (any, error) {
				return newSuppressNode[K, V](ctx, name, state, s)
			}
		},
	}, t.node)
	addSuppressStore(t, operator, node, storeName, c, s)
	return &KTable[K, V]{
		b: b, node: node, keySerde: t.keySerde, valueSerde: t.valueSerde, state: &state.tableState,
		view: suppressedView(t.view, state),
	}
}

// suppressState is the state of a suppressed table.
type suppressState struct {
	tableState

	// read says that rows are read by key below, so that what was forwarded last has to be kept.
	read bool
}

// suppressionOf returns what until says, or reports what is wrong with it.
func suppressionOf(b *Builder, operator string, until Suppressed) suppression {
	if until == nil {
		b.fail(operator, "nothing says how long: use UntilWindowCloses or UntilTimeLimit")
		return suppression{}
	}
	s := until.suppression()
	switch {
	case s.wait < 0 || s.wait%time.Millisecond != 0:
		b.fail(operator, "UntilTimeLimit(%v): want whole milliseconds, not negative", s.wait)
	case s.idle < 0 || s.idle%time.Millisecond != 0:
		b.fail(operator, "AdvanceWhenIdle(%v): want whole milliseconds", s.idle)
	case s.records.set && s.records.most < 0:
		b.fail(operator, "MaxRecords(%d): want 0 or more", s.records.most)
	case s.bytes.set && s.bytes.most < 0:
		b.fail(operator, "MaxBytes(%d): want 0 or more", s.bytes.most)
	}
	s.waitMs = s.wait.Milliseconds()
	return s
}

// windowsWait returns how long after their ends the windows of a table are final.
func windowsWait[K any](b *Builder, operator string, table *graphNode) int64 {
	var key K
	if _, ok := any(&key).(windowedKey); !ok {
		b.fail(operator, "UntilWindowCloses: the keys are of type %s, not record.Windowed: it is for aggregations with "+
			"windows", typeName[K]())
		return 0
	}
	wait, known := closeAfter(b, table)
	if !known {
		b.fail(operator, "UntilWindowCloses: when the windows of %q close is not known: "+
			"not everything that it is made from comes out of an aggregation with windows of event time", table.name)
	}
	return wait
}

// closeAfter returns how long after its end a window is final whose updates reach n: the longest that an aggregation
// above takes records, also behind repartition topics. It is known if there is one on each way to n (Kafka Streams'
// GraphGraceSearchUtil).
func closeAfter(b *Builder, n *graphNode) (ms int64, known bool) {
	if n.closes != nil {
		return n.closes.after, n.closes.known
	}
	above := n.parents
	if n.kind == processor.SourceNode {
		above = b.repartitioning(n)
	}
	known = len(above) > 0
	for _, p := range above {
		after, ok := closeAfter(b, p)
		ms, known = max(ms, after), known && ok
	}
	return ms, known
}

// addSuppressStore declares the store of what waits.
func addSuppressStore[K, V any](
	t *KTable[K, V], operator string, node *graphNode, name string, c storeConfig, s suppression,
) {
	needSerdes(t.b, operator, fmt.Sprintf("the store %q", name), t.keySerde, t.valueSerde)
	switch {
	case len(c.late) > 0:
		t.b.fail(operator, "LateRecords: no update is late here")
	case c.retention != 0:
		t.b.fail(operator, "Retention: an update is kept as long as it waits")
	}
	c.notVersioned(t.b, operator)
	c.noTTL(t.b, operator, "an update is kept as long as it waits")
	spec := store.TimeOrderedSpec(name, t.keySerde, newHeldSerde(t.valueSerde), store.TimeOrderedConfig{
		TimeFromKey: s.windows, CountBytes: s.bytes.set,
	})
	c.configure(&spec)
	spec.CachingEnabled = false
	t.b.addStore(operator, spec)
	node.useStore(name)
}

// suppressedView reads what was forwarded last: what waits remembers it, and otherwise it is what the parent has.
func suppressedView[K, V any](parent tableView[K, V], state *suppressState) tableView[K, V] {
	if parent.open == nil {
		return tableView[K, V]{}
	}
	return tableView[K, V]{
		stores: func() []string {
			state.read = true
			return append([]string{state.store}, parent.stores()...)
		},
		open: func(ctx processor.TaskContext) (tableGetter[K, V], error) {
			from, err := parent.open(ctx)
			if err != nil {
				return tableGetter[K, V]{}, err
			}
			held, err := processor.StateStore[*store.TimeOrdered[K, heldUpdate[V]]](ctx, state.store)
			if err != nil {
				return tableGetter[K, V]{}, fmt.Errorf("topology: read a table: %w", err)
			}
			var place windowEnd[K]
			return tableGetter[K, V]{get: func(key K) (V, int64, bool, error) {
				h, _, found, err := held.Get(key, place.of(key))
				if err != nil || found {
					return h.prior, unknownTimestamp, h.hasPrior, err
				}
				return from.get(key)
			}}, nil
		},
	}
}

// unknownTimestamp is that of a row whose last update waits.
const unknownTimestamp = -1
