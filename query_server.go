package tidemark

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// concurrentQueriesMax bounds how many requests of others an instance answers at a time. Each may hold a page, or some
// rows; more than that wait on the side that asks.
const concurrentQueriesMax = 256

const (
	// enterMax is how long a query waits for its turn before it is sent away to come again.
	enterMax = attemptMax / 2
	// pageWriteMax is how long who asks may take to read a page.
	pageWriteMax = 30 * time.Second
)

// QueryHandler returns the handler by which other instances and clients query this one. Mount it at [QueryPath] of a
// server of yours that listens at Config.ApplicationServer: an App opens no port itself. It may be mounted before Run
// and stays valid: while the App does not run it refuses, and who asks tries again.
//
// auth is asked first and refuses a request by an error, whose text goes to who asked, with status 403. Nil lets
// everybody read everything that the stores have: then the port must not be reachable by others.
func (a *App) QueryHandler(auth func(*http.Request) error) http.Handler {
	h := &queryHandler{app: a, slots: make(chan struct{}, concurrentQueriesMax)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+queryAskPath, h.ask)
	mux.HandleFunc("POST "+queryAsksPath, h.asks)
	mux.HandleFunc("GET "+queryClusterPath, h.cluster)
	if auth == nil {
		return mux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := auth(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

type queryHandler struct {
	app   *App
	slots chan struct{}
}

// ask answers a question, page by page, as fast as the other side reads.
func (h *queryHandler) ask(w http.ResponseWriter, r *http.Request) {
	body, ok := readAsk(w, r)
	if !ok {
		return
	}
	q, err := decodeAsk(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", queryContentType)
	if !h.enter(r) {
		_, _ = w.Write(appendRefusal(nil, h.busy()))
		return
	}
	defer func() { <-h.slots }()
	to := http.NewResponseController(w)
	defer func() { _ = to.SetWriteDeadline(time.Time{}) }() // the connection goes on
	for more := true; more; {
		p, err := h.app.answer(r.Context(), &q)
		frame, on, ok := h.frame(&q, &p, err)
		if !ok { // who asked is gone
			return
		}
		more, q.question.After = on, p.page.Next
		if h.send(w, to, frame, more) != nil {
			return
		}
	}
}

// readAsk reads a request, or answers that it cannot.
func readAsk(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, askBytesMax))
	if err != nil {
		http.Error(w, "a question may have "+strconv.Itoa(askBytesMax)+" bytes: "+err.Error(), http.StatusBadRequest)
	}
	return body, err == nil
}

// frame encodes an answer. more says that it goes on; ok is false for an error that is none of the question's.
func (h *queryHandler) frame(q *ask, p *reply, err error) (frame []byte, more, ok bool) {
	if no, refused := errors.AsType[*refusal](err); refused {
		return appendRefusal(nil, no), false, true
	}
	if err != nil {
		return nil, false, false
	}
	frame, more = appendPage(nil, p), p.page.Next != nil
	if len(frame) > frameBytesMax {
		no := refuse(refusedFailed, h.app.State(), "a row of store %q has %d bytes, and %d can be sent", q.store, len(frame),
			frameBytesMax)
		frame, more = appendRefusal(nil, no), false
	}
	return frame, more, true
}

// send writes a part of an answer; more says that others follow.
func (h *queryHandler) send(w http.ResponseWriter, to *http.ResponseController, part []byte, more bool) error {
	_ = to.SetWriteDeadline(h.app.clock.Now().Add(pageWriteMax)) // a server that cannot has a timeout of its own
	if _, err := w.Write(part); err != nil {
		return err
	}
	if more {
		_ = to.Flush() // or it is sent with the next part
	}
	return nil
}

func (h *queryHandler) busy() *refusal {
	return refuse(refusedBusy, h.app.State(), "the instance answers %d queries already", concurrentQueriesMax)
}

// enter waits for a place among those that are answered.
func (h *queryHandler) enter(r *http.Request) bool {
	select {
	case h.slots <- struct{}{}:
		return true
	default:
	}
	t := h.app.clock.NewTimer(enterMax)
	defer t.Stop()
	select {
	case h.slots <- struct{}{}:
		return true
	case <-t.C:
	case <-r.Context().Done():
	}
	return false
}

// cluster says who has what, for clients that are in no group. A client asks when what it knows is old or wrong, so the
// coordinator is asked, too.
func (h *queryHandler) cluster(w http.ResponseWriter, r *http.Request) {
	m, err := h.app.cluster.get(r.Context(), h.app.clock.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", queryContentType)
	_, _ = w.Write(appendMetadata(nil, &m.Metadata)) // who asked may be gone
}
