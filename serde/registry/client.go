package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"golang.org/x/sync/singleflight"

	"github.com/tidemarkio/tidemark/internal/clock"
)

// Client is a connection to a registry that remembers what it has been told: a schema never changes under its id. One
// client serves all serdes of an application. It is safe for concurrent use, and holds nothing but idle connections
// and its memory.
type Client struct {
	cfg   Config
	clock clock.Clock

	// instances has one client for each URL; preferred is the one to begin with.
	instances []*sr.Client
	preferred atomic.Uint32

	calls singleflight.Group // one call at a time for the same thing, whatever the number of tasks

	mu struct {
		sync.Mutex
		schemas map[int]Schema
		missing map[int]missingID
	}
}

// missingID is an id that the registry did not know, at that time.
type missingID struct {
	at  time.Time
	err error
}

const (
	// missingFor is how long an answer of "no such id" is believed: damaged records must not cost a request each, and a
	// registry that lags behind gets another chance.
	missingFor = 5 * time.Second
	// missingMax bounds how many such ids are remembered.
	missingMax = 1000
	// backoffFactorMax bounds the pause between retries, in units of Config.RetryBackoff.
	backoffFactorMax = 20
)

// New returns a client. It does no I/O: a registry that is away shows when a serde needs it. The error has every
// mistake in the configuration.
func New(cfg Config) (*Client, error) { return newClient(cfg, clock.System()) }

func newClient(cfg Config, clk clock.Clock) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, clock: clk}
	c.mu.schemas, c.mu.missing = map[int]Schema{}, map[int]missingID{}
	transport := cfg.Transport
	if standard, ok := http.DefaultTransport.(*http.Transport); ok && transport == nil {
		own := standard.Clone()
		if cfg.TLS != nil {
			own.TLSClientConfig = cfg.TLS.Clone()
		}
		transport = own
	}
	httpClient := &http.Client{Transport: transport, Timeout: cfg.RequestTimeout}
	for _, url := range cfg.URLs {
		opts := []sr.ClientOpt{sr.URLs(url), sr.UserAgent("tidemark"), sr.HTTPClient(httpClient)}
		if cfg.Username != "" {
			opts = append(opts, sr.BasicAuth(cfg.Username, cfg.Password))
		}
		if cfg.BearerToken != nil {
			opts = append(opts, sr.PreReq(func(r *http.Request) error { return c.authorize(r) }))
		}
		if cfg.Normalize {
			opts = append(opts, sr.DefaultParams(sr.Normalize))
		}
		instance, err := sr.NewClient(opts...)
		if err != nil {
			return nil, fmt.Errorf("registry: %s: %w", url, err)
		}
		c.instances = append(c.instances, instance)
	}
	return c, nil
}

func (c *Client) authorize(r *http.Request) error {
	token, err := c.cfg.BearerToken()
	if err != nil {
		return &tokenError{err}
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// call makes one call, again and again while a later one may succeed. e describes it; it is part of the error.
func (c *Client) call(ctx context.Context, e Error, do func(ctx context.Context, instance *sr.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	first := c.preferred.Load()
	for pause, round := c.cfg.RetryBackoff, 0; ; round++ {
		for i := range uint32(len(c.instances)) {
			at := (first + i) % uint32(len(c.instances))
			failed := e
			if failed.Err = do(ctx, c.instances[at]); failed.Err == nil {
				c.preferred.Store(at)
				return nil
			}
			switch classify(&failed) {
			case missing:
				return &failed
			case refused:
				return c.unavailable(true, &failed)
			case transient:
				if e.Err == nil || ctx.Err() == nil { // the last real cause says more than our own time-out
					e.Err, e.Status, e.Code = failed.Err, failed.Status, failed.Code
				}
			}
			if ctx.Err() != nil {
				break
			}
		}
		timer := c.clock.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			e.Hint = fmt.Sprintf("given up after %d round(s)", round+1)
			return c.unavailable(false, &e)
		}
		pause = min(2*pause, backoffFactorMax*c.cfg.RetryBackoff)
	}
}

// SchemaByID returns the schema with that id and everything that it refers to. An id that the registry does not know is
// an [*Error]; a registry that cannot be asked is a [serde.UnavailableError].
func (c *Client) SchemaByID(ctx context.Context, id int) (Schema, error) {
	c.mu.Lock()
	s, ok := c.mu.schemas[id]
	gone, lost := c.mu.missing[id]
	c.mu.Unlock()
	switch {
	case ok:
		return s, nil
	case lost && c.clock.Since(gone.at) < missingFor:
		return Schema{}, gone.err
	}
	v, err, _ := c.calls.Do(fmt.Sprintf("id %d", id), func() (any, error) { return c.fetch(ctx, id) })
	if s, ok = v.(Schema); err != nil || !ok {
		return Schema{}, err
	}
	return s, nil
}

func (c *Client) fetch(ctx context.Context, id int) (Schema, error) {
	e := Error{Op: "fetch a schema", ID: id}
	var answer sr.Schema
	err := c.call(ctx, e, func(ctx context.Context, instance *sr.Client) (err error) {
		answer, err = instance.SchemaByID(ctx, id)
		return err
	})
	var s Schema
	if err == nil {
		s, err = c.complete(ctx, e, answer, 0)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.mu.schemas[id] = s
		delete(c.mu.missing, id)
		return s, nil
	}
	if unknown, ok := err.(*Error); ok { //nolint:errorlint // an UnavailableError has one within
		unknown.Hint = "another registry wrote it, the schema was deleted for good, or it is no id: the record was written " +
			"by another serde"
		if len(c.mu.missing) >= missingMax {
			clear(c.mu.missing)
		}
		c.mu.missing[id] = missingID{c.clock.Now(), err}
	}
	return Schema{}, err
}

// complete fetches what an answer refers to.
func (c *Client) complete(ctx context.Context, e Error, answer sr.Schema, depth int) (Schema, error) {
	t, err := typeOf(answer.Type)
	if err == nil && depth > referencesDepthMax {
		err = fmt.Errorf("references go deeper than %d schemas", referencesDepthMax)
	}
	if err != nil {
		e.Err = err
		return Schema{}, &e
	}
	s := Schema{Type: t, Text: answer.Schema}
	for _, r := range answer.References {
		at := Error{Op: e.Op + ": its reference " + r.Name, Subject: r.Subject, ID: e.ID}
		var of sr.SubjectSchema
		err := c.call(ctx, at, func(ctx context.Context, instance *sr.Client) (err error) {
			of, err = instance.SchemaByVersion(ctx, r.Subject, r.Version)
			return err
		})
		if err != nil {
			return Schema{}, err
		}
		referred, err := c.complete(ctx, at, of.Schema, depth+1)
		if err != nil {
			return Schema{}, err
		}
		s.References = append(s.References,
			Reference{Name: r.Name, Subject: r.Subject, Version: r.Version, Schema: referred})
	}
	return s, nil
}

// isMissing tells whether the registry answered that there is no such thing.
func isMissing(err error) bool {
	e, ok := err.(*Error) //nolint:errorlint // an UnavailableError has one within
	return ok && e.Status == http.StatusNotFound
}

var errNoClient = errors.New("registry: the client is nil: make it with registry.New")
