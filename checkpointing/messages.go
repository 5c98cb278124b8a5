package checkpointing

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/record"
)

// messageVersion is the version of the control topic's messages, see docs/format/control-topic.md.
const messageVersion = 1

// ErrNewerMessage says that a message on the control topic was written by a newer version of this library.
var ErrNewerMessage = errors.New("the message is of a newer version")

// Message is one record of the control topic. A nil Value deletes the key.
type Message struct {
	Key   string
	Value []byte
}

// The kinds of keys. Behind the slash is an id: of a checkpoint, and for acks of a task too, or of a command.
const (
	keyTrigger   = "trigger/"
	keyAck       = "ack/"
	keyCompleted = "completed/"
	keyAborted   = "aborted/"
	keyCommand   = "command/"
	keyResult    = "result/"
	keyConfig    = "config"
	keyStop      = "stop"
	keyFailed    = "failed"
)

// Trigger asks all tasks for their part of a checkpoint.
type Trigger struct {
	V  int   `json:"v"`
	ID int64 `json:"id"`
	// Base is the last completed checkpoint, whose files an incremental snapshot may build on. 0: a full one is wanted.
	Base int64 `json:"base,omitempty"`
	// Savepoint: self-contained, aligned, in a folder of its own.
	Savepoint bool `json:"savepoint,omitempty"`
	// Stop: tasks process nothing behind their cut until they hear how the savepoint ended (stop-with-savepoint).
	Stop bool `json:"stop,omitempty"`
	// Location is the folder of its files in the storage, as in "app/chk-17".
	Location string `json:"location"`
	// Unaligned: no record is held back, tasks cut at the first barrier.
	Unaligned bool `json:"unaligned,omitempty"`
	// AlignedTimeoutMs is after how long an aligned task cuts all the same. 0: it waits for every barrier.
	AlignedTimeoutMs int64 `json:"alignedTimeoutMs,omitempty"`
	Incremental      bool  `json:"incremental,omitempty"`
	TriggeredMs      int64 `json:"triggeredMs"`
	TimeoutMs        int64 `json:"timeoutMs"`
	// Tasks are how many tasks each sub-topology has: what the checkpoint consists of.
	Tasks       map[int32]int32 `json:"tasks"`
	Fingerprint string          `json:"fingerprint,omitempty"`
	// Command is the id of the command that asked for it, "" for periodic ones.
	Command string `json:"command,omitempty"`
}

// TaskCount is the number of tasks that must acknowledge.
func (t *Trigger) TaskCount() (n int) {
	for _, tasks := range t.Tasks {
		n += int(tasks)
	}
	return n
}

// Has reports whether a task belongs to the checkpoint.
func (t *Trigger) Has(id record.TaskID) bool {
	return id.Partition >= 0 && id.Partition < t.Tasks[id.Subtopology]
}

// taskIDs lists the tasks of the checkpoint, in order.
func (t *Trigger) taskIDs() []record.TaskID {
	ids := make([]record.TaskID, 0, t.TaskCount())
	for _, sub := range slices.Sorted(maps.Keys(t.Tasks)) {
		for p := range t.Tasks[sub] {
			ids = append(ids, record.TaskID{Subtopology: sub, Partition: p})
		}
	}
	return ids
}

// Barrier is what the tasks get.
func (t *Trigger) Barrier() Barrier {
	return Barrier{
		ID: t.ID, Unaligned: t.Unaligned, Stop: t.Stop, AlignedTimeoutMs: t.AlignedTimeoutMs, TimeoutMs: t.TimeoutMs,
		TriggeredMs: t.TriggeredMs,
	}
}

// Timeout is how long the checkpoint may take.
func (t *Trigger) Timeout() time.Duration { return time.Duration(t.TimeoutMs) * time.Millisecond }

