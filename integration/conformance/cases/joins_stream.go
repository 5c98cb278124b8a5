package cases

import (
	"github.com/tidemarkio/tidemark/topology"
)

// streamJoinOperators are the joins of two streams.
func streamJoinOperators() map[string]operator {
	return map[string]operator{"streamStreamJoin": addStreamStreamJoin}
}

func addStreamStreamJoin(b *Topology, s *Step) (any, error) {
	switch left := b.made[s.Left].(type) {
	case stream:
		return joinStreams(b, s, left)
	case windowedStream:
		return joinStreams(b, s, left)
	default:
		return nil, misplaced(s, left)
	}
}

// joinStreams joins two streams with the same kind of keys.
func joinStreams[K anyKey](b *Topology, s *Step, left *topology.KStream[K, text]) (any, error) {
	right, err := from[*topology.KStream[K, text]](b, s.Right)
	if err != nil {
		return nil, err
	}
	f, err := joinerOf(s.Fn)
	if err != nil {
		return nil, err
	}
	w := topology.Within(0).Before(ms(s.BeforeMs)).After(ms(s.AfterMs))
	if s.GraceMs != nil {
		w = w.Grace(ms(*s.GraceMs))
	}
	switch s.Kind {
	case "inner":
		return topology.JoinWithKey(left, right,
			func(k K, l, r text) text { return f(keyOf(k), l, r) }, w, TextSerde()), nil
	case "left":
		return topology.LeftJoinWithKey(left, right,
			func(k K, l text, r maybe) text { return f(keyOf(k), l, r.Value) }, w, TextSerde()), nil
	case "outer":
		return topology.OuterJoinWithKey(left, right,
			func(k K, l, r maybe) text { return f(keyOf(k), l.Value, r.Value) }, w, TextSerde()), nil
	default:
		return nil, unknownKind(s)
	}
}
