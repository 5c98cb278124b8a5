package topology_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

const milli = time.Millisecond

// suppressed runs a table of texts of the topic "in" through declare, and returns pipe, which answers with what "out"
// got. A record is key=value@timestamp, and key@timestamp deletes.
func suppressed(
	t *testing.T, declare func(t textTable) textTable, opts ...tidemarktest.Option,
) (d *tidemarktest.Driver, pipe func(in string) []string) {
	t.Helper()
	b := topology.NewBuilder()
	declare(textTableOf(b, "in")).ToStream().To("out")
	d = tidemarktest.New(t, b, opts...)
	nullable := serde.Nullable(serde.String)
	out := tidemarktest.Output(d, "out", serde.String, nullable)
	return d, func(in string) (got []string) {
		if in != "" {
			key, value, timestamp := parsed(t, in)
			tidemarktest.Input(d, "in", serde.String, nullable).Pipe(key, value, timestamp)
		}
		for _, r := range out.ReadAll() {
			got = append(got, shownUpdate(r))
		}
		return got
	}
}

func parsed(t *testing.T, in string) (key string, value *string, timestamp int64) {
	t.Helper()
	row, at, _ := strings.Cut(in, "@")
	_, err := fmt.Sscan(at, &timestamp)
	require.NoError(t, err)
	key, text, found := strings.Cut(row, "=")
	if found {
		value = &text
	}
	return key, value, timestamp
}

func shownUpdate(r record.Record[string, *string]) string {
	var s strings.Builder
	s.WriteString(r.Key)
	if r.Value != nil {
		s.WriteString("=" + *r.Value)
	}
	fmt.Fprint(&s, "@", r.Timestamp)
	for _, h := range r.Headers {
		fmt.Fprintf(&s, " %s:%s", h.Key, h.Value)
	}
	return s.String()
}

