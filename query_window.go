package tidemark

import (
	"context"
	"iter"
	"math"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// WindowReader reads a window store of an application, as [Reader] does a key-value store. Make it with [QueryWindow]
// or [QueryWindowFrom]. Times are in milliseconds since the Unix epoch; what the retention has taken is not found.
type WindowReader[K, V any] struct {
	options[*WindowReader[K, V]]
	typed[K, V]
}

// QueryWindow returns a reader of a window store by its name: of an aggregation with tumbling, hopping, sliding or
// calendar windows, or of AddStore with store.WindowSpec.
func QueryWindow[K, V any](a *App, storeName string) *WindowReader[K, V] {
	return newWindowReader(newQuery(a, nil, storeName, store.TypeWindow), typed[K, V]{})
}

// QueryWindowFrom is [QueryWindow] in a process without an App of the application. The serdes must be those of the
// store; its keys are without windows.
func QueryWindowFrom[K, V any](
	c *QueryClient, storeName string, key serde.Serde[K], value serde.Serde[V],
) *WindowReader[K, V] {
	return newWindowReader(newQuery(nil, c, storeName, store.TypeWindow),
		typed[K, V]{&store.Serdes[K, V]{Key: key, Value: value}})
}

func newWindowReader[K, V any](q query, t typed[K, V]) *WindowReader[K, V] {
	r := &WindowReader[K, V]{typed: t}
	r.query, r.with = q, func(q query) *WindowReader[K, V] { return newWindowReader(q, t) }
	return r
}

// Fetch returns the value of k in the window that starts there.
func (r *WindowReader[K, V]) Fetch(ctx context.Context, k K, start int64) (v V, found bool, err error) {
	rows, _, err := r.askKey(ctx, &r.query, k, store.Question{Kind: store.AskKey, From: start})
	if err != nil || len(rows) == 0 {
		return v, false, err
	}
	v, err = r.value(&r.query, rows[0])
	return v, err == nil, err
}

// FetchRange returns the windows of k with from <= start <= to, by start. Up to 4096 of them are as of one commit.
func (r *WindowReader[K, V]) FetchRange(
	ctx context.Context, k K, from, to int64,
) ([]store.WindowEntry[K, V], error) {
	rows, _, err := r.askKey(ctx, &r.query, k, store.Question{Kind: store.AskTimes, From: from, To: to})
	return decodeAll(rows, err, r.decode)
}

// FetchAll returns the windows of all keys with from <= start <= to, in the order of Windows: keep the range short.
func (r *WindowReader[K, V]) FetchAll(ctx context.Context, from, to int64) ([]store.WindowEntry[K, V], error) {
	return collect(r.Windows(ctx, from, to))
}

// Windows yields the windows of all keys with from <= start <= to: partition by partition, each in the order of
// [store.Window.FetchAll]. See [Reader.Range] for what a page is.
func (r *WindowReader[K, V]) Windows(ctx context.Context, from, to int64) iter.Seq2[store.WindowEntry[K, V], error] {
	return scanWith(ctx, &r.query, &r.typed, nil, nil, store.Question{Kind: store.AskAll, From: from, To: to}, r.decode)
}

// Range is Windows of the keys from lo to hi. It looks at the windows of all keys in that time.
func (r *WindowReader[K, V]) Range(
	ctx context.Context, lo, hi K, from, to int64,
) iter.Seq2[store.WindowEntry[K, V], error] {
	return scanWith(ctx, &r.query, &r.typed, &lo, &hi, store.Question{Kind: store.AskAll, From: from, To: to}, r.decode)
}

// All yields all windows that the retention has left.
func (r *WindowReader[K, V]) All(ctx context.Context) iter.Seq2[store.WindowEntry[K, V], error] {
	return r.Windows(ctx, 0, timeMax)
}

// timeMax is no upper bound.
const timeMax = math.MaxInt64 - 1

func (r *WindowReader[K, V]) decode(row store.Row) (e store.WindowEntry[K, V], err error) {
	e.Start, e.Timestamp = row.Start, row.Timestamp
	e.Key, e.Value, err = r.entry(&r.query, row)
	return e, err
}
