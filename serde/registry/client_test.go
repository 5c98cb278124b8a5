package registry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/serde/registry"
)

const text = `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}`

// fake is a registry in this process that counts requests and can be made to answer something else.
type fake struct {
	*srfake.Registry
	requests atomic.Int64
	answer   atomic.Pointer[http.HandlerFunc] // instead of the registry; nil lets it answer
}

func newFake(t *testing.T, opts ...srfake.Option) *fake {
	t.Helper()
	f := &fake{Registry: srfake.New(opts...)}
	t.Cleanup(f.Close)
	f.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		f.requests.Add(1)
		if answer := f.answer.Load(); answer != nil {
			(*answer)(w, r)
			return true
		}
		return false
	})
	return f
}

// says makes the fake give the same answer to everything; status 0 lets the registry answer again.
func (f *fake) says(status int, body string) {
	if status == 0 {
		f.answer.Store(nil)
		return
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
	f.answer.Store(&h)
}

func (f *fake) config() registry.Config {
	return registry.Config{
		URLs: []string{f.URL()}, RetryBackoff: time.Millisecond, Timeout: 10 * time.Second,
	}
}

func newClient(t *testing.T, cfg registry.Config) *registry.Client {
	t.Helper()
	c, err := registry.New(cfg)
	require.NoError(t, err)
	return c
}

func newWriter(t *testing.T, c *registry.Client) *registry.Writer {
	t.Helper()
	w, err := c.Writer(registry.Value("orders"), "Order", registry.Schema{Text: text})
	require.NoError(t, err)
	return w
}

// unavailable demands an error of the registry, not of a record.
func unavailable(t *testing.T, err error, permanent bool, want ...string) {
	t.Helper()
	u, ok := errors.AsType[*serde.UnavailableError](err)
	require.True(t, ok, "%T: %v", err, err)
	require.Equal(t, permanent, u.Permanent, "%v", err)
	for _, w := range want {
		require.ErrorContains(t, err, w)
	}
}

func TestWriterRegistersOnce(t *testing.T) {
	f := newFake(t)
	c := newClient(t, f.config())
	var wait sync.WaitGroup
	w := newWriter(t, c)
	for range 50 {
		wait.Go(func() {
			r, err := w.Registered(t.Context())
			if err != nil || r.ID != 1 {
				t.Errorf("id %v, error %v", r, err)
			}
		})
	}
	wait.Wait()
	require.LessOrEqual(t, f.requests.Load(), int64(2), "tasks that start at once share a request")
	before := f.requests.Load()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = w.Registered(context.Background()) }))
	require.Equal(t, before, f.requests.Load())
	s, ok := f.GetSchema("orders-value", 1)
	require.True(t, ok)
	require.JSONEq(t, text, s.Schema.Schema)
	require.Equal(t, "orders-value", w.Subject())
}

func TestWriterLookup(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.Registration = registry.Lookup
	w := newWriter(t, newClient(t, cfg))
	_, err := w.Registered(t.Context())
	unavailable(t, err, true, f.URL(), `look up a schema, subject "orders-value": HTTP 404, error code 40401`,
		"register the schema under this subject, or set Config.Registration to Register")

	f.SeedSchema("orders-value", 3, 77, sr.Schema{Schema: text})
	r, err := w.Registered(t.Context())
	require.NoError(t, err, "after a failure it asks again")
	require.Equal(t, 77, r.ID)
	require.False(t, f.SubjectExists("Order"))
}

