package main

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/bench/measure"
)

// serveQueries answers other instances and clients at --query-addr, until the returned function is called.
func serveQueries(app *tidemark.App, args measure.Args) (stop func() error, err error) {
	addr := args.Get("query-addr", "")
	if addr == "" {
		return func() error { return nil }, nil
	}
	l, err := net.Listen("tcp", addr) //nolint:noctx // listening on a local address does not block
	if err != nil {
		return nil, fmt.Errorf("--query-addr: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle(tidemark.QueryPath, app.QueryHandler(nil))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }() // until Close
	return server.Close, nil
}
