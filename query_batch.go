package tidemark

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/tidemarkio/tidemark/store"
)

const queryAsksPath = QueryPath + "asks"

const (
	// asksMax is how many questions go together in one request.
	asksMax = 64
	// requestsMax is how many requests for single rows are under way to an instance. While as many are, questions gather
	// for the next one: so the busier everybody is the less a question costs.
	requestsMax = 4
	// asksBytesMax bounds the questions of a request, unless it is a single one.
	asksBytesMax = 256 << 10
)

// lines are the questions for single rows that wait for their turn, by the instance they are for.
type lines struct {
	mu sync.Mutex
	to map[string]*line
}

type line struct {
	mu       sync.Mutex
	waiting  []*oneRow
	requests int // under way
}

// oneRow is a question for a single row, and who waits for the answer.
type oneRow struct {
	ctx    context.Context //nolint:containedctx // of who waits
	q      *ask
	asks   []byte        // q, encoded
	answer chan answered // has room for it
}

type answered struct {
	reply
	err error
}

func (l *lines) of(endpoint string) *line {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.to == nil {
		l.to = make(map[string]*line)
	}
	at := l.to[endpoint]
	if at == nil {
		at = &line{}
		l.to[endpoint] = at
	}
	return at
}

// put adds a question. The caller has to make requests if begin is true.
func (l *line) put(one *oneRow) (begin bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, one)
	if l.requests == requestsMax {
		return false
	}
	l.requests++
	return true
}

// take returns the questions for the next request; none ends the caller's turn.
func (l *line) take() (batch []*oneRow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for ; n < len(l.waiting) && len(batch) < asksMax; n++ {
		one := l.waiting[n]
		if one.ctx.Err() != nil {
			continue // nobody waits for it
		}
		if size += len(one.asks); size > asksBytesMax && len(batch) > 0 {
			break
		}
		batch = append(batch, one)
	}
	clear(l.waiting[:n])
	l.waiting = l.waiting[n:]
	if len(l.waiting) == 0 {
		l.waiting = nil
	}
	if len(batch) == 0 {
		l.requests--
	}
	return batch
}

// askRow asks for a single row, together with others that ask the same instance at the time.
func (r *remote) askRow(ctx context.Context, endpoint string, q *ask) (reply, error) {
	one := &oneRow{ctx: ctx, q: q, asks: appendAsk(nil, q), answer: make(chan answered, 1)}
	if l := r.lines.of(endpoint); l.put(one) {
		go func() { //nolint:contextcheck // the requests are for others, too: each ends with who waits for it last
			for batch := l.take(); len(batch) > 0; batch = l.take() {
				r.askRows(endpoint, batch)
			}
		}()
	}
	select {
	case a := <-one.answer:
		return a.reply, a.err
	case <-ctx.Done():
		return reply{}, r.failed(ctx, endpoint, ctx.Err())
	}
}

// askRows makes one request and gives everybody an answer.
func (r *remote) askRows(endpoint string, batch []*oneRow) {
	tell := func(one *oneRow, a answered) {
		r.note(one.ctx, endpoint, one.q, a.err)
		one.answer <- a
	}
	batch = slices.DeleteFunc(batch, func(one *oneRow) bool {
		err := r.avoid.check(endpoint, one.q)
		if err != nil {
			one.answer <- answered{err: err}
		}
		return err != nil
	})
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(batch[0].ctx)) // its values are for the transport
	defer cancel(nil)
	silence := r.clock.AfterFunc(attemptMax, func() { cancel(errSilent) })
	defer silence.Stop()
	open := make(map[uint64]*oneRow, len(batch))
	for i, one := range batch {
		open[uint64(i)] = one
	}
	err := r.answers(ctx, endpoint, batch, func(i uint64, a answered) error {
		one := open[i]
		if one == nil {
			return fmt.Errorf("%w: an answer to question %d of %d", errWire, i, len(batch))
		}
		if !silence.Stop() {
			return errSilent
		}
		silence.Reset(attemptMax)
		delete(open, i)
		a.info.Instance, a.info.Partition = endpoint, one.q.partition
		tell(one, a)
		return nil
	})
	for _, one := range open {
		tell(one, answered{err: err})
	}
}

// answers yields the answers as they come, in any order. The error is for who has none.
func (r *remote) answers(
	ctx context.Context, endpoint string, batch []*oneRow, yield func(i uint64, a answered) error,
) error {
	body, err := r.do(ctx, http.MethodPost, endpoint, queryAsksPath, appendAsks(nil, batch))
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	from := bufio.NewReader(body)
	for range batch {
		i, err := binary.ReadUvarint(from)
		if err != nil {
			return r.failed(ctx, endpoint, fmt.Errorf("read the answer: %w", err))
		}
		var a answered
		a.reply, a.err = readFrame(from)
		if _, refused := errors.AsType[*refusal](a.err); a.err != nil && !refused {
			return r.failed(ctx, endpoint, a.err)
		}
		if err := yield(i, a); err != nil {
			return r.failed(ctx, endpoint, err)
		}
	}
	drain(from)
	return nil
}

// drain reads the end of an answer: then the connection can be used again.
func drain(from io.Reader) {
	_, _ = io.CopyN(io.Discard, from, 1)
}

// appendAsks encodes questions that go together.
func appendAsks(dst []byte, batch []*oneRow) []byte {
	dst = binary.AppendUvarint(append(dst, queryVersion), uint64(len(batch)))
	for _, one := range batch {
		dst = appendBytes(dst, one.asks)
	}
	return dst
}

// decodeAsks decodes questions that came together: each for a single row.
func decodeAsks(data []byte) ([]ask, error) {
	d := wireReader{data: data}
	d.version()
	const askBytesMin = 12
	n := d.count(askBytesMin)
	if n > asksMax {
		d.fail("%d questions, at most %d are taken", n, asksMax)
		n = 0
	}
	asks := make([]ask, n)
	for i := range asks {
		encoded := d.bytes()
		if d.err != nil {
			break
		}
		var err error
		if asks[i], err = decodeAsk(encoded); err != nil {
			return nil, err
		}
		if kind := asks[i].question.Kind; kind != store.AskKey {
			d.fail("a question of kind %d among those for a row", kind)
		}
	}
	return asks, d.end("questions")
}
