package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/s3"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
)

func config(server storagetest.S3, prefix string) s3.Config {
	return s3.Config{
		Bucket: server.Bucket, Prefix: prefix, Endpoint: server.Endpoint, PartBytes: 5 << 20,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	}
}

func newStorage(t *testing.T, c s3.Config) *s3.Storage {
	t.Helper()
	s, err := s3.New(c)
	require.NoError(t, err)
	return s
}

func TestS3(t *testing.T) {
	t.Parallel()
	server := storagetest.StartS3(t)
	var tests atomic.Int64
	storagetest.Run(t, func(t *testing.T) storage.Storage {
		t.Helper()
		return newStorage(t, config(server, fmt.Sprintf("test/%d", tests.Add(1))))
	})
}

func TestS3WithoutPrefix(t *testing.T) {
	t.Parallel()
	s := newStorage(t, config(storagetest.StartS3(t), ""))
	require.NoError(t, storage.Put(t.Context(), s, "app/a", []byte("x"), storage.CreateOptions{Exclusive: true}))
	for o, err := range s.List(t.Context(), "") {
		require.NoError(t, err)
		require.Equal(t, "app/a", o.Name)
	}
}

func TestS3Mistakes(t *testing.T) {
	t.Parallel()
	server := storagetest.StartS3(t)
	c := config(server, "p")
	c.Bucket = "missing"
	err := storage.Put(t.Context(), newStorage(t, c), "a", nil, storage.CreateOptions{})
	require.ErrorContains(t, err, "create the bucket missing")
	require.False(t, storage.Transient(err))

	c = config(server, "p")
	c.Credentials = credentials.NewStaticCredentialsProvider(server.AccessKey, "wrong", "")
	err = storage.Put(t.Context(), newStorage(t, c), "a", nil, storage.CreateOptions{})
	require.ErrorContains(t, err, "renew the credentials")
	require.False(t, storage.Transient(err))
	require.NotContains(t, err.Error(), "wrong")
}

// proxy stands between client and server, and lets requests fail.
type proxy struct {
	mu   sync.Mutex
	fail func(r *http.Request) string // "", "503", "cut" or "hang"
	seen []string
	stop chan struct{}
}

func startProxy(t *testing.T, server *storagetest.S3) *proxy {
	t.Helper()
	p := &proxy{stop: make(chan struct{})}
	target, err := url.Parse(server.Endpoint)
	require.NoError(t, err)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, r.In.Host
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		fault := ""
		if p.fail != nil {
			fault = p.fail(r)
		}
		p.seen = append(p.seen, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")+" "+fault))
		p.mu.Unlock()
		switch fault {
		case "503":
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusServiceUnavailable)
		case "hang":
			<-p.stop
		case "cut":
			forward.ServeHTTP(&cutting{ResponseWriter: w, left: 1 << 20}, r)
		default:
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(p.stop) })
	server.Endpoint = s.URL
	return p
}

func (p *proxy) set(fail func(r *http.Request) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail, p.seen = fail, nil
}

