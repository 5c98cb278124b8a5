package tidemark

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// Metadata says which instances an application has, and who has which tasks and stores (Kafka Streams'
// metadataForAllStreamsClients). It is what the group's coordinator knew at a time: a task may have moved since.
type Metadata struct {
	// Instances by endpoint and member id.
	Instances []InstanceMetadata
	// Stores of the topology that can be queried, by name.
	Stores []StoreMetadata
	// At is when the coordinator was asked.
	At time.Time
}

// InstanceMetadata is one member of the group.
type InstanceMetadata struct {
	// Endpoint is its Config.ApplicationServer; "" if it has none, and is not reached by queries.
	Endpoint string
	// MemberID and InstanceID are its names in the group; an instance that is no static member has no InstanceID.
	// ProcessID is that of its state directory.
	MemberID, InstanceID, ProcessID string
	// Active are the tasks that it runs, or is about to, and Standby those whose state it copies.
	Active, Standby []record.TaskID
	// WarmUp are those of Standby that are to run there once they have caught up, and Workers how many goroutines run the
	// tasks. Only App.Metadata has both, not that of a QueryClient.
	WarmUp  []record.TaskID
	Workers int
}

// TaskMetadata says who has a task (Kafka Streams' TaskMetadata, for the whole application).
type TaskMetadata struct {
	ID record.TaskID
	// Active runs the task, or is about to; nil if nobody does at present.
	Active *InstanceMetadata
	// Standbys copy its state; one that is a WarmUp there runs it next.
	Standbys []InstanceMetadata
}

// Tasks returns the tasks that any instance runs or copies, in order. One that moves may have nobody for a moment.
func (m *Metadata) Tasks() []TaskMetadata {
	byID := make(map[record.TaskID]*TaskMetadata)
	of := func(id record.TaskID) *TaskMetadata {
		if byID[id] == nil {
			byID[id] = &TaskMetadata{ID: id}
		}
		return byID[id]
	}
	for _, i := range m.Instances {
		for _, id := range i.Active {
			of(id).Active = &i
		}
		for _, id := range i.Standby {
			of(id).Standbys = append(of(id).Standbys, i)
		}
	}
	all := make([]TaskMetadata, 0, len(byID))
	for _, id := range slices.SortedFunc(maps.Keys(byID), record.TaskID.Compare) {
		all = append(all, *byID[id])
	}
	return all
}

// StoreMetadata is a store of the topology.
type StoreMetadata struct {
	Name string
	// Type is one of the types in package store.
	Type string
	// Global stores are whole on every instance. They have neither sub-topology nor partitions.
	Global      bool
	Subtopology int32
	Partitions  int32
	// KeyWindowBytes are at the end of an encoded key and did not choose its partition. -1: what did is no part of the
	// key, and a client has to choose the partition.
	KeyWindowBytes int
}

// KeyMetadata says who has a key (Kafka Streams' KeyQueryMetadata).
type KeyMetadata struct {
	// Partition of the store; -1 of a global one, which every instance has.
	Partition int32
	// Active runs the task of the key; nil if nobody does at present.
	Active *InstanceMetadata
	// Standbys copy its state.
	Standbys []InstanceMetadata
}

// Store returns what is known of a store.
func (m *Metadata) Store(name string) (StoreMetadata, bool) {
	i := slices.IndexFunc(m.Stores, func(s StoreMetadata) bool { return s.Name == name })
	if i < 0 {
		return StoreMetadata{}, false
	}
	return m.Stores[i], true
}

// WithStore returns the instances that have a part of a store, as owner or copy (streamsMetadataForStore).
func (m *Metadata) WithStore(name string) []InstanceMetadata {
	s, ok := m.Store(name)
	if !ok {
		return nil
	}
	var with []InstanceMetadata
	of := func(id record.TaskID) bool { return id.Subtopology == s.Subtopology }
	for _, i := range m.Instances {
		if s.Global || slices.ContainsFunc(i.Active, of) || slices.ContainsFunc(i.Standby, of) {
			with = append(with, i)
		}
	}
	return with
}

// Of returns who has a partition of a store (queryMetadataForKey, once the partition is known).
func (m *Metadata) Of(name string, partition int32) KeyMetadata {
	k := KeyMetadata{Partition: partition}
	s, ok := m.Store(name)
	if !ok {
		return k
	}
	id := record.TaskID{Subtopology: s.Subtopology, Partition: partition}
	for _, i := range m.Instances {
		switch {
		case s.Global, slices.Contains(i.Standby, id):
			k.Standbys = append(k.Standbys, i)
		case slices.Contains(i.Active, id):
			k.Active = &i
		}
	}
	return k
}

