package cases

import (
	"iter"

	"github.com/tidemarkio/tidemark/topology"
)

// statelessOperators are those of streams and tables that look at one record.
func statelessOperators() map[string]operator {
	return map[string]operator{
		"filter":        addFilter,
		"filterNot":     addFilter,
		"mapValues":     addMapValues,
		"map":           addMap,
		"selectKey":     addSelectKey,
		"flatMap":       addFlatMap,
		"flatMapValues": addFlatMapValues,
		"branch":        addBranch,
		"peek":          addPeek,
		"merge":         addMerge,
		"repartition":   addRepartition,
	}
}

func addFilter(b *Topology, s *Step) (any, error) {
	f, err := predicateOf(s.Fn)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case stream:
		return filterStream(on, s, f), nil
	case windowedStream:
		return filterStream(on, s, f), nil
	case table:
		return filterTable(on, s, f), nil
	case windowedTable:
		return filterTable(on, s, f), nil
	default:
		return nil, misplaced(s, on)
	}
}

func filterStream[K anyKey](on *topology.KStream[K, text], s *Step, f predicate) any {
	keep := func(k K, v text) bool { return f(keyOf(k), v) }
	if s.Op == "filterNot" {
		return on.FilterNot(keep)
	}
	return on.Filter(keep)
}

func filterTable[K anyKey](on *topology.KTable[K, text], s *Step, f predicate) any {
	keep := func(k K, v text) bool { return f(keyOf(k), v) }
	if s.Op == "filterNot" {
		return on.FilterNot(keep, stored(s)...)
	}
	return on.Filter(keep, stored(s)...)
}

func addMapValues(b *Topology, s *Step) (any, error) {
	f, err := valueFuncOf(s.Fn)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case stream:
		return topology.MapValuesWithKey(on, mapped[text](f), TextSerde()), nil
	case windowedStream:
		return topology.MapValuesWithKey(on, mapped[windowed](f), TextSerde()), nil
	case table:
		return topology.MapTableValuesWithKey(on, mapped[text](f), TextSerde(), stored(s)...), nil
	case windowedTable:
		return topology.MapTableValuesWithKey(on, mapped[windowed](f), TextSerde(), stored(s)...), nil
	default:
		return nil, misplaced(s, on)
	}
}

// mapped is a function of a case over keys of the type K.
func mapped[K anyKey, T any](f func(k keyText, v text) T) func(k K, v text) T {
	return func(k K, v text) T { return f(keyOf(k), v) }
}

func addMap(b *Topology, s *Step) (any, error) {
	key, value, err := keyAndValueFuncs(s)
	if err != nil {
		return nil, err
	}
	both := func(k keyText, v text) (text, text) { return key(k, v), value(k, v) }
	switch on := b.made[s.From].(type) {
	case stream:
		return mapStream(on, both), nil
	case windowedStream:
		return mapStream(on, both), nil
	default:
		return nil, misplaced(s, on)
	}
}

func mapStream[K anyKey](on *topology.KStream[K, text], f func(k keyText, v text) (text, text)) any {
	return topology.Map(on, func(k K, v text) (text, text) { return f(keyOf(k), v) }, TextSerde(), TextSerde())
}

func keyAndValueFuncs(s *Step) (keyFunc, valueFunc, error) {
	key, err := keyFuncOf(s.KeyFn)
	if err != nil {
		return nil, nil, err
	}
	value, err := valueFuncOf(s.ValueFn)
	return key, value, err
}

func addSelectKey(b *Topology, s *Step) (any, error) {
	f, err := keyFuncOf(s.KeyFn)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case stream:
		return topology.SelectKey(on, mapped[text](f), TextSerde()), nil
	case windowedStream:
		return topology.SelectKey(on, mapped[windowed](f), TextSerde()), nil
	default:
		return nil, misplaced(s, on)
	}
}

func addFlatMap(b *Topology, s *Step) (any, error) {
	f, err := pairFuncOf(s.Fn)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case stream:
		return flatMapStream(on, f), nil
	case windowedStream:
		return flatMapStream(on, f), nil
	default:
		return nil, misplaced(s, on)
	}
}

func flatMapStream[K anyKey](on *topology.KStream[K, text], f pairFunc) any {
	return topology.FlatMap(on, func(k K, v text) iter.Seq2[text, text] {
		return func(yield func(k, v text) bool) {
			for _, p := range f(keyOf(k), v) {
				if !yield(p[0], p[1]) {
					return
				}
			}
		}
	}, TextSerde(), TextSerde())
}

func addFlatMapValues(b *Topology, s *Step) (any, error) {
	f, err := listFuncOf(s.Fn)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case stream:
		return topology.FlatMapValues(on, f, TextSerde()), nil
	case windowedStream:
		return topology.FlatMapValues(on, f, TextSerde()), nil
	default:
		return nil, misplaced(s, on)
	}
}

// addBranch makes a stream under the id of each branch.
func addBranch(b *Topology, s *Step) (any, error) {
	switch on := b.made[s.From].(type) {
	case stream:
		return nil, branchStream(b, on, s)
	case windowedStream:
		return nil, branchStream(b, on, s)
	default:
		return nil, misplaced(s, on)
	}
}

func branchStream[K anyKey](b *Topology, on *topology.KStream[K, text], s *Step) error {
	split := on.Split()
	take := func(id string) topology.BranchOption {
		return topology.WithConsumer(func(branch *topology.KStream[K, text]) { b.made[id] = branch })
	}
	for _, br := range s.Branches {
		f, err := predicateOf(br.Fn)
		if err != nil {
			return err
		}
		split.Branch(mapped[K](f), take(br.ID))
	}
	if s.Default == "" {
		split.NoDefaultBranch()
	} else {
		split.DefaultBranch(take(s.Default))
	}
	return nil
}

func addPeek(b *Topology, s *Step) (any, error) {
	switch on := b.made[s.From].(type) {
	case stream:
		return on.Peek(func(text, text) {}), nil
	case windowedStream:
		return on.Peek(func(windowed, text) {}), nil
	default:
		return nil, misplaced(s, on)
	}
}

func addMerge(b *Topology, s *Step) (any, error) {
	switch left := b.made[s.Left].(type) {
	case stream:
		right, err := from[stream](b, s.Right)
		if err != nil {
			return nil, err
		}
		return left.Merge(right), nil
	case windowedStream:
		right, err := from[windowedStream](b, s.Right)
		if err != nil {
			return nil, err
		}
		return left.Merge(right), nil
	default:
		return nil, misplaced(s, left)
	}
}

func addRepartition(b *Topology, s *Step) (any, error) {
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	return on.Repartition(), nil
}
