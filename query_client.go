package tidemark

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/tidemarkio/tidemark/internal/clock"
)

// QueryClientConfig is how a QueryClient finds an application.
type QueryClientConfig struct {
	// Servers are the Config.ApplicationServer of some instances, host:port. One that answers is enough: it knows the
	// others.
	Servers []string
	// Transport sends the requests: for credentials, TLS, limits or traces of your own. Defaults to one with keep-alive
	// that goes by the proxy settings of the environment.
	Transport http.RoundTripper
	// Scheme is "http", the default, or "https".
	Scheme string
}

// QueryClient queries an application from a process that has no App of it. It asks the instance that has the key, as
// instances themselves do, and needs no connection to Kafka. Make readers with [QueryFrom], [QueryWindowFrom],
// [QuerySessionFrom] and [QueryVersionedFrom].
//
// All methods are safe for concurrent use.
type QueryClient struct {
	router  router
	servers []string
}

// NewQueryClient makes a client. It does no I/O.
func NewQueryClient(cfg QueryClientConfig) (*QueryClient, error) {
	var errs []error
	if len(cfg.Servers) == 0 {
		errs = append(errs, &ConfigError{Field: "Servers", Value: "[]", Hint: "want the host:port of an instance at least"})
	}
	for _, s := range cfg.Servers {
		if host, port, err := net.SplitHostPort(s); err != nil || host == "" || port == "" {
			errs = append(errs, &ConfigError{Field: "Servers", Value: fmt.Sprintf("%q", s), Hint: "want host:port"})
		}
	}
	if cfg.Scheme != "" && cfg.Scheme != schemeDefault && cfg.Scheme != "https" {
		errs = append(errs, &ConfigError{Field: "Scheme", Value: fmt.Sprintf("%q", cfg.Scheme), Hint: "want http or https"})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	def(&cfg.Scheme, schemeDefault)
	c := &QueryClient{servers: cfg.Servers, router: router{clock: clock.System()}}
	c.router.remote = newRemote(cfg.Transport, cfg.Scheme, c.router.clock)
	c.router.cluster = newClusterCache(c.router.clock, c.lookUp)
	return c, nil
}

const schemeDefault = "http"

// Close closes connections that are not in use.
func (c *QueryClient) Close() { c.router.remote.close() }

// Metadata returns the instances of the application and their tasks, as [App.Metadata] does.
func (c *QueryClient) Metadata(ctx context.Context) (Metadata, error) {
	m, err := c.router.cluster.get(ctx, time.Time{})
	if err != nil {
		return Metadata{}, err
	}
	return m.Metadata, nil
}

// lookUp asks instances, the known and the given ones, until one knows.
func (c *QueryClient) lookUp(ctx context.Context) (*cluster, error) {
	endpoints := c.servers
	c.router.cluster.mu.Lock()
	if known := c.router.cluster.mu.known; known != nil {
		endpoints = slices.Concat(known.all, endpoints)
	}
	c.router.cluster.mu.Unlock()
	var errs []error
	for _, i := range rand.Perm(len(endpoints)) { //nolint:gosec // no secret, so that one instance is not asked by all
		found, err := c.router.remote.cluster(ctx, endpoints[i])
		if err == nil {
			return found, nil
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}