func (p *proxy) count(prefix string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.seen {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// cutting breaks the connection off after some bytes.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > c.left {
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func TestS3RetriesWhatFails(t *testing.T) {
	t.Parallel()
	server := storagetest.StartS3(t)
	p := startProxy(t, &server)
	s := newStorage(t, config(server, "p"))
	data := storagetest.Bytes(12<<20, 1)
	// Every third request fails, whatever it is.
	requests := 0
	p.set(func(*http.Request) string {
		if requests++; requests%3 == 0 {
			return "503"
		}
		return ""
	})
	require.NoError(t, storage.Put(t.Context(), s, "large", data, storage.CreateOptions{}))
	require.NoError(t, storage.Put(t.Context(), s, "small", data[:100], storage.CreateOptions{Exclusive: true}))
	got, err := storage.Get(t.Context(), s, "large", 1<<30)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
	require.NoError(t, s.Delete(t.Context(), "large", "small"))
	require.Positive(t, p.count("PUT  503")+p.count("PUT 503"))
}

func TestS3ReadGoesOnAfterABrokenConnection(t *testing.T) {
	t.Parallel()
	server := storagetest.StartS3(t)
	p := startProxy(t, &server)
	s := newStorage(t, config(server, "p"))
	data := storagetest.Bytes(5<<20, 1)
	require.NoError(t, storage.Put(t.Context(), s, "a", data, storage.CreateOptions{}))
	cut := func(r *http.Request) string {
		if r.Method == http.MethodGet {
			return "cut"
		}
		return ""
	}
	p.set(cut)
	got, err := storage.Get(t.Context(), s, "a", 1<<30)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
	require.GreaterOrEqual(t, p.count("GET bytes="), 4, "it goes on where it was")

	// An object that is replaced meanwhile is not mixed with the new one.
	p.set(nil)
	r, err := s.Open(t.Context(), "a")
	require.NoError(t, err)
	_, err = io.ReadFull(r, make([]byte, 10))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	p.set(cut)
	r, err = s.Open(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, storage.Put(t.Context(), s, "a", storagetest.Bytes(5<<20, 2), storage.CreateOptions{}))
	_, err = io.Copy(io.Discard, r)
	require.Error(t, err)
	require.NoError(t, r.Close())
}

func TestS3GivesUp(t *testing.T) {
	t.Parallel()
	server := storagetest.StartS3(t)
	p := startProxy(t, &server)
	c := config(server, "p")
	c.Attempts, c.StallTimeout = 2, 200*time.Millisecond
	s := newStorage(t, c)
	p.set(func(*http.Request) string { return "503" })
	err := storage.Put(t.Context(), s, "a", []byte("x"), storage.CreateOptions{})
	require.True(t, storage.Transient(err), "%v", err)
	require.Equal(t, 2, p.count("PUT"))
	// A server that takes requests and never answers.
	p.set(func(*http.Request) string { return "hang" })
	err = storage.Put(t.Context(), s, "a", []byte("x"), storage.CreateOptions{})
	require.True(t, storage.Transient(err), "%v", err)
	_, err = s.Open(t.Context(), "a")
	require.True(t, storage.Transient(err), "%v", err)
	c.StallTimeout = time.Hour
	s = newStorage(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = storage.Put(ctx, s, "a", []byte("x"), storage.CreateOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, storage.Transient(err))
}

func TestS3FailedUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	server := storagetest.StartS3(t)
	p := startProxy(t, &server)
	c := config(server, "p")
	c.Attempts = 1
	s := newStorage(t, c)
	p.set(func(r *http.Request) string {
		if r.URL.Query().Get("partNumber") == "2" {
			return "503"
		}
		return ""
	})
	err := storage.Put(t.Context(), s, "a", storagetest.Bytes(18<<20, 1), storage.CreateOptions{})
	require.True(t, storage.Transient(err), "%v", err)
	p.set(nil)
	// Parts that were on their way when the upload was aborted may arrive afterwards, and bring it back: then it is swept.
	require.Eventually(t, func() bool {
		swept, err := s.Sweep(t.Context(), "", func(string) bool { return true })
		return err == nil && len(swept) == 0
	}, time.Minute, 20*time.Millisecond)
	_, err = s.Open(t.Context(), "a")
	require.ErrorIs(t, err, storage.ErrNotFound)
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	c, err := s3.ParseURL("s3://bucket/a/b/?endpoint=http://127.0.0.1:9000&region=eu-central-1&part-bytes=6000000" +
		"&parts-in-flight=3&attempts=7&stall-timeout=5s&virtual-host=true")
	require.NoError(t, err)
	require.Equal(t, s3.Config{
		Bucket: "bucket", Prefix: "a/b", Endpoint: "http://127.0.0.1:9000", Region: "eu-central-1", PartBytes: 6_000_000,
		PartsInFlight: 3, Attempts: 7, StallTimeout: 5 * time.Second, VirtualHost: true,
	}, c)
	s, err := s3.Open("s3://bucket")
	require.NoError(t, err)
	require.Equal(t, "s3://bucket", s.String())
	for raw, want := range map[string]string{
		"file:///tmp":                       "s3://BUCKET/PREFIX",
		"s3:///prefix":                      "s3://BUCKET/PREFIX",
		"s3:bucket":                         "s3://BUCKET/PREFIX",
		"s3://key:geheim@bucket/p":          "credentials",
		"s3://b/p?endpoint=localhost:9000":  "Endpoint",
		"s3://b?endpoint=http://u:geheim@h": "Endpoint",
		"s3://b/p?colour=red":               "colour",
		"s3://b/p?part-bytes=1":             "PartBytes",
		"s3://b/p?attempts=x":               "attempts",
		"s3://b/p?stall-timeout=-1s":        "StallTimeout",
		"s3://b/../p":                       "Prefix",
	} {
		_, err := s3.Open(raw)
		require.ErrorContains(t, err, want, raw)
		require.NotContains(t, err.Error(), "geheim")
	}
	_, err = s3.New(s3.Config{Attempts: -1})
	require.ErrorContains(t, err, "Bucket")
	require.ErrorContains(t, err, "Attempts", "all at once")
	_, ok := errors.AsType[*storage.Error](err)
	require.False(t, ok)
}
