package cases

import (
	"github.com/tidemarkio/tidemark/topology"
)

// The shapes of what windowedBy makes.
type (
	windowedGroup   = *topology.KWindowedStream[text, text]
	sessionGroup    = *topology.KSessionWindowedStream[text, text]
	cogrouped       = *topology.KCogroupedStream[text, text]
	windowedCogroup = *topology.KWindowedCogroupedStream[text, text]
	sessionCogroup  = *topology.KSessionWindowedCogroupedStream[text, text]
)

// windowOperators divide grouped streams into windows, and group several of them together.
func windowOperators() map[string]operator {
	return map[string]operator{"windowedBy": addWindowedBy, "cogroup": addCogroup}
}

func addWindowedBy(b *Topology, s *Step) (any, error) {
	if s.Windows.Type == "session" {
		return addSessionWindowedBy(b, s)
	}
	w, err := windowsOf(s)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case groupedStream:
		group := topology.WindowedBy(on, w)
		if s.Emit == "onWindowClose" {
			group = group.EmitOnClose()
		}
		return group, nil
	case cogrouped:
		return on.WindowedBy(w), nil
	default:
		return nil, misplaced(s, on)
	}
}

func addSessionWindowedBy(b *Topology, s *Step) (any, error) {
	w := topology.Session(ms(s.Windows.GapMs)).Grace(ms(s.Windows.GraceMs))
	switch on := b.made[s.From].(type) {
	case groupedStream:
		group := topology.SessionWindowedBy(on, w)
		if s.Emit == "onWindowClose" {
			group = group.EmitOnClose()
		}
		return group, nil
	case cogrouped:
		return on.SessionWindowedBy(w), nil
	default:
		return nil, misplaced(s, on)
	}
}

func windowsOf(s *Step) (topology.Windows, error) {
	w := s.Windows
	switch w.Type {
	case "tumbling":
		return topology.Tumbling(ms(w.SizeMs)).Grace(ms(w.GraceMs)), nil
	case "hopping":
		return topology.Hopping(ms(w.SizeMs), ms(w.AdvanceMs)).Grace(ms(w.GraceMs)), nil
	case "sliding":
		return topology.Sliding(ms(w.DifferenceMs)).Grace(ms(w.GraceMs)), nil
	default:
		return nil, &UnknownError{s.Op + " " + w.Type}
	}
}

func addCogroup(b *Topology, s *Step) (any, error) {
	var c cogrouped
	for _, in := range s.Inputs {
		on, err := from[groupedStream](b, in.From)
		if err != nil {
			return nil, err
		}
		add, err := folding(in.Fn)
		if err != nil {
			return nil, err
		}
		if c == nil {
			c = topology.Cogroup(on, add)
		} else {
			c = topology.CogroupWith(c, on, add)
		}
	}
	return c, nil
}
