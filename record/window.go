package record

import (
	"fmt"
	"time"
)

// Window is a span of event time, in milliseconds since the Unix epoch. Whether End belongs to it depends on its kind:
// not for tumbling, hopping and calendar windows; it does for sliding and session windows (Kafka Streams' TimeWindow
// and SessionWindow).
type Window struct {
	Start int64
	End   int64
}

// StartTime returns Start as a time.
func (w Window) StartTime() time.Time { return time.UnixMilli(w.Start) }

// EndTime returns End as a time.
func (w Window) EndTime() time.Time { return time.UnixMilli(w.End) }

func (w Window) String() string { return fmt.Sprintf("[%d,%d]", w.Start, w.End) }

// Windowed is the key of a windowed aggregate: a key within a window (Kafka Streams' Windowed).
type Windowed[K any] struct {
	Key    K
	Window Window
}

// String writes the key as Kafka Streams does: [key@start/end].
func (w Windowed[K]) String() string {
	return fmt.Sprintf("[%v@%d/%d]", w.Key, w.Window.Start, w.Window.End)
}

// Span returns the key's window, to who does not know the type of the key.
func (w Windowed[K]) Span() Window { return w.Window }