func TestSuppressUntilTimeLimit(t *testing.T) {
	type step struct {
		in   string
		want []string
	}
	for name, c := range map[string]struct {
		until topology.Suppressed
		steps []step
	}{
		"keeps the place": {topology.UntilTimeLimit(10 * milli), []step{
			{"a=1@0", nil},
			{"b=1@4", nil},
			{"a=2@9", nil},
			{"b@10", []string{"a=2@9"}},
			{"c=1@14", []string{"b@10"}},
			{"d=1@13", nil},
			{"e=1@23", []string{"d=1@13"}},
			{"e=2@33", []string{"c=1@14", "e=2@33"}},
		}},
		"no time": {topology.UntilTimeLimit(0), []step{{"a=1@5", []string{"a=1@5"}}, {"a@3", []string{"a@3"}}}},
		"emits early": {topology.UntilTimeLimit(time.Hour).MaxRecords(2), []step{
			{"b=1@5", nil}, {"a=1@5", nil}, {"a=2@6", nil}, {"c=1@1", []string{"c=1@1"}}, {"d=1@9", []string{"a=2@6"}},
		}},
		"no room at all": {topology.UntilTimeLimit(time.Hour).MaxRecords(0).EmitEarlyWhenFull(), []step{
			{"b=1@5", []string{"b=1@5"}}, {"b@6", []string{"b@6"}},
		}},
		// A row of a key and a value of one byte each counts for two, and two for version and flags.
		"bytes": {topology.UntilTimeLimit(time.Hour).MaxBytes(9), []step{
			{"a=1@1", nil},
			{"b=1@2", nil},
			{"b=22@3", nil},
			{"b=333@4", []string{"a=1@1"}},
			{"b=4444444@5", []string{"b=4444444@5"}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, crash := range []bool{false, true} {
				d, pipe := suppressed(t, func(t textTable) textTable { return topology.Suppress(t, c.until) })
				for _, s := range c.steps {
					require.Equal(t, s.want, pipe(s.in), "%s, with crashes: %v", s.in, crash)
					if crash {
						d.Commit()
						d.Crash()
					}
				}
			}
		})
	}
}

// TestSuppressBufferFull: no handler may skip the record, since results would be lost.
func TestSuppressBufferFull(t *testing.T) {
	for want, until := range map[string]topology.Suppressed{
		`node "KTABLE-SUPPRESS-0000000003" of task 0_0: suppress buffer full: ` +
			`the store "KTABLE-SUPPRESS-STATE-STORE-0000000004"` + " would hold 2 records of at most 1 (raise MaxRecords": topology.UntilTimeLimit(time.Hour).MaxRecords(1).
			ShutDownWhenFull(),
		"would hold 8 bytes of at most 7 (raise MaxBytes": topology.UntilTimeLimit(time.Hour).MaxBytes(7).
			MaxRecords(9).ShutDownWhenFull(),
	} {
		d, pipe := suppressed(t, func(t textTable) textTable { return topology.Suppress(t, until) },
			tidemarktest.WithHandlers(nil, processor.Continue()))
		require.Empty(t, pipe("a=1@1"))
		err := tidemarktest.Input(d, "in", serde.String, serde.String).TryPipe("b", "1", 2)
		require.ErrorContains(t, err, want)
		var full *processor.BufferFullError
		require.ErrorAs(t, err, &full)
	}
}

// TestSuppressKeepsHeaders: they belong to the update, and last as long.
func TestSuppressKeepsHeaders(t *testing.T) {
	d, pipe := suppressed(t, func(t textTable) textTable { return topology.Suppress(t, topology.UntilTimeLimit(5*milli)) })
	in := tidemarktest.Input(d, "in", serde.String, serde.String)
	in.Pipe("a", "1", 0, record.Header{Key: "h", Value: []byte("old")})
	in.Pipe("a", "2", 1, record.Header{Key: "h", Value: []byte("new")}, record.Header{Key: "n"})
	d.Commit()
	d.Crash()
	in.Pipe("b", "1", 5, record.Header{Key: "other"})
	require.Equal(t, []string{"a=2@1 h:new n:"}, pipe(""))
}

func TestSuppressAdvancesWhenIdle(t *testing.T) {
	d, pipe := suppressed(t, func(t textTable) textTable {
		return topology.Suppress(t, topology.UntilTimeLimit(time.Minute).AdvanceWhenIdle(10*time.Second))
	})
	d.AdvanceWallClock(time.Hour)
	require.Empty(t, pipe("a=1@5000"))
	d.AdvanceWallClock(59 * time.Second)
	require.Empty(t, pipe(""))
	require.Empty(t, pipe("a=2@6000"))
	d.AdvanceWallClock(9 * time.Second)
	require.Empty(t, pipe(""))
	d.Commit()
	d.Crash() // the wall clock counts anew, from the observed time on
	d.AdvanceWallClock(59 * time.Second)
	require.Equal(t, []string{"a=2@6000"}, pipe(""))
	require.Equal(t, []string{"b=1@3000"}, pipe("b=1@3000"), "the observed time has gone on")
}

// TestSuppressedTablesAreTables: what lies below sees what was forwarded, not what waits.
func TestSuppressedTablesAreTables(t *testing.T) {
	for _, crash := range []bool{false, true} {
		b := topology.NewBuilder()
		held := topology.Suppress(textTableOf(b, "l"), topology.UntilTimeLimit(10*milli))
		topology.OuterJoinTables(held, textTableOf(b, "r"), plusEither, nil).ToStream().To("joined")
		topology.CountTable(topology.GroupTableBy(held, func(_, v string) (string, string) { return v, v }, nil, nil)).
			ToStream().To("counted")
		d := tidemarktest.New(t, b)
		joined := tidemarktest.Output(d, "joined", serde.String, serde.String)
		counted := tidemarktest.Output(d, "counted", serde.String, serde.Int64)
		expect := func(topic, key, value string, timestamp int64, want ...string) {
			t.Helper()
			tidemarktest.Input(d, topic, serde.String, serde.String).Pipe(key, value, timestamp)
			var got []string
			for _, r := range joined.ReadAll() {
				got = append(got, fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Timestamp))
			}
			for _, r := range counted.ReadAll() {
				got = append(got, fmt.Sprintf("%s:%d", r.Key, r.Value))
			}
			require.Equal(t, want, got)
			if crash {
				d.Commit()
				d.Crash()
			}
		}
		expect("l", "k", "a", 0)
		expect("r", "k", "x", 1, "k=none+x@1")
		expect("l", "x", "-", 10, "k=a+x@1", "a:1")
		expect("l", "k", "b", 11)
		expect("l", "k", "c", 12)
		expect("r", "k", "y", 2, "k=a+y@2") // a's time is forgotten while c waits
		expect("l", "y", "-", 21, "x=-+none@10", "k=c+y@12", "-:1", "a:0", "c:1")
		expect("r", "k", "z", 3, "k=c+z@12")
	}
}