// Ack is what a task has to say about a checkpoint: its snapshot, which is stored, or why there is none.
type Ack struct {
	V    int    `json:"v"`
	ID   int64  `json:"id"`
	Task string `json:"task"`
	// Instance names who wrote it, for people.
	Instance string        `json:"instance,omitempty"`
	AckMs    int64         `json:"ackMs"`
	Snapshot *TaskSnapshot `json:"snapshot,omitempty"`
	// Declined is why the task gives no snapshot. The checkpoint is then aborted.
	Declined string `json:"declined,omitempty"`
	// NotRunning: the task was being restored or moved, which is no failure of the checkpoint's.
	NotRunning bool `json:"notRunning,omitempty"`
}

// Completed says that the manifest of a checkpoint is published: from now on it can be restored from.
type Completed struct {
	V           int    `json:"v"`
	ID          int64  `json:"id"`
	Base        int64  `json:"base,omitempty"`
	Savepoint   bool   `json:"savepoint,omitempty"`
	Location    string `json:"location"`
	TriggeredMs int64  `json:"triggeredMs"`
	CompletedMs int64  `json:"completedMs"`
	// Bytes were stored by this checkpoint; StateBytes is what a restore reads, earlier increments included.
	Bytes      int64 `json:"bytes"`
	StateBytes int64 `json:"stateBytes"`
	// Tasks has the details, unless there are more than 1,000.
	Tasks []TaskStats `json:"tasks,omitempty"`
	// Retained are the checkpoints that are kept from now on, oldest first.
	Retained []int64 `json:"retained,omitempty"`
	// Needs are the places in repartition topics where the in-flight records of this checkpoint begin: below them may
	// be purged, behind them not while it is retained.
	Needs   []Need `json:"needs,omitempty"`
	Command string `json:"command,omitempty"`
}

// Need is the first offset of a repartition topic's partition that a checkpoint refers to.
type Need struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// TaskStats is what a task's part of a checkpoint took.
type TaskStats struct {
	Task         string `json:"task"`
	AckMs        int64  `json:"ackMs"` // since the trigger
	StartDelayMs int64  `json:"startDelayMs"`
	AlignmentMs  int64  `json:"alignmentMs"`
	SyncMs       int64  `json:"syncMs"`
	AsyncMs      int64  `json:"asyncMs"`
	Bytes        int64  `json:"bytes"`      // stored by this checkpoint
	StateBytes   int64  `json:"stateBytes"` // all files
	Full         bool   `json:"full,omitempty"`
	Unaligned    bool   `json:"unaligned,omitempty"`
}

// Aborted says that a checkpoint will not complete: barriers of it are ignored, and its files deleted.
type Aborted struct {
	V           int    `json:"v"`
	ID          int64  `json:"id"`
	Savepoint   bool   `json:"savepoint,omitempty"`
	TriggeredMs int64  `json:"triggeredMs"`
	AbortedMs   int64  `json:"abortedMs"`
	Reason      string `json:"reason"`
	// Location is where it has left files, which are deleted.
	Location string `json:"location"`
	// Counted: it counts as a failure for TolerableFailed.
	Counted bool `json:"counted,omitempty"`
	// Acked of Tasks had acknowledged.
	Acked   int    `json:"acked"`
	Tasks   int    `json:"tasks"`
	Command string `json:"command,omitempty"`
}

// CommandKind is what a command asks for.
type CommandKind string

// Kinds of commands.
const (
	CommandCheckpoint CommandKind = "checkpoint" // one more checkpoint, out of turn
	CommandSavepoint  CommandKind = "savepoint"
	CommandStop       CommandKind = "stop-with-savepoint"
	CommandCancel     CommandKind = "cancel" // stop without a savepoint
	CommandConfigure  CommandKind = "configure"
)

