package main

import (
	"github.com/tidemarkio/tidemark/topology"
)

// windowedGroup is what windowedBy makes, but for sessions.
type windowedGroup = *topology.KWindowedStream[text, text]

// windowOperators divide grouped streams into windows.
func windowOperators() map[string]operator {
	return map[string]operator{"windowedBy": addWindowedBy}
}

func addWindowedBy(b *build, s *step) (any, error) {
	on, err := from[groupedStream](b, s.From)
	if err != nil {
		return nil, err
	}
	w, err := windowsOf(s)
	if err != nil {
		return nil, err
	}
	group := topology.WindowedBy(on, w)
	if s.Emit == "onWindowClose" {
		group = group.EmitOnClose()
	}
	return group, nil
}

func windowsOf(s *step) (topology.Windows, error) {
	w := s.Windows
	switch w.Type {
	case "tumbling":
		return topology.Tumbling(ms(w.SizeMs)).Grace(ms(w.GraceMs)), nil
	case "hopping":
		return topology.Hopping(ms(w.SizeMs), ms(w.AdvanceMs)).Grace(ms(w.GraceMs)), nil
	default:
		return nil, &unknownError{s.Op + " " + w.Type}
	}
}
