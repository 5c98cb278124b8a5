package eos

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/record"
)

// Metadata travels with every committed offset. It tells the next owner whose transaction to end should it still be
// open, and tells the owner itself, after a commit of unknown outcome, whether the offset is the one it sent. Beside
// offsets it decides transactions of other systems (see [Sink]): what it names is committed.
//
// Its text form is "1;<transactional id>;<epoch>;<stream time>;<departed>"; the first field is the format version. With
// more to say it is "2;<the same fields>;<key>=<value>;…".
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
	// Prepared names the transactions of sinks that this commit decides, nil if there are none.
	Prepared []TransactionName
}

// Versions of the text form. The first is written where it suffices, for older members of the group.
const (
	metadataVersion1 = "1"
	metadataVersion2 = "2"
	metadataFields   = 5 // of version 1, the version included
)

// Keys of version 2.
const preparedKey = "prepared" // names, with commas between them

// Encode returns the text form.
func (m Metadata) Encode() string {
	f := []string{
		metadataVersion1, m.TransactionalID,
		strconv.FormatUint(uint64(m.Epoch), 10), strconv.FormatInt(m.StreamTime, 10), m.Departed,
	}
	if len(m.Prepared) > 0 {
		names := make([]string, len(m.Prepared))
		for i, n := range m.Prepared {
			names[i] = n.String()
		}
		f = append(f, preparedKey+"="+strings.Join(names, ","))
	}
	if len(f) > metadataFields {
		f[0] = metadataVersion2
	}
	return strings.Join(f, ";")
}

// ParseMetadata parses the text form. Text of another program (an empty one, say) or of a newer version gives
// ErrForeignMetadata: the offset is good, and nothing else is known.
func ParseMetadata(s string) (Metadata, error) {
	m, err := parseMetadata(s)
	if err != nil {
		return Metadata{StreamTime: -1}, fmt.Errorf("%w: %.40q: %w", ErrForeignMetadata, s, err)
	}
	return m, nil
}

func parseMetadata(s string) (m Metadata, err error) {
	f := strings.Split(s, ";")
	switch {
	case f[0] == metadataVersion1 && len(f) == metadataFields:
	case f[0] == metadataVersion2 && len(f) > metadataFields:
	default:
		return m, errors.New("another version or number of fields")
	}
	epoch, err := strconv.ParseUint(f[2], 10, 64)
	if err != nil {
		return m, fmt.Errorf("epoch: %w", err)
	}
	streamTime, err := strconv.ParseInt(f[3], 10, 64)
	if err != nil {
		return m, fmt.Errorf("stream time: %w", err)
	}
	m = Metadata{TransactionalID: f[1], Epoch: record.Epoch(epoch), StreamTime: streamTime, Departed: f[4]}
	for _, field := range f[metadataFields:] {
		// A key that is not known may change what the offset means: nothing is passed over.
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case preparedKey:
			if m.Prepared != nil {
				return m, fmt.Errorf("%q stands there twice", key)
			}
			for name := range strings.SplitSeq(value, ",") {
				n, err := ParseTransactionName(name)
				if err != nil {
					return m, err
				}
				m.Prepared = append(m.Prepared, n)
			}
		default:
			return m, fmt.Errorf("unknown key %q", key)
		}
	}
	return m, nil
}
