package eos

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/record"
)

// Metadata travels with every committed offset. It tells the next owner whose transaction to end should it still be
// open, and tells the owner itself, after a commit of unknown outcome, whether the offset is the one it sent.
//
// Its text form is "1;<transactional id>;<epoch>;<stream time>;<departed>"; the first field is the format version.
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
}

const metadataVersion = "1"

// Encode returns the text form.
func (m Metadata) Encode() string {
	return strings.Join([]string{
		metadataVersion, m.TransactionalID,
		strconv.FormatUint(uint64(m.Epoch), 10), strconv.FormatInt(m.StreamTime, 10), m.Departed,
	}, ";")
}

// ParseMetadata parses the text form. Text of another program (an empty one, say) or of a newer version gives
// ErrForeignMetadata: the offset is good, and nothing else is known.
func ParseMetadata(s string) (Metadata, error) {
	none := Metadata{StreamTime: -1}
	f := strings.Split(s, ";")
	if len(f) != 5 || f[0] != metadataVersion {
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
	return Metadata{TransactionalID: f[1], Epoch: record.Epoch(epoch), StreamTime: streamTime, Departed: f[4]}, nil
}