// TestSuppressFindsTheGrace: through whatever lies between the windows and it, the longest.
func TestSuppressFindsTheGrace(t *testing.T) {
	for name, between := range map[string]func(t windowCounts) windowCounts{
		"nothing": func(t windowCounts) windowCounts { return t },
		"a filter": func(t windowCounts) windowCounts {
			return t.Filter(func(record.Windowed[string], int64) bool { return true })
		},
		"a join": func(t windowCounts) windowCounts {
			return topology.JoinTables(t, t, func(l, _ int64) int64 { return l }, nil)
		},
		"a stream": func(t windowCounts) windowCounts { return t.ToStream().ToTable() },
		"a repartition topic": func(t windowCounts) windowCounts {
			return topology.SelectKey(t.ToStream(), func(k record.Windowed[string], _ int64) record.Windowed[string] { return k },
				serde.TimeWindowed(serde.String, 10*milli)).ToTable()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := topology.NewBuilder()
			counts := topology.Count(topology.WindowedBy(textStreamOf(b, "in").GroupByKey(),
				topology.Tumbling(10*milli).Grace(5*milli)))
			topology.Suppress(between(counts), topology.UntilWindowCloses()).ToStream().To("out")
			d := tidemarktest.New(t, b)
			out := tidemarktest.Output(d, "out", serde.TimeWindowed(serde.String, 10*milli), serde.Int64)
			in := tidemarktest.Input(d, "in", serde.String, serde.String)
			for _, at := range []int64{1, 14, 3, 12} {
				in.Pipe("k", "", at)
			}
			require.Zero(t, out.Len())
			in.Pipe("other", "", 15)
			got := out.ReadAll()
			require.Len(t, got, 1)
			require.Equal(t, "[k@0/10]=2", fmt.Sprintf("%v=%d", got[0].Key, got[0].Value))
		})
	}
}

type windowCounts = *topology.KTable[record.Windowed[string], int64]

