package main

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/topology"
)

// WordCount counts words in the store "counts".
func WordCount() *topology.Builder {
	b := topology.NewBuilder()
	words := topology.FlatMapValues(topology.Stream(b, "lines", serde.String, serde.String), strings.Fields, serde.String)
	byWord := topology.GroupBy(words, func(_, w string) string { return w }, serde.String, topology.Named("by-word"))
	topology.Count(byWord, topology.As("counts"))
	return b
}

// patience is how long a request waits for a busy worker.
const patience = 2 * time.Second

// Handler answers from the committed state of an application.
func Handler(app *tidemark.App) http.Handler {
	counts := tidemark.Query[string, int64](app, "counts")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /words/{word}", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		n, found, err := counts.Get(ctx, r.PathValue("word"))
		switch {
		case err != nil:
			fail(w, err)
		case !found:
			http.NotFound(w, r)
		default:
			answer(w, map[string]int64{r.PathValue("word"): n})
		}
	})
	mux.HandleFunc("GET /words", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		entries := counts.All(ctx)
		if q := r.URL.Query(); q.Has("from") && q.Has("to") {
			entries = counts.Range(ctx, q.Get("from"), q.Get("to"))
		}
		all, err := collect(entries)
		if err != nil {
			fail(w, err)
			return
		}
		answer(w, all)
	})
	return mux
}

func collect(entries iter.Seq2[store.KeyValueEntry[string, int64], error]) (map[string]int64, error) {
	all := make(map[string]int64)
	for e, err := range entries {
		if err != nil {
			return nil, err
		}
		all[e.Key] = e.Value
	}
	return all, nil
}

// fail tells a client that asked the wrong instance from one that has to wait.
func fail(w http.ResponseWriter, err error) {
	code := http.StatusServiceUnavailable
	if here, ok := errors.AsType[*tidemark.NotHereError](err); ok && here.State == tidemark.Running {
		code = http.StatusMisdirectedRequest
	}
	http.Error(w, err.Error(), code)
}

func answer(w http.ResponseWriter, body map[string]int64) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		return // the client is gone
	}
}
