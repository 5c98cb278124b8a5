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
	switch on := b.made[s.From].(type) {
	case stream:
		f, err := keyFuncOf(s.KeyFn)
		if err != nil {
			return nil, err
		}
		return topology.GroupBy(on, func(k, v text) text { return f(plainKey(k), v) }, textSerde()), nil
	case table:
		key, value, err := keyAndValueFuncs(s)
		if err != nil {
			return nil, err
		}
		return topology.GroupTableBy(on, func(k, v text) (text, text) {
			return key(plainKey(k), v), value(plainKey(k), v)
		}, textSerde(), textSerde()), nil
	default:
		return nil, misplaced(s, on)
	}
}

func addCount(b *build, s *step) (any, error) {
	switch on := b.made[s.From].(type) {
	case groupedStream:
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
	switch on := b.made[s.From].(type) {
	case groupedStream:
		f, err := reducerOf(s.Fn)
		if err != nil {
			return nil, err
		}
		return topology.Reduce(on, f, stored(s)...), nil
	case groupedTable:
		add, err := reducerOf(s.Adder)
		if err != nil {
			return nil, err
		}
		subtract, err := reducerOf(s.Subtract)
		if err != nil {
			return nil, err
		}
		return topology.ReduceTable(on, add, subtract, stored(s)...), nil
	default:
		return nil, misplaced(s, on)
	}
}

func addAggregate(b *build, s *step) (any, error) {
	initial := func() text { return some(s.Init) }
	switch on := b.made[s.From].(type) {
	case groupedStream:
		add, err := folding(s.Fn)
		if err != nil {
			return nil, err
		}
		return topology.Aggregate(on, initial, add, textSerde(), stored(s)...), nil
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
