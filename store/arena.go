package store

// Sizes of arena chunks. Small first, since a task may have many stores that hold next to nothing.
const (
	arenaChunkBytesMin = 4 << 10
	arenaChunkBytesMax = 1 << 20
	// arenaOwnChunkBytes is the size from which bytes get a chunk of their own.
	arenaOwnChunkBytes = arenaChunkBytesMax / 8
)

// ref locates bytes in an arena: the chunk in the upper 15 bits, the offset in units of 8 bytes below. It is not a
// pointer, so that tables of refs cost the garbage collector nothing, and half as long as one.
type ref uint32

const (
	refUnit       = 8
	refOffsetBits = 17 // Invariant: arenaChunkBytesMax <= refUnit << refOffsetBits
	refOffsetMask = 1<<refOffsetBits - 1
)

// arena is an append-only store of bytes. A chunk is never moved or freed, so slices into it stay valid for as long as
// somebody holds them. It holds up to 32 GiB.
type arena struct {
	chunks  [][]byte // the length of each is what is in use
	current int      // the chunk that is being filled, if there are any
	bytes   int      // capacity of all chunks
}

// alloc returns n bytes.
func (a *arena) alloc(n int) (ref, []byte) {
	if n > arenaOwnChunkBytes {
		a.chunks = append(a.chunks, make([]byte, n))
		a.bytes += n
		at := len(a.chunks) - 1
		return ref(at << refOffsetBits), a.chunks[at]
	}
	units := (n + refUnit - 1) &^ (refUnit - 1)
	if len(a.chunks) == 0 || cap(a.chunks[a.current])-len(a.chunks[a.current]) < units {
		size := max(units, min(max(arenaChunkBytesMin, a.bytes), arenaChunkBytesMax))
		a.chunks = append(a.chunks, make([]byte, 0, size&^(refUnit-1)))
		a.bytes += size
		a.current = len(a.chunks) - 1
	}
	c := a.chunks[a.current]
	offset := len(c)
	c = c[:offset+units]
	a.chunks[a.current] = c
	return ref(a.current<<refOffsetBits | offset/refUnit), c[offset : offset+n : offset+n]
}

// at returns the n bytes at r.
func (a *arena) at(r ref, n uint32) []byte {
	offset := uint32(r&refOffsetMask) * refUnit
	return a.chunks[r>>refOffsetBits][offset : offset+n : offset+n]
}
