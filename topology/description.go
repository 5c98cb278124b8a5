package topology

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
)

// descriptionVersion is the version of the JSON form, see docs/format/topology-description.md.
const descriptionVersion = 1

// Description is what a topology consists of, as plain data: all of its plan but the functions. Its JSON form is stable
// and documented (docs/format/topology-description.md), for tools and for the comparison of two versions of a program
// ([Diff]). Lists stand in order of declaration; topics by name.
type Description struct {
	Version int `json:"version"`
	// Fingerprint is [processor.Plan.Fingerprint]: instances with different ones do not work together.
	Fingerprint   string                   `json:"fingerprint"`
	Subtopologies []SubtopologyDescription `json:"subtopologies"`
	Stores        []StoreDescription       `json:"stores"`
	Topics        []TopicDescription       `json:"topics"`
}

// SubtopologyDescription is a part of the topology that runs in one task per partition.
type SubtopologyDescription struct {
	ID    int32             `json:"id"`
	Nodes []NodeDescription `json:"nodes"`
}

// NodeDescription is a node.
type NodeDescription struct {
	Name string `json:"name"`
	// Kind is "source", "processor" or "sink".
	Kind string `json:"kind"`
	// Operator is the function or method that declared it.
	Operator string   `json:"operator"`
	Topics   []string `json:"topics,omitempty"`
	// Pattern is the regular expression by which a source reads topics. Which ones match is not told.
	Pattern string `json:"pattern,omitempty"`
	// Chooser names the function by which a sink chooses the topic of each record.
	Chooser string `json:"chooser,omitempty"`
	// External says what system outside of Kafka a sink writes to.
	External string   `json:"external,omitempty"`
	Stores   []string `json:"stores,omitempty"`
	Children []string `json:"children,omitempty"`
}

// StoreDescription is a store.
type StoreDescription struct {
	Name string `json:"name"`
	// Type is what kind of store it is, "key-value" for one; "" for one that does not tell.
	Type       string `json:"type"`
	KeySerde   string `json:"keySerde,omitempty"`
	ValueSerde string `json:"valueSerde,omitempty"`
	// Subtopology is whose tasks have the store.
	Subtopology int32 `json:"subtopology"`
	Caching     bool  `json:"caching"`
	// Logging says that what is in the store survives the loss of the machine: in Changelog, or in SourceTopic.
	Logging  bool `json:"logging"`
	InMemory bool `json:"inMemory"`
	// Changelog is the changelog topic without the application id, SourceTopic the input topic that serves as one.
	Changelog       string            `json:"changelog,omitempty"`
	SourceTopic     string            `json:"sourceTopic,omitempty"`
	ChangelogConfig map[string]string `json:"changelogConfig,omitempty"`
}

// TopicDescription is a topic that is read or written, other than changelogs.
type TopicDescription struct {
	// Name stands without the application id if the topic is internal.
	Name string `json:"name"`
	// Repartition says that the topic is an internal one between two sub-topologies.
	Repartition bool `json:"repartition"`
	Read        bool `json:"read"`
	Written     bool `json:"written"`
	// Partitions is 0 where it is not known: what the user has fixed, or what the brokers said.
	Partitions int32 `json:"partitions,omitempty"`
}

// NewDescription describes a plan.
func NewDescription(p *processor.Plan) *Description {
	d := &Description{
		Version: descriptionVersion, Fingerprint: p.Fingerprint(),
		Subtopologies: []SubtopologyDescription{}, Stores: []StoreDescription{}, Topics: []TopicDescription{},
	}
	topics := make(map[string]TopicDescription)
	for _, sub := range p.Subtopologies {
		s := SubtopologyDescription{ID: sub.ID}
		for _, n := range sub.Nodes {
			s.Nodes = append(s.Nodes, describeNode(n))
			if n.Pattern != "" {
				continue
			}
			for _, name := range n.Topics {
				t := topics[name]
				t.Name = name
				t.Read = t.Read || n.Kind == processor.SourceNode
				t.Written = t.Written || n.Kind == processor.SinkNode
				topics[name] = t
			}
		}
		d.Subtopologies = append(d.Subtopologies, s)
		for _, st := range sub.Stores {
			d.Stores = append(d.Stores, describeStore(st, sub.ID))
		}
	}
	for _, r := range p.Repartitions {
		t := topics[r.Name]
		t.Repartition, t.Partitions = true, r.Partitions
		topics[r.Name] = t
	}
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		d.Topics = append(d.Topics, topics[name])
	}
	return d
}

func describeNode(n *processor.Node) NodeDescription {
	kind := "processor"
	switch n.Kind {
	case processor.SourceNode:
		kind = "source"
	case processor.SinkNode:
		kind = "sink"
	case processor.ProcessorNode:
	}
	d := NodeDescription{
		Name: n.Name, Kind: kind, Operator: n.Operator, Topics: n.Topics, Pattern: n.Pattern, Chooser: n.Chooser,
		External: n.External, Stores: n.Stores, Children: n.Children,
	}
	if n.Pattern != "" {
		d.Topics = nil
	}
	return d
}

func describeStore(s *processor.StoreSpec, subtopology int32) StoreDescription {
	d := StoreDescription{
		Name: s.Name, Type: s.Type, KeySerde: s.KeySerde, ValueSerde: s.ValueSerde, Subtopology: subtopology,
		Caching: s.CachingEnabled, Logging: !s.LoggingDisabled, InMemory: s.InMemory, SourceTopic: s.SourceTopic,
		ChangelogConfig: s.ChangelogConfig,
	}
	if s.Changelogged() {
		d.Changelog = s.Name + "-changelog"
	}
	return d
}

// JSON returns the JSON form, indented.
func (d *Description) JSON() ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("topology: encode a description: %w", err)
	}
	return out.Bytes(), nil
}

// ParseDescription reads the JSON form. Fields that it does not know are passed over; another version is an error.
func ParseDescription(data []byte) (*Description, error) {
	d := &Description{}
	if err := json.Unmarshal(data, d); err != nil {
		return nil, fmt.Errorf("topology: not a description of a topology: %w", err)
	}
	if d.Version != descriptionVersion {
		return nil, fmt.Errorf("topology: the description has version %d, and this build reads version %d: use the build "+
			"that wrote it, or a newer one", d.Version, descriptionVersion)
	}
	return d, nil
}
