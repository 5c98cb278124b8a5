package processor_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
)

func examplePlan() *processor.Plan {
	source := &processor.Node{Name: "in", Topics: []string{"a", "b"}, Children: []string{"count"}, Position: "x.go:1"}
	count := &processor.Node{Name: "count", Kind: processor.ProcessorNode, Stores: []string{"counts"}}
	spec := &processor.StoreSpec{Spec: store.Spec{Name: "counts"}}
	return &processor.Plan{
		Nodes:        []*processor.Node{source, count},
		Stores:       []*processor.StoreSpec{spec},
		Repartitions: []*processor.RepartitionTopic{{Name: "b", Partitions: 3}},
		Subtopologies: []*processor.Subtopology{
			{Nodes: []*processor.Node{source, count}, Stores: []*processor.StoreSpec{spec}, SourceTopics: source.Topics},
		},
	}
}

// TestFingerprintIsPinned fails if the hash of an unchanged plan changes: snapshots carry it.
func TestFingerprintIsPinned(t *testing.T) {
	require.Equal(t, "9f87ae3745f4d812245d6d82b3e0ffdf7580b4c0958ef4d4d9d90dae4ae94a4a", examplePlan().Fingerprint())
}

func TestFingerprintSeesStructureOnly(t *testing.T) {
	base := examplePlan().Fingerprint()
	for name, change := range map[string]func(p *processor.Plan){
		"node name":      func(p *processor.Plan) { p.Nodes[0].Name = "other" },
		"kind":           func(p *processor.Plan) { p.Nodes[1].Kind = processor.SinkNode },
		"topics":         func(p *processor.Plan) { p.Nodes[0].Topics = []string{"ab"} },
		"child":          func(p *processor.Plan) { p.Nodes[0].Children = nil },
		"store":          func(p *processor.Plan) { p.Stores[0].Name = "other" },
		"logging":        func(p *processor.Plan) { p.Stores[0].LoggingDisabled = true },
		"partitions":     func(p *processor.Plan) { p.Repartitions[0].Partitions = 4 },
		"subtopology id": func(p *processor.Plan) { p.Subtopologies[0].ID = 1 },
	} {
		p := examplePlan()
		change(p)
		require.NotEqual(t, base, p.Fingerprint(), name)
	}
	for name, change := range map[string]func(p *processor.Plan){
		"position": func(p *processor.Plan) { p.Nodes[0].Position = "y.go:2" },
		"caching":  func(p *processor.Plan) { p.Stores[0].CachingEnabled = true },
		"memory":   func(p *processor.Plan) { p.Stores[0].InMemory = true },
	} {
		p := examplePlan()
		change(p)
		require.Equal(t, base, p.Fingerprint(), name)
	}
}
