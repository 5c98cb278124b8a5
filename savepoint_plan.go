package tidemark

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// A start from a savepoint needs little of a topology: which topics and stores there are, and how rows are partitioned.
// Manifests have it, so that a savepoint can be restored without the program. Here is the way there and back.

// topologyOf is what a manifest says of a plan.
func topologyOf(plan *processor.Plan) *checkpointing.Topology {
	t := &checkpointing.Topology{}
	for _, sub := range plan.Subtopologies {
		t.Subtopologies = append(t.Subtopologies, checkpointing.Subtopology{
			ID: sub.ID, Sources: sub.SourceTopics, Patterns: sub.Patterns(), Sinks: sub.SinkTopics,
		})
	}
	for _, r := range plan.Repartitions {
		t.Repartitions = append(t.Repartitions, checkpointing.Repartition{Name: r.Name, Partitions: r.Partitions})
	}
	for _, j := range plan.ForeignKeyJoins {
		t.ForeignKeyJoins = append(t.ForeignKeyJoins, checkpointing.ForeignKeyJoin(j))
	}
	return t
}

// storeInfo is what a manifest says of a store.
func storeInfo(s *processor.StoreSpec, subtopology int32, plan *processor.Plan) checkpointing.StoreInfo {
	return checkpointing.StoreInfo{
		Name: s.Name, Subtopology: subtopology, Type: snapshotType(s), KeySerde: s.KeySerde, ValueSerde: s.ValueSerde,
		SourceTopic: s.SourceTopic, RetentionMs: s.Retention.Milliseconds(),
		HistoryRetentionMs: s.HistoryRetention.Milliseconds(), ChangelogConfig: s.ChangelogConfig,
		Rows: s.Rows, KeyWindows: s.KeyWindows,
		OwnPartitionKey: s.PartitionKey != nil && subscribersOf(plan, s.Name) == nil,
	}
}

// subscribersOf returns the foreign-key join whose subscriptions a store has, nil if it has none.
func subscribersOf(plan *processor.Plan, storeName string) *processor.ForeignKeyJoin {
	for i := range plan.ForeignKeyJoins {
		if plan.ForeignKeyJoins[i].Subscribers == storeName {
			return &plan.ForeignKeyJoins[i]
		}
	}
	return nil
}

// planOf makes a plan of a manifest, without nodes and functions: enough to start from it, and not to run.
func planOf(m *checkpointing.Manifest) (*processor.Plan, error) {
	const position = "the savepoint"
	plan := &processor.Plan{}
	for _, r := range m.Topology.Repartitions {
		if r.Name == "" || r.Partitions < 0 {
			return nil, fmt.Errorf("the repartition topic %q has %d partitions", r.Name, r.Partitions)
		}
		plan.Repartitions = append(plan.Repartitions, &processor.RepartitionTopic{
			Name: r.Name, Partitions: r.Partitions, Position: position,
		})
	}
	for _, j := range m.Topology.ForeignKeyJoins {
		if j.LeftWindowBytes < 0 {
			return nil, fmt.Errorf("the foreign-key join of %q has keys with %d bytes of windows", j.Subscribers,
				j.LeftWindowBytes)
		}
		plan.ForeignKeyJoins = append(plan.ForeignKeyJoins, processor.ForeignKeyJoin(j))
	}
	for _, t := range m.Topology.Subtopologies {
		sub, err := subtopologyOf(t, plan, position)
		if err != nil {
			return nil, err
		}
		for _, was := range m.Stores {
			if was.Subtopology != t.ID {
				continue
			}
			spec, err := specOf(was, plan)
			if err != nil {
				return nil, err
			}
			sub.Stores = append(sub.Stores, &processor.StoreSpec{Spec: spec, Position: position})
		}
		plan.Subtopologies = append(plan.Subtopologies, sub)
	}
	return plan, nil
}

// subtopologyOf makes a sub-topology of a manifest, without stores. Of its nodes it has the sources with a pattern,
// which will match what is there at the restore.
func subtopologyOf(
	t checkpointing.Subtopology, plan *processor.Plan, position string,
) (*processor.Subtopology, error) {
	look := topics{plan: plan}
	if len(t.Sources)+len(t.Patterns) == 0 {
		return nil, fmt.Errorf("sub-topology %d reads nothing", t.ID)
	}
	sub := &processor.Subtopology{ID: t.ID, SourceTopics: slices.Clone(t.Sources), SinkTopics: t.Sinks}
	for i, pattern := range t.Patterns {
		re, err := processor.CompilePattern(pattern)
		if pattern == "" {
			err = errors.New("a pattern is empty")
		}
		if err != nil {
			return nil, fmt.Errorf("sub-topology %d: %w", t.ID, err)
		}
		n := &processor.Node{Name: fmt.Sprintf("pattern %d", i+1), Pattern: pattern, Position: position}
		for _, topic := range t.Sources {
			if re.MatchString(topic) && !look.internal(topic) {
				n.Topics = append(n.Topics, topic)
			}
		}
		sub.Nodes = append(sub.Nodes, n)
	}
	return sub, nil
}

// specOf makes the spec of a store, without what makes the store.
func specOf(was checkpointing.StoreInfo, plan *processor.Plan) (store.Spec, error) {
	spec := store.Spec{
		Name: was.Name, Type: was.Type, KeySerde: was.KeySerde, ValueSerde: was.ValueSerde, SourceTopic: was.SourceTopic,
		LoggingDisabled: was.Changelog == "" && was.SourceTopic == "",
		Retention:       time.Duration(was.RetentionMs) * time.Millisecond,
		ChangelogConfig: was.ChangelogConfig, Rows: was.Rows, KeyWindows: was.KeyWindows,
		HistoryRetention: time.Duration(was.HistoryRetentionMs) * time.Millisecond,
	}
	negative := slices.ContainsFunc(was.KeyWindows, func(n int) bool { return n < 0 })
	if was.Name == "" || was.RetentionMs < 0 || was.HistoryRetentionMs < 0 || negative {
		return spec, fmt.Errorf("the store %q keeps rows for %v and history for %v, and its keys have windows of %d bytes",
			was.Name, spec.Retention, spec.HistoryRetention, was.KeyWindows)
	}
	switch {
	case subscribersOf(plan, was.Name) != nil:
		spec.PartitionKey = topology.SubscriptionPartitionKey
	case was.OwnPartitionKey:
		spec.PartitionKey = func([]byte) ([]byte, error) { return nil, errOwnPartitionKey }
	}
	return spec, nil
}
