package store

import (
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/serde"
)

// Question is a read of one store from outside of its task. It is put in the bytes of the store's serdes, because who
// asks may be another process; what a store has committed is kept in these bytes anyway, so an answer costs the task
// neither decoding nor encoding.
//
// An answer comes in pages: the next one is asked for by the same question with After set to Page.Next. Every page is
// as of the last commit then.
type Question struct {
	Kind QuestionKind
	// Key is an encoded key.
	Key []byte
	// Lo and Hi are encoded keys, both included; nil is no bound. With Prefix the keys are those that begin with Lo.
	Lo, Hi []byte
	Prefix bool
	// From and To are event times in milliseconds, both included; what they are times of depends on the store.
	From, To int64
	// Reverse yields greater keys first. Only for AskKeys.
	Reverse bool
	// Uncommitted reads what the task has written since its last commit, too, and what a crash or an abort may undo.
	Uncommitted bool
	After       []byte
	// Limit is how many rows a page may have; at least 1.
	Limit int
}

// QuestionKind is what a [Question] is about.
type QuestionKind uint8

// Kinds of questions, and which stores answer them.
const (
	// AskKey is the row of Key: of a key-value, global or versioned store the latest value; of a window store that of the
	// window that starts at From; of a session store that of the session from From to To.
	AskKey QuestionKind = iota + 1
	// AskKeys are the rows from Lo to Hi of a key-value, global or versioned store, in the order of the keys' bytes.
	AskKeys
	// AskCount counts the rows that AskKeys would return.
	AskCount
	// AskTimes are the rows of Key, by time: windows that start between From and To; sessions that end at From or later
	// and start at To or earlier; versions that were valid at some time between From and To.
	AskTimes
	// AskAll are the rows of the keys from Lo to Hi: windows that start between From and To, sessions that end there.
	AskAll

	questionKinds
)

// Valid reports whether there is such a kind.
func (k QuestionKind) Valid() bool { return k >= AskKey && k < questionKinds }

// Row is one row of an answer. The bytes are the reader's.
type Row struct {
	Key, Value []byte
	// Start and End are those of a window (which has no End), of a session, or of the validity of a version.
	Start, End int64
	Timestamp  int64
}

// Page is a part of an answer. Next is nil in the last one. A page may be empty and not the last: a store looks at a
// bounded number of rows at a time.
type Page struct {
	Rows  []Row
	Count int64
	Next  []byte
}

// Queryable is a store that answers questions from outside. Query is called by the goroutine that owns the store.
type Queryable interface {
	Query(q *Question) (Page, error)
}

var (
	_ Queryable = (*KeyValue[string, int])(nil)
	_ Queryable = (*Global[string, int])(nil)
	_ Queryable = (*Window[string, int])(nil)
	_ Queryable = (*Session[string, int])(nil)
	_ Queryable = (*Versioned[string, int])(nil)
)

// QuestionError says that a store cannot be asked that way.
type QuestionError struct {
	Store, Type string
	Kind        QuestionKind
}

func (e *QuestionError) Error() string {
	return fmt.Sprintf("store: %s is a %s store, which does not answer questions of kind %d: use the reader of its kind",
		e.Store, e.Type, e.Kind)
}

// Serdes are those of a store's keys and values, for [Spec.Serdes].
type Serdes[K, V any] struct {
	Key   serde.Serde[K]
	Value serde.Serde[V]
}

// KeySerde is the serde of the keys, for who does not know the type of the values.
func (s Serdes[K, V]) KeySerde() serde.Serde[K] { return s.Key }

// Bounds of a page beside the number of rows: what a worker does between two of its steps.
const (
	// pageBytesMax is how many bytes of rows a page has, but for its last row.
	pageBytesMax = 512 << 10
	// pageLooksMax is how many rows are looked at for it.
	pageLooksMax = 4096
)

// pager fills a page.
type pager struct {
	Page

	q     *Question
	bytes int
	looks int
}

// looked counts a row and reports that there may be no more in this page; next is where the following one begins.
func (p *pager) looked(next func() []byte) (full bool) {
	p.looks++
	if p.looks < pageLooksMax && p.bytes < pageBytesMax && len(p.Rows) < p.q.Limit {
		return false
	}
	p.Next = next()
	return true
}

// add adds a row.
func (p *pager) add(r Row) {
	p.Count++
	if p.q.Kind == AskCount {
		return
	}
	p.Rows = append(p.Rows, r)
	p.bytes += len(r.Key) + len(r.Value)
}

// bounds returns the range of keys under a prefix that is still to be read.
func (q *Question) bounds(prefix []byte) (from, to []byte) {
	from, to = prefix, prefixEnd(prefix)
	if q.Lo != nil {
		from = slices.Concat(prefix, q.Lo)
	}
	switch {
	case q.Prefix:
		to = prefixEnd(from)
	case q.Hi != nil:
		to = append(slices.Concat(prefix, q.Hi), 0) // the least key behind it
	}
	switch {
	case q.After == nil:
	case q.Reverse:
		to = slices.Concat(prefix, q.After)
	default:
		from = append(slices.Concat(prefix, q.After), 0)
	}
	return from, to
}

// wants reports whether a key is in the range.
func (q *Question) wants(key []byte) bool {
	switch {
	case q.Lo != nil && string(key) < string(q.Lo):
		return false
	case q.Prefix:
		return len(key) >= len(q.Lo) && string(key[:len(q.Lo)]) == string(q.Lo)
	}
	return q.Hi == nil || string(key) <= string(q.Hi)
}

func (q *Question) unfit(name, kind string) error {
	return &QuestionError{Store: name, Type: kind, Kind: q.Kind}
}
