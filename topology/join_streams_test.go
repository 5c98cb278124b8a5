package topology_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

func shown(o topology.Optional[string]) string { return o.Or("null") }

// joinStreams declares a join of the topics left and right, or of left with itself.
func joinStreams(kind string, self bool, w topology.JoinWindows, opts ...topology.StreamJoinOption) *topology.Builder {
	b := topology.NewBuilder()
	left := topology.Stream(b, "left", serde.String, serde.String)
	right := left
	if !self {
		right = topology.Stream(b, "right", serde.String, serde.String)
	}
	var joined *topology.KStream[string, string]
	switch kind {
	case "inner":
		joined = topology.Join(left, right, func(l, r string) string { return l + "|" + r }, w, nil, opts...)
	case "left":
		joined = topology.LeftJoin(left, right,
			func(l string, r topology.Optional[string]) string { return l + "|" + shown(r) }, w, nil, opts...)
	default:
		joined = topology.OuterJoin(left, right,
			func(l, r topology.Optional[string]) string { return shown(l) + "|" + shown(r) }, w, nil, opts...)
	}
	joined.To("out")
	return b
}

// joinDriver pipes records written side:key=value@time; "-" is null.
type joinDriver struct {
	*tidemarktest.Driver

	t   *testing.T
	out *tidemarktest.OutputTopic[string, string]
}

func newJoinDriver(t *testing.T, b *topology.Builder) joinDriver {
	t.Helper()
	d := tidemarktest.New(t, b)
	return joinDriver{d, t, tidemarktest.Output(d, "out", serde.String, serde.String)}
}

func (d joinDriver) pipe(topic, key, value string, ts int64) []string {
	d.t.Helper()
	tidemarktest.Input(d.Driver, topic, serde.String, serde.String).PipeRecord(record.Record[string, string]{
		Key: key, Value: value, Timestamp: ts, NullKey: key == "-", NullValue: value == "-",
	})
	return d.take()
}

func (d joinDriver) take() []string {
	var got []string
	for _, r := range d.out.ReadAll() {
		key := r.Key
		if r.NullKey {
			key = "-"
		}
		got = append(got, fmt.Sprintf("%s=%s@%d", key, r.Value, r.Timestamp))
	}
	return got
}

func (d joinDriver) script(lines string) {
	d.t.Helper()
	for line := range strings.Lines(lines) {
		var topic, key, value string
		var ts int64
		in, want, _ := strings.Cut(strings.TrimSpace(line), " -> ")
		_, err := fmt.Sscanf(in, "%s %s %s %d", &topic, &key, &value, &ts)
		require.NoError(d.t, err, line)
		require.Equal(d.t, strings.Fields(want), append([]string{}, d.pipe(topic, key, value, ts)...), line)
	}
}

const ms = time.Millisecond

func TestJoinsOfStreams(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind    string
		windows topology.JoinWindows
		script  string
	}{
		"pairs in the order of time, duplicates multiply": {"inner", topology.Within(10 * ms), `left k L1 20
			left k L2 15
			left k L3 20
			right k R1 20 -> k=L2|R1@20 k=L1|R1@20 k=L3|R1@20
			right other R2 20
			right k R3 26 -> k=L1|R3@26 k=L3|R3@26
			left k L4 5
			left - L5 26
			right k - 26`},
		"asymmetric, only younger": {"inner", topology.Within(10 * ms).Before(-5 * ms).Grace(9 * ms), `left k L1 100
			right k R1 104
			right k R2 105 -> k=L1|R2@105
			right k R3 110 -> k=L1|R3@110
			right k R4 111
			left k L2 99 -> k=L2|R1@104 k=L2|R2@105`},
		"nothing is kept for no time at all": {"inner", topology.Within(0), `left k L 5
			right k R 5`},
		"a late record joins what is kept": {"inner", topology.Within(10 * ms).Grace(10 * ms), `right k R1 100
			right k R2 129
			left k L1 92 -> k=L1|R1@100
			right k R3 130
			left k L2 92`},
		"no early results": {"left", topology.Within(10 * ms).Grace(5 * ms), `left k L1 100
			left k L2 101
			right x R1 115
			right k R2 104 -> k=L1|R2@104 k=L2|R2@104
			left k L3 118
			left x L4 134 -> k=L3|null@118
			right k R3 118 -> k=L3|R3@118`},
		"a match cancels all that waits at its time": {"left", topology.Within(10 * ms), `left k L1 100
			left k L2 100
			right k R1 90 -> k=L1|R1@100 k=L2|R1@100
			left x L3 200`},
		"windows that have ended do not wait": {"left", topology.Within(10 * ms), `right x R1 100
			left k L1 89 -> k=L1|null@89
			left k L2 90`},
		"null keys": {"outer", topology.Within(10 * ms), `left - L1 100 -> -=L1|null@100
			right - R1 50 -> -=null|R1@50
			left k - 300
			right - - 301`},
		"right before left, then keys": {"outer", topology.Within(10 * ms), `left b L1 100
			left a L2 100
			left a L3 100
			right d R1 100
			right c R2 100
			left z L4 500 -> c=null|R2@100 d=null|R1@100 a=L2|null@100 a=L3|null@100 b=L1|null@100`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newJoinDriver(t, joinStreams(c.kind, false, c.windows)).script(c.script)
		})
	}
}

// A record that waits is cancelled in the epoch in which it came, and its results carry the trigger's headers.
func TestUncommittedRecordsThatWait(t *testing.T) {
	t.Parallel()
	d := newJoinDriver(t, joinStreams("outer", false, topology.Within(10*ms)))
	require.Empty(t, d.pipe("left", "k", "L", 100))
	require.Equal(t, []string{"k=L|R@101"}, d.pipe("right", "k", "R", 101))
	require.Empty(t, d.pipe("left", "x", "late", 500))
	tidemarktest.Input(d.Driver, "right", serde.String, serde.String).
		Pipe("y", "R", 600, record.Header{Key: "h", Value: []byte("1")})
	got := d.out.Read()
	require.Equal(t, "late|null", got.Value)
	require.Equal(t, []record.Header{{Key: "h", Value: []byte("1")}}, got.Headers)
}