func TestWriterLatest(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.Registration = registry.Latest
	w := newWriter(t, newClient(t, cfg))
	_, err := w.Registered(t.Context())
	unavailable(t, err, true, `look up the latest schema, subject "orders-value"`, "register a schema under this subject")

	newer := strings.Replace(text, `}]`, `},{"name":"n","type":"int","default":1}]`, 1)
	f.SeedSchema("orders-value", 1, 5, sr.Schema{Schema: text})
	f.SeedSchema("orders-value", 2, 6, sr.Schema{Schema: newer})
	r, err := w.Registered(t.Context())
	require.NoError(t, err)
	require.Equal(t, registry.Registered{ID: 6, Schema: registry.Schema{Text: newer}}, *r)

	w, err = newClient(t, cfg).Writer(registry.Value("orders"), "", registry.Schema{Type: registry.JSON, Text: "{}"})
	require.NoError(t, err)
	_, err = w.Registered(t.Context())
	unavailable(t, err, true, "it is of type AVRO, the serde writes JSON")
}

// What a registry may answer when it is not well, or is none, and whether it is worth trying again.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name      string
		status    int
		body      string
		permanent bool
		want      string
	}{
		{"error", 500, `{"error_code":50001,"message":"store"}`, false, "HTTP 500, error code 50001: store"},
		{"proxy", 502, "<html>bad gateway</html>", false, "HTTP 502: <html>bad gateway</html>"},
		{"overloaded", 429, "", false, "HTTP 429: no response"},
		{"slow", 408, "", false, "HTTP 408"},
		{"login page", 200, "<html>welcome</html>", false, "unable to decode ok response body"},
		{"no id", 200, "{}", false, "the answer names no id"},
		{"unauthorized", 401, `{"error_code":401,"message":"who"}`, true, "set Config.Username and Password, or BearerToken"},
		{"forbidden", 403, "", true, "grant them the subject"},
		{"no registry", 404, "<html>nothing here</html>", true, "not as a schema registry: mend Config.URLs"},
		{"incompatible", 409, `{"error_code":409,"message":"x"}`, true, "the schema is not compatible with the subject's"},
		{"invalid", 422, `{"error_code":42201,"message":"x"}`, true, "the registry does not accept the schema"},
		{"not implemented here", 405, "", true, "HTTP 405"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			client := newClient(t, f.config())
			w := newWriter(t, client)
			f.says(c.status, c.body)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := w.Registered(ctx)
			unavailable(t, err, c.permanent, `register a schema, subject "orders-value"`, c.want)
			if c.permanent {
				require.Equal(t, int64(1), f.requests.Load(), "nothing is tried again in vain")
			} else {
				require.Greater(t, f.requests.Load(), int64(1))
			}
			ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if c.name != "no id" && c.status != 409 && c.status != 422 {
				_, err = client.SchemaByID(ctx, 9)
				unavailable(t, err, c.permanent, "fetch a schema, schema id 9", f.URL())
			}

			f.says(0, "")
			r, err := w.Registered(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, r.ID)
		})
	}
}

