package tidemark

import (
	"errors"
	"io"
	"net/http"
	"strconv"
)

// concurrentQueriesMax bounds how many queries of others an instance answers at a time. Each may hold a page; more than
// that wait on the side that asks.
const concurrentQueriesMax = 256

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
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, askBytesMax))
	if err != nil {
		http.Error(w, "a question may have "+strconv.Itoa(askBytesMax)+" bytes: "+err.Error(), http.StatusBadRequest)
		return
	}
	q, err := decodeAsk(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", queryContentType)
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-r.Context().Done():
		return
	}
	for more := true; more; {
		p, err := h.app.answer(r.Context(), &q)
		var frame []byte
		switch no, ok := errors.AsType[*refusal](err); {
		case ok:
			frame, more = appendRefusal(nil, no), false
		case err != nil: // who asked is gone
			return
		default:
			frame, more = appendPage(nil, &p), p.page.Next != nil
			q.question.After = p.page.Next
		}
		if len(frame) > frameBytesMax {
			frame, more = appendRefusal(nil, refuse(refusedFailed, h.app.State(), "a row of store %q has %d bytes, and %d can be "+
				"sent", q.store, len(frame), frameBytesMax)), false
		}
		if _, err := w.Write(frame); err != nil {
			return
		}
		if f, ok := w.(http.Flusher); ok && more {
			f.Flush()
		}
	}
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
