package main

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

func addFilter(b *build, s *step) (any, error) {
	f, err := predicateOf(s.Fn)
	if err != nil {
		return nil, err
	}
	keep := func(k, v text) bool { return f(plainKey(k), v) }
	switch on := b.made[s.From].(type) {
	case stream:
		if s.Op == "filterNot" {
			return on.FilterNot(keep), nil
		}
		return on.Filter(keep), nil
	case table:
		if s.Op == "filterNot" {
			return on.FilterNot(keep, stored(s)...), nil
		}
		return on.Filter(keep, stored(s)...), nil
	default:
		return nil, misplaced(s, on)
	}
}

func addMapValues(b *build, s *step) (any, error) {
	f, err := valueFuncOf(s.Fn)
	if err != nil {
		return nil, err
	}
	mapped := func(k, v text) text { return f(plainKey(k), v) }
	switch on := b.made[s.From].(type) {
	case stream:
		return topology.MapValuesWithKey(on, mapped, textSerde()), nil
	case table:
		return topology.MapTableValuesWithKey(on, mapped, textSerde(), stored(s)...), nil
	default:
		return nil, misplaced(s, on)
	}
}

func addMap(b *build, s *step) (any, error) {
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	key, value, err := keyAndValueFuncs(s)
	if err != nil {
		return nil, err
	}
	return topology.Map(on, func(k, v text) (text, text) {
		return key(plainKey(k), v), value(plainKey(k), v)
	}, textSerde(), textSerde()), nil
}

func keyAndValueFuncs(s *step) (keyFunc, valueFunc, error) {
	key, err := keyFuncOf(s.KeyFn)
	if err != nil {
		return nil, nil, err
	}
	value, err := valueFuncOf(s.ValueFn)
	return key, value, err
}

func addSelectKey(b *build, s *step) (any, error) {
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	f, err := keyFuncOf(s.KeyFn)
	if err != nil {
		return nil, err
	}
	return topology.SelectKey(on, func(k, v text) text { return f(plainKey(k), v) }, textSerde()), nil
}

func addFlatMap(b *build, s *step) (any, error) {
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	f, err := pairFuncOf(s.Fn)
	if err != nil {
		return nil, err
	}
	return topology.FlatMap(on, func(k, v text) iter.Seq2[text, text] {
		return func(yield func(k, v text) bool) {
			for _, p := range f(plainKey(k), v) {
				if !yield(p[0], p[1]) {
					return
				}
			}
		}
	}, textSerde(), textSerde()), nil
}

func addFlatMapValues(b *build, s *step) (any, error) {
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	f, err := listFuncOf(s.Fn)
	if err != nil {
		return nil, err
	}
	return topology.FlatMapValues(on, f, textSerde()), nil
}

// addBranch makes a stream under the id of each branch.
func addBranch(b *build, s *step) (any, error) {
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	split := on.Split()
	take := func(id string) topology.BranchOption {
		return topology.WithConsumer(func(branch stream) { b.made[id] = branch })
	}
	for _, br := range s.Branches {
		f, err := predicateOf(br.Fn)
		if err != nil {
			return nil, err
		}
		split.Branch(func(k, v text) bool { return f(plainKey(k), v) }, take(br.ID))
	}
	if s.Default == "" {
		split.NoDefaultBranch()
	} else {
		split.DefaultBranch(take(s.Default))
	}
	return nil, nil
}

func addPeek(b *build, s *step) (any, error) {
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	return on.Peek(func(text, text) {}), nil
}

func addMerge(b *build, s *step) (any, error) {
	left, err := from[stream](b, s.Left)
	if err != nil {
		return nil, err
	}
	right, err := from[stream](b, s.Right)
	if err != nil {
		return nil, err
	}
	return left.Merge(right), nil
}

func addRepartition(b *build, s *step) (any, error) {
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	return on.Repartition(), nil
}