// Command asks the coordinator for something, from the API or the command line.
type Command struct {
	V           int         `json:"v"`
	ID          string      `json:"id"`
	Kind        CommandKind `json:"kind"`
	RequestedMs int64       `json:"requestedMs"`
	// ExpiresMs is when nobody waits for it any more: if it has not begun by then, it will not. 0: never.
	ExpiresMs int64 `json:"expiresMs,omitempty"`
	// TimeoutMs bounds the checkpoint or savepoint; 0: as configured.
	TimeoutMs int64 `json:"timeoutMs,omitempty"`
	// Full asks for a checkpoint that builds on no other.
	Full bool `json:"full,omitempty"`
	// Overrides are for CommandConfigure.
	Overrides *Overrides `json:"overrides,omitempty"`
}

// Result answers a command.
type Result struct {
	V          int    `json:"v"`
	Command    string `json:"command"`
	FinishedMs int64  `json:"finishedMs"`
	// Checkpoint and Location say what was made.
	Checkpoint int64  `json:"checkpoint,omitempty"`
	Location   string `json:"location,omitempty"`
	Error      string `json:"error,omitempty"`
}

// Stop says that the application ends: every instance closes.
type Stop struct {
	V         int    `json:"v"`
	StoppedMs int64  `json:"stoppedMs"`
	Command   string `json:"command"`
	// Savepoint is its location, "" without one.
	Savepoint string `json:"savepoint,omitempty"`
}

// Failed says that more checkpoints failed in a row than TolerableFailed: every instance fails.
type Failed struct {
	V        int    `json:"v"`
	FailedMs int64  `json:"failedMs"`
	ID       int64  `json:"id"` // the last one that failed
	Failures int    `json:"failures"`
	Reason   string `json:"reason"`
}

// idKey is the key of a message about a checkpoint.
func idKey(kind string, id int64) string { return kind + strconv.FormatInt(id, 10) }

func ackKey(id int64, task string) string { return idKey(keyAck, id) + "/" + task }

// encode makes a message. The types of this file always marshal.
func encode(key string, value any) Message {
	data, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("checkpointing: encode %s: %v", key, err))
	}
	return Message{Key: key, Value: data}
}

// AckMessage is the message in which a task acknowledges or declines a checkpoint.
func AckMessage(a Ack) Message {
	a.V = messageVersion
	return encode(ackKey(a.ID, a.Task), a)
}

// CommandMessage is the message that gives the coordinator a command.
func CommandMessage(c Command) Message {
	c.V = messageVersion
	return encode(keyCommand+c.ID, c)
}

// CommandKeys are the keys that a command and its result have.
func CommandKeys(id string) (command, result string) { return keyCommand + id, keyResult + id }

// ParseResult decodes the value of a result.
func ParseResult(value []byte) (Result, error) {
	r, err := decodeMessage[Result](keyResult, value)
	if err != nil {
		return Result{}, err
	}
	return *r, nil
}

// decodeMessage decodes a value and checks its version.
func decodeMessage[T any](key string, value []byte) (*T, error) {
	var version struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(value, &version); err != nil {
		return nil, fmt.Errorf("checkpointing: message %q on the control topic: %w", key, err)
	}
	if version.V > messageVersion {
		return nil, fmt.Errorf("checkpointing: message %q on the control topic has version %d, and this program reads "+
			"up to %d: %w", key, version.V, messageVersion, ErrNewerMessage)
	}
	m := new(T)
	if err := json.Unmarshal(value, m); err != nil {
		return nil, fmt.Errorf("checkpointing: message %q on the control topic: %w", key, err)
	}
	return m, nil
}

// parseIDKey takes the id of a checkpoint out of a key of the given kind; rest is what follows a second slash.
func parseIDKey(key, kind string) (id int64, rest string, err error) {
	text, rest, _ := strings.Cut(strings.TrimPrefix(key, kind), "/")
	if id, err = strconv.ParseInt(text, 10, 64); err != nil || id <= 0 {
		return 0, "", fmt.Errorf("checkpointing: key %q on the control topic has no checkpoint id", key)
	}
	return id, rest, nil
}