// Metadata returns the instances of the application and their tasks, as the group's coordinator knew them a few seconds
// ago at the most; while the group rebalances, as before. It fails if that was not found out yet, or the App does not
// run.
func (a *App) Metadata(ctx context.Context) (Metadata, error) {
	m, err := a.cluster.get(ctx, time.Time{})
	if err != nil {
		return Metadata{}, err
	}
	return m.Metadata, nil
}

// Locate returns who has a key of a store. The types are those of the store's keys.
func Locate[K any](ctx context.Context, a *App, storeName string, k K) (KeyMetadata, error) {
	m, err := a.Metadata(ctx)
	if err != nil {
		return KeyMetadata{}, err
	}
	if a.globalStore(storeName) != nil {
		return m.Of(storeName, anyPartition), nil
	}
	spec, err := a.storeSpec(storeName)
	if err != nil {
		return KeyMetadata{}, err
	}
	serdes, ok := spec.Serdes.(interface{ KeySerde() serde.Serde[K] })
	if !ok {
		return KeyMetadata{}, typeError(spec, fmt.Sprintf("keys of type %T", k))
	}
	key, err := serdes.KeySerde().Append(nil, k)
	if err != nil {
		return KeyMetadata{}, &store.CodecError{Store: storeName, Op: "encode key", Err: err}
	}
	s, ok := m.Store(storeName)
	if !ok || s.Partitions < 1 {
		return KeyMetadata{}, refuse(refusedElsewhere, a.State(), "tidemark: store %q has no partitions yet", storeName)
	}
	partition, err := partitionOfKey(spec, key, s.Partitions)
	if err != nil {
		return KeyMetadata{}, err
	}
	return m.Of(storeName, partition), nil
}

// partitionOfKey returns the partition of a store that has an encoded key.
func partitionOfKey(spec *store.Spec, key []byte, partitions int32) (int32, error) {
	by := key
	if spec.PartitionKey != nil {
		var err error
		if by, err = spec.PartitionKey(key); err != nil {
			return 0, fmt.Errorf("tidemark: store %q: which partition has the key: %w", spec.Name, err)
		}
	}
	windows := 0
	for _, n := range spec.KeyWindows {
		windows += n
	}
	if len(by) < windows {
		return 0, fmt.Errorf("tidemark: store %q: a key of %d bytes is too short for its windows", spec.Name, len(by))
	}
	return processor.DefaultPartition(by[:len(by)-windows], partitions), nil
}

// storeSpec returns a store of the tasks.
func (a *App) storeSpec(name string) (*store.Spec, error) {
	for _, sub := range a.plan.Subtopologies {
		for _, s := range sub.Stores {
			if s.Name == name {
				return &s.Spec, nil
			}
		}
	}
	if g := a.globalStore(name); g != nil {
		return g, nil
	}
	_, err := a.subtopologyOf(name)
	return nil, err
}

// globalStore returns a global store, nil if there is none of that name.
func (a *App) globalStore(name string) *store.Spec {
	for _, g := range a.plan.Globals {
		if g.Store.Name == name {
			return &g.Store.Spec
		}
	}
	return nil
}

// storesOf describes the stores that can be queried.
func (in *incarnation) storesOf() []StoreMetadata {
	var all []StoreMetadata
	counts := in.topics.taskCounts()
	for _, sub := range in.app.plan.Subtopologies {
		for _, s := range sub.Stores {
			m := StoreMetadata{Name: s.Name, Type: s.Type, Subtopology: sub.ID, Partitions: counts[sub.ID]}
			for _, n := range s.KeyWindows {
				m.KeyWindowBytes += n
			}
			if s.PartitionKey != nil {
				m.KeyWindowBytes = -1
			}
			if s.Serdes != nil {
				all = append(all, m)
			}
		}
	}
	for _, g := range in.app.plan.Globals {
		if g.Store.Serdes != nil {
			all = append(all, StoreMetadata{
				Name: g.Store.Name, Type: g.Store.Type, Global: true, Subtopology: record.GlobalTaskID().Subtopology,
			})
		}
	}
	slices.SortFunc(all, func(a, b StoreMetadata) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
