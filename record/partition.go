package record

// PartitionOf returns the partition of a key as Kafka's Java client chooses it, so that our records lie where those of
// every other client with the default partitioner do. partitions must be positive.
func PartitionOf(key []byte, partitions int32) int32 {
	return PartitionOfHash(Murmur2(key), partitions)
}

// PartitionOfHash is [PartitionOf] for who has the key's [Murmur2] already.
func PartitionOfHash(hash uint32, partitions int32) int32 {
	const positive = 0x7fffffff // Utils.toPositive: not the absolute value
	return int32(hash&positive) % partitions
}

// Murmur2 is the 32-bit hash of Kafka's Java client (org.apache.kafka.common.utils.Utils.murmur2), which differs from
// the original MurmurHash2 only in its fixed seed. As an int32 the value equals Java's.
func Murmur2(data []byte) uint32 {
	const (
		seed uint32 = 0x9747b28c
		m    uint32 = 0x5bd1e995
		r           = 24
	)
	h := seed ^ uint32(len(data))
	for len(data) >= 4 {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
		data = data[4:]
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
