package assign

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/record"
)

// Version is the newest format of user data that this build writes and reads; OldestVersion the oldest.
//
// A newer version only appends fields, so a reader of version n reads a message of any version from n on and ignores
// what follows the fields that it knows. Members write the newest version they have, and the leader answers in the
// oldest that any member writes ([CommonVersion]): whoever leads, old or new, a rolling upgrade works in both
// directions. Version 1 was never released.
const (
	Version       = 3
	OldestVersion = 2
)

// version3 is the first version with a digest of the inputs, and with members that leave.
const version3 = 3

// ErrVersion says: user data of a version that this build does not know.
var ErrVersion = errors.New("unknown version")

// ErrMalformed says: user data that is not ours, or damaged.
var ErrMalformed = errors.New("malformed user data")

// Subscription is what a member tells the leader (user data of JoinGroup). Its fields are those of [Member]; how they
// are written is in docs/format/assignment-data.md.
type Subscription struct {
	// Version is the version that the member wrote; set by DecodeSubscription.
	Version     byte
	ProcessID   string
	Fingerprint string
	Workers     int
	Owned       []record.TaskID
	Previous    []record.TaskID
	// Attempt makes a subscription differ from the one before: the coordinator answers a member that joins again with
	// an unchanged subscription from memory, without asking the leader.
	Attempt int
	// Positions are those of tasks in Previous; the others, and negative ones, are not written.
	Positions map[record.TaskID]int64
	Following []record.TaskID
	Warming   []record.TaskID
	Ready     []record.TaskID
	// Endpoint is where the member answers queries, "host:port" (application.server); "" if it does not. Not read by
	// the leader but by whoever describes the group.
	Endpoint string
	Tags     map[string]string
	// Inputs is a digest of all inputs of all tasks as the member knows them, so that members notice who knows others;
	// 0: it does not say. Since version 3.
	Inputs uint64
	// Leaving says that the member waits for others to take its tasks, and then leaves. Since version 3.
	Leaving bool
}

// Member returns what the leader works with, of a subscription with the given place in the group.
func (s *Subscription) Member(id, instanceID string, generation int32) Member {
	return Member{
		ID: id, InstanceID: instanceID, ProcessID: s.ProcessID, Workers: s.Workers, Fingerprint: s.Fingerprint,
		Owned: s.Owned, Generation: generation, Previous: s.Previous, Positions: s.Positions, Following: s.Following,
		Warming: s.Warming, Ready: s.Ready, Tags: s.Tags, Leaving: s.Leaving,
	}
}

// Assignment is what the leader tells a member (user data of SyncGroup).
type Assignment struct {
	Version byte
	// Fingerprint is that of the topology whose tasks these are. A static member that comes back gets its former
	// assignment from the coordinator's memory, even if it runs another topology now.
	Fingerprint string
	// Total is how many tasks the leader knows of; 0: none, or the leader cannot tell. A member that knows of another
	// number asks for a rebalance.
	Total int
	// Tasks are those to run.
	Tasks []record.TaskID
	// Refusal is why the member gets nothing and has to end; empty for members that take part.
	Refusal string
	// Standby and Warmup are the tasks of which the member keeps a copy of the state, see [Placement].
	Standby []record.TaskID
	Warmup  []record.TaskID
	// Leave answers Leaving: nobody needs the member any more, or nobody can take its tasks.
	Leave bool
	// Pending says that another rebalance follows soon, since a hand-over is under way: members heartbeat fast.
	Pending bool
	// Inputs is the digest of the inputs that the leader assigned, as in [Subscription]; 0: it does not say. A member that
	// comes back may get an assignment from the coordinator's memory that was made from other inputs than there are now,
	// also when its own tasks have the same ones. Since version 3.
	Inputs uint64
}

// AppendSubscription appends the encoding of s in the newest version.
func AppendSubscription(dst []byte, s Subscription) []byte {
	dst = append(dst, Version)
	dst = appendString(dst, s.ProcessID)
	dst = appendString(dst, s.Fingerprint)
	dst = binary.AppendUvarint(dst, uint64(max(s.Workers, 0)))
	dst = appendTasks(dst, s.Owned)
	dst = appendTasks(dst, s.Previous)
	dst = binary.AppendUvarint(dst, uint64(max(s.Attempt, 0)))
	dst = appendPositions(dst, s.Previous, s.Positions)
	dst = appendTasks(dst, s.Following)
	dst = appendTasks(dst, s.Warming)
	dst = appendTasks(dst, s.Ready)
	dst = appendString(dst, s.Endpoint)
	dst = appendTags(dst, s.Tags)
	dst = binary.AppendUvarint(dst, s.Inputs)
	return appendBool(dst, s.Leaving)
}

// DecodeSubscription decodes what a member sent.
func DecodeSubscription(data []byte) (Subscription, error) {
	d := decoder{data: data}
	s := Subscription{Version: d.version()}
	s.ProcessID = d.string()
	s.Fingerprint = d.string()
	s.Workers = d.small("workers")
	s.Owned = d.tasks()
	s.Previous = d.tasks()
	s.Attempt = d.small("attempts")
	s.Positions = d.positions(s.Previous)
	s.Following = d.tasks()
	s.Warming = d.tasks()
	s.Ready = d.tasks()
	s.Endpoint = d.string()
	s.Tags = d.tags()
	if s.Version >= version3 {
		s.Inputs = d.uvarint()
		s.Leaving = d.bool()
	}
	if err := d.end(); err != nil {
		return Subscription{}, fmt.Errorf("assign: subscription: %w", err)
	}
	return s, nil
}

// AppendAssignment appends the encoding of a in its version, which must come from [CommonVersion].
func AppendAssignment(dst []byte, a Assignment) []byte {
	dst = append(dst, a.Version)
	dst = appendString(dst, a.Fingerprint)
	dst = binary.AppendUvarint(dst, uint64(max(a.Total, 0)))
	dst = appendTasks(dst, a.Tasks)
	dst = appendString(dst, a.Refusal)
	dst = appendTasks(dst, a.Standby)
	dst = appendTasks(dst, a.Warmup)
	dst = appendBool(dst, a.Pending)
	if a.Version >= version3 {
		dst = binary.AppendUvarint(dst, a.Inputs)
		dst = appendBool(dst, a.Leave)
	}
	return dst
}

// DecodeAssignment decodes what the leader sent. Empty data is an empty assignment: a broker may answer so a member
// that the leader did not know.
func DecodeAssignment(data []byte) (Assignment, error) {
	if len(data) == 0 {
		return Assignment{Version: Version}, nil
	}
	d := decoder{data: data}
	a := Assignment{Version: d.version()}
	a.Fingerprint = d.string()
	a.Total = d.small("tasks in total")
	a.Tasks = d.tasks()
	a.Refusal = d.string()
	a.Standby = d.tasks()
	a.Warmup = d.tasks()
	a.Pending = d.bool()
	if a.Version >= version3 {
		a.Inputs = d.uvarint()
		a.Leave = d.bool()
	}
	if err := d.end(); err != nil {
		return Assignment{}, fmt.Errorf("assign: assignment: %w", err)
	}
	return a, nil
}

// CommonVersion returns the version in which the leader has to answer: the oldest that any member wrote, and none that
// this build does not write.
func CommonVersion(subs []Subscription) byte {
	v := byte(Version)
	for i := range subs {
		v = min(v, subs[i].Version)
	}
	return max(v, OldestVersion)
}