func TestRetryWithinACall(t *testing.T) {
	f := newFake(t)
	var left atomic.Int64
	left.Store(3)
	f.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if left.Add(-1) < 0 {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	cfg := f.config()
	cfg.Timeout = time.Minute
	r, err := newWriter(t, newClient(t, cfg)).Registered(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.ID)
	require.Equal(t, int64(4), f.requests.Load())
}

func TestNobodyListens(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	w := newWriter(t, newClient(t, registry.Config{
		URLs: []string{s.URL}, RetryBackoff: time.Millisecond, Timeout: 30 * time.Millisecond,
	}))
	_, err := w.Registered(t.Context())
	unavailable(t, err, false, "schema registry "+s.URL+" is not available", "connection refused", "given up after")
}

// A registry that accepts a connection and does not answer costs RequestTimeout per request, and Timeout in all.
func TestNoAnswer(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(release)
	w := newWriter(t, newClient(t, registry.Config{
		URLs: []string{s.URL}, RequestTimeout: 10 * time.Millisecond, RetryBackoff: time.Millisecond,
		Timeout: 50 * time.Millisecond,
	}))
	_, err := w.Registered(t.Context())
	unavailable(t, err, false, "Client.Timeout exceeded while awaiting headers")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.Registered(ctx)
	unavailable(t, err, false, "context canceled")
}

func TestSecondInstance(t *testing.T) {
	f, away := newFake(t), httptest.NewServer(http.NotFoundHandler())
	away.Close()
	sick := newFake(t)
	sick.says(503, "")
	cfg := f.config()
	cfg.URLs, cfg.RetryBackoff, cfg.Timeout = []string{away.URL, sick.URL(), f.URL()}, time.Hour, time.Minute
	c := newClient(t, cfg)
	_, err := newWriter(t, c).Registered(t.Context())
	require.NoError(t, err)
	_, err = c.SchemaByID(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, int64(1), sick.requests.Load(), "the instance that answered last is asked first")
}

func TestAuthentication(t *testing.T) {
	for _, c := range []struct {
		name, header string
		set          func(cfg *registry.Config)
	}{
		{"basic", "Basic YW5uOnNlY3JldA==", func(cfg *registry.Config) { cfg.Username, cfg.Password = "ann", "secret" }},
		{"bearer", "Bearer t1", func(cfg *registry.Config) {
			cfg.BearerToken = func() (string, error) { return "t1", nil }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, srfake.WithAuth(c.header))
			cfg := f.config()
			_, err := newWriter(t, newClient(t, cfg)).Registered(t.Context())
			unavailable(t, err, true, "HTTP 401")
			c.set(&cfg)
			_, err = newWriter(t, newClient(t, cfg)).Registered(t.Context())
			require.NoError(t, err)
		})
	}
	f := newFake(t)
	cfg := f.config()
	cfg.BearerToken, cfg.Timeout = func() (string, error) { return "", errors.New("issuer is away") }, 50*time.Millisecond
	_, err := newWriter(t, newClient(t, cfg)).Registered(t.Context())
	unavailable(t, err, false, "Config.BearerToken: issuer is away")
}

func TestTLS(t *testing.T) {
	f := newFake(t)
	s := httptest.NewTLSServer(f.Handler())
	defer s.Close()
	cfg := f.config()
	cfg.URLs, cfg.Timeout = []string{s.URL}, 2*time.Second // a handshake on a busy machine
	_, err := newWriter(t, newClient(t, cfg)).Registered(t.Context())
	unavailable(t, err, false, "certificate")
	cfg.Timeout = 0

	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(pem.EncodeToMemory(
		&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	cfg.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	_, err = newWriter(t, newClient(t, cfg)).Registered(t.Context())
	require.NoError(t, err)
}

func TestNormalize(t *testing.T) {
	f := newFake(t)
	var query atomic.Value
	f.Intercept(func(_ http.ResponseWriter, r *http.Request) bool { query.Store(r.URL.RawQuery); return false })
	cfg := f.config()
	cfg.Normalize = true
	_, err := newWriter(t, newClient(t, cfg)).Registered(t.Context())
	require.NoError(t, err)
	require.Equal(t, "normalize=true", query.Load())
}

// An id that the registry does not know is a bad record's: it costs a request every five seconds, not one per record.
func TestUnknownID(t *testing.T) {
	f := newFake(t)
	now := time.UnixMilli(0)
	c, err := registry.NewWithTime(f.config(), func() time.Time { return now })
	require.NoError(t, err)
	ids := registry.NewByID(c, func(s registry.Schema) (string, error) { return s.Text, nil })
	for range 3 {
		_, err = ids.Get(t.Context(), 9)
		var unknown *registry.Error
		require.ErrorAs(t, err, &unknown)
		require.Equal(t, 40403, unknown.Code)
		require.ErrorContains(t, err, "registry: fetch a schema, schema id 9: HTTP 404, error code 40403")
		var u *serde.UnavailableError
		require.NotErrorAs(t, err, &u)
	}
	require.Equal(t, int64(1), f.requests.Load())

	f.SeedSchema("orders-value", 1, 9, sr.Schema{Schema: text})
	now = now.Add(5 * time.Second)
	got, err := ids.Get(t.Context(), 9)
	require.NoError(t, err)
	require.JSONEq(t, text, got)
	for id := 100; id < 2200; id++ { // more than are remembered
		_, err = ids.Get(t.Context(), id)
		require.Error(t, err)
	}
}

func TestByIDBuildsOnce(t *testing.T) {
	f := newFake(t)
	f.SeedSchema("orders-value", 1, 1, sr.Schema{Schema: text})
	f.SeedSchema("other-value", 1, 2, sr.Schema{Schema: `"string"`})
	builds := 0
	ids := registry.NewByID(newClient(t, f.config()), func(s registry.Schema) (string, error) {
		builds++
		if s.Text != text {
			return "", errors.New("another type")
		}
		return s.Text, nil
	})
	for range 3 {
		got, err := ids.Get(t.Context(), 1)
		require.NoError(t, err)
		require.JSONEq(t, text, got)
		_, err = ids.Get(t.Context(), 2)
		require.ErrorContains(t, err, "use the schema that a record was written with, schema id 2: another type")
	}
	require.Equal(t, 2, builds)
	require.Equal(t, int64(2), f.requests.Load())
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = ids.Get(context.Background(), 1) }))
}

