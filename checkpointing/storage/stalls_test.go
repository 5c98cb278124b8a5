package storage_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
)

// slowly is a storage whose objects come in pieces, with pauses.
type slowly struct {
	storage.Storage
	pieces int
	pause  func(piece int) time.Duration
}

func (s *slowly) Open(ctx context.Context, _ string) (io.ReadCloser, error) {
	return &slowReader{s: s, ended: ctx.Done(), cause: ctx.Err}, nil
}

type slowReader struct {
	s     *slowly
	at    int
	ended <-chan struct{}
	cause func() error
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.at == r.s.pieces {
		return 0, io.EOF
	}
	select {
	case <-time.After(r.s.pause(r.at)):
	case <-r.ended:
		return 0, r.cause()
	}
	r.at++
	return copy(p, "x"), nil
}

func (r *slowReader) Close() error { return nil }

// However long it takes: who gets on is waited for, and who does not is not.
func TestStallsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := &slowly{Storage: mem.New(), pieces: 100, pause: func(int) time.Duration { return 9 * time.Second }}
		s := storage.LimitStalls(below, 10*time.Second)
		data, err := storage.Get(t.Context(), s, "a", 1<<10)
		require.NoError(t, err)
		require.Len(t, data, 100)

		r, err := s.Open(t.Context(), "a")
		require.NoError(t, err)
		<-time.After(time.Hour) // the caller's own time does not count
		_, err = r.Read(make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, r.Close())

		below.pause = func(piece int) time.Duration { return time.Duration(piece) * 7 * time.Second }
		began := time.Now()
		_, err = storage.Get(t.Context(), s, "a", 1<<10)
		require.ErrorIs(t, err, storage.ErrStalled)
		require.ErrorContains(t, err, `read "a" in memory: it does not answer within 10s`)
		require.True(t, storage.Transient(err))
		require.Equal(t, 17*time.Second, time.Since(began))
	})
}

func TestStalledStorageIsLeftAlone(t *testing.T) {
	for op, call := range map[storagetest.Op]func(ctx context.Context, s storage.Storage) error{
		storagetest.OnOpen: func(ctx context.Context, s storage.Storage) error {
			_, err := storage.Get(ctx, s, "a", 1<<10)
			return err
		},
		storagetest.OnList: func(ctx context.Context, s storage.Storage) error {
			for _, err := range s.List(ctx, "") {
				return err
			}
			return nil
		},
	} {
		t.Run(string(op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				faulty := storagetest.NewFaulty(mem.New())
				s := storage.LimitStalls(faulty, 10*time.Second)
				require.NoError(t, storage.Put(t.Context(), s, "a", []byte("x"), storage.CreateOptions{}))
				require.NoError(t, call(t.Context(), s))
				faulty.Arm(op, "", storagetest.Hang, 0, 1)
				began := time.Now()
				require.ErrorIs(t, call(t.Context(), s), storage.ErrStalled)
				require.Equal(t, 10*time.Second, time.Since(began))
				require.ErrorIs(t, call(t.Context(), s), storage.ErrStalled, "it would answer, but is not asked yet")
				require.Equal(t, 10*time.Second, time.Since(began))
				<-time.After(10 * time.Second)
				require.NoError(t, call(t.Context(), s))

				// The end of the caller's context is no stall.
				faulty.Arm(op, "", storagetest.Hang, 0, 1)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := call(ctx, s)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NotErrorIs(t, err, storage.ErrStalled)
				require.NoError(t, call(t.Context(), s))
			})
		})
	}
}

func TestPartsAreReadThroughWrappers(t *testing.T) {
	t.Parallel()
	below := mem.New()
	require.NoError(t, storage.Put(t.Context(), below, "a", []byte("0123456789"), storage.CreateOptions{}))
	s := storage.LimitStalls(storage.RateLimit(below, 1), time.Minute)
	require.True(t, storage.ReadsRanges(s))
	part := make([]byte, 3)
	require.NoError(t, s.ReadRange(t.Context(), "a", 4, part))
	require.Equal(t, "456", string(part))
	whole := storage.LimitStalls(&slowly{Storage: below}, time.Minute)
	require.False(t, storage.ReadsRanges(whole))
	require.ErrorIs(t, whole.ReadRange(t.Context(), "a", 4, part), errors.ErrUnsupported)
}
