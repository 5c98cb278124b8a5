package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	runtimepprof "runtime/pprof"
	"runtime/trace"
	"time"

	"github.com/tidemarkio/tidemark/bench/measure"
)

// observe starts what --debug-addr, --cpu-profile and --trace ask for; the returned function ends it.
func observe(args measure.Args) (stop func() error, err error) {
	var stops []func() error
	stop = func() error {
		var errs []error
		for _, f := range stops {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	if addr := args.Get("debug-addr", ""); addr != "" {
		l, err := net.Listen("tcp", addr) //nolint:noctx // listening on a local address does not block
		if err != nil {
			return nil, fmt.Errorf("--debug-addr: %w", err)
		}
		server := &http.Server{Handler: debugHandler(), ReadHeaderTimeout: time.Second}
		go func() { _ = server.Serve(l) }() // until Close
		stops = append(stops, server.Close)
	}
	if name := args.Get("cpu-profile", ""); name != "" {
		f, err := os.Create(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--cpu-profile: %w", err), stop())
		}
		if err := runtimepprof.StartCPUProfile(f); err != nil {
			return nil, errors.Join(err, f.Close(), stop())
		}
		stops = append(stops, func() error { runtimepprof.StopCPUProfile(); return f.Close() })
	}
	if name := args.Get("trace", ""); name != "" {
		f, err := os.Create(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--trace: %w", err), stop())
		}
		if err := trace.Start(f); err != nil {
			return nil, errors.Join(err, f.Close(), stop())
		}
		stops = append(stops, func() error { trace.Stop(); return f.Close() })
	}
	return stop, nil
}

// debugHandler serves pprof and /stats, one line that bench/soak.sh reads.
func debugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		_, _ = fmt.Fprintf(w, "goroutines %d heap_mb %.1f rss_mb %.1f\n",
			runtime.NumGoroutine(), float64(m.HeapAlloc)/(1<<20), measure.ResidentMB(0))
	})
	return mux
}
