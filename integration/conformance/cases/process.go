package cases

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// processOperators are the Processor API.
func processOperators() map[string]operator {
	return map[string]operator{"addStore": addStore, "process": addProcess, "processValues": addProcessValues}
}

func addStore(b *Topology, s *Step) (any, error) {
	switch s.Type {
	case "kv":
		b.AddStore(store.KeyValueSpec(s.Store, TextSerde(), TextSerde()))
	case "window":
		b.AddStore(store.WindowSpec(s.Store, TextSerde(), TextSerde(), store.WindowConfig{Retention: ms(s.Retention)}))
	default:
		return nil, &UnknownError{"addStore " + s.Type}
	}
	return nil, nil
}

func addProcess(b *Topology, s *Step) (any, error) {
	newProcessor, ok := processors()[s.Processor]
	if !ok {
		return nil, &UnknownError{s.Op + " " + s.Processor}
	}
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	return topology.Process(on, func() processor.Processor[text, text, text, text] { return newProcessor(s) },
		TextSerde(), TextSerde(), connected(s)...), nil
}

func addProcessValues(b *Topology, s *Step) (any, error) {
	newProcessor, ok := fixedKeyProcessors()[s.Processor]
	if !ok {
		return nil, &UnknownError{s.Op + " " + s.Processor}
	}
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	return topology.ProcessValues(on, func() processor.FixedKeyProcessor[text, text, text] { return newProcessor(s) },
		TextSerde(), connected(s)...), nil
}

// connected is the option that connects a step's processor to its store, if it has one. A global one needs none.
func connected(s *Step) []topology.ProcessOption {
	if s.Store == "" || s.Global {
		return nil
	}
	return []topology.ProcessOption{topology.WithStores(s.Store)}
}
