package cases

// tableOperators turn streams into tables and back.
func tableOperators() map[string]operator {
	return map[string]operator{"toStream": addToStream, "toTable": addToTable}
}

func addToStream(b *Topology, s *Step) (any, error) {
	switch on := b.made[s.From].(type) {
	case table:
		return on.ToStream(), nil
	case windowedTable:
		return on.ToStream(), nil
	default:
		return nil, misplaced(s, on)
	}
}

func addToTable(b *Topology, s *Step) (any, error) {
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	return on.ToTable(stored(s)...), nil
}
