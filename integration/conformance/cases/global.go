package cases

import (
	"github.com/tidemarkio/tidemark/topology"
)

// globalOperators are global tables and the joins with them.
func globalOperators() map[string]operator {
	return map[string]operator{"globalTable": addGlobalTable, "streamGlobalJoin": addStreamGlobalJoin}
}

func addGlobalTable(b *Topology, s *Step) (any, error) {
	var opts []topology.TableOption
	if s.Store != "" {
		opts = append(opts, topology.As(s.Store))
	}
	return topology.GlobalTable(b.Builder, s.Topic, TextSerde(), TextSerde(), opts...), nil
}

func addStreamGlobalJoin(b *Topology, s *Step) (any, error) {
	left, err := from[stream](b, s.Left)
	if err != nil {
		return nil, err
	}
	right, err := from[globalTable](b, s.Right)
	if err != nil {
		return nil, err
	}
	selected, err := keyFuncOf(s.KeyFn)
	if err != nil {
		return nil, err
	}
	join, err := joinerOf(s.Fn)
	if err != nil {
		return nil, err
	}
	key := func(k, v text) text { return selected(plainKey(k), v) }
	if s.Kind == "left" {
		return topology.LeftJoinGlobalWithKey(left, right, key,
			func(k, v text, row topology.Optional[text]) text { return join(plainKey(k), v, row.Value) }, TextSerde()), nil
	}
	return topology.JoinGlobalWithKey(left, right, key,
		func(k, v, row text) text { return join(plainKey(k), v, row) }, TextSerde()), nil
}
