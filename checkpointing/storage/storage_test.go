package storage_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/mem"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
)

func TestWrappersAreStorages(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(storage.Storage) storage.Storage{
		"encryption": func(s storage.Storage) storage.Storage { return storage.Encrypt(s, newCipher(t, 1)) },
		"no faults":  func(s storage.Storage) storage.Storage { return storagetest.NewFaulty(s) },
		"both": func(s storage.Storage) storage.Storage {
			return storage.RateLimit(storage.Encrypt(s, newCipher(t, 1)), 1<<40)
		},
		"stalls": func(s storage.Storage) storage.Storage { return storage.LimitStalls(s, time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storagetest.Run(t, func(*testing.T) storage.Storage { return wrap(mem.New()) })
		})
	}
}

func TestRateLimitIsKeptAndChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storage.RateLimit(mem.New(), 1<<20)
		put := func(n int) time.Duration {
			began := time.Now()
			require.NoError(t, storage.Put(t.Context(), s, "a", make([]byte, n), storage.CreateOptions{}))
			return time.Since(began)
		}
		require.InDelta(t, 10, put(10<<20).Seconds(), 0.2)
		s.SetBytesPerSecond(5 << 20)
		require.InDelta(t, 2, put(10<<20).Seconds(), 0.2)
		s.SetBytesPerSecond(0)
		require.Zero(t, put(100<<20))
		// Whoever waits for its turn stops when its context ends.
		s.SetBytesPerSecond(1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		err := storage.Put(ctx, s, "b", make([]byte, 1<<20), storage.CreateOptions{})
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, storage.Transient(err))
	})
}

func TestPutAndGet(t *testing.T) {
	t.Parallel()
	s := storagetest.NewFaulty(mem.New())
	s.Arm(storagetest.OnWrite, "", storagetest.DiskFull, 0, 1)
	err := storage.Put(t.Context(), s, "a", []byte("abc"), storage.CreateOptions{})
	require.ErrorIs(t, err, storagetest.ErrInjected)
	require.True(t, storage.Transient(err))
	require.NoError(t, storage.Put(t.Context(), s, "a", []byte("abc"), storage.CreateOptions{}))
	_, err = storage.Get(t.Context(), s, "a", 2)
	require.ErrorContains(t, err, "larger than expected")
	data, err := storage.Get(t.Context(), s, "a", 3)
	require.NoError(t, err)
	require.Equal(t, "abc", string(data))
}

func TestTransient(t *testing.T) {
	t.Parallel()
	passing := &storage.Error{Transient: true, Err: io.ErrUnexpectedEOF}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{io.EOF, false},
		{passing, true},
		{errors.Join(io.EOF, passing), true},
		{&storage.Error{Transient: true, Err: context.DeadlineExceeded}, false},
		{&storage.Error{Err: storage.ErrExists}, false},
	} {
		require.Equal(t, c.want, storage.Transient(c.err), "%v", c.err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	data := []byte(strings.Repeat("0123456789", 10))
	for _, c := range []struct {
		op    storagetest.Op
		fault storagetest.Fault
		fails bool
		left  int // bytes that can be read afterwards, without the fault; -1: no object
	}{
		{storagetest.OnCreate, storagetest.Refuse, true, -1},
		{storagetest.OnCreate, storagetest.Deny, true, -1},
		{storagetest.OnCommit, storagetest.Refuse, true, -1},
		{storagetest.OnCommit, storagetest.LostAnswer, true, 100},
		{storagetest.OnCommit, storagetest.Partial, false, 50},
		{storagetest.OnOpen, storagetest.FlipBit, false, 100},
		{storagetest.OnOpen, storagetest.CutShort, false, 100},
	} {
		s := storagetest.NewFaulty(mem.New())
		s.Arm(c.op, "a", c.fault, 0, 1)
		err := storage.Put(t.Context(), s, "a", data, storage.CreateOptions{})
		require.Equal(t, c.fails, err != nil, "%s: %v", c.fault, err)
		if c.op == storagetest.OnOpen {
			got, err := storage.Get(t.Context(), s, "a", 1000)
			require.NoError(t, err)
			require.False(t, bytes.Equal(got, data), c.fault)
		}
		got, err := storage.Get(t.Context(), s, "a", 1000)
		if c.left < 0 {
			require.ErrorIs(t, err, storage.ErrNotFound)
			continue
		}
		require.Len(t, got, c.left, c.fault)
		require.Equal(t, 1, s.Hits())
	}
	s := storagetest.NewFaulty(mem.New())
	s.Arm(storagetest.OnDelete, "", storagetest.Hang, 1, -1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.NoError(t, s.Delete(ctx, "a"))
	require.ErrorIs(t, s.Delete(ctx, "a"), context.DeadlineExceeded)
	s.Disarm()
	require.NoError(t, s.Delete(t.Context(), "a"))
	require.Equal(t, 3, s.Calls(storagetest.OnDelete))
}
