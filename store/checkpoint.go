package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/record"
)

// PositionKey is the key of a store's position in [Checkpoint.Changelog]: the store's name if it has a changelog of its
// own, <name>@<topic> if an input topic is its changelog. A position in one log must never be taken for one in another
// when a new version of the program changes that.
func PositionKey(name, sourceTopic string) string {
	if sourceTopic == "" {
		return name
	}
	return name + positionSeparator + sourceTopic
}

// positionSeparator cannot be in the name of a topic, which that of a store with a changelog is a part of.
const positionSeparator = "@"

// PositionOf reports whether a key of [Checkpoint.Changelog] belongs to a store, whatever log the position is in.
func PositionOf(key, name string) bool {
	return key == name || strings.HasPrefix(key, name+positionSeparator)
}

// checkpointVersion is the first byte of an encoded checkpoint.
const checkpointVersion = 1

// clone returns a deep copy, since maps of the runtime change from commit to commit.
func (c Checkpoint) clone() Checkpoint {
	c.Changelog, c.Inputs, c.StreamTimes = maps.Clone(c.Changelog), maps.Clone(c.Inputs), maps.Clone(c.StreamTimes)
	return c
}

// appendCheckpoint encodes c: version byte, then epoch, wall time and the three maps, each as a count and its entries
// in key order; numbers are varints, strings have a length in front.
func appendCheckpoint(dst []byte, c Checkpoint) []byte {
	dst = append(dst, checkpointVersion)
	dst = binary.AppendUvarint(dst, uint64(c.Epoch))
	dst = binary.AppendVarint(dst, c.WallTimeMs)
	dst = binary.AppendUvarint(dst, uint64(len(c.Changelog)))
	for _, name := range slices.Sorted(maps.Keys(c.Changelog)) {
		dst = appendString(dst, name)
		dst = binary.AppendVarint(dst, c.Changelog[name])
	}
	for _, m := range [2]map[record.TopicPartition]int64{c.Inputs, c.StreamTimes} {
		dst = binary.AppendUvarint(dst, uint64(len(m)))
		for _, tp := range slices.SortedFunc(maps.Keys(m), record.TopicPartition.Compare) {
			dst = appendString(dst, tp.Topic)
			dst = binary.AppendVarint(dst, int64(tp.Partition))
			dst = binary.AppendVarint(dst, m[tp])
		}
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// decodeCheckpoint is the inverse of appendCheckpoint.
func decodeCheckpoint(data []byte) (c Checkpoint, err error) {
	if len(data) == 0 {
		return c, errors.New("checkpoint is empty")
	}
	if data[0] != checkpointVersion {
		return c, fmt.Errorf("checkpoint has version %d, this program knows %d", data[0], checkpointVersion)
	}
	d := decoder{data: data[1:]}
	c.Epoch = record.Epoch(d.uvarint())
	c.WallTimeMs = d.varint()
	c.Changelog = make(map[string]int64)
	for range d.count() {
		name := d.string()
		c.Changelog[name] = d.varint()
	}
	readMap := func() map[record.TopicPartition]int64 {
		m := make(map[record.TopicPartition]int64)
		for range d.count() {
			tp := record.TopicPartition{Topic: d.string(), Partition: int32(d.varint())}
			m[tp] = d.varint()
		}
		return m
	}
	c.Inputs, c.StreamTimes = readMap(), readMap()
	if d.failed || len(d.data) > 0 {
		return Checkpoint{}, errors.New("checkpoint is malformed")
	}
	return c, nil
}

// decoder reads varints and strings; after a failure everything reads as zero.
type decoder struct {
	data   []byte
	failed bool
}

func (d *decoder) fail() {
	d.failed, d.data = true, nil
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.data)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.data = d.data[n:]
	return v
}

// count reads the length of a list, whose elements take two bytes or more.
func (d *decoder) count() uint64 {
	n := d.uvarint()
	if n > uint64(len(d.data)) {
		d.fail()
		return 0
	}
	return n
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.data)) {
		d.fail()
		return ""
	}
	s := string(d.data[:n])
	d.data = d.data[n:]
	return s
}

// forgetPositions removes what a checkpoint says of a store's changelog.
func forgetPositions(c Checkpoint, name string) {
	maps.DeleteFunc(c.Changelog, func(key string, _ int64) bool { return PositionOf(key, name) })
}
