package main

import "github.com/tidemarkio/tidemark/topology"

// suppressOperators hold updates of tables back.
func suppressOperators() map[string]operator {
	return map[string]operator{"suppress": addSuppress}
}

func addSuppress(b *build, s *step) (any, error) {
	until, err := suppressedBy(s)
	if err != nil {
		return nil, err
	}
	switch on := b.made[s.From].(type) {
	case table:
		return topology.Suppress(on, until), nil
	case windowedTable:
		return topology.Suppress(on, until), nil
	default:
		return nil, misplaced(s, on)
	}
}

func suppressedBy(s *step) (topology.Suppressed, error) {
	switch {
	case s.OnFull != "" && s.OnFull != "emitEarly" && s.OnFull != "shutDown":
		return nil, &unknownError{s.Op + " onFull " + s.OnFull}
	case s.Until == "windowClose" && s.OnFull == "emitEarly":
		return nil, &unknownError{"suppress until windowClose that emits early"}
	case s.Until == "windowClose":
		until := topology.UntilWindowCloses()
		if s.MaxRecords != nil {
			until = until.MaxRecords(*s.MaxRecords)
		}
		return until, nil
	case s.Until == "timeLimit":
		until := topology.UntilTimeLimit(ms(s.WaitMs))
		if s.MaxRecords != nil {
			until = until.MaxRecords(*s.MaxRecords)
		}
		if s.OnFull == "shutDown" {
			until = until.ShutDownWhenFull()
		}
		return until, nil
	default:
		return nil, &unknownError{s.Op + " until " + s.Until}
	}
}
