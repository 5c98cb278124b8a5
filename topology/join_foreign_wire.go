package topology

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
)

// What a foreign-key join sends and stores; docs/format/foreign-key-join.md.

// instruction says what the right side of a foreign-key join does with a subscription. The numbers are on the wire.
type instruction byte

const (
	// subscribe and answer if there is a right row: there is no result that would have to go.
	subscribe instruction = iota
	// subscribeAnswered subscribes and answers in any case.
	subscribeAnswered
	// unsubscribe without an answer: another subscription of the same row follows.
	unsubscribe
	// unsubscribeAnswered unsubscribes and answers that there is no right row any more.
	unsubscribeAnswered
	instructions
)

// rowHash tells which value of a left row a subscription is about, without carrying it there and back.
type rowHash struct {
	sum    [rowHashBytes]byte
	exists bool // false: the row was deleted
}

const rowHashBytes = 16

// hashOf is the beginning of SHA-256: 128 bits do not collide by chance, and no other hash of that length is at hand
// that was made to be even.
func hashOf(encoded []byte) rowHash {
	sum := sha256.Sum256(encoded)
	return rowHash{[rowHashBytes]byte(sum[:rowHashBytes]), true}
}

// subscription is what left tells right about a row: the foreign key is the key of the record.
type subscription[K any] struct {
	key       K
	hash      rowHash
	partition int32 // of left's task, which wants the answer
	do        instruction
}

// subscriber is a stored subscription.
type subscriber struct {
	hash      rowHash
	partition int32
}

// answer is what right tells left about a row: the row's key is the key of the record.
type answer[FV any] struct {
	hash      rowHash
	right     Optional[FV]
	partition int32 // where the answer goes; not written
}

const (
	foreignJoinVersion = 1

	flagHash     = 1 << 2 // beside an instruction below
	flagRight    = 1 << 0 // of an answer
	headerBytes  = 2
	partitionEnd = headerBytes + 4
)

// appendHeader writes version, flags and hash; with a partition between flags and hash unless it is negative.
func appendHeader(dst []byte, flags byte, hash rowHash, partition int32) []byte {
	if hash.exists {
		flags |= flagHash
	}
	dst = append(dst, foreignJoinVersion, flags)
	if partition >= 0 {
		dst = binary.BigEndian.AppendUint32(dst, uint32(partition))
	}
	if hash.exists {
		dst = append(dst, hash.sum[:]...)
	}
	return dst
}

var errShort = errors.New("topology: foreign-key join: the record is too short")

// readHeader reads what appendHeader wrote; allowed are the flags beside the hash's.
func readHeader(
	data []byte, allowed byte, withPartition bool,
) (flags byte, hash rowHash, partition int32, rest []byte, err error) {
	if len(data) < headerBytes || data[0] != foreignJoinVersion || data[1]&^(allowed|flagHash) != 0 {
		return 0, hash, 0, nil, fmt.Errorf("topology: foreign-key join: want version %d and flags, got %x; a newer program "+
			"may have written it", foreignJoinVersion, data[:min(len(data), headerBytes)])
	}
	flags, rest = data[1], data[headerBytes:]
	if withPartition {
		if len(data) < partitionEnd {
			return 0, hash, 0, nil, errShort
		}
		partition = int32(binary.BigEndian.Uint32(rest) & 0x7fffffff)
		if rest[0]&0x80 != 0 {
			return 0, hash, 0, nil, errors.New("topology: foreign-key join: negative partition")
		}
		rest = data[partitionEnd:]
	}
	if flags&flagHash != 0 {
		if len(rest) < rowHashBytes {
			return 0, hash, 0, nil, errShort
		}
		hash = rowHash{[rowHashBytes]byte(rest), true}
		rest = rest[rowHashBytes:]
	}
	return flags &^ flagHash, hash, partition, rest, nil
}

type subscriptionSerde[K any] struct{ key serde.Serde[K] }

// Append implements serde.Serde.
func (s subscriptionSerde[K]) Append(dst []byte, v subscription[K]) ([]byte, error) {
	out, err := s.key.Append(appendHeader(dst, byte(v.do), v.hash, v.partition), v.key)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Decode implements serde.Serde.
func (s subscriptionSerde[K]) Decode(data []byte) (v subscription[K], err error) {
	flags, hash, partition, rest, err := readHeader(data, byte(instructions-1), true)
	if err != nil {
		return v, err
	}
	key, err := s.key.Decode(rest)
	if err != nil {
		return v, err
	}
	return subscription[K]{key: key, hash: hash, partition: partition, do: instruction(flags)}, nil
}

type subscriberSerde struct{}

// Append implements serde.Serde.
func (subscriberSerde) Append(dst []byte, v subscriber) ([]byte, error) {
	return appendHeader(dst, 0, v.hash, v.partition), nil
}

// Decode implements serde.Serde.
func (subscriberSerde) Decode(data []byte) (v subscriber, err error) {
	_, hash, partition, rest, err := readHeader(data, 0, true)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("topology: foreign-key join: %d bytes too many in a stored subscription", len(rest))
	}
	if err != nil {
		return v, err
	}
	return subscriber{hash, partition}, nil
}

type answerSerde[FV any] struct{ value serde.Serde[FV] }

// Append implements serde.Serde.
func (s answerSerde[FV]) Append(dst []byte, v answer[FV]) ([]byte, error) {
	const noPartition = -1
	if !v.right.Present {
		return appendHeader(dst, 0, v.hash, noPartition), nil
	}
	out, err := s.value.Append(appendHeader(dst, flagRight, v.hash, noPartition), v.right.Value)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Decode implements serde.Serde.
func (s answerSerde[FV]) Decode(data []byte) (v answer[FV], err error) {
	flags, hash, _, rest, err := readHeader(data, flagRight, false)
	if err != nil {
		return v, err
	}
	if flags&flagRight == 0 {
		if len(rest) > 0 {
			return v, fmt.Errorf("topology: foreign-key join: %d bytes too many in an answer", len(rest))
		}
		return answer[FV]{hash: hash}, nil
	}
	right, err := s.value.Decode(rest)
	if err != nil {
		return v, err
	}
	return answer[FV]{hash: hash, right: Some(right)}, nil
}
