package eos

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/record"
)

// Metadata travels with every committed offset. It tells the next owner whose transaction to end should it still be
// open, and tells the owner itself, after a commit of unknown outcome, whether the offset is the one it sent. And
// it decides transactions in other systems (see [Sink]): what it names is committed.
//
// Its text form is "1;<transactional id>;<epoch>;<stream time>;<departed>"; the first field is the format version. With
// a checkpoint it is "2;<…the same…>;<checkpoint>;<ahead>", with sinks ";<prepared>" is behind that.
type Metadata struct {
	// TransactionalID of the owner, "" under at_least_once.
	TransactionalID string
	// Epoch of the task that this commit ended.
	Epoch record.Epoch
	// StreamTime of the partition in milliseconds, -1 if nothing was processed.
	StreamTime int64
	// Departed is the static instance id of an owner that has closed cleanly after this commit, "" while it runs. The
	// group keeps such a member until its session ends; a newcomer may let it go earlier.
	Departed string
	// Checkpoint is the newest checkpoint that the task has begun, by a barrier that it took or by its cut; 0 if there was
	// none. Who starts from here takes no part in it, nor in older ones.
	Checkpoint int64
	// Ahead is what is processed beyond the offset; nil if nothing is.
	Ahead *Ahead
	// Prepared is what the commit decides in other systems, empty if nothing is.
	Prepared Prepared
}

// Prepared says for which sinks an epoch has prepared transactions. With the task and the epoch, which are known where
// an offset is, that is their names.
type Prepared struct {
	Owner string
	Sinks []string
}

// Decides reports whether the commit has committed a transaction of the task whose offset this is.
func (m Metadata) Decides(n TransactionName) bool {
	return n.Epoch == m.Epoch && n.Owner == m.Prepared.Owner && slices.Contains(m.Prepared.Sinks, n.Sink)
}

// PreparedBytesMax bounds what Prepared may add to the text form.
const PreparedBytesMax = 400

// Bytes is how long the text form is.
func (p Prepared) Bytes() int { return len(p.encode()) + 1 }

func (p Prepared) encode() string { return p.Owner + ":" + strings.Join(p.Sinks, ",") }

func parsePrepared(s string) (p Prepared, err error) {
	owner, list, _ := strings.Cut(s, ":")
	p = Prepared{Owner: owner, Sinks: strings.Split(list, ",")}
	for _, part := range append(p.Sinks, p.Owner) {
		if !ValidSinkName(part) {
			return Prepared{}, fmt.Errorf("%.40q is no name", part)
		}
	}
	return p, nil
}

// Ahead says which records at and behind a committed offset are processed already. A task that holds back what some
// tasks have sent, because their barriers came early, goes on with what the others send. An Ahead is read-only.
type Ahead struct {
	// Next is behind the last record that was looked at: records before it are processed, …
	Next int64
	// Except … but not those of these tasks, which are processed up to the offset given here.
	Except map[record.TaskID]int64
}

// Processed tells whether the record of a task is processed. Nobody ever holds back a record without a known task.
func (a *Ahead) Processed(from record.TaskID, offset int64) bool {
	if a == nil || offset >= a.Next {
		return false
	}
	held, ok := a.Except[from]
	return !ok || offset < held
}

const (
	metadataVersion   = "1"
	metadataVersion2  = "2"
	exceptionBase     = 36
	exceptionBytesMax = 2 + 13 // separators, and the digits of the largest offset
)

// AheadBytesMax bounds what Ahead may add to the text form: brokers take 4,096 bytes by default
// (offset.metadata.max.bytes), and the other fields need some.
const AheadBytesMax = 3000

// ExceptionBytes is at most how long the text form of an entry of Ahead.Except is.
func ExceptionBytes(id record.TaskID) int { return len(id.String()) + exceptionBytesMax }