func TestReferences(t *testing.T) {
	f := newFake(t)
	money := registry.Schema{Text: `{"type":"record","name":"Money","fields":[{"name":"cents","type":"long"}]}`}
	line := registry.Schema{
		Text:       `{"type":"record","name":"Line","fields":[{"name":"price","type":"Money"}]}`,
		References: []registry.Reference{{Name: "Money", Schema: money}},
	}
	order := registry.Schema{
		Text:       `{"type":"record","name":"Order","fields":[{"name":"line","type":"Line"}]}`,
		References: []registry.Reference{{Name: "Line", Subject: "lines", Schema: line}},
	}
	for _, kind := range []registry.Registration{registry.Register, registry.Lookup, registry.Latest} {
		t.Run(kind.String(), func(t *testing.T) {
			cfg := f.config()
			cfg.Registration = kind
			c := newClient(t, cfg)
			w, err := c.Writer(registry.Record(), "Order", order)
			require.NoError(t, err)
			r, err := w.Registered(t.Context())
			require.NoError(t, err)
			s, err := c.SchemaByID(t.Context(), r.ID)
			require.NoError(t, err)
			require.Equal(t, order.Text, s.Text)
			require.Equal(t, "lines", s.References[0].Subject)
			require.Equal(t, line.Text, s.References[0].Schema.Text)
			require.Equal(t, "Money", s.References[0].Schema.References[0].Subject)
			require.Equal(t, money.Text, s.References[0].Schema.References[0].Schema.Text)
		})
	}
}

// A registry that answers with a circle must not be followed for ever.
func TestCircleOfReferences(t *testing.T) {
	f := newFake(t)
	f.says(http.StatusOK, `{"id":1,"version":1,"schema":"{}","references":[{"name":"a","subject":"a","version":1}]}`)
	cfg := f.config()
	cfg.Timeout = time.Minute
	_, err := newClient(t, cfg).SchemaByID(t.Context(), 1)
	require.ErrorContains(t, err, "references go deeper than 32 schemas")
}

func TestWriterMistakes(t *testing.T) {
	_, err := (*registry.Client)(nil).Writer(registry.Value("orders"), "", registry.Schema{})
	require.EqualError(t, err, "registry: the client is nil: make it with registry.New")
	_, err = newClient(t, newFake(t).config()).Writer(registry.Naming{}, "", registry.Schema{})
	require.ErrorContains(t, err, "use registry.Value(topic)")
	require.Equal(t, "AVRO PROTOBUF JSON type 5", strings.Join([]string{
		registry.Avro.String(), registry.Protobuf.String(), registry.JSON.String(), registry.Type(5).String(),
	}, " "))
}
