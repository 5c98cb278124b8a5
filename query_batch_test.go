package tidemark

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/store"
)

// rowServer answers questions for rows, last one first, once it is let.
type rowServer struct {
	*httptest.Server

	let      chan struct{}
	requests atomic.Int64
}

func newRowServer(t *testing.T) *rowServer {
	t.Helper()
	s := &rowServer{let: make(chan struct{})}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client's problem, which its test finds
		}
		asks, err := decodeAsks(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		<-s.let
		w.Header().Set("Content-Type", queryContentType)
		var out []byte
		for i, q := range slices.Backward(asks) {
			out = binary.AppendUvarint(out, uint64(i))
			if string(q.question.Key) == "none" {
				out = appendRefusal(out, refuse(refusedElsewhere, Running, "not here"))
				continue
			}
			p := onePage("", string(q.question.Key))
			out = appendPage(out, &p)
		}
		_, _ = w.Write(out)
	}))
	t.Cleanup(s.Close)
	return s
}

func askOf(key string) *ask {
	return &ask{store: "s", partitions: 1, question: store.Question{Kind: store.AskKey, Key: []byte(key), Limit: 1}}
}

// asked waits until so many questions wait for a request.
func (l *line) asked(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.waiting) == n
	}, time.Minute, time.Millisecond)
}

func TestRowsGoTogetherWhileAnInstanceIsBusy(t *testing.T) {
	t.Parallel()
	s := newRowServer(t)
	r := newRemote(nil, schemeDefault, clock.System())
	t.Cleanup(r.close)
	endpoint := strings.TrimPrefix(s.URL, "http://")
	var wg sync.WaitGroup
	get := func(key string) {
		wg.Go(func() {
			var rows []store.Row
			err := r.ask(t.Context(), endpoint, askOf(key), func(p reply) bool {
				rows = append(rows, p.page.Rows...)
				return true
			})
			if key == "none" {
				require.True(t, isElsewhere(err), "%v", err)
				return
			}
			if err != nil || len(rows) != 1 || string(rows[0].Value) != "v-"+key {
				t.Errorf("%s: %v, %v", key, rows, err)
			}
		})
	}
	l := r.lines.of(endpoint)
	for i := range requestsMax { // one by one, so that each has a request of its own
		get(fmt.Sprint("first-", i))
		require.Eventually(t, func() bool { return s.requests.Load() == int64(i+1) }, time.Minute, time.Millisecond)
	}
	const more = 2 * asksMax
	for i := range more - 2 {
		get(fmt.Sprint("more-", i))
	}
	get("none")
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { gone <- r.ask(ctx, endpoint, askOf("gone"), func(reply) bool { return true }) }()
	l.asked(t, more)
	cancel()
	require.ErrorIs(t, <-gone, context.Canceled)
	close(s.let)
	wg.Wait()
	require.Equal(t, int64(requestsMax+2), s.requests.Load(), "two for all that waited")
	l.asked(t, 0)
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Nil(t, l.waiting)
}

func TestLargeQuestionsGoInRequestsOfTheirOwn(t *testing.T) {
	t.Parallel()
	l := &line{requests: 1}
	for range 3 {
		l.waiting = append(l.waiting, &oneRow{ctx: t.Context(), asks: make([]byte, asksBytesMax/2)})
	}
	l.waiting = append(l.waiting, &oneRow{ctx: t.Context(), asks: make([]byte, 2*asksBytesMax)})
	var sizes []int
	for batch := l.take(); len(batch) > 0; batch = l.take() {
		sizes = append(sizes, len(batch))
	}
	require.Equal(t, []int{2, 1, 1}, sizes)
	require.Zero(t, l.requests)
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	var connections atomic.Int64
	f := &fakeInstance{script: []func(http.ResponseWriter, ask){func(w http.ResponseWriter, q ask) {
		if q.question.Kind == store.AskKey {
			says(onePage("", "k"))(w, q)
			return
		}
		says(onePage("b", "a"))(w, q)
		_ = http.NewResponseController(w).Flush() // so the length of the answer is not known before
		says(onePage("", "b"))(w, q)
	}}}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	f.Start()
	t.Cleanup(f.Close)
	c := clientOf(t, []*fakeInstance{f})
	for range 10 {
		_, _, err := readerOf(c).Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, keysOf(t, readerOf(c)))
	}
	require.Equal(t, int64(1), connections.Load())
}
