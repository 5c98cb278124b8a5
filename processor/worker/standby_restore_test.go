package worker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// open opens a standby of task 0_0 and has it catch up.
func (r *restoring) open() *replica {
	r.t.Helper()
	p, err := r.restorer.openStandby(r.t.Context(), taskID(0))
	require.NoError(r.t, err)
	require.NoError(r.t, r.restorer.catchUp(r.t.Context(), p, func(*followedLog, int) {}))
	return p
}

// promoted promotes a replica, compares what it has, and closes it. It returns where the replay began and on what base.
func (r *restoring) promoted(p *replica, want map[string]int64) (from int64, base string) {
	r.t.Helper()
	r.starts = nil
	got, err := r.restorer.promote(r.t.Context(), p)
	require.NoError(r.t, err)
	require.Equal(r.t, want, restored(r.t, got))
	require.NoError(r.t, got.Task.Close(true))
	require.Len(r.t, r.starts, 1)
	return r.starts[0].From, r.starts[0].Base
}

func TestStandbyBases(t *testing.T) {
	r := newRestoring(t)
	r.c.changelogOfCounts(t, "a", 1)
	p := r.open()
	require.Equal(t, "none", p.opening.logs[0].base)
	r.c.changelogOfCounts(t, "a", 2)
	from, base := r.promoted(p, map[string]int64{"a": 2})
	require.Equal(t, int64(1), from)
	require.Equal(t, "standby", base)

	p = r.open() // on what the task has left
	require.Equal(t, "local", p.opening.logs[0].base)
	require.Equal(t, int64(2), p.opening.logs[0].from)
	require.NoError(t, p.close(r.dir))
	require.Equal(t, int64(2), r.dir.position)

	// The owner commits before the log knows: the position is beyond what is decided, and all the same good.
	r.c.undecided = 1
	p = r.open()
	require.Equal(t, "local", p.opening.logs[0].base)
	require.Equal(t, int64(2), p.position())
	r.c.undecided = 0
	_, base = r.promoted(p, map[string]int64{"a": 2})
	require.Equal(t, "standby", base)

	// A process that dies while it catches up goes on from what it has written.
	r.now = r.now.Add(10 * time.Second)
	r.wipeAndFill(t)
	p = r.open()
	require.NoError(t, p.task.Stores().Flush(t.Context()))
	require.NoError(t, p.task.Close(false))
	p = r.open()
	require.Equal(t, "local", p.opening.logs[0].base)
	require.NoError(t, p.close(r.dir))
}

func (r *restoring) wipeAndFill(t *testing.T) {
	t.Helper()
	require.NoError(t, r.dir.Remove(taskID(0)))
	for n := range int64(5) {
		r.c.changelogOfCounts(t, "a", n+3)
	}
}

// What a standby has is of no use to the task any more: it is restored from the beginning.
func TestPromotionStartsOver(t *testing.T) {
	for name, spoil := range map[string]func(r *restoring){
		"the log was made anew": func(r *restoring) {
			r.c.logs[counts0] = r.c.logs[counts0][:1]
		},
		"its start lies behind": func(r *restoring) {
			r.c.changelogOfCounts(r.t, "b", 2)
			r.c.changelogOfCounts(r.t, "a", 1)
			r.c.changelogOfCounts(r.t, "b", -1)
			r.c.starts[counts0] = 4
			r.c.changelogOfCounts(r.t, "a", 1)
		},
		"it heard nothing for longer than tombstones live": func(r *restoring) {
			r.c.changelogOfCounts(r.t, "b", -1)
			r.now = r.now.Add(2 * time.Minute)
		},
		"a savepoint": func(r *restoring) {
			m := eos.Metadata{TransactionalID: "x", Epoch: record.EpochOf(1) + 1}
			r.c.offsets[in0] = eos.Offset{Metadata: m.Encode()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRestoring(t)
			r.c.changelogOfCounts(t, "a", 1)
			r.c.changelogOfCounts(t, "b", 1)
			r.c.changelogOfCounts(t, "b", -1)
			m := eos.Metadata{TransactionalID: "x", Epoch: 1}
			r.c.offsets[in0] = eos.Offset{Metadata: m.Encode()}
			p := r.open()
			spoil(r)
			_, base := r.promoted(p, map[string]int64{"a": 1})
			require.Equal(t, "none", base)
			require.Equal(t, 1, r.dir.marked(taskID(0), "remove"))
		})
	}
}

func TestPromotionIsCancelled(t *testing.T) {
	r := newRestoring(t)
	r.c.changelogOfCounts(t, "a", 1)
	p := r.open()
	r.c.unstable = -1
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.restorer.promote(ctx, p)
	require.ErrorIs(t, err, context.Canceled)
	r.c.unstable = 0
	require.Equal(t, 1, r.dir.marked(taskID(0), "clean"), "what it has is kept")
	p = r.open()
	require.Equal(t, "local", p.opening.logs[0].base)
	require.NoError(t, p.close(r.dir))
}

// A snapshot has to be whole before a standby follows, also where tasks would run without.
func TestStandbyBeginsWithASnapshot(t *testing.T) {
	s := newSnapshotting(t)
	s.restorer.cfg.Lazy = true
	s.count("a", 20, 7)
	s.snapshot(3)
	s.count("a", 10, 9)
	p := s.open()
	require.Equal(t, "snapshot 3", p.opening.logs[0].base)
	require.Equal(t, int64(20), p.opening.logs[0].from)
	_, loading := p.task.Stores().Loading()
	require.False(t, loading)
	require.Equal(t, int64(30), p.position())
	_, base := s.promoted(p, map[string]int64{"a": 9})
	require.Equal(t, "standby", base)
}
