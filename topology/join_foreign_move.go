package topology

import (
	"bytes"
	"encoding/binary"
)

// When left's number of partitions changes, the partitions that subscriptions name have to follow. These functions work
// on bytes, for whoever starts an application from a savepoint.

// MovePartition returns the partition of a left row by now. was is where its subscription says that it is.
type MovePartition func(leftKey []byte, was int32) (now int32, err error)

// MoveSubscriber returns the value of a row in the store of subscriptions of a foreign-key join
// (docs/format/foreign-key-join.md) with another partition in it. value stays as it is.
func MoveSubscriber(key, value []byte, move MovePartition) ([]byte, error) {
	_, leftKey, err := cutSubscriptionKey(key)
	if err != nil {
		return nil, err
	}
	_, _, was, _, err := readHeader(value, 0, true)
	if err != nil {
		return nil, err
	}
	return movedTo(value, leftKey, was, move)
}

// MoveSubscription is [MoveSubscriber] for the value of a message from left to right, and tells the partition.
func MoveSubscription(value []byte, move MovePartition) (moved []byte, now int32, err error) {
	_, _, was, leftKey, err := readHeader(value, byte(instructions-1), true)
	if err != nil {
		return nil, 0, err
	}
	if moved, err = movedTo(value, leftKey, was, move); err != nil {
		return nil, 0, err
	}
	_, _, now, _, err = readHeader(moved, byte(instructions-1), true)
	return moved, now, err
}

func movedTo(value, leftKey []byte, was int32, move MovePartition) ([]byte, error) {
	now, err := move(leftKey, was)
	if err != nil {
		return nil, err
	}
	moved := bytes.Clone(value)
	binary.BigEndian.PutUint32(moved[headerBytes:], uint32(now))
	return moved, nil
}

// SubscriptionPartitionKey returns the foreign key in a key of a store of subscriptions: what chose its partition.
func SubscriptionPartitionKey(key []byte) ([]byte, error) {
	foreign, _, err := cutSubscriptionKey(key)
	return foreign, err
}