// Encode returns the text form.
func (m Metadata) Encode() string {
	fields := []string{
		metadataVersion, m.TransactionalID,
		strconv.FormatUint(uint64(m.Epoch), 10), strconv.FormatInt(m.StreamTime, 10), m.Departed,
	}
	if m.Checkpoint != 0 || m.Ahead != nil || len(m.Prepared.Sinks) > 0 {
		fields[0] = metadataVersion2
		fields = append(fields, strconv.FormatInt(m.Checkpoint, 10), m.Ahead.encode())
	}
	if len(m.Prepared.Sinks) > 0 {
		fields = append(fields, m.Prepared.encode())
	}
	return strings.Join(fields, ";")
}

// encode writes "<next>:<task>=<next less the offset, in base 36>,…", tasks in order.
func (a *Ahead) encode() string {
	if a == nil {
		return ""
	}
	dst := append(strconv.AppendInt(nil, a.Next, 10), ':')
	for i, id := range slices.SortedFunc(maps.Keys(a.Except), record.TaskID.Compare) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, id.String()...), '=')
		dst = strconv.AppendInt(dst, a.Next-a.Except[id], exceptionBase)
	}
	return string(dst)
}

// ParseMetadata parses the text form. Text of another program (an empty one, say) or of a newer version gives
// ErrForeignMetadata: the offset is good, and nothing else is known.
func ParseMetadata(s string) (Metadata, error) {
	none := Metadata{StreamTime: -1}
	f := strings.Split(s, ";")
	known := len(f) == 5 && f[0] == metadataVersion || (len(f) == 7 || len(f) == 8) && f[0] == metadataVersion2
	if !known {
		return none, fmt.Errorf("%w: %.40q", ErrForeignMetadata, s)
	}
	epoch, err := strconv.ParseUint(f[2], 10, 64)
	if err != nil {
		return none, fmt.Errorf("%w: %.40q: epoch: %w", ErrForeignMetadata, s, err)
	}
	streamTime, err := strconv.ParseInt(f[3], 10, 64)
	if err != nil {
		return none, fmt.Errorf("%w: %.40q: stream time: %w", ErrForeignMetadata, s, err)
	}
	m := Metadata{TransactionalID: f[1], Epoch: record.Epoch(epoch), StreamTime: streamTime, Departed: f[4]}
	if f[0] == metadataVersion {
		return m, nil
	}
	if m.Checkpoint, err = strconv.ParseInt(f[5], 10, 64); err != nil || m.Checkpoint < 0 {
		return none, fmt.Errorf("%w: %.40q: checkpoint %.40q", ErrForeignMetadata, s, f[5])
	}
	if m.Ahead, err = parseAhead(f[6]); err != nil {
		return none, fmt.Errorf("%w: %.40q: ahead: %w", ErrForeignMetadata, s, err)
	}
	if len(f) == 7 {
		return m, nil
	}
	if m.Prepared, err = parsePrepared(f[7]); err != nil {
		return none, fmt.Errorf("%w: %.40q: prepared: %w", ErrForeignMetadata, s, err)
	}
	return m, nil
}

func parseAhead(s string) (*Ahead, error) {
	if s == "" {
		return nil, nil
	}
	head, list, ok := strings.Cut(s, ":")
	next, err := strconv.ParseInt(head, 10, 64)
	if err != nil || !ok || next < 0 {
		return nil, fmt.Errorf("%.40q is no offset", head)
	}
	a := &Ahead{Next: next}
	if list == "" {
		return a, nil
	}
	a.Except = make(map[record.TaskID]int64)
	for entry := range strings.SplitSeq(list, ",") {
		name, distance, _ := strings.Cut(entry, "=")
		id, err := record.ParseTaskID(name)
		if err != nil {
			return nil, err
		}
		d, err := strconv.ParseInt(distance, exceptionBase, 64)
		if err != nil || d < 0 || d > next {
			return nil, fmt.Errorf("%.40q is no distance from %d", distance, next)
		}
		a.Except[id] = next - d
	}
	return a, nil
}
