package store

// Sizes of arena chunks. Small first, since a task may have many stores that hold next to nothing.
const (
	arenaChunkBytesMin = 4 << 10
	arenaChunkBytesMax = 1 << 20
)

// ref locates bytes in an arena. It is not a pointer, so that tables of refs cost the garbage collector nothing.
type ref struct {
	chunk  uint32
	offset uint32
}

// arena is an append-only store of bytes. A chunk is never moved or freed, so slices into it stay valid for as long as
// somebody holds them.
type arena struct {
	chunks [][]byte // the length of each is what is in use
	bytes  int      // capacity of all chunks
}

// alloc returns n bytes, not zeroed by contract.
func (a *arena) alloc(n int) (ref, []byte) {
	last := len(a.chunks) - 1
	if last < 0 || cap(a.chunks[last])-len(a.chunks[last]) < n {
		size := max(n, min(max(arenaChunkBytesMin, a.bytes), arenaChunkBytesMax))
		a.chunks = append(a.chunks, make([]byte, 0, size))
		a.bytes += size
		last++
	}
	c := a.chunks[last]
	offset := len(c)
	c = c[:offset+n]
	a.chunks[last] = c
	return ref{chunk: uint32(last), offset: uint32(offset)}, c[offset : offset+n : offset+n]
}

// at returns the n bytes at r.
func (a *arena) at(r ref, n uint32) []byte {
	return a.chunks[r.chunk][r.offset : r.offset+n : r.offset+n]
}
