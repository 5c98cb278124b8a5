package store

import "testing"

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

// EngineOf returns the engine on disk of a set.
func EngineOf(s *Set) Engine { return s.disk }
