package task_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/processor/task"
	"github.com/tidemarkio/tidemark/store"
)

// fakeStores has snapshots that count their releases.
type fakeStores struct {
	held, flushing  bool
	err             error
	taken, released int
}

func (f *fakeStores) HoldFlushes(hold bool) { f.held = hold }
func (f *fakeStores) FlushRunning() bool    { return f.flushing }
func (f *fakeStores) Snapshot() (checkpointing.Snapshot, error) {
	if f.err != nil {
		return nil, f.err
	}
	f.taken++
	return &fakeSnapshot{f}, nil
}

type fakeSnapshot struct{ of *fakeStores }

func (s *fakeSnapshot) Checkpoint() store.Checkpoint                       { return store.Checkpoint{} }
func (s *fakeSnapshot) Version() uint64                                    { return 1 }
func (s *fakeSnapshot) Full(context.Context) iter.Seq2[store.Entry, error] { return nil }

func (s *fakeSnapshot) Since(uint64) (entries iter.Seq2[store.Entry, error], known bool) {
	return nil, false
}

func (s *fakeSnapshot) Release() { s.of.released++ }

func withSnapshots(t *testing.T) (*harness, *fakeStores) {
	t.Helper()
	h, f := open(t, behindRepartition(t)), &fakeStores{}
	h.SetSnapshotter(f)
	return h, f
}

func TestCutWaitsForAFlush(t *testing.T) {
	h, f := withSnapshots(t)
	f.flushing = true
	log := interleaved(one)
	h.pipe(mid, log[:3]...)
	require.True(t, f.held, "no other flush begins")
	h.pipe(mid, log[3:]...)
	require.False(t, h.CutDue())
	require.Equal(t, int64(5), h.IdleUntil(), "it looks again soon")
	e := h.seal()
	require.Empty(t, e.Cuts)
	h.committedEpoch(e, 1)
	require.True(t, h.Dirty(), "the cut has still to be made")
	f.flushing = false
	require.True(t, h.CutDue())
	e = h.seal()
	require.Equal(t, []int64{1}, e.Cuts)
	require.Zero(t, f.taken)
	h.committedEpoch(e, 1)
	require.Equal(t, 1, f.taken)
	require.False(t, f.held)
	require.Len(t, h.Cuts(), 1)
	require.Zero(t, f.released, "that is up to who took the cut")
}

// TestSnapshotsAreReleased looks at every way in which a cut ends before somebody takes it.
func TestSnapshotsAreReleased(t *testing.T) {
	unaligned := checkpointing.Barrier{ID: 1, Unaligned: true, TimeoutMs: 10}
	for name, end := range map[string]func(h *harness) error{
		"aborted":  func(h *harness) error { h.Abandon(1); return nil },
		"declined": func(h *harness) error { h.Decline(1, "x"); return nil },
		"closed":   func(h *harness) error { return h.Close(false) },
		"timeout":  func(h *harness) error { _, err := h.Process(1, 10); return err },
		"overtaken": func(h *harness) error {
			h.add(mid, 4, barrier(upB, 3, checkpointing.Barrier{ID: 2}))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, f := withSnapshots(t)
			h.pipe(mid, interleaved(unaligned)[:3]...)
			h.commit()
			require.Equal(t, []int{1, 0}, []int{f.taken, f.released})
			require.NoError(t, end(h))
			require.Equal(t, []int{1, 1}, []int{f.taken, f.released})
			require.Empty(t, h.Cuts())
		})
	}
}

func TestFailedSnapshotDeclines(t *testing.T) {
	h, f := withSnapshots(t)
	f.err = errors.New("disk full")
	h.pipe(mid, interleaved(one)...)
	h.commit()
	require.Empty(t, h.Cuts())
	declined := h.Declined()
	require.Len(t, declined, 1)
	require.Contains(t, declined[0].Reason, "disk full")
	require.False(t, f.held)
	h.process()
	require.Len(t, keys(h.seal()), 4, "processing goes on")
}

var _ task.Snapshotter = (*fakeStores)(nil)
