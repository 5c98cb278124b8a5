package cases

import (
	"github.com/tidemarkio/tidemark/topology"
)

// aggregateOperators are groups and what is made of them.
func aggregateOperators() map[string]operator {
	return map[string]operator{
		"groupByKey": addGroupByKey,
		"groupBy":    addGroupBy,
		"count":      addCount,
		"reduce":     addReduce,
		"aggregate":  addAggregate,
	}
}

func addGroupByKey(b *Topology, s *Step) (any, error) {
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	return on.GroupByKey(), nil
}

func addGroupBy(b *Topology, s *Step) (any, error) {
	key, err := keyFuncOf(s.KeyFn)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case stream:
		return topology.GroupBy(on, mapped[text](key), TextSerde()), nil
	case windowedStream:
		return topology.GroupBy(on, mapped[windowed](key), TextSerde()), nil
	case table:
		return groupTable(on, s)
	case windowedTable:
		return groupTable(on, s)
	default:
		return nil, misplaced(s, on)
	}
}

func groupTable[K anyKey](on *topology.KTable[K, text], s *Step) (any, error) {
	key, value, err := keyAndValueFuncs(s)
	if err != nil {
		return nil, err
	}
	return topology.GroupTableBy(on, func(k K, v text) (text, text) {
		return key(keyOf(k), v), value(keyOf(k), v)
	}, TextSerde(), TextSerde()), nil
}

func addCount(b *Topology, s *Step) (any, error) {
	switch on := b.made[s.From].(type) {
	case groupedStream:
		return counted(topology.Count(on, stored(s)...)), nil
	case windowedGroup:
		return counted(topology.Count(on, stored(s)...)), nil
	case sessionGroup:
		return counted(topology.Count(on, stored(s)...)), nil
	case groupedTable:
		return counted(topology.CountTable(on, stored(s)...)), nil
	default:
		return nil, misplaced(s, on)
	}
}

// counted is a table of counts in text, as everything is in a case. It has no store: the counts' own is compared.
func counted[K any](t *topology.KTable[K, int64]) *topology.KTable[K, text] {
	return topology.MapTableValues(t, decimal, TextSerde())
}

func addReduce(b *Topology, s *Step) (any, error) {
	if on, ok := b.made[s.From].(groupedTable); ok {
		return reduceTable(on, s)
	}
	f, err := reducerOf(s.Fn)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case groupedStream:
		return topology.Reduce(on, f, stored(s)...), nil
	case windowedGroup:
		return topology.Reduce(on, f, stored(s)...), nil
	case sessionGroup:
		return topology.Reduce(on, f, stored(s)...), nil
	default:
		return nil, misplaced(s, on)
	}
}

func reduceTable(on groupedTable, s *Step) (any, error) {
	add, err := reducerOf(s.Adder)
	if err != nil {
		return nil, err
	}
	subtract, err := reducerOf(s.Subtract)
	if err != nil {
		return nil, err
	}
	return topology.ReduceTable(on, add, subtract, stored(s)...), nil
}

func addAggregate(b *Topology, s *Step) (any, error) {
	initial := func() text { return Some(s.Init) }
	switch on := b.made[s.From].(type) {
	case groupedTable:
		add, err := folding(s.Adder)
		if err != nil {
			return nil, err
		}
		subtract, err := folding(s.Subtract)
		if err != nil {
			return nil, err
		}
		return topology.AggregateTable(on, initial, add, subtract, TextSerde(), stored(s)...), nil
	case cogrouped:
		return on.Aggregate(initial, TextSerde(), stored(s)...), nil
	case windowedCogroup:
		return on.Aggregate(initial, TextSerde(), stored(s)...), nil
	case sessionCogroup:
		merge, err := mergerOf(s.Merger)
		if err != nil {
			return nil, err
		}
		return on.Aggregate(initial, merge, TextSerde(), stored(s)...), nil
	default:
		return addStreamAggregate(b, s, initial)
	}
}

func addStreamAggregate(b *Topology, s *Step, initial func() text) (any, error) {
	add, err := folding(s.Fn)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case groupedStream:
		return topology.Aggregate(on, initial, add, TextSerde(), stored(s)...), nil
	case windowedGroup:
		return topology.Aggregate(on, initial, add, TextSerde(), stored(s)...), nil
	case sessionGroup:
		merge, err := mergerOf(s.Merger)
		if err != nil {
			return nil, err
		}
		return topology.AggregateSessions(on, initial, add, merge, TextSerde(), stored(s)...), nil
	default:
		return nil, misplaced(s, on)
	}
}

// folding is an aggregator over plain keys.
func folding(spec string) (func(k, v, aggregate text) text, error) {
	f, err := aggregatorOf(spec)
	if err != nil {
		return nil, err
	}
	return func(k, v, aggregate text) text { return f(plainKey(k), v, aggregate) }, nil
}
