package cases

import (
	"fmt"
	"maps"
	"time"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// The shapes of what steps make.
type (
	stream         = *topology.KStream[text, text]
	windowedStream = *topology.KStream[windowed, text]
	table          = *topology.KTable[text, text]
	windowedTable  = *topology.KTable[windowed, text]
	groupedStream  = *topology.KGroupedStream[text, text]
	groupedTable   = *topology.KGroupedTable[text, text]
	globalTable    = *topology.GlobalKTable[text, text]
)

// operator adds a step to the topology and returns what later steps refer to by its id; nil if nothing.
type operator func(b *Topology, s *Step) (any, error)

// operators is the registry. A new family of operators is a file with such a table, and a line here.
func operators() map[string]operator {
	all := make(map[string]operator)
	for _, family := range []map[string]operator{
		sourceOperators(),
		statelessOperators(),
		aggregateOperators(),
		windowOperators(),
		tableOperators(),
		suppressOperators(),
		joinOperators(),
		processOperators(),
		globalOperators(),
		streamJoinOperators(),
	} {
		maps.Copy(all, family)
	}
	return all
}

// UnknownError says that the DSL cannot build a case yet.
type UnknownError struct{ What string }

func (e *UnknownError) Error() string { return "unknown operator " + e.What }

// Topology is a case's topology while it grows.
type Topology struct {
	*topology.Builder

	made map[string]any // by id
	// sinks are the topics that are written, in the order of their first steps.
	Sinks []string
}

// Build builds the topology of a case with the operators of the registry.
func Build(c *Case, opts ...topology.BuilderOption) (*Topology, error) {
	b := &Topology{Builder: topology.NewBuilder(opts...), made: make(map[string]any)}
	known := operators()
	for i := range c.Topology {
		s := &c.Topology[i]
		op, ok := known[s.Op]
		if !ok {
			return nil, &UnknownError{s.Op}
		}
		made, err := op(b, s)
		if err != nil {
			return nil, err
		}
		if made != nil {
			b.made[s.ID] = made
		}
	}
	return b, nil
}

// TextSerde is the serde of all keys and values.
func TextSerde() serde.Serde[text] { return serde.Nullable(serde.String) }

// from returns what an earlier step made, of a known type.
func from[T any](b *Topology, id string) (T, error) {
	made, ok := b.made[id].(T)
	if !ok {
		return made, fmt.Errorf("conformance: step %q is a %T, want a %T", id, b.made[id], made)
	}
	return made, nil
}

// stored are the options about a step's store.
func stored(s *Step) (opts []topology.StoreOption) {
	if s.Store != "" {
		opts = append(opts, topology.As(s.Store))
	}
	if s.HistoryMs != nil {
		opts = append(opts, topology.Versioned(ms(*s.HistoryMs)))
	}
	if s.Retention > 0 {
		opts = append(opts, topology.Retention(ms(s.Retention)))
	}
	return opts
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// misplaced says that a step cannot follow another.
func misplaced(s *Step, on any) error {
	return fmt.Errorf("conformance: %s %q on a %T", s.Op, s.ID, on)
}
