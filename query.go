package tidemark

import (
	"context"
	"iter"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// Reader reads a key-value store of an application from any goroutine (Kafka Streams' interactive queries): the store
// of a table, of an aggregation without windows, of AddStore with store.KeyValueSpec, or a global one. Make it with
// [Query] or [QueryFrom].
//
// It sees what is committed. With Config.ApplicationServer a key is read wherever it lives: here, or from the instance
// that has it, over HTTP; without, what is not on this instance is a [*NotHereError]. A global store is whole
// everywhere.
//
// A question is answered by the worker that has the partition, between two of its steps: the data path has no lock for
// it. While a task moves or restarts the question is asked again, until the context ends or the time of RetryFor; then
// it is an [*UnavailableError]. An answer is always one that the owner of the task gave, of everything that was
// committed at that moment, or of a standby if Stale allows it.
type Reader[K, V any] struct {
	options[*Reader[K, V]]
	typed[K, V]
}

// Query returns a reader of a key-value store by its name, the one that As or AddStore gave. Whether there is such a
// store, of these types, shows with the first question.
func Query[K, V any](a *App, storeName string) *Reader[K, V] {
	return newReader(newQuery(a, nil, storeName, store.TypeKeyValue, store.TypeTTLKeyValue), typed[K, V]{})
}

// QueryFrom is [Query] in a process without an App of the application. The serdes must be those of the store.
func QueryFrom[K, V any](
	c *QueryClient, storeName string, key serde.Serde[K], value serde.Serde[V],
) *Reader[K, V] {
	q := newQuery(nil, c, storeName, store.TypeKeyValue, store.TypeTTLKeyValue)
	return newReader(q, typed[K, V]{&store.Serdes[K, V]{Key: key, Value: value}})
}

func newReader[K, V any](q query, t typed[K, V]) *Reader[K, V] {
	r := &Reader[K, V]{typed: t}
	r.query, r.with = q, func(q query) *Reader[K, V] { return newReader(q, t) }
	return r
}

// Answer is a value, and where it comes from.
type Answer[V any] struct {
	QueryInfo

	Value     V
	Timestamp int64 // in milliseconds since the Unix epoch
	Found     bool
}

// Get returns the value of k.
func (r *Reader[K, V]) Get(ctx context.Context, k K) (v V, found bool, err error) {
	a, err := r.Ask(ctx, k)
	return a.Value, a.Found, err
}

// GetWithTimestamp returns the value of k, and its timestamp.
func (r *Reader[K, V]) GetWithTimestamp(ctx context.Context, k K) (v V, timestamp int64, found bool, err error) {
	a, err := r.Ask(ctx, k)
	return a.Value, a.Timestamp, a.Found, err
}

// Ask returns the value of k, and who says so.
func (r *Reader[K, V]) Ask(ctx context.Context, k K) (a Answer[V], err error) {
	rows, info, err := r.askKey(ctx, &r.query, k, store.Question{Kind: store.AskKey})
	a.QueryInfo = info
	if err != nil || len(rows) == 0 {
		return a, err
	}
	a.Value, err = r.value(&r.query, rows[0])
	a.Timestamp, a.Found = rows[0].Timestamp, err == nil
	return a, err
}

// Range yields the entries with lo <= key <= hi: partition by partition, each in the order of the keys' bytes. Without
// Config.ApplicationServer these are the partitions of this instance.
//
// Every page of some hundred entries is as of the last commit of its task then.
func (r *Reader[K, V]) Range(ctx context.Context, lo, hi K) iter.Seq2[store.KeyValueEntry[K, V], error] {
	return r.scan(ctx, &lo, &hi, store.Question{Kind: store.AskKeys})
}

// ReverseRange is Range from hi down to lo, within each partition.
func (r *Reader[K, V]) ReverseRange(ctx context.Context, lo, hi K) iter.Seq2[store.KeyValueEntry[K, V], error] {
	return r.scan(ctx, &lo, &hi, store.Question{Kind: store.AskKeys, Reverse: true})
}

// All yields all entries, as [Reader.Range] does.
func (r *Reader[K, V]) All(ctx context.Context) iter.Seq2[store.KeyValueEntry[K, V], error] {
	return r.scan(ctx, nil, nil, store.Question{Kind: store.AskKeys})
}

// ReverseAll yields all entries, as [Reader.ReverseRange] does.
func (r *Reader[K, V]) ReverseAll(ctx context.Context) iter.Seq2[store.KeyValueEntry[K, V], error] {
	return r.scan(ctx, nil, nil, store.Question{Kind: store.AskKeys, Reverse: true})
}

// Prefix yields the entries whose encoded keys begin with these bytes, as [Reader.Range] does (Kafka Streams'
// prefixScan).
func (r *Reader[K, V]) Prefix(ctx context.Context, prefix []byte) iter.Seq2[store.KeyValueEntry[K, V], error] {
	if prefix == nil {
		prefix = []byte{}
	}
	return r.scan(ctx, nil, nil, store.Question{Kind: store.AskKeys, Prefix: true, Lo: prefix})
}

// Count returns how many entries there are. It looks at every one of them, but sends none: a task of a million takes a
// second or so (Kafka Streams' approximateNumEntries is an estimate).
func (r *Reader[K, V]) Count(ctx context.Context) (n int64, err error) {
	if _, err := r.serdes(&r.query); err != nil {
		return 0, err
	}
	w := store.Question{Kind: store.AskCount, Limit: queryLimitMax}
	err = r.each(ctx, w, func(p reply) bool { n += p.page.Count; return true })
	return n, err
}

func (r *Reader[K, V]) scan(
	ctx context.Context, lo, hi *K, w store.Question,
) iter.Seq2[store.KeyValueEntry[K, V], error] {
	return scanWith(ctx, &r.query, &r.typed, lo, hi, w, func(row store.Row) (e store.KeyValueEntry[K, V], err error) {
		e.Timestamp = row.Timestamp
		e.Key, e.Value, err = r.entry(&r.query, row)
		return e, err
	})
}
