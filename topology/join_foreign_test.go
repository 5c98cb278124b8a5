package topology_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// joinedByFirst declares both kinds of foreign-key joins, with what stands before the dash as foreign key; "" is none.
func joinedByFirst(b *topology.Builder) {
	left := topology.Table(b, "l", serde.String, serde.Nullable(serde.String))
	right := topology.Table(b, "r", serde.Nullable(serde.String), serde.String)
	first := func(v *string) *string {
		if k, _, _ := strings.Cut(*v, "-"); k != "" {
			return &k
		}
		return nil
	}
	topology.ForeignKeyJoin(left, right, first, func(l *string, r string) string { return plus(*l, r) }, serde.String,
		topology.Named("inner"), topology.As("joined")).ToStream().To("inner")
	topology.LeftForeignKeyJoin(left, right, first, func(l *string, r maybeText) string { return plusMaybe(*l, r) },
		serde.String, topology.Named("left")).ToStream().To("left")
}

// foreignDriver pipes text and reads both outputs. crash ends everything behind each record.
type foreignDriver struct {
	t       *testing.T
	d       *tidemarktest.Driver
	outputs [2]*tidemarktest.OutputTopic[string, *string]
	crash   bool
}

func (f foreignDriver) pipe(topic, key, value string, timestamp int64) [2][]string {
	f.t.Helper()
	nullable := serde.Nullable(serde.String)
	v := &value
	if value == "-" {
		v = nil
	}
	tidemarktest.Input(f.d, topic, serde.String, nullable).Pipe(key, v, timestamp)
	if f.crash {
		f.d.Commit()
		f.d.Crash()
	}
	var all [2][]string
	for i, out := range f.outputs {
		for _, r := range out.ReadAll() {
			shown := "-"
			if r.Value != nil {
				shown = *r.Value
			}
			all[i] = append(all[i], fmt.Sprintf("%s=%s@%d", r.Key, shown, r.Timestamp))
		}
	}
	return all
}

func TestForeignKeyJoin(t *testing.T) {
	type outputs = [2][]string
	for _, crash := range []bool{false, true} {
		b := topology.NewBuilder()
		joinedByFirst(b)
		f := foreignDriver{t: t, d: tidemarktest.New(t, b), crash: crash}
		for i, topic := range []string{"inner", "left"} {
			f.outputs[i] = tidemarktest.Output(f.d, topic, serde.String, serde.Nullable(serde.String))
		}
		for i, s := range []struct {
			topic, key, value string
			timestamp         int64
			want              outputs
		}{
			{"l", "1", "p-a", 10, outputs{nil, {"1=p-a+none@10"}}},
			{"r", "p", "P", 5, outputs{{"1=p-a+P@5"}, {"1=p-a+P@5"}}},
			{"l", "1", "p-b", 3, outputs{{"1=p-b+P@5"}, {"1=p-b+P@5"}}},
			{"l", "0", "p-c", 20, outputs{{"0=p-c+P@20"}, {"0=p-c+P@20"}}},
			// Subscribers in the order of their keys.
			{"r", "p", "Q", 6, outputs{{"0=p-c+Q@6", "1=p-b+Q@6"}, {"0=p-c+Q@6", "1=p-b+Q@6"}}},
			// To a row that is not there: the old result goes.
			{"l", "1", "q-b", 7, outputs{{"1=-@7"}, {"1=q-b+none@7"}}},
			{"r", "p", "-", 8, outputs{{"0=-@8"}, {"0=p-c+none@8"}}},
			{"l", "1", "-no foreign key", 9, outputs{{"1=-@9"}, {"1=-no foreign key+none@9"}}},
			{"l", "1", "-still none", 11, outputs{nil, {"1=-still none+none@11"}}},
			{"l", "1", "p-d", 12, outputs{nil, {"1=p-d+none@12"}}},
			{"l", "1", "-", 13, outputs{{"1=-@13"}, {"1=-@13"}}},
			{"l", "1", "-", 14, outputs{}},
			{"r", "p", "R", 15, outputs{{"0=p-c+R@15"}, {"0=p-c+R@15"}}},
			{"r", "unknown", "-", 16, outputs{}},
		} {
			require.Equal(t, s.want, f.pipe(s.topic, s.key, s.value, s.timestamp), "step %d", i)
		}
		v, found, err := tidemarktest.Store[*store.KeyValue[string, string]](f.d, "joined").Get("0")
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, "p-c+R", v)
	}
}

// TestForeignKeyJoinDropsLateAnswers lets a left row change again before the first answer is there.
func TestForeignKeyJoinDropsLateAnswers(t *testing.T) {
	b := topology.NewBuilder()
	left := topology.FlatMapValues(textStreamOf(b, "l"), strings.Fields, serde.String).ToTable()
	topology.ForeignKeyJoin(left, textTableOf(b, "r"), func(v string) string { return v }, plus, nil).ToStream().To("out")
	d := tidemarktest.New(t, b)
	right := tidemarktest.Input(d, "r", serde.String, serde.String)
	right.Pipe("p", "P", 1)
	right.Pipe("q", "Q", 1)
	tidemarktest.Input(d, "l", serde.String, serde.String).Pipe("1", "p q p q", 2)
	var got []string
	for _, r := range tidemarktest.Output(d, "out", serde.String, serde.String).ReadAll() {
		got = append(got, r.Value)
	}
	// Two answers are about the value that the row has in the end; those about "p" are late.
	require.Equal(t, []string{"q+Q", "q+Q"}, got)
}

// TestForeignKeyJoinPartitions: a subscription goes where the user's partitioner says that the right row is.
func TestForeignKeyJoinPartitions(t *testing.T) {
	b := topology.NewBuilder()
	left := topology.Table(b, "l", serde.String, serde.Nullable(serde.String))
	right := topology.Table(b, "r", serde.Nullable(serde.String), serde.String)
	topology.LeftForeignKeyJoin(left, right, func(v *string) *string {
		if *v == "" {
			return nil
		}
		return v
	}, func(l *string, r maybeText) string { return plusMaybe(*l, r) }, serde.String, topology.Named("fk"),
		topology.WithOtherPartitioner(func(topic string, key *string, partitions int32) int32 {
			require.Equal(t, "fk-subscription-registration-topic", topic)
			return int32(len(*key)) % partitions
		})).ToStream().To("out")
	d := run(t, b, false)
	d.partitions = 4
	d.pipe("l", kv("1", "xyz", 1))
	d.pipe("l", kv("1", "", 2))
	const topic = "fk-subscription-registration-topic-"
	require.Len(t, d.written[topic+"3"], 2, "subscribed and unsubscribed")
	require.Len(t, d.written[topic+"0"], 1, "without a foreign key: the left partition")
	require.Nil(t, d.written[topic+"0"][0].Key)
}

// TestForeignKeyJoinSurvivesForeignRecords: what other programs write to the internal topics is no panic.
func TestForeignKeyJoinSurvivesForeignRecords(t *testing.T) {
	b := topology.NewBuilder()
	topology.ForeignKeyJoin(textTableOf(b, "l"), textTableOf(b, "r"), func(v string) string { return v }, plus, nil,
		topology.Named("fk")).ToStream().To("out")
	d := run(t, b, false)
	for _, topic := range []string{"fk-subscription-registration-topic", "fk-subscription-response-topic"} {
		d.pipe(topic, kv("-", "-", 1))
		d.pipe(topic, kv("k", "-", 1))
		require.ErrorContains(t, d.tryPipe(topic, kv("k", "?", 1)), "foreign-key join: want version 1")
	}
	require.Len(t, d.dropped, 4)
	require.Empty(t, d.written)
}
