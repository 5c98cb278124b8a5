package cases

import (
	"fmt"

	"github.com/tidemarkio/tidemark/topology"
)

// joinOperators are the joins with tables.
func joinOperators() map[string]operator {
	return map[string]operator{
		"streamTableJoin": addStreamTableJoin,
		"tableTableJoin":  addTableTableJoin,
		"foreignKeyJoin":  addForeignKeyJoin,
	}
}

// maybe is an optional side of a join; an absent one is null.
type maybe = topology.Optional[text]

func addStreamTableJoin(b *Topology, s *Step) (any, error) {
	var opts []topology.JoinTableOption
	if s.GraceMs != nil {
		opts = append(opts, topology.JoinGrace(ms(*s.GraceMs)))
	}
	left, err := from[stream](b, s.Left)
	if err != nil {
		return nil, err
	}
	right, err := from[table](b, s.Right)
	if err != nil {
		return nil, err
	}
	f, err := joinerOf(s.Fn)
	if err != nil {
		return nil, err
	}
	switch s.Kind {
	case "inner":
		return topology.JoinTableWithKey(left, right,
			func(k, l, r text) text { return f(plainKey(k), l, r) }, TextSerde(), opts...), nil
	case "left":
		return topology.LeftJoinTableWithKey(left, right,
			func(k, l text, r maybe) text { return f(plainKey(k), l, r.Value) }, TextSerde(), opts...), nil
	default:
		return nil, unknownKind(s)
	}
}

func addTableTableJoin(b *Topology, s *Step) (any, error) {
	switch left := b.made[s.Left].(type) {
	case table:
		return joinTables(b, s, left)
	case windowedTable:
		return joinTables(b, s, left)
	default:
		return nil, misplaced(s, left)
	}
}

// joinTables joins two tables with the same kind of keys. No joiner of a join of tables sees the key.
func joinTables[K any](b *Topology, s *Step, left *topology.KTable[K, text]) (any, error) {
	right, err := from[*topology.KTable[K, text]](b, s.Right)
	if err != nil {
		return nil, err
	}
	f, err := joinerOf(s.Fn)
	if err != nil {
		return nil, err
	}
	switch s.Kind {
	case "inner":
		return topology.JoinTables(left, right,
			func(l, r text) text { return f(keyText{}, l, r) }, TextSerde(), stored(s)...), nil
	case "left":
		return topology.LeftJoinTables(left, right,
			func(l text, r maybe) text { return f(keyText{}, l, r.Value) }, TextSerde(), stored(s)...), nil
	case "outer":
		return topology.OuterJoinTables(left, right,
			func(l, r maybe) text { return f(keyText{}, l.Value, r.Value) }, TextSerde(), stored(s)...), nil
	default:
		return nil, unknownKind(s)
	}
}

func addForeignKeyJoin(b *Topology, s *Step) (any, error) {
	left, err := from[table](b, s.Left)
	if err != nil {
		return nil, err
	}
	right, err := from[table](b, s.Right)
	if err != nil {
		return nil, err
	}
	keyOf, err := keyFuncOf(s.FKFn)
	if err != nil {
		return nil, err
	}
	foreignKey := func(k, v text) text { return keyOf(plainKey(k), v) }
	f, err := joinerOf(s.Fn)
	if err != nil {
		return nil, err
	}
	var opts []topology.ForeignKeyJoinOption
	if s.Store != "" {
		opts = append(opts, topology.As(s.Store))
	}
	switch s.Kind {
	case "inner":
		return topology.ForeignKeyJoinWithKey(left, right, foreignKey,
			func(l, r text) text { return f(keyText{}, l, r) }, TextSerde(), opts...), nil
	case "left":
		return topology.LeftForeignKeyJoinWithKey(left, right, foreignKey,
			func(l text, r maybe) text { return f(keyText{}, l, r.Value) }, TextSerde(), opts...), nil
	default:
		return nil, unknownKind(s)
	}
}

func unknownKind(s *Step) error {
	return fmt.Errorf("conformance: %s %q of kind %q", s.Op, s.ID, s.Kind)
}
