package topology_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// BenchmarkCount measures source → count → toStream → sink, store included, over 10,000 keys with a commit every 50,000
// records. The key string is the only allocation per record.
func BenchmarkCount(b *testing.B) {
	for _, caching := range []bool{false, true} {
		b.Run(fmt.Sprintf("caching=%v", caching), func(b *testing.B) {
			builder := topology.NewBuilder()
			s := topology.Stream(builder, "in", serde.String, serde.Bytes)
			topology.Count(s.GroupByKey(), topology.As("counts")).ToStream().To("out")
			d := run(b, builder, caching)
			d.discard = true
			const keys, epochRecords = 10_000, 50_000
			raws := make([]record.Raw, keys)
			for i := range raws {
				raws[i] = kv(fmt.Sprintf("customer-%06d", i*7919%keys), "value", int64(i))
			}
			var (
				source    = d.sources["in"]
				changelog record.Batch
				epoch     record.Epoch
				n         int
			)
			b.ReportAllocs()
			for b.Loop() {
				raw := &raws[n%keys]
				d.current.Timestamp = raw.Timestamp
				if err := source.ReceiveRaw(raw); err != nil {
					b.Fatal(err)
				}
				if n++; n%epochRecords == 0 {
					epoch++
					commit(b, d.stores["counts"], epoch, &changelog)
				}
			}
		})
	}
}

func commit(tb testing.TB, s store.Store, epoch record.Epoch, changelog *record.Batch) {
	tb.Helper()
	changelog.Reset()
	require.NoError(tb, s.FlushCache())
	require.NoError(tb, s.Seal(epoch, changelog))
	s.Commit(epoch)
}

// BenchmarkStateless measures what a chain of stateless operators costs per record.
func BenchmarkStateless(b *testing.B) {
	builder := topology.NewBuilder()
	s := topology.Stream(builder, "in", serde.String, serde.String)
	s = s.Filter(func(_, v string) bool { return v != "" })
	n := topology.MapValues(s, func(v string) int64 { return int64(len(v)) }, serde.Int64)
	n.Peek(func(string, int64) {}).To("out")
	d := run(b, builder, false)
	d.discard = true
	raw := kv("customer-000001", "value", 1)
	source := d.sources["in"]
	b.ReportAllocs()
	for b.Loop() {
		if err := source.ReceiveRaw(&raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStreamJoin measures two sources → join → sink over 10,000 keys, with a commit every 50,000 records: each
// record finds a few of the other side's. Times advance a millisecond per 10 records.
func BenchmarkStreamJoin(b *testing.B) {
	for _, kind := range []string{"inner", "outer"} {
		b.Run(kind, func(b *testing.B) {
			d := run(b, joinStreams(kind, false, topology.Within(2*time.Second).Grace(time.Second)), false)
			d.discard = true
			const keys, epochRecords = 10_000, 50_000
			names := make([][]byte, keys)
			for i := range names {
				names[i] = fmt.Appendf(nil, "customer-%06d", i*7919%keys)
			}
			sources := []processor.Source{d.sources["left"], d.sources["right"]}
			var (
				changelog record.Batch
				epoch     record.Epoch
				n         int
			)
			value := []byte("value")
			b.ReportAllocs()
			for b.Loop() {
				raw := record.Raw{Key: names[n/2%keys], Value: value, Timestamp: int64(n) / 10}
				d.current.Timestamp = raw.Timestamp
				if err := sources[n%2].ReceiveRaw(&raw); err != nil {
					b.Fatal(err)
				}
				if n++; n%epochRecords == 0 {
					epoch++
					for _, s := range d.stores {
						commit(b, s, epoch, &changelog)
					}
				}
			}
		})
	}
}
