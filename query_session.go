package tidemark

import (
	"context"
	"iter"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// SessionReader reads a session store of an application, as [Reader] does a key-value store. Make it with
// [QuerySession] or [QuerySessionFrom]. Times are in milliseconds since the Unix epoch; what the retention has taken is
// not found.
type SessionReader[K, V any] struct {
	options[*SessionReader[K, V]]
	typed[K, V]
}

// QuerySession returns a reader of a session store by its name: of an aggregation of sessions, or of AddStore with
// store.SessionSpec.
func QuerySession[K, V any](a *App, storeName string) *SessionReader[K, V] {
	return newSessionReader(newQuery(a, nil, storeName, store.TypeSession), typed[K, V]{})
}

// QuerySessionFrom is [QuerySession] in a process without an App of the application. The serdes must be those of the
// store; its keys are without windows.
func QuerySessionFrom[K, V any](
	c *QueryClient, storeName string, key serde.Serde[K], value serde.Serde[V],
) *SessionReader[K, V] {
	return newSessionReader(newQuery(nil, c, storeName, store.TypeSession),
		typed[K, V]{&store.Serdes[K, V]{Key: key, Value: value}})
}

func newSessionReader[K, V any](q query, t typed[K, V]) *SessionReader[K, V] {
	r := &SessionReader[K, V]{typed: t}
	r.query, r.with = q, func(q query) *SessionReader[K, V] { return newSessionReader(q, t) }
	return r
}

// Fetch returns the value of one session of k, whose start and end are both its own.
func (r *SessionReader[K, V]) Fetch(ctx context.Context, k K, w record.Window) (v V, found bool, err error) {
	rows, _, err := r.askKey(ctx, &r.query, k, store.Question{Kind: store.AskKey, From: w.Start, To: w.End})
	if err != nil || len(rows) == 0 {
		return v, false, err
	}
	v, err = r.value(&r.query, rows[0])
	return v, err == nil, err
}

// FetchKey returns all sessions of k, by end.
func (r *SessionReader[K, V]) FetchKey(ctx context.Context, k K) ([]store.SessionEntry[K, V], error) {
	return r.Find(ctx, k, 0, timeMax)
}

// Find returns the sessions of k that end at earliestEnd or later and start at latestStart or earlier, by end (Kafka
// Streams' findSessions). Up to 4096 of them are as of one commit.
func (r *SessionReader[K, V]) Find(
	ctx context.Context, k K, earliestEnd, latestStart int64,
) ([]store.SessionEntry[K, V], error) {
	rows, _, err := r.askKey(ctx, &r.query, k, store.Question{Kind: store.AskTimes, From: earliestEnd, To: latestStart})
	return decodeAll(rows, err, r.decode)
}

// Ended yields the sessions of all keys that end between from and to, both included: partition by partition, each in
// the order of [store.Session.FetchEnded]. See [Reader.Range] for what a page is.
func (r *SessionReader[K, V]) Ended(ctx context.Context, from, to int64) iter.Seq2[store.SessionEntry[K, V], error] {
	return scanWith(ctx, &r.query, &r.typed, nil, nil, store.Question{Kind: store.AskAll, From: from, To: to}, r.decode)
}

// Range is Ended of the keys from lo to hi. It looks at the sessions of all keys in that time.
func (r *SessionReader[K, V]) Range(
	ctx context.Context, lo, hi K, from, to int64,
) iter.Seq2[store.SessionEntry[K, V], error] {
	return scanWith(ctx, &r.query, &r.typed, &lo, &hi, store.Question{Kind: store.AskAll, From: from, To: to}, r.decode)
}

// All yields all sessions that the retention has left.
func (r *SessionReader[K, V]) All(ctx context.Context) iter.Seq2[store.SessionEntry[K, V], error] {
	return r.Ended(ctx, 0, timeMax)
}

func (r *SessionReader[K, V]) decode(row store.Row) (e store.SessionEntry[K, V], err error) {
	e.Window, e.Timestamp = record.Window{Start: row.Start, End: row.End}, row.Timestamp
	e.Key, e.Value, err = r.entry(&r.query, row)
	return e, err
}
