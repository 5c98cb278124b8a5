package cases

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// Run builds a case, pipes its events and compares. The error is the first difference, or an *UnknownError.
func Run(c *Case) error {
	return RunWith(c, func(*tidemarktest.Driver) error { return nil })
}

// RunWith is Run with options of the builder; after is called behind each event.
func RunWith(
	c *Case, after func(d *tidemarktest.Driver) error, opts ...topology.BuilderOption,
) (err error) {
	b, err := Build(c, opts...)
	if err != nil {
		return err
	}
	// The reference runs everything as one task.
	d, err := tidemarktest.Open(b.Builder, tidemarktest.SingleTask())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	outputs := make(map[string]*tidemarktest.OutputTopic[text, text], len(b.Sinks))
	for _, topic := range b.Sinks {
		outputs[topic] = tidemarktest.Output(d, topic, TextSerde(), TextSerde())
	}
	for i := range c.Events {
		failed, err := pipe(d, &c.Events[i], c.Outputs[i])
		if failed {
			return nil // as it should; it is the last event
		}
		if err == nil {
			err = compareOutputs(outputs, b.Sinks, c.Outputs[i])
		}
		if err == nil {
			err = after(d)
		}
		if err != nil {
			return fmt.Errorf("event %d of %d %s: %w", i+1, len(c.Events), JSON(c.Events[i]), err)
		}
	}
	return compareStores(d, c.Stores)
}

// pipe carries an event out. failed says that it failed as the case wants.
func pipe(d *tidemarktest.Driver, e *Event, wanted map[string]json.RawMessage) (failed bool, err error) {
	if e.Topic == "" {
		err = d.TryAdvanceWallClock(time.Duration(e.AdvanceWallClockMs) * time.Millisecond)
	} else {
		var headers []record.Header
		for _, h := range e.Headers {
			headers = append(headers, record.Header{Key: show(h[0]), Value: []byte(show(h[1]))})
		}
		err = tidemarktest.Input(d, e.Topic, TextSerde(), TextSerde()).TryPipe(e.Key, e.Value, e.TS, headers...)
	}
	if want, ok := wanted["error"]; ok {
		var text string
		switch {
		case json.Unmarshal(want, &text) != nil:
			return false, fmt.Errorf("conformance: the wanted error is no text: %s", want)
		case err == nil:
			return false, fmt.Errorf("no error, want %s", want)
		case !strings.Contains(err.Error(), text):
			return false, fmt.Errorf("want the error %q, got %w", text, err)
		}
		return true, nil
	}
	return false, err
}

func compareOutputs(
	outputs map[string]*tidemarktest.OutputTopic[text, text], sinks []string, wanted map[string]json.RawMessage,
) error {
	for topic := range wanted {
		if outputs[topic] == nil {
			return fmt.Errorf("topic %s is not written", topic)
		}
	}
	for _, topic := range sinks {
		var want, got []Output
		if data, ok := wanted[topic]; ok {
			if err := json.Unmarshal(data, &want); err != nil {
				return fmt.Errorf("conformance: outputs of %s: %w", topic, err)
			}
		}
		for outputs[topic].Len() > 0 {
			r, err := outputs[topic].TryRead()
			if err != nil {
				return err
			}
			got = append(got, outputOf(r))
		}
		if !reflect.DeepEqual(want, got) {
			return fmt.Errorf("topic %s:\n      want %s\n      got  %s", topic, JSON(want), JSON(got))
		}
	}
	return nil
}

func outputOf(r textRecord) Output {
	o := Output{Key: r.Key, Value: r.Value, TS: r.Timestamp}
	for _, h := range r.Headers {
		o.Headers = append(o.Headers, [2]text{Some(h.Key), Some(string(h.Value))})
	}
	return o
}

func compareStores(d *tidemarktest.Driver, wanted map[string]WantedStore) error {
	for name, want := range wanted {
		got, err := contents(d, name)
		if err != nil {
			return err
		}
		for i := range got {
			if i < len(want.Entries) && want.Entries[i].TS == nil {
				got[i].TS = nil
			}
		}
		if !slices.EqualFunc(want.Entries, got, func(a, b Entry) bool { return reflect.DeepEqual(a, b) }) {
			return fmt.Errorf("store %s:\n      want %s\n      got  %s", name, JSON(want.Entries), JSON(got))
		}
		if err := compareVersions(d, name, want); err != nil {
			return err
		}
	}
	return nil
}

// contents reads a store, whose rows are texts or counts, in key order.
func contents(d *tidemarktest.Driver, name string) ([]Entry, error) {
	st, err := tidemarktest.TryStore[store.Store](d, name)
	if err != nil {
		return nil, err
	}
	switch st := st.(type) {
	case textStore:
		return rows(st.All(), identity)
	case textGlobal:
		return rows(st.All(), identity)
	case *store.KeyValue[text, int64]:
		return rows(st.All(), decimal)
	case *store.KeyValue[windowed, text]:
		return rows(st.All(), identity)
	case *store.KeyValue[windowed, int64]:
		return rows(st.All(), decimal)
	case versionedStore:
		return rows(st.All(), identity)
	case *store.Window[text, text]:
		return windowRows(st.All(), identity)
	case *store.Window[text, int64]:
		return windowRows(st.All(), decimal)
	case *store.Session[text, text]:
		return sessionRows(st.All(), identity)
	case *store.Session[text, int64]:
		return sessionRows(st.All(), decimal)
	default:
		return nil, fmt.Errorf("conformance: cannot read a %T", st)
	}
}

func identity(v text) text { return v }

func rows[K anyKey, V any](
	all iter.Seq2[store.KeyValueEntry[K, V], error], shown func(V) text,
) (entries []Entry, err error) {
	for e, err := range all {
		if err != nil {
			return nil, err
		}
		entries = append(entries, Entry{Key: keyOf(e.Key).shown, Value: shown(e.Value), TS: &e.Timestamp})
	}
	return sorted(entries), nil
}

func windowRows[V any](
	all iter.Seq2[store.WindowEntry[text, V], error], shown func(V) text,
) (entries []Entry, err error) {
	for e, err := range all {
		if err != nil {
			return nil, err
		}
		entries = append(entries, Entry{Key: e.Key, Start: &e.Start, Value: shown(e.Value), TS: &e.Timestamp})
	}
	return sorted(entries), nil
}

func sessionRows[V any](
	all iter.Seq2[store.SessionEntry[text, V], error], shown func(V) text,
) (entries []Entry, err error) {
	for e, err := range all {
		if err != nil {
			return nil, err
		}
		entries = append(entries, Entry{
			Key: e.Key, Start: &e.Window.Start, End: &e.Window.End, Value: shown(e.Value), TS: &e.Timestamp,
		})
	}
	return sorted(entries), nil
}

// sorted puts rows in the order of the corpus: by key, start and end.
func sorted(entries []Entry) []Entry {
	at := func(t *int64) int64 {
		if t == nil {
			return 0
		}
		return *t
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(strings.Compare(show(a.Key), show(b.Key)),
			cmp.Compare(at(a.Start), at(b.Start)), cmp.Compare(at(a.End), at(b.End)))
	})
	return entries
}

// JSON shows a value in a message.
func JSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
