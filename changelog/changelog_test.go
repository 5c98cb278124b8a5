package changelog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/changelog"
	"github.com/tidemarkio/tidemark/record"
)

func TestChoose(t *testing.T) {
	const start, end, now = 100, 200, 1_000_000_000
	retention := time.Hour
	old := now - retention.Milliseconds()
	for name, c := range map[string]struct {
		base   changelog.Base
		from   int64
		usable bool
		reason string
	}{
		"in the log":                 {changelog.Base{Offset: 150, WallTimeMs: now}, 150, true, ""},
		"at the start":               {changelog.Base{Offset: 100, WallTimeMs: now}, 100, true, ""},
		"just young enough":          {changelog.Base{Offset: 150, WallTimeMs: old + 1}, 150, true, ""},
		"at the end":                 {changelog.Base{Offset: 200, WallTimeMs: now}, 200, true, ""},
		"at the end, very old":       {changelog.Base{Offset: 200}, 200, true, ""},
		"before the start":           {changelog.Base{Offset: 99, WallTimeMs: now}, 100, false, "before the start 100"},
		"beyond the end":             {changelog.Base{Offset: 201, WallTimeMs: now}, 100, false, "beyond the end 200"},
		"as old as deletes are kept": {changelog.Base{Offset: 150, WallTimeMs: old}, 100, false, "forgets deletes after 1h"},
		"of unknown age":             {changelog.Base{Offset: 150}, 100, false, "forgets deletes"},
		"of the future":              {changelog.Base{Offset: 150, WallTimeMs: now + 5}, 150, true, ""},
	} {
		from, usable, reason := changelog.Choose(c.base, start, end, now, retention)
		require.Equal(t, c.from, from, name)
		require.Equal(t, c.usable, usable, name)
		require.Contains(t, reason, c.reason, name)
		require.Equal(t, c.usable, reason == "", name)
	}
	from, usable, _ := changelog.Choose(changelog.Base{}, 0, 0, now, retention)
	require.Zero(t, from)
	require.True(t, usable, "an empty log")
	_, usable, _ = changelog.Choose(changelog.Base{Offset: 150}, 200, 150, now, retention)
	require.True(t, usable, "the end decides: nothing is missing there")
}

// batches is a reader and a target at once: what it reads, and what was replayed.
type batches struct {
	next     []int64 // end of each batch; its records lie between
	err      error   // after the batches
	replayed []int64
	failAt   int64
}

func (b *batches) Read(
	_ context.Context, _ record.TopicPartition, from, _ int64, fn func([]record.Raw, int64) error,
) error {
	for _, next := range b.next {
		if err := fn(make([]record.Raw, next-from), next); err != nil {
			return err
		}
		from = next
	}
	return b.err
}

func (b *batches) Replay(_ string, _ []record.Raw, next int64) error {
	if next == b.failAt {
		return errors.New("disk full")
	}
	b.replayed = append(b.replayed, next)
	return nil
}

func TestReplay(t *testing.T) {
	tp := record.TopicPartition{Topic: "log"}
	var progress []changelog.Progress
	report := func(p changelog.Progress) { progress = append(progress, p) }

	b := &batches{next: []int64{15, 15, 20}}
	n, err := changelog.Replay(t.Context(), b, "s", tp, 10, 20, b, report)
	require.NoError(t, err)
	require.Equal(t, int64(10), n)
	require.Equal(t, []int64{15, 15, 20}, b.replayed, "a batch of markers moves the position, too")
	want := changelog.Progress{Store: "s", TopicPartition: tp, From: 10, At: 20, To: 20, Records: 10}
	require.Equal(t, want, progress[2])

	b = &batches{err: errors.New("not to be read")}
	n, err = changelog.Replay(t.Context(), b, "s", tp, 20, 20, b, report)
	require.NoError(t, err)
	require.Zero(t, n)

	b = &batches{next: []int64{15, 20}, failAt: 20}
	n, err = changelog.Replay(t.Context(), b, "s", tp, 10, 20, b, report)
	require.ErrorContains(t, err, `restore store "s" from log-0 at offset 15: disk full`)
	require.Equal(t, int64(5), n)

	b = &batches{err: changelog.ErrPositionLost}
	_, err = changelog.Replay(t.Context(), b, "s", tp, 10, 20, b, report)
	require.ErrorIs(t, err, changelog.ErrPositionLost)
}

func TestTopics(t *testing.T) {
	require.Equal(t, "app-counts-changelog", changelog.TopicName("app", "counts"))
	require.Equal(t, "app-x-repartition", changelog.RepartitionTopicName("app", "x-repartition"))
	require.Equal(t, "compact", changelog.TopicConfig(0, nil)["cleanup.policy"])
	overrides := map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "5"}
	require.Equal(t, "compact,delete", changelog.TopicConfig(0, overrides)["cleanup.policy"])
	expiring := changelog.TopicConfig(time.Hour, nil)
	require.Equal(t, "compact,delete", expiring["cleanup.policy"])
	require.Equal(t, "90000000", expiring["retention.ms"], "the store's hour and a day")
	require.Equal(t, "-1", changelog.RepartitionTopicConfig()["retention.ms"])

	require.NoError(t, changelog.CheckPartitions("t", 3, 3))
	err := changelog.CheckPartitions("t", 2, 3)
	te, ok := errors.AsType[*changelog.TopicError](err)
	require.True(t, ok)
	require.Equal(t, "t", te.Topic)
	require.ErrorContains(t, err, "has 2 partitions, and the topology needs 3")

	for _, c := range []struct {
		have      string
		overrides map[string]string
		ok        bool
	}{
		{"compact", nil, true},
		{"", nil, true}, // not readable
		{"delete", nil, false},
		{"compact,delete", nil, false},
		{"delete, compact", overrides, true},
		{"compact", overrides, false},
	} {
		err := changelog.CheckPolicy("t", map[string]string{"cleanup.policy": c.have}, 0, c.overrides)
		require.Equal(t, c.ok, err == nil, "%v: %v", c, err)
	}
	lag := changelog.WithHistory(time.Hour, map[string]string{"a": "b"})
	require.Equal(t, map[string]string{"a": "b", "min.compaction.lag.ms": "90000000"}, lag)
	chosen := map[string]string{"min.compaction.lag.ms": "5"}
	require.Equal(t, chosen, changelog.WithHistory(time.Hour, chosen))
	require.Nil(t, changelog.WithHistory(0, nil))
	for _, c := range []struct {
		have      string
		history   time.Duration
		overrides map[string]string
		ok        bool
	}{
		{"0", 0, nil, true},
		{"", time.Hour, nil, true}, // not readable
		{"0", time.Hour, nil, false},
		{"3599999", time.Hour, nil, false},
		{"3600000", time.Hour, nil, true},
		{"5", time.Hour, chosen, true},
	} {
		err := changelog.CheckHistory("t", map[string]string{"min.compaction.lag.ms": c.have}, c.history, c.overrides)
		require.Equal(t, c.ok, err == nil, "%v: %v", c, err)
	}
	for value, want := range map[string]time.Duration{
		"": 24 * time.Hour, "x": 24 * time.Hour, "-1": 24 * time.Hour, "0": 0, "60000": time.Minute,
	} {
		require.Equal(t, want, changelog.DeleteRetention(map[string]string{"delete.retention.ms": value}), value)
	}
}
