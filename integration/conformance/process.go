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
	if s.Type != "kv" {
		return nil, &unknownError{"addStore " + s.Type}
	}
	b.AddStore(store.KeyValueSpec(s.Store, textSerde(), textSerde()))
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
	var opts []topology.ProcessOption
	if s.Store != "" {
		opts = append(opts, topology.WithStores(s.Store))
	}
	return topology.Process(on, func() processor.Processor[text, text, text, text] { return newProcessor(s) },
		textSerde(), textSerde(), opts...), nil
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
	var opts []topology.ProcessOption
	if s.Store != "" {
		opts = append(opts, topology.WithStores(s.Store))
	}
	return topology.ProcessValues(on, func() processor.FixedKeyProcessor[text, text, text] { return newProcessor(s) },
		textSerde(), opts...), nil
}
