package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/record"
)

func TestReaderStopsAtTheEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		tp := part(env.topic(t, 1, nil), 0)
		env.produce(t, tp, "a", "b", "c", "d")
		env.produce(t, tp, "e")
		r := NewReader(env.client(t))
		for _, tc := range []struct {
			from, to int64
			want     []string
		}{
			{0, 5, []string{"a", "b", "c", "d", "e"}},
			{1, 3, []string{"b", "c"}},
			{4, 5, []string{"e"}},
			{5, 5, nil},
			{3, 1, nil},
		} {
			var got []string
			last := tc.from
			err := r.Read(testContext(t), tp, tc.from, tc.to, func(rs []record.Raw, next int64) error {
				require.Greater(t, next, last)
				got, last = append(got, values(rs)...), next
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, tc.want, got, "[%d, %d)", tc.from, tc.to)
			require.Equal(t, max(tc.from, tc.to), last)
		}
	})
}

func TestReaderPositionLost(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		tp := part(env.topic(t, 1, nil), 0)
		env.produce(t, tp, "a", "b", "c")
		admin := NewAdmin(env.client(t), AdminConfig{})
		require.NoError(t, admin.DeleteRecords(testContext(t), map[record.TopicPartition]int64{tp: 2}))
		err := NewReader(env.client(t)).Read(testContext(t), tp, 1, 3, func([]record.Raw, int64) error { return nil })
		require.ErrorIs(t, err, changelog.ErrPositionLost)
		require.ErrorContains(t, err, fmt.Sprintf("read %s at offset 1", tp))
	})
}

func TestReaderEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		tp := part(env.topic(t, 1, nil), 0)
		env.produce(t, tp, "a")
		r := NewReader(env.client(t))
		stop := errors.New("enough")
		err := r.Read(testContext(t), tp, 0, 100, func([]record.Raw, int64) error { return stop })
		require.ErrorIs(t, err, stop)

		ctx, cancel := context.WithCancel(testContext(t))
		err = r.Read(ctx, tp, 0, 100, func([]record.Raw, int64) error { cancel(); return nil }) // the end never comes
		require.ErrorIs(t, err, context.Canceled)
	})
}

// TestReadersInParallel: as many restores as a worker may run, with faults.
func TestReadersInParallel(t *testing.T) {
	env := newFake(t)
	topic := env.topic(t, 8, nil)
	r := NewReader(env.client(t))
	for p := range int32(8) {
		env.produce(t, part(topic, p), strconv.Itoa(int(p)))
	}
	env.fake.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: 5},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownServerError, Count: 2},
	)
	var wg sync.WaitGroup
	for p := range int32(8) {
		wg.Go(func() {
			var got []string
			err := r.Read(testContext(t), part(topic, p), 0, 1, func(rs []record.Raw, _ int64) error {
				got = append(got, values(rs)...)
				return nil
			})
			if err != nil || len(got) != 1 || got[0] != strconv.Itoa(int(p)) {
				t.Errorf("partition %d: %v %v", p, got, err)
			}
		})
	}
	wg.Wait()
}

// TestReaderTail follows a partition: what is there, what comes later, and of transactions what is committed.
func TestReaderTail(t *testing.T) {
	onBoth(t, func(t *testing.T, env producerEnv) {
		tp := part(env.topic(t, 1, nil), 0)
		env.produce(t, tp, "a", "b")
		stop := errors.New("enough")
		var got []string
		err := NewReader(env.client(t)).Tail(testContext(t), tp, 1, func(rs []record.Raw, next int64) error {
			got = append(got, values(rs)...)
			switch next {
			case 2:
				env.produce(t, tp, "c") // it waits for it
			case 3:
				return stop
			}
			return nil
		})
		require.ErrorIs(t, err, stop)
		require.Equal(t, []string{"b", "c"}, got)

		ctx, cancel := context.WithCancel(testContext(t))
		time.AfterFunc(50*time.Millisecond, cancel)
		err = NewReader(env.client(t)).Tail(ctx, tp, 3, func([]record.Raw, int64) error { return nil })
		require.ErrorIs(t, err, context.Canceled, "also while it waits")
	})
}
