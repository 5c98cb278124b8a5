package checkpointing

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestControlMessages compares the bytes with those that docs/format/control-topic.md shows.
func TestControlMessages(t *testing.T) {
	t.Parallel()
	ms := int64(500)
	messages := []Message{
		encode(idKey(keyTrigger, 7), &Trigger{
			V: 1, ID: 7, Base: 6, Location: "app/chk-7", AlignedTimeoutMs: 500, Incremental: true, TriggeredMs: 1000,
			TimeoutMs: 600_000, Tasks: map[int32]int32{0: 2}, Fingerprint: "f",
		}),
		encode(idKey(keyCompleted, 7), &Completed{
			V: 1, ID: 7, Base: 6, Location: "app/chk-7", TriggeredMs: 1000, CompletedMs: 1200, Bytes: 10, StateBytes: 30,
			Tasks: []TaskStats{{
				Task: "0_0", AckMs: 150, StartDelayMs: 1, AlignmentMs: 2, SyncMs: 3, AsyncMs: 4, Bytes: 10, StateBytes: 30,
			}},
			Retained: []int64{7}, Needs: []Need{{Topic: "app-x-repartition", Partition: 1, Offset: 9}},
		}),
		encode(idKey(keyAborted, 8), &Aborted{
			V: 1, ID: 8, TriggeredMs: 1000, AbortedMs: 1200, Reason: "no", Location: "app/chk-8", Counted: true, Acked: 1,
			Tasks: 2,
		}),
		CommandMessage(Command{ID: "c0ffee", Kind: CommandSavepoint, RequestedMs: 1000, ExpiresMs: 9000}),
		encode("result/c0ffee", &Result{
			V: 1, Command: "c0ffee", FinishedMs: 1200, Checkpoint: 9, Location: "app/savepoint-9-c0ffee",
		}),
		encode(keyConfig, &Overrides{V: 1, IntervalMs: &ms}),
		encode(keyStop, &Stop{V: 1, StoppedMs: 1200, Command: "c0ffee", Savepoint: "app/savepoint-9-c0ffee"}),
		encode(keyFailed, &Failed{V: 1, FailedMs: 1200, ID: 8, Failures: 3, Reason: "no"}),
	}
	page, err := os.ReadFile("../docs/format/control-topic.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(page)
	require.NotNil(t, block)
	var want strings.Builder
	v := NewView()
	for _, m := range messages {
		want.WriteString(m.Key + "\n" + string(m.Value) + "\n")
		said, err := v.Apply(m)
		require.NoError(t, err)
		require.NotNil(t, said, m.Key)
	}
	require.Equal(t, want.String(), string(block[1]))
	require.Equal(t, "app/chk-7", v.Completed()[0].Location)
	require.Equal(t, int64(9), v.Result("c0ffee").Checkpoint)
	require.Equal(t, int64(8), v.lastID)
	require.Empty(t, v.InProgress())
}

func TestViewRefuses(t *testing.T) {
	t.Parallel()
	for _, m := range []Message{
		{"trigger/x", []byte(`{"v":1}`)},
		{"trigger/-1", []byte(`{"v":1}`)},
		{"ack/", []byte(`{"v":1}`)},
		{"completed/1", []byte(`{"v":1`)},
		{"stop", []byte(`[]`)},
		{"config", []byte(`{"v":1,"intervalMs":"x"}`)},
	} {
		v := NewView()
		_, err := v.Apply(m)
		require.Error(t, err, m.Key)
		require.Empty(t, v.InProgress())
	}
	_, err := NewView().Apply(Message{"trigger/1", []byte(`{"v":2}`)})
	require.ErrorIs(t, err, ErrNewerMessage)
	said, err := NewView().Apply(Message{"news/1", []byte(`{"v":2}`)})
	require.NoError(t, err)
	require.Nil(t, said)
}

func FuzzView(f *testing.F) {
	f.Add("trigger/1", []byte(`{"v":1,"id":1,"tasks":{"0":1}}`))
	f.Add("ack/1/0_0", []byte(`{"v":1,"id":1,"task":"0_0","snapshot":{}}`))
	f.Add("command/x", []byte(`{"v":1,"kind":"configure"}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		v := NewView()
		first := encode(idKey(keyTrigger, 1), &Trigger{V: 1, ID: 1, Tasks: map[int32]int32{0: 1}})
		mustApply(t, v, first)
		m := Message{Key: key, Value: value}
		_, _ = v.Apply(m)
		cfg := CoordinatorConfig{Config: Config{Storage: anyStorage{}, Interval: 1000}.WithDefaults()}
		c, _ := NewCoordinator(cfg, v, Stored{}, 5)
		c.Step(6, Received{Message: m})
		c.Step(1_000_000, Tick{})
	})
}
