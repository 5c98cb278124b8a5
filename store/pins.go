package store

import "sync"

// pins are the versions of an engine that snapshots still read. What a version between the oldest of them and the last
// flush has must not be discarded. Safe for concurrent use; the zero value is ready.
type pins struct {
	mu struct {
		sync.Mutex

		latest uint64 // of the last flush
		held   map[uint64]int
	}
}

// hold keeps a version, which may be that of the next flush, until letGo is called as often.
func (p *pins) hold(version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.held == nil {
		p.mu.held = make(map[uint64]int)
	}
	p.mu.held[version]++
}

func (p *pins) letGo(version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.held[version]--; p.mu.held[version] <= 0 {
		delete(p.mu.held, version)
	}
}

// flushed says which version was written last.
func (p *pins) flushed(version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.latest = version
}

// apply tells up to which version only the newest entry of each key is needed. The call is made under the lock, so that
// a flush that ends and a snapshot that is let go at the same time do not overtake each other.
func (p *pins) apply(discard func(version uint64)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	version := p.mu.latest
	for held := range p.mu.held {
		version = min(version, held)
	}
	discard(version)
}
