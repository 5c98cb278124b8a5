package registry

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Config says where the registry is and how to use it. The zero value of every field but URLs is usable.
type Config struct {
	// URLs are those of one registry's instances (schema.registry.url): https://registry:8081. They are tried in turn,
	// beginning with the one that answered last. Needed.
	URLs []string
	// Registration says where the id comes from under which a serde writes. Defaults to Register.
	Registration Registration
	// Normalize asks the registry to compare and store schemas in a normal form (normalize.schemas), so that schemas
	// which differ in order or space only are one. Defaults to false, as Confluent's serdes.
	Normalize bool

	// Username and Password are for basic authentication (basic.auth.user.info). Default to none.
	Username, Password string
	// BearerToken is asked before each request, so that a token may be renewed (bearer.auth.token). It may be called
	// from several goroutines at once. Defaults to none.
	BearerToken func() (string, error)
	// TLS is for https: own authorities, client certificates. Defaults to the system's authorities.
	TLS *tls.Config
	// Transport replaces the HTTP transport, for proxies and tracing; it excludes TLS. Defaults to a private copy of
	// http.DefaultTransport.
	Transport http.RoundTripper

	// RequestTimeout bounds one request. Defaults to 5 s.
	RequestTimeout time.Duration
	// Timeout bounds a call with all its retries; a task waits that long at most. Defaults to 15 s.
	Timeout time.Duration
	// RetryBackoff is the pause after the first round of requests that failed; it doubles up to 20 times as much
	// (retries.wait.ms, retries.max.wait.ms). Defaults to 100 ms.
	RetryBackoff time.Duration
}

// Registration says where the id of a writer's schema comes from.
type Registration int

// Kinds of registration.
const (
	// Register registers the schema under its subject, unless it is there already (auto.register.schemas=true).
	Register Registration = iota
	// Lookup demands that the schema has been registered under its subject (auto.register.schemas=false).
	Lookup
	// Latest writes with the subject's latest schema (use.latest.version=true), whatever the program has. It is looked
	// up once in the life of the serde.
	Latest
)

// String names the kind.
func (r Registration) String() string {
	switch r {
	case Register:
		return "register"
	case Lookup:
		return "lookup"
	case Latest:
		return "latest"
	}
	return fmt.Sprintf("registration %d", int(r))
}

func (c Config) withDefaults() Config {
	c.URLs = slices.Clone(c.URLs)
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 5 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	if c.RetryBackoff == 0 {
		c.RetryBackoff = 100 * time.Millisecond
	}
	return c
}

// validate returns every mistake at once. It expects defaults.
func (c Config) validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("registry: Config."+format, args...)) }
	if len(c.URLs) == 0 {
		wrong("URLs is empty: name at least one, such as http://localhost:8081")
	}
	for i, text := range c.URLs {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			wrong("URLs[%d] is not a URL: %w", i, errors.Unwrap(err)) // the outer error repeats it, password and all
		case u.User != nil:
			wrong("URLs[%d] contains credentials, which would show in errors: use Username and Password", i)
		case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			wrong("URLs[%d] is %q: want http:// or https:// and a host", i, text)
		}
	}
	if c.Registration < Register || c.Registration > Latest {
		wrong("Registration is %d: want Register, Lookup or Latest", int(c.Registration))
	}
	if c.BearerToken != nil && c.Username+c.Password != "" {
		wrong("BearerToken and Username are both set: choose one")
	}
	if c.Username == "" && c.Password != "" {
		wrong("Password is set without Username")
	}
	if c.TLS != nil && c.Transport != nil {
		wrong("TLS and Transport are both set: configure TLS in the Transport")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"RequestTimeout", c.RequestTimeout}, {"Timeout", c.Timeout}, {"RetryBackoff", c.RetryBackoff}} {
		if d.value < 0 {
			wrong("%s is negative (%s)", d.name, d.value)
		}
	}
	return errors.Join(errs...)
}
