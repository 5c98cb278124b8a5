package main

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

func addGroupByKey(b *build, s *step) (any, error) {
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	return on.GroupByKey(), nil
}

func addGroupBy(b *build, s *step) (any, error) {
	key, err := keyFuncOf(s.KeyFn)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case stream:
		return topology.GroupBy(on, mapped[text](key), textSerde()), nil
	case windowedStream:
		return topology.GroupBy(on, mapped[windowed](key), textSerde()), nil
	case table:
		return groupTable(on, s)
	case windowedTable:
		return groupTable(on, s)
	default:
		return nil, misplaced(s, on)
	}
}

func groupTable[K anyKey](on *topology.KTable[K, text], s *step) (any, error) {
	key, value, err := keyAndValueFuncs(s)
	if err != nil {
		return nil, err
	}
	return topology.GroupTableBy(on, func(k K, v text) (text, text) {
		return key(keyOf(k), v), value(keyOf(k), v)
	}, textSerde(), textSerde()), nil
}

func addCount(b *build, s *step) (any, error) {
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
	return topology.MapTableValues(t, decimal, textSerde())
}

func addReduce(b *build, s *step) (any, error) {
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

func reduceTable(on groupedTable, s *step) (any, error) {
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

func addAggregate(b *build, s *step) (any, error) {
	initial := func() text { return some(s.Init) }
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
		return topology.AggregateTable(on, initial, add, subtract, textSerde(), stored(s)...), nil
	case cogrouped:
		return on.Aggregate(initial, textSerde(), stored(s)...), nil
	case windowedCogroup:
		return on.Aggregate(initial, textSerde(), stored(s)...), nil
	case sessionCogroup:
		merge, err := mergerOf(s.Merger)
		if err != nil {
			return nil, err
		}
		return on.Aggregate(initial, merge, textSerde(), stored(s)...), nil
	default:
		return addStreamAggregate(b, s, initial)
	}
}

func addStreamAggregate(b *build, s *step, initial func() text) (any, error) {
	add, err := folding(s.Fn)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case groupedStream:
		return topology.Aggregate(on, initial, add, textSerde(), stored(s)...), nil
	case windowedGroup:
		return topology.Aggregate(on, initial, add, textSerde(), stored(s)...), nil
	case sessionGroup:
		merge, err := mergerOf(s.Merger)
		if err != nil {
			return nil, err
		}
		return topology.AggregateSessions(on, initial, add, merge, textSerde(), stored(s)...), nil
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