func TestSuppressMistakes(t *testing.T) {
	for want, declare := range map[string]func(t textTable){
		"the keys are of type string, not record.Windowed": func(t textTable) {
			topology.Suppress(t, topology.UntilWindowCloses())
		},
		`when the windows of "t-to-table" close is not known`: func(t textTable) {
			topology.SelectKey(t.ToStream(), func(k, _ string) record.Windowed[string] { return record.Windowed[string]{Key: k} },
				serde.TimeWindowed(serde.String, time.Second))
			windows := topology.SelectKey(t.ToStream(),
				func(k, _ string) record.Windowed[string] { return record.Windowed[string]{Key: k} },
				serde.TimeWindowed(serde.String, time.Second)).ToTable(topology.Named("t-to-table"))
			topology.Suppress(windows, topology.UntilWindowCloses())
		},
		"nothing says how long":      func(t textTable) { topology.Suppress(t, nil) },
		"UntilTimeLimit(-1ms): want": func(t textTable) { topology.Suppress(t, topology.UntilTimeLimit(-milli)) },
		"UntilTimeLimit(1ns): want":  func(t textTable) { topology.Suppress(t, topology.UntilTimeLimit(1)) },
		"MaxRecords(-1): want":       func(t textTable) { topology.Suppress(t, topology.UntilTimeLimit(0).MaxRecords(-1)) },
		"MaxBytes(-1): want":         func(t textTable) { topology.Suppress(t, topology.UntilTimeLimit(0).MaxBytes(-1)) },
		"AdvanceWhenIdle(-1ms): want": func(t textTable) {
			topology.Suppress(t, topology.UntilTimeLimit(0).AdvanceWhenIdle(-milli))
		},
		"Retention: an update is kept": func(t textTable) {
			topology.Suppress(t, topology.UntilTimeLimit(0), topology.Retention(1))
		},
		"no value serde for the store": func(t textTable) { topology.Suppress(lengths(t), topology.UntilTimeLimit(0)) },
		`store "s" was already declared`: func(t textTable) {
			topology.Suppress(t, topology.UntilTimeLimit(0), topology.As("s"))
			topology.Suppress(t, topology.UntilTimeLimit(0), topology.As("s"))
		},
	} {
		b := topology.NewBuilder()
		declare(textTableOf(b, "in"))
		_, err := b.Build()
		require.ErrorContains(t, err, want)
		var mistake *topology.BuildError
		require.ErrorAs(t, err, &mistake)
		require.Contains(t, mistake.Position, "suppress_test.go:")
	}
}

// lengths is a table whose values have no serde.
func lengths(t textTable) *topology.KTable[string, int] {
	return topology.MapTableValues(t, func(v string) int { return len(v) }, nil)
}

// TestSuppressNames: Kafka Streams uses no number up for names that are given.
func TestSuppressNames(t *testing.T) {
	b := topology.NewBuilder()
	table := topology.Suppress(textTableOf(b, "in"), topology.UntilTimeLimit(0))
	table = topology.Suppress(table, topology.UntilTimeLimit(0), topology.Named("named"))
	table = topology.Suppress(table, topology.UntilTimeLimit(0), topology.As("kept"), topology.WithoutLogging())
	table.ToStream().To("out")
	plan := b.MustBuild()
	var stores []string
	for _, s := range plan.Stores {
		stores = append(stores, fmt.Sprint(s.Name, " ", s.LoggingDisabled, s.CachingEnabled))
	}
	require.Equal(t, []string{
		"in-STATE-STORE-0000000000 false true", "KTABLE-SUPPRESS-STATE-STORE-0000000004 false false",
		"named-store false false", "kept true false",
	}, stores)
	require.Contains(t, topology.Describe(plan), `    Processor: KTABLE-SUPPRESS-0000000005 (stores: [kept])
      --> KTABLE-TOSTREAM-0000000006
      <-- named
`)
}

// BenchmarkSuppress measures updates that wait, of 1,000 keys, and allocates for keys and values only.
func BenchmarkSuppress(b *testing.B) {
	builder := topology.NewBuilder()
	table := topology.Table(builder, "in", serde.String, serde.Int64)
	topology.Suppress(table, topology.UntilTimeLimit(time.Hour)).ToStream().To("out")
	d := run(b, builder, false)
	d.discard = true
	raws := make([]record.Raw, 1000)
	for i := range raws {
		raws[i] = kv(fmt.Sprint("customer-", i), "12345678", int64(i))
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if err := d.sources["in"].ReceiveRaw(&raws[n%len(raws)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	held, ok := d.stores["KTABLE-SUPPRESS-STATE-STORE-0000000004"].(interface{ Len() int64 })
	require.True(b, ok)
	require.Positive(b, held.Len())
}
