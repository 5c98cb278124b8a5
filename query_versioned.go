package tidemark

import (
	"context"
	"iter"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// VersionedReader reads a versioned store of an application, as [Reader] does a key-value store. Make it with
// [QueryVersioned] or [QueryVersionedFrom]. Times are in milliseconds since the Unix epoch.
//
// Old versions are found as far back as the history retention reaches from the store's observed time; the latest one of
// a key always is.
type VersionedReader[K, V any] struct {
	options[*VersionedReader[K, V]]
	typed[K, V]
}

// QueryVersioned returns a reader of a versioned store by its name: of a versioned table, or of AddStore with
// store.VersionedSpec.
func QueryVersioned[K, V any](a *App, storeName string) *VersionedReader[K, V] {
	return newVersionedReader(newQuery(a, nil, storeName, store.TypeVersioned), typed[K, V]{})
}

// QueryVersionedFrom is [QueryVersioned] in a process without an App of the application. The serdes must be those of
// the store.
func QueryVersionedFrom[K, V any](
	c *QueryClient, storeName string, key serde.Serde[K], value serde.Serde[V],
) *VersionedReader[K, V] {
	return newVersionedReader(newQuery(nil, c, storeName, store.TypeVersioned),
		typed[K, V]{&store.Serdes[K, V]{Key: key, Value: value}})
}

func newVersionedReader[K, V any](q query, t typed[K, V]) *VersionedReader[K, V] {
	r := &VersionedReader[K, V]{typed: t}
	r.query, r.with = q, func(q query) *VersionedReader[K, V] { return newVersionedReader(q, t) }
	return r
}

// Get returns the latest version of k.
func (r *VersionedReader[K, V]) Get(ctx context.Context, k K) (v store.Version[V], found bool, err error) {
	return r.one(ctx, k, store.Question{Kind: store.AskKey})
}

// GetAsOf returns the version of k that was valid at a time (VersionedKeyQuery, KIP-960).
func (r *VersionedReader[K, V]) GetAsOf(
	ctx context.Context, k K, at int64,
) (v store.Version[V], found bool, err error) {
	return r.one(ctx, k, store.Question{Kind: store.AskTimes, From: at, To: at})
}

func (r *VersionedReader[K, V]) one(
	ctx context.Context, k K, w store.Question,
) (v store.Version[V], found bool, err error) {
	rows, _, err := r.askKey(ctx, &r.query, k, w)
	if err != nil || len(rows) == 0 {
		return v, false, err
	}
	v, err = r.version(rows[0])
	return v, err == nil, err
}

// History returns the versions of k that were valid at some time between from and to, both included, the oldest first
// (MultiVersionedKeyQuery, KIP-968, with ascending timestamps). Up to 4096 of them are as of one commit.
func (r *VersionedReader[K, V]) History(ctx context.Context, k K, from, to int64) ([]store.Version[V], error) {
	rows, _, err := r.askKey(ctx, &r.query, k, store.Question{Kind: store.AskTimes, From: from, To: to})
	return decodeAll(rows, err, r.version)
}

// Range yields the latest values of the keys from lo to hi, as [Reader.Range] does.
func (r *VersionedReader[K, V]) Range(ctx context.Context, lo, hi K) iter.Seq2[store.KeyValueEntry[K, V], error] {
	return scanWith(ctx, &r.query, &r.typed, &lo, &hi, store.Question{Kind: store.AskKeys}, r.latest)
}

// All yields the latest value of every key that has one, as [Reader.Range] does.
func (r *VersionedReader[K, V]) All(ctx context.Context) iter.Seq2[store.KeyValueEntry[K, V], error] {
	return scanWith(ctx, &r.query, &r.typed, nil, nil, store.Question{Kind: store.AskKeys}, r.latest)
}

func (r *VersionedReader[K, V]) version(row store.Row) (v store.Version[V], err error) {
	v.ValidFrom, v.ValidTo = row.Start, row.End
	v.Value, err = r.value(&r.query, row)
	return v, err
}

func (r *VersionedReader[K, V]) latest(row store.Row) (e store.KeyValueEntry[K, V], err error) {
	e.Timestamp = row.Timestamp
	e.Key, e.Value, err = r.entry(&r.query, row)
	return e, err
}
