package tidemark

import (
	"context"
	"iter"

	"github.com/tidemarkio/tidemark/store"
)

// typed are the types of a reader.
type typed[K, V any] struct {
	given *store.Serdes[K, V] // of a client; nil: the App's topology has them
}

func (t *typed[K, V]) serdes(q *query) (store.Serdes[K, V], error) {
	if t.given == nil {
		return serdesOf[K, V](q)
	}
	if t.given.Key == nil || t.given.Value == nil {
		return *t.given, errNoSerdes
	}
	return *t.given, nil
}

// key encodes a key.
func (t *typed[K, V]) key(q *query, k K) ([]byte, error) {
	s, err := t.serdes(q)
	if err != nil {
		return nil, err
	}
	b, err := s.Key.Append([]byte{}, k)
	if err != nil {
		return nil, &store.CodecError{Store: q.store, Op: "encode key", Err: err}
	}
	return b, nil
}

// askKey asks about one key.
func (t *typed[K, V]) askKey(
	ctx context.Context, q *query, k K, w store.Question,
) (rows []store.Row, info QueryInfo, err error) {
	key, err := t.key(q, k)
	if err != nil {
		return nil, info, err
	}
	return q.byKey(ctx, key, w)
}

func (t *typed[K, V]) value(q *query, r store.Row) (v V, err error) {
	s, err := t.serdes(q)
	if err != nil {
		return v, err
	}
	return decodeWith(q.store, "decode value", r.Value, s.Value.Decode)
}

func (t *typed[K, V]) entry(q *query, r store.Row) (k K, v V, err error) {
	s, err := t.serdes(q)
	if err != nil {
		return k, v, err
	}
	if k, err = decodeWith(q.store, "decode key", r.Key, s.Key.Decode); err != nil {
		return k, v, err
	}
	v, err = decodeWith(q.store, "decode value", r.Value, s.Value.Decode)
	return k, v, err
}

// scanWith yields the rows of keys between two bounds, of which nil is none.
func scanWith[K, V, E any](
	ctx context.Context, q *query, t *typed[K, V], lo, hi *K, w store.Question, decode func(store.Row) (E, error),
) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		var none E
		_, err := t.serdes(q)
		if err == nil && lo != nil {
			w.Lo, err = t.key(q, *lo)
		}
		if err == nil && hi != nil {
			w.Hi, err = t.key(q, *hi)
		}
		if err != nil {
			yield(none, err)
			return
		}
		rowsOf(ctx, q, w, decode)(yield)
	}
}

// decodeAll decodes the rows of one key.
func decodeAll[E any](rows []store.Row, err error, decode func(store.Row) (E, error)) ([]E, error) {
	if err != nil {
		return nil, err
	}
	var all []E
	for _, row := range rows {
		e, err := decode(row)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}
