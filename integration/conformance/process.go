package main

import (
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// processOperators are the Processor API.
func processOperators() map[string]operator {
	return map[string]operator{"addStore": addStore, "process": addProcess, "processValues": addProcessValues}
}

func addStore(b *build, s *step) (any, error) {
	switch s.Type {
	case "kv":
		b.AddStore(store.KeyValueSpec(s.Store, textSerde(), textSerde()))
	case "window":
		b.AddStore(store.WindowSpec(s.Store, textSerde(), textSerde(), store.WindowConfig{Retention: ms(s.Retention)}))
	default:
		return nil, &unknownError{"addStore " + s.Type}
	}
	return nil, nil
}

func addProcess(b *build, s *step) (any, error) {
	newProcessor, ok := processors()[s.Processor]
	if !ok {
		return nil, &unknownError{s.Op + " " + s.Processor}
	}
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	return topology.Process(on, func() processor.Processor[text, text, text, text] { return newProcessor(s) },
		textSerde(), textSerde(), connected(s)...), nil
}

func addProcessValues(b *build, s *step) (any, error) {
	newProcessor, ok := fixedKeyProcessors()[s.Processor]
	if !ok {
		return nil, &unknownError{s.Op + " " + s.Processor}
	}
	on, err := from[stream](b, s.From)
	if err != nil {
		return nil, err
	}
	return topology.ProcessValues(on, func() processor.FixedKeyProcessor[text, text, text] { return newProcessor(s) },
		textSerde(), connected(s)...), nil
}

// connected is the option that connects a step's processor to its store, if it has one. A global one needs none.
func connected(s *step) []topology.ProcessOption {
	if s.Store == "" || s.Global {
		return nil
	}
	return []topology.ProcessOption{topology.WithStores(s.Store)}
}
