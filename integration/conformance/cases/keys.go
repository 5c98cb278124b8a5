package cases

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// windowed is a key behind a windowed aggregation.
type windowed = record.Windowed[text]

// anyKey is a key of a case: text, or text in a window.
type anyKey interface{ text | windowed }

// keyText is a key as functions see it. plain differs from shown for windowed keys, which are shown as key@start/end.
type keyText struct{ shown, plain text }

func keyOf[K anyKey](k K) keyText {
	switch k := any(k).(type) {
	case windowed:
		return keyText{Some(shownWindow(k)), k.Key}
	case text:
		return keyText{k, k}
	default:
		return keyText{}
	}
}

func plainKey(k text) keyText { return keyText{k, k} }

func shownWindow(w windowed) string {
	return fmt.Sprintf("%s@%d/%d", show(w.Key), w.Window.Start, w.Window.End)
}

// shownKeySerde writes windowed keys as the corpus shows them.
type shownKeySerde struct{}

// Append implements serde.Serde.
func (shownKeySerde) Append(dst []byte, w windowed) ([]byte, error) {
	return append(dst, shownWindow(w)...), nil
}

// Decode implements serde.Serde.
func (shownKeySerde) Decode(data []byte) (w windowed, err error) {
	key, times, _ := strings.Cut(string(data), "@")
	start, end, _ := strings.Cut(times, "/")
	w.Key = &key
	var errStart, errEnd error
	w.Window.Start, errStart = strconv.ParseInt(start, 10, 64)
	w.Window.End, errEnd = strconv.ParseInt(end, 10, 64)
	return w, errors.Join(errStart, errEnd)
}

// shownSerdes are the serdes with which a stream is written to a topic.
func shownSerdes[K anyKey]() topology.Serdes {
	var key serde.Serde[K]
	if s, ok := any(shownKeySerde{}).(serde.Serde[K]); ok {
		key = s
	}
	return topology.WithSerdes[K, text](key, nil)
}
