package topology_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// The joins by null-ness of the look-up key, the value and the row; types with and without nil.
func TestJoinGlobalNulls(t *testing.T) {
	t.Parallel()
	text := serde.Nullable(serde.String)
	b := topology.NewBuilder()
	in := topology.Stream(b, "in", text, text)
	g := topology.GlobalTable(b, "g", serde.String, serde.String)
	pointers := topology.GlobalTable(b, "p", text, text)
	topology.JoinGlobalWithKey(in, pointers, func(k, _ *string) *string { return k },
		func(k, v, row *string) string { return *k + *v + *row }, serde.String).To("inner")
	topology.LeftJoinGlobalWithKey(in, pointers, func(k, _ *string) *string { return k },
		func(k, v *string, row topology.Optional[*string]) *string {
			if row.Present {
				return nil // a null value
			}
			shown := fmt.Sprint(k == nil, *v)
			return &shown
		}, nil).To("left")
	topology.JoinGlobal(topology.Stream(b, "plain", serde.String, serde.Int64), g,
		func(k string, _ int64) string { return k },
		func(v int64, row string) string { return fmt.Sprint(v, row) }, serde.String).To("plain-out")

	d := tidemarktest.New(t, b)
	str := serde.String
	pipe := tidemarktest.Input(d, "in", text, text)
	inner, left := tidemarktest.Output(d, "inner", text, str), tidemarktest.Output(d, "left", text, str)
	tidemarktest.Input(d, "p", str, str).Pipe("k", "row", 900)
	key, value, other := "k", "v", "o"

	pipe.Pipe(&key, &value, 5, record.Header{Key: "h", Value: []byte("x")})
	r := inner.Read()
	require.Equal(t, "kvrow", r.Value)
	require.Equal(t, int64(5), r.Timestamp, "the stream record's")
	require.Len(t, r.Headers, 1)
	require.True(t, left.Read().NullValue)

	pipe.Pipe(&other, &value, 6)
	pipe.Pipe(nil, &value, 7)
	pipe.Pipe(&key, nil, 8)
	pipe.Pipe(nil, nil, 9)
	require.Empty(t, inner.ReadAll())
	require.Equal(t, "falsev", left.Read().Value)
	require.Equal(t, "truev", left.Read().Value)
	require.Empty(t, left.ReadAll())

	plain := tidemarktest.Input(d, "plain", str, serde.Int64)
	tidemarktest.Input(d, "g", str, str).Pipe("a", "b", 1)
	plain.Pipe("a", 3, 2)
	plain.PipeRecord(record.Record[string, int64]{Key: "a", NullValue: true})
	out := tidemarktest.Output(d, "plain-out", str, str).ReadAll()
	require.Len(t, out, 1)
	require.Equal(t, "3b", out[0].Value)
	// Dropped: of the inner join a null key, a null value, and both; of the left one a null value, twice; one plain.
	require.Equal(t, 6, d.Dropped())
}

// Records with a null key are of use to a left join, so a repartition topic above it lets them through.
func TestLeftJoinGlobalKeepsNullKeys(t *testing.T) {
	t.Parallel()
	text := serde.Nullable(serde.String)
	for _, left := range []bool{false, true} {
		b := topology.NewBuilder()
		g := topology.GlobalTable(b, "g", text, text)
		s := topology.SelectKey(topology.Stream(b, "in", text, text), func(_, _ *string) *string { return nil }, nil).
			Repartition()
		key := func(_, v *string) *string { return v }
		if left {
			topology.LeftJoinGlobal(s, g, key, func(v *string, _ topology.Optional[*string]) *string { return v }, nil).To("out")
		} else {
			topology.JoinGlobal(s, g, key, func(v, _ *string) *string { return v }, nil).To("out")
		}
		d := tidemarktest.New(t, b)
		k := "k"
		tidemarktest.Input(d, "in", text, text).Pipe(&k, &k, 1)
		want := 0
		if left {
			want = 1
		}
		require.Equal(t, want, tidemarktest.Output(d, "out", text, text).Len())
	}
}

// A topic that the topology writes and a global table reads; a crash undoes what was not committed.
func TestGlobalTableOfOwnOutput(t *testing.T) {
	t.Parallel()
	str := serde.String
	b := topology.NewBuilder()
	g := topology.GlobalTable(b, "own", str, str, topology.As("rows"))
	in := topology.Stream(b, "in", str, str)
	in.To("own")
	topology.LeftJoinGlobal(in, g, func(k, _ string) string { return k },
		func(v string, row topology.Optional[string]) string { return v + row.Or("-") }, nil).To("out")
	d := tidemarktest.New(t, b)
	pipe := tidemarktest.Input(d, "in", str, str)
	pipe.Pipe("k", "a", 1)
	pipe.Pipe("k", "b", 2)
	d.Commit()
	rows := func() string {
		v, _, err := tidemarktest.Store[*store.Global[string, string]](d, "rows").Get("k")
		require.NoError(t, err)
		return v
	}
	require.Equal(t, "b", rows())
	d.Crash()
	require.Equal(t, "b", rows())
	pipe.Pipe("k", "c", 3)
	require.Equal(t, "c", rows())
}
