package store

import (
	"bytes"
	"container/heap"
	"fmt"
	"iter"
)

// MergeEntries merges sequences in key order into one: of each key the entry of the first sequence that has it. Deletions
// stay: the result is again a set of changes. The slices hold until the next step.
func MergeEntries(newestFirst ...iter.Seq2[Entry, error]) iter.Seq2[Entry, error] {
	return merge(newestFirst, false)
}

// MergeFull is MergeEntries without the deletions. The last sequence is a full snapshot, and so is the result.
func MergeFull(newestFirst ...iter.Seq2[Entry, error]) iter.Seq2[Entry, error] {
	return merge(newestFirst, true)
}

func merge(newestFirst []iter.Seq2[Entry, error], drop bool) iter.Seq2[Entry, error] {
	if len(newestFirst) == 1 && !drop {
		return newestFirst[0]
	}
	return func(yield func(Entry, error) bool) {
		var m merger
		defer m.stop()
		for i, seq := range newestFirst {
			pull, stop := iter.Pull2(seq)
			m.inputs = append(m.inputs, &mergeInput{pull: pull, stop: stop, age: i})
		}
		var last []byte
		for err := m.begin(); ; err = m.advance() {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if len(m.waiting) == 0 {
				return
			}
			at := m.waiting[0].entry
			if last != nil && bytes.Equal(last, at.Key) {
				continue // an older one
			}
			last = append(last[:0], at.Key...)
			if last == nil {
				last = []byte{}
			}
			if at.Value == nil && drop {
				continue
			}
			if !yield(at, nil) {
				return
			}
		}
	}
}

// mergeInput is one of the sequences, at its next entry.
type mergeInput struct {
	pull  func() (Entry, error, bool)
	stop  func()
	age   int // 0 is the newest
	entry Entry
	last  []byte // the key before
	began bool
}

// next moves to the next entry; false at the end.
func (in *mergeInput) next() (bool, error) {
	if in.began {
		in.last = append(in.last[:0], in.entry.Key...)
	}
	at, err, ok := in.pull()
	if err != nil || !ok {
		return false, err
	}
	if in.began && bytes.Compare(in.last, at.Key) >= 0 {
		return false, fmt.Errorf("store: merge: key %x follows %x", at.Key, in.last)
	}
	in.entry, in.began = at, true
	return true, nil
}

// merger is a heap of inputs: the one with the least key is the first, of equal keys the newest.
type merger struct {
	inputs  []*mergeInput
	waiting []*mergeInput
}

var _ heap.Interface = (*merger)(nil)

// begin fills the heap.
func (m *merger) begin() error {
	for _, in := range m.inputs {
		more, err := in.next()
		if err != nil {
			return err
		}
		if more {
			m.waiting = append(m.waiting, in)
		}
	}
	heap.Init(m)
	return nil
}

// advance moves the first input on.
func (m *merger) advance() error {
	more, err := m.waiting[0].next()
	switch {
	case err != nil:
		return err
	case more:
		heap.Fix(m, 0)
	default:
		heap.Pop(m)
	}
	return nil
}

func (m *merger) stop() {
	for _, in := range m.inputs {
		in.stop()
	}
}

// Len implements heap.Interface.
func (m *merger) Len() int { return len(m.waiting) }

// Less implements heap.Interface.
func (m *merger) Less(i, j int) bool {
	a, b := m.waiting[i], m.waiting[j]
	if c := bytes.Compare(a.entry.Key, b.entry.Key); c != 0 {
		return c < 0
	}
	return a.age < b.age
}

// Swap implements heap.Interface.
func (m *merger) Swap(i, j int) { m.waiting[i], m.waiting[j] = m.waiting[j], m.waiting[i] }

// Push implements heap.Interface. Inputs do not come back.
func (m *merger) Push(any) { panic("store: merge: push") }

// Pop implements heap.Interface.
func (m *merger) Pop() any {
	n := len(m.waiting) - 1
	in := m.waiting[n]
	m.waiting = m.waiting[:n]
	return in
}
