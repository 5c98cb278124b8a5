package processor

import "github.com/tidemarkio/tidemark/record"

// DefaultPartition returns the partition of a key as Kafka's Java client chooses it, so that Tidemark's records lie
// where those of every other client with the default partitioner do. partitions must be positive.
func DefaultPartition(key []byte, partitions int32) int32 { return record.PartitionOf(key, partitions) }

// Murmur2 is the 32-bit hash of Kafka's Java client; see [record.Murmur2].
func Murmur2(data []byte) uint32 { return record.Murmur2(data) }
