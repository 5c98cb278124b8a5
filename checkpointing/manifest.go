package checkpointing

import (
	"maps"
	"slices"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// Manifest is what makes a checkpoint or savepoint of the files in its folder: docs/format/manifest.md.
type Manifest struct {
	Kind Kind `json:"kind"`
	// ID grows from checkpoint to checkpoint; savepoints are counted with them.
	ID            int64  `json:"id"`
	ApplicationID string `json:"applicationId"`
	// Fingerprint is that of the topology.
	Fingerprint string `json:"fingerprint,omitempty"`
	// TriggeredMs and CompletedMs are by the coordinator's clock, in milliseconds since the Unix epoch.
	TriggeredMs int64 `json:"triggeredMs"`
	CompletedMs int64 `json:"completedMs"`
	// Base is the checkpoint that the increments build on; 0 if none does.
	Base int64 `json:"base,omitempty"`
	// Partitions are the input topics of the user, with their numbers of partitions.
	Partitions map[string]int32 `json:"partitions,omitempty"`
	// Stores are those of all tasks.
	Stores []StoreInfo `json:"stores,omitempty"`
	// Topology is what a start from it needs to know beside the stores; nil if the release that made it did not write it.
	Topology *Topology `json:"topology,omitempty"`
	// Tasks are in the order of their ids. All tasks of the application are here, also those without stores.
	Tasks []TaskSnapshot `json:"tasks"`

	// Location is the folder that it was read from; it is not in the file.
	Location string `json:"-"`
}

// StoreInfo describes a store of the topology, for whoever reads its rows without the program.
type StoreInfo struct {
	Name        string `json:"name"`
	Subtopology int32  `json:"subtopology"`
	// Type is that of [store.ChangelogRecords].
	Type string `json:"type"`
	// KeySerde and ValueSerde are for people.
	KeySerde      string `json:"keySerde,omitempty"`
	ValueSerde    string `json:"valueSerde,omitempty"`
	SchemaVersion int    `json:"schemaVersion,omitempty"`
	// Changelog is the topic of its changelog, "" if it has none.
	Changelog string `json:"changelog,omitempty"`
	// SourceTopic is the input topic that is its changelog, "" if none is.
	SourceTopic string `json:"sourceTopic,omitempty"`
	// RetentionMs and HistoryRetentionMs are those of [store.Spec], and so are the others.
	RetentionMs        int64             `json:"retentionMs,omitempty"`
	HistoryRetentionMs int64             `json:"historyRetentionMs,omitempty"`
	ChangelogConfig    map[string]string `json:"changelogConfig,omitempty"`
	Rows               store.RowLayout   `json:"rows,omitempty"`
	KeyWindows         []int             `json:"keyWindows,omitempty"`
	// OwnPartitionKey says that a function of the program finds what chose the partition of a key.
	OwnPartitionKey bool `json:"ownPartitionKey,omitempty"`
}

// Topology is what a topology consists of, as far as a start from a savepoint without the program needs it. Topics
// between sub-topologies stand without the application's id.
type Topology struct {
	Subtopologies   []Subtopology    `json:"subtopologies"`
	Repartitions    []Repartition    `json:"repartitions,omitempty"`
	ForeignKeyJoins []ForeignKeyJoin `json:"foreignKeyJoins,omitempty"`
}

// Subtopology is a part of a topology with tasks of its own.
type Subtopology struct {
	ID int32 `json:"id"`
	// Sources are the topics that it read, those that matched Patterns among them.
	Sources  []string `json:"sources"`
	Patterns []string `json:"patterns,omitempty"`
	Sinks    []string `json:"sinks,omitempty"`
}

// Repartition is a topic between sub-topologies.
type Repartition struct {
	Name string `json:"name"`
	// Partitions is how many the program asks for; 0: as many as follow from other topics.
	Partitions int32 `json:"partitions,omitempty"`
}

// ForeignKeyJoin is a join whose rows and messages name partitions; see docs/format/foreign-key-join.md.
type ForeignKeyJoin struct {
	// Subscribers is the store of subscriptions, Requests and Answers are the topics to it and back.
	Subscribers string `json:"subscribers"`
	Requests    string `json:"requests"`
	Answers     string `json:"answers"`
	// LeftWindowBytes is how many bytes at the end of a left key did not choose its partition.
	LeftWindowBytes int `json:"leftWindowBytes,omitempty"`
	// CustomPartitioner says that a function of the program chooses the partitions of foreign keys.
	CustomPartitioner bool `json:"customPartitioner,omitempty"`
}

// TaskSnapshot is a task's part of a checkpoint: its place in its inputs, and the files with its state, as of one
// committed epoch.
type TaskSnapshot struct {
	Task  record.TaskID `json:"task"`
	Epoch record.Epoch  `json:"epoch"`
	// WallTimeMs is when the epoch was committed.
	WallTimeMs int64 `json:"wallTimeMs"`
	// Changelog is, by [store.PositionKey], the offset behind the last changelog record that the files contain.
	Changelog map[string]int64 `json:"changelog,omitempty"`
	Inputs    []InputPosition  `json:"inputs,omitempty"`
	InFlight  []Range          `json:"inFlight,omitempty"`
	// Files hold the state: the full one, then increments, the newest last. None: the task has no stores.
	Files []File `json:"files,omitempty"`
	// InFlightFile holds copies of the records in flight. Only savepoints have it, and only if something was in flight.
	InFlightFile *File `json:"inFlightFile,omitempty"`
	// Beside are names of files that later checkpoints may refer to, and of the indexes of files. They may exist or not.
	Beside  []string `json:"beside,omitempty"`
	Timings Timings  `json:"timings"`
	// Bytes is how much was stored for this checkpoint; the files of earlier ones are not in it.
	Bytes int64 `json:"bytes"`
	// Unaligned says that the cut did not wait for all barriers.
	Unaligned bool `json:"unaligned,omitempty"`
}

// FileKind says what is in a file.
type FileKind string

// The kinds of files.
const (
	FileFull        FileKind = "full"
	FileIncremental FileKind = "incremental"
	FileInFlight    FileKind = "in-flight"
)

// File is an object with entries, in the format of [store.WriteEntries], perhaps encrypted.
type File struct {
	// Name is that of the object. In the manifest it is relative to the manifest's folder.
	Name string   `json:"name"`
	Kind FileKind `json:"kind"`
	// Bytes and SHA256 are of the object as it is stored.
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
	Entries int64  `json:"entries"`
	// Version is that of the engine; it means something only to the task that made the file.
	Version uint64 `json:"version,omitempty"`
	// KeyID names the key that the object is encrypted with, "" if it is not.
	KeyID string `json:"keyId,omitempty"`

	// indexed says that this instance has stored an index of it. In manifests the index is one of TaskSnapshot.Beside.
	indexed bool
}

// Checkpoint is what a store directory made of the files contains.
func (t *TaskSnapshot) Checkpoint() store.Checkpoint {
	c := store.Checkpoint{
		Epoch: t.Epoch, WallTimeMs: t.WallTimeMs, Changelog: maps.Clone(t.Changelog),
		Inputs:      make(map[record.TopicPartition]int64, len(t.Inputs)),
		StreamTimes: make(map[record.TopicPartition]int64, len(t.Inputs)),
	}
	for _, in := range t.Inputs {
		tp := record.TopicPartition{Topic: in.Topic, Partition: in.Partition}
		c.Inputs[tp], c.StreamTimes[tp] = in.Offset, in.StreamTimeMs
	}
	return c
}

// all yields the files of the task.
func (t *TaskSnapshot) all(yield func(File) bool) {
	for _, f := range t.Files {
		if !yield(f) {
			return
		}
	}
	if t.InFlightFile != nil {
		yield(*t.InFlightFile)
	}
}

// StateBytes is what a restore of the task reads.
func (t *TaskSnapshot) StateBytes() (n int64) {
	for _, f := range t.Files {
		n += f.Bytes
	}
	return n
}

// StateEntries is the number of entries in the files: those that were written again count again.
func (t *TaskSnapshot) StateEntries() (n int64) {
	for _, f := range t.Files {
		n += f.Entries
	}
	return n
}

// Task finds a task's part.
func (m *Manifest) Task(id record.TaskID) (*TaskSnapshot, bool) {
	for i := range m.Tasks {
		if m.Tasks[i].Task == id {
			return &m.Tasks[i], true
		}
	}
	return nil, false
}

// TasksOf is the number of tasks of a sub-topology.
func (m *Manifest) TasksOf(subtopology int32) (n int32) {
	for i := range m.Tasks {
		if m.Tasks[i].Task.Subtopology == subtopology {
			n++
		}
	}
	return n
}

// Store finds a store.
func (m *Manifest) Store(name string) (StoreInfo, bool) {
	i := slices.IndexFunc(m.Stores, func(s StoreInfo) bool { return s.Name == name })
	if i < 0 {
		return StoreInfo{}, false
	}
	return m.Stores[i], true
}

// Files returns all files, also those in the folders of earlier checkpoints; each once.
func (m *Manifest) Files() []File {
	var files []File
	for i := range m.Tasks {
		m.Tasks[i].all(func(f File) bool {
			files = append(files, f)
			return true
		})
	}
	return files
}

// StateBytes is the size of all files.
func (m *Manifest) StateBytes() (n int64) {
	for _, f := range m.Files() {
		n += f.Bytes
	}
	return n
}

// Bytes is how much was stored for this checkpoint.
func (m *Manifest) Bytes() (n int64) {
	for i := range m.Tasks {
		n += m.Tasks[i].Bytes
	}
	return n
}

// refers yields the names of all objects that the manifest needs, and of those that later ones may need.
func (m *Manifest) refers(yield func(name string) bool) {
	for _, f := range m.Files() {
		if !yield(f.Name) {
			return
		}
	}
	for i := range m.Tasks {
		for _, name := range m.Tasks[i].Beside {
			if !yield(name) {
				return
			}
		}
	}
}
