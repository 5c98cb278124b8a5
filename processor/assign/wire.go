package assign

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/record"
)

// Version is the newest format of user data that this build writes and reads; OldestVersion the oldest. The leader
// answers in the oldest version that any member writes ([CommonVersion]), so a rolling upgrade works in both
// directions as long as the ranges of both builds overlap.
const (
	Version       = 1
	OldestVersion = 1
)

// Limits of what the decoder accepts. A group of this size does not fit the broker's message limit anyway.
const (
	tasksMax       = 1 << 20
	stringBytesMax = 1 << 12
)

// ErrVersion says: user data of a version that this build does not know.
var ErrVersion = errors.New("unknown version")

// ErrMalformed says: user data that is not ours, or damaged.
var ErrMalformed = errors.New("malformed user data")

// Subscription is what a member tells the leader (user data of JoinGroup).
//
// version u8 | process id string | fingerprint string | workers uvarint | owned tasks | previous tasks | attempt
// uvarint
//
// A string is its length as uvarint and its bytes; tasks are their number and, for each, sub-topology and partition as
// uvarints. A version may add fields at the end; a reader of version n ignores what follows the fields of version n
// only if the version byte is larger, which it never accepts today: see [ErrVersion].
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
}

// Assignment is what the leader tells a member (user data of SyncGroup).
//
//	version u8 | fingerprint string | total uvarint | tasks | refusal string
type Assignment struct {
	Version byte
	// Fingerprint is that of the topology whose tasks these are. A static member that comes back gets its former
	// assignment from the coordinator's memory, even if it runs another topology now.
	Fingerprint string
	// Total is how many tasks the leader knows of; 0: none, or the leader cannot tell. A member that knows of another
	// number asks for a rebalance.
	Total int
	Tasks []record.TaskID
	// Refusal is why the member gets nothing and has to end; empty for members that take part.
	Refusal string
}

// AppendSubscription appends the encoding of s in the newest version.
func AppendSubscription(dst []byte, s Subscription) []byte {
	dst = append(dst, Version)
	dst = appendString(dst, s.ProcessID)
	dst = appendString(dst, s.Fingerprint)
	dst = binary.AppendUvarint(dst, uint64(max(s.Workers, 0)))
	dst = appendTasks(dst, s.Owned)
	dst = appendTasks(dst, s.Previous)
	return binary.AppendUvarint(dst, uint64(max(s.Attempt, 0)))
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
	return appendString(dst, a.Refusal[:min(len(a.Refusal), stringBytesMax)])
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
	if err := d.end(); err != nil {
		return Assignment{}, fmt.Errorf("assign: assignment: %w", err)
	}
	return a, nil
}

// CommonVersion returns the version in which the leader has to answer: the oldest that any member wrote.
func CommonVersion(subs []Subscription) byte {
	v := byte(Version)
	for i := range subs {
		v = min(v, subs[i].Version)
	}
	return max(v, OldestVersion)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendTasks(dst []byte, tasks []record.TaskID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(tasks)))
	for _, t := range tasks {
		dst = binary.AppendUvarint(dst, uint64(uint32(t.Subtopology)))
		dst = binary.AppendUvarint(dst, uint64(uint32(t.Partition)))
	}
	return dst
}

// decoder reads fields until the first error, which end reports.
type decoder struct {
	data []byte
	err  error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.data = nil
}

func (d *decoder) version() byte {
	if len(d.data) == 0 {
		d.fail(fmt.Errorf("%w: empty", ErrMalformed))
		return 0
	}
	v := d.data[0]
	d.data = d.data[1:]
	if v < OldestVersion || v > Version {
		d.fail(fmt.Errorf("%w %d, this build reads %d to %d: upgrade the older members of the group first",
			ErrVersion, v, OldestVersion, Version))
	}
	return v
}

func (d *decoder) uvarint() uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.fail(fmt.Errorf("%w: truncated", ErrMalformed))
		return 0
	}
	d.data = d.data[n:]
	return v
}

// small reads a number that counts things.
func (d *decoder) small(what string) int {
	n := d.uvarint()
	if n > tasksMax {
		d.fail(fmt.Errorf("%w: %d %s", ErrMalformed, n, what))
		return 0
	}
	return int(n)
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > stringBytesMax || n > uint64(len(d.data)) {
		d.fail(fmt.Errorf("%w: string of %d bytes in %d", ErrMalformed, n, len(d.data)))
		return ""
	}
	s := string(d.data[:n])
	d.data = d.data[n:]
	return s
}

func (d *decoder) tasks() []record.TaskID {
	n := d.uvarint()
	if n > tasksMax || n > uint64(len(d.data))/2 { // a task takes two bytes at least: no allocation on a lie
		d.fail(fmt.Errorf("%w: %d tasks in %d bytes", ErrMalformed, n, len(d.data)))
		return nil
	}
	if n == 0 {
		return nil
	}
	tasks := make([]record.TaskID, n)
	for i := range tasks {
		sub, part := d.uvarint(), d.uvarint()
		if sub > 1<<31-1 || part > 1<<31-1 {
			d.fail(fmt.Errorf("%w: task %d_%d", ErrMalformed, sub, part))
			return nil
		}
		tasks[i] = record.TaskID{Subtopology: int32(sub), Partition: int32(part)}
	}
	return tasks
}

func (d *decoder) end() error {
	if d.err == nil && len(d.data) > 0 {
		d.fail(fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(d.data)))
	}
	return d.err
}
