package topology

import (
	"strconv"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// KWindowedCogroupedStream is a cogroup divided into windows (Kafka Streams' TimeWindowedCogroupedKStream). Each input
// has an observed time of its own, and so its own lateness; results are forwarded at every update.
type KWindowedCogroupedStream[K, A any] struct {
	c  *KCogroupedStream[K, A]
	by Windows
}

// KSessionWindowedCogroupedStream is a cogroup divided into sessions (Kafka Streams' SessionWindowedCogroupedKStream);
// see [KWindowedCogroupedStream].
type KSessionWindowedCogroupedStream[K, A any] struct {
	c  *KCogroupedStream[K, A]
	by SessionWindows
}

// WindowedBy divides the cogroup into windows; see the function [WindowedBy].
func (c *KCogroupedStream[K, A]) WindowedBy(w Windows) *KWindowedCogroupedStream[K, A] {
	return &KWindowedCogroupedStream[K, A]{c: c, by: checkedWindows(c.b, "WindowedBy", w)}
}

// SessionWindowedBy divides the cogroup into sessions; see the function [SessionWindowedBy].
func (c *KCogroupedStream[K, A]) SessionWindowedBy(w SessionWindows) *KSessionWindowedCogroupedStream[K, A] {
	if problem := w.check(); problem != "" {
		c.b.fail("SessionWindowedBy", "%s", problem)
	}
	return &KSessionWindowedCogroupedStream[K, A]{c: c, by: w}
}

// Aggregate folds the records of each key and window into one value; see [KCogroupedStream.Aggregate], and the function
// [Aggregate] for nulls.
func (w *KWindowedCogroupedStream[K, A]) Aggregate(
	initial func() A, valueSerde serde.Serde[A], opts ...StoreOption,
) *KTable[record.Windowed[K], A] {
	w.c.b.needFunc("Aggregate", initial == nil)
	return aggregateCogrouped(w.c, w.by, initial, nil, valueSerde, opts)
}

// Aggregate folds the records of each key and session into one value; merge is that of [AggregateSessions].
func (w *KSessionWindowedCogroupedStream[K, A]) Aggregate(
	initial func() A, merge func(key K, left, right A) A, valueSerde serde.Serde[A], opts ...StoreOption,
) *KTable[record.Windowed[K], A] {
	w.c.b.needFunc("Aggregate", initial == nil || merge == nil)
	return aggregateCogrouped(w.c, w.by, initial, merge, valueSerde, opts)
}

func aggregateCogrouped[K, A any](
	c *KCogroupedStream[K, A], by windowing, initial func() A, merge func(K, A, A) A,
	valueSerde serde.Serde[A], opts []StoreOption,
) *KTable[record.Windowed[K], A] {
	const operator = "Aggregate"
	d := c.declare(operator, opts)
	t := newWindowTable(c.b, operator, d.storeName, by, false, d.config, c.keySerde(), valueSerde)
	parents := make([]*graphNode, len(c.inputs))
	late := 0
	for i, in := range c.inputs {
		clock := ""
		if i > 0 {
			clock = "-" + strconv.Itoa(i)
		}
		var n int
		parents[i], n = in.addWindowed(t, d.names[i], clock, initial, merge, d.parents[i])
		late += n
	}
	t.checkLate(late)
	return t.table(addMerged[record.Windowed[K], A](c.b, operator, d, parents), valueSerde)
}
