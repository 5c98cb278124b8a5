package record

import (
	"slices"
)

// Headers are shared by all records made from one input record: what changes them returns another slice.

// Header returns the last header of that name (Kafka's Headers.lastHeader).
func (r Record[K, V]) Header(name string) (value []byte, found bool) {
	return LastHeader(r.Headers, name)
}

// WithHeader returns r with one more header (Kafka's Headers.add). Others of that name stay.
func (r Record[K, V]) WithHeader(name string, value []byte) Record[K, V] {
	r.Headers = AddHeader(r.Headers, name, value)
	return r
}

// WithoutHeader returns r without the headers of that name (Kafka's Headers.remove).
func (r Record[K, V]) WithoutHeader(name string) Record[K, V] {
	r.Headers = RemoveHeader(r.Headers, name)
	return r
}

// LastHeader returns the last of headers that has that name.
func LastHeader(headers []Header, name string) (value []byte, found bool) {
	for _, h := range slices.Backward(headers) {
		if h.Key == name {
			return h.Value, true
		}
	}
	return nil, false
}

// AddHeader returns headers and one more. It leaves headers as they are, and what lies behind them in memory.
func AddHeader(headers []Header, name string, value []byte) []Header {
	return append(slices.Clip(headers), Header{Key: name, Value: value})
}

// RemoveHeader returns headers without those of that name, and leaves headers as they are.
func RemoveHeader(headers []Header, name string) []Header {
	named := func(h Header) bool { return h.Key == name }
	if !slices.ContainsFunc(headers, named) {
		return headers
	}
	return slices.DeleteFunc(slices.Clone(headers), named)
}
