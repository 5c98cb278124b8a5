package store

import (
	"context"
	"testing"

	"github.com/tidemarkio/tidemark/serde"
)

// OpenBadgerForTest lets the conformance suite, which is in another package, open a Badger engine.
func OpenBadgerForTest(t *testing.T, dir string) Engine { t.Helper(); return openTestBadger(t, dir) }

// DirOf returns the directory of a Badger engine.
func DirOf(e Engine) string {
	b, ok := e.(*badgerEngine)
	if !ok {
		panic("not a Badger engine")
	}
	return b.dir
}

// DecodeTimer and AppendTimer are the key format of timers.
func DecodeTimer(data []byte) (Timer[string], error) {
	return timerSerde[string]{serde.String}.Decode(data)
}

func AppendTimer(dst []byte, t Timer[string]) []byte {
	dst, err := timerSerde[string]{serde.String}.Append(dst, t)
	if err != nil {
		panic(err)
	}
	return dst
}

// EngineOf returns the engine on disk of a set.
func EngineOf(s *Set) Engine { return s.disk }

// BlocksOf returns how many blocks a file has.
func BlocksOf(x *FileIndex) int { return len(x.blocks) }

// ReadBlocks reads n blocks of a file from i on.
func ReadBlocks(ctx context.Context, f *SnapshotFile, i, n int) (entries []Entry, err error) {
	blocks, err := f.load(ctx, i, n)
	for _, b := range blocks {
		for j := range b.entries {
			entries = append(entries, b.at(j))
		}
	}
	return entries, err
}

// AwaitLoaded returns when the state of a set is local, or will not be.
func AwaitLoaded(s *Set) error {
	<-s.lazy.ended
	return s.wait()
}

// OverlayForTest limits what a set keeps in memory of flushes while it is loaded, by making it seem larger.
func OverlayForTest(s *Set, bytes int) {
	s.lazy.flushing.Lock()
	defer s.lazy.flushing.Unlock()
	now := *s.lazy.state.Load()
	now.bytes += bytes
	s.lazy.state.Store(&now)
}

// CrashedForTest returns a copy of a Badger directory as a killed process would leave it.
func CrashedForTest(t *testing.T, dir string) string { t.Helper(); return crashed(t, dir) }

// CompactForTest compacts a Badger engine as far as it goes.
func CompactForTest(t *testing.T, e Engine) { t.Helper(); compactForTest(t, e) }

// DiscardedForTest returns up to which version a Badger engine may discard old entries.
func DiscardedForTest(e Engine) (version uint64) {
	b, ok := e.(*badgerEngine)
	if !ok {
		panic("not a Badger engine")
	}
	b.pins.apply(func(v uint64) { version = v })
	return version
}

// EngineVersionOf returns the version that a snapshot reads of the engine on disk.
func EngineVersionOf(s *Snapshot) uint64 { return s.engine }
