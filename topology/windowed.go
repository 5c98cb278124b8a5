package topology

import (
	"github.com/tidemarkio/tidemark/record"
)

// Grouped is what [Count] and [Reduce] fold: a grouped stream, or one with windows. K and V are the types of its
// records, RK is the type of the result's keys: K, or record.Windowed[K].
type Grouped[K, V, RK any] interface {
	group() *KGroupedStream[K, V]
	// windows returns nil if there are none.
	windows() windowing
	// final says that windows are forwarded once, when they close.
	final() bool
	resultKey(RK)
}

func (g *KGroupedStream[K, V]) group() *KGroupedStream[K, V] { return g }
func (g *KGroupedStream[K, V]) windows() windowing           { return nil }
func (g *KGroupedStream[K, V]) final() bool                  { return false }
func (g *KGroupedStream[K, V]) resultKey(K)                  {}

// KWindowedStream is a grouped stream divided into windows, ready to be aggregated (Kafka Streams'
// TimeWindowedKStream). The result is a table with a row per key and window.
type KWindowedStream[K, V any] struct {
	grouped *KGroupedStream[K, V]
	by      Windows
	onClose bool
}

// WindowedBy divides a grouped stream into windows (Kafka Streams' windowedBy). A window takes records until the time
// that the aggregation has observed, the highest timestamp of its records with a key, has passed its end by the grace.
// For sessions see [SessionWindowedBy].
func WindowedBy[K, V any](g *KGroupedStream[K, V], w Windows) *KWindowedStream[K, V] {
	return &KWindowedStream[K, V]{grouped: g, by: checkedWindows(g.stream.b, "WindowedBy", w)}
}

// checkedWindows reports what is wrong with windows, and returns some to go on with.
func checkedWindows(b *Builder, operator string, w Windows) Windows {
	if w == nil {
		b.fail(operator, "the windows are nil")
		return Tumbling(1)
	}
	if problem := w.check(); problem != "" {
		b.fail(operator, "%s", problem)
	}
	return w
}

// EmitOnClose makes the results final: a window is forwarded once, when it has closed, and not at every update (Kafka
// Streams' EmitStrategy.onWindowClose, KIP-825). Windows close in the order of their starts and keys. Caching is off.
// [CountWindows] are final without it.
func (w *KWindowedStream[K, V]) EmitOnClose() *KWindowedStream[K, V] {
	final := *w
	final.onClose = true
	return &final
}

func (w *KWindowedStream[K, V]) group() *KGroupedStream[K, V] { return w.grouped }
func (w *KWindowedStream[K, V]) windows() windowing           { return w.by }
func (w *KWindowedStream[K, V]) final() bool                  { return w.onClose }
func (w *KWindowedStream[K, V]) resultKey(record.Windowed[K]) {}

// Folded is what [Aggregate] can fold without being told how two aggregates are merged: all but sessions.
type Folded[K, V, RK any] interface {
	Grouped[K, V, RK]
	mergesNothing()
}

func (g *KGroupedStream[K, V]) mergesNothing()  {}
func (w *KWindowedStream[K, V]) mergesNothing() {}
