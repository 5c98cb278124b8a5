package topology

import (
	"encoding/binary"
	"fmt"

	"github.com/tidemarkio/tidemark/serde"
)

// subscriptionKey orders the subscribers of a right row by the bytes of their keys.
type subscriptionKey[FK, K any] struct {
	foreign FK
	key     K
}

type subscriptionKeySerde[FK, K any] struct {
	foreign serde.Serde[FK]
	key     serde.Serde[K]
}

// appendPrefix writes what all subscribers of a right row begin with. The length comes first, so that no foreign key's
// prefix is the beginning of another's.
func (s subscriptionKeySerde[FK, K]) appendPrefix(dst []byte, foreign FK) ([]byte, error) {
	out := append(dst, foreignJoinVersion, 0, 0, 0, 0) //nolint:gocritic // dst stays as it is for errors
	start := len(out)
	out, err := s.foreign.Append(out, foreign)
	if err != nil {
		return dst, err
	}
	binary.BigEndian.PutUint32(out[start-4:], uint32(len(out)-start))
	return out, nil
}

// Append implements serde.Serde.
func (s subscriptionKeySerde[FK, K]) Append(dst []byte, k subscriptionKey[FK, K]) ([]byte, error) {
	out, err := s.appendPrefix(dst, k.foreign)
	if err != nil {
		return dst, err
	}
	if out, err = s.key.Append(out, k.key); err != nil {
		return dst, err
	}
	return out, nil
}

// Decode implements serde.Serde.
func (s subscriptionKeySerde[FK, K]) Decode(data []byte) (k subscriptionKey[FK, K], err error) {
	foreign, key, err := cutSubscriptionKey(data)
	if err != nil {
		return k, err
	}
	if k.foreign, err = s.foreign.Decode(foreign); err == nil {
		k.key, err = s.key.Decode(key)
	}
	return k, err
}

// cutSubscriptionKey returns the encoded foreign key, by which subscriptions are partitioned, and the key behind it.
func cutSubscriptionKey(data []byte) (foreign, key []byte, err error) {
	const prefix = 5
	if len(data) < prefix || data[0] != foreignJoinVersion {
		return nil, nil, fmt.Errorf("topology: foreign-key join: want a key of version %d, got %x", foreignJoinVersion,
			data[:min(len(data), prefix)])
	}
	rest := data[prefix:]
	n := binary.BigEndian.Uint32(data[1:])
	if uint64(n) > uint64(len(rest)) {
		return nil, nil, errShort
	}
	return rest[:n:n], rest[n:], nil
}
