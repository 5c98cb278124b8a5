package main

import (
	"encoding/json"
	"fmt"
	"slices"
)

// results are what a query has written so far: of a stream all values, of a table the last one of each key.
type results struct {
	query  Query
	rows   map[string]string // of a table, by key
	stream []string
}

func newResults(q Query) *results { return &results{query: q, rows: make(map[string]string)} }

// add takes a record's key and value in; a nil value deletes the row.
func (r *results) add(key, value []byte) {
	switch {
	case !r.query.Table:
		r.stream = append(r.stream, string(value))
	case value == nil:
		delete(r.rows, string(key))
	default:
		r.rows[string(key)] = string(value)
	}
}

// sorted returns the results in an order that does not depend on how they came.
func (r *results) sorted() []string {
	list := slices.Clone(r.stream)
	for _, row := range r.rows {
		list = append(list, row)
	}
	slices.Sort(list)
	return list
}

// expected returns the results that there must be in the end, in the same order.
func expected(q Query, events []Event) ([]string, error) {
	var list []string
	for _, v := range q.Expected(events) {
		row, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		list = append(list, string(row))
	}
	slices.Sort(list)
	return list, nil
}

// check says what is wrong with the results; nil: they are the expected ones.
func (r *results) check(want []string) error {
	have := r.sorted()
	same := 0
	for same < len(have) && same < len(want) && have[same] == want[same] {
		same++
	}
	have, want = have[same:], want[same:]
	switch {
	case len(have) == 0 && len(want) == 0:
		return nil
	case len(want) == 0 || len(have) > 0 && have[0] < want[0]:
		return fmt.Errorf("%d results instead of %d, the first that is wrong or too much: %s",
			same+len(have), same+len(want), have[0])
	default:
		return fmt.Errorf("%d results instead of %d, the first that is missing: %s", same+len(have), same+len(want), want[0])
	}
}

// checkTotal is check for a query whose results depend on when the events were processed.
func (r *results) checkTotal(want int64) error {
	var have int64
	for _, row := range r.sorted() {
		part, err := r.query.Part([]byte(row))
		if err != nil {
			return fmt.Errorf("result %q: %w", row, err)
		}
		have += part
	}
	if have != want {
		return fmt.Errorf("the results add up to %d instead of %d", have, want)
	}
	return nil
}
