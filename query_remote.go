package tidemark

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/store"
)

// QueryPath is where [App.QueryHandler] has to be mounted: http.ServeMux's Handle(tidemark.QueryPath, handler).
const QueryPath = "/tidemark/query/"

const (
	queryAskPath     = QueryPath + "ask"
	queryClusterPath = QueryPath + "cluster"
	queryContentType = "application/vnd.tidemark.query"
)

// remote asks other instances over HTTP.
type remote struct {
	client *http.Client
	scheme string
	clock  clock.Clock
	avoid  *avoidances
	lines  lines
}

// Times and sizes of connections to other instances.
const (
	// attemptMax is how long an instance may be silent before somebody else is asked: the process may be stopped, and its
	// kernel still takes connections.
	attemptMax        = 2 * time.Second
	queryDialTimeout  = time.Second
	queryIdleTimeout  = 90 * time.Second
	queryIdleConnsMax = 64 // to one instance
	excerptBytesMax   = 200
)

func newRemote(transport http.RoundTripper, scheme string, c clock.Clock) *remote {
	if transport == nil {
		transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: queryDialTimeout, KeepAlive: queryDialTimeout}).DialContext,
			MaxIdleConnsPerHost: queryIdleConnsMax, IdleConnTimeout: queryIdleTimeout,
			TLSHandshakeTimeout: attemptMax, ForceAttemptHTTP2: true,
		}
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("an instance must not redirect: Config.ApplicationServer has to be its own address")
	}}
	return &remote{client: client, scheme: scheme, clock: c, avoid: &avoidances{clock: c}}
}

// close closes connections that are not in use.
func (r *remote) close() { r.client.CloseIdleConnections() }

// ask yields the pages that an instance answers, until the last one or until yield returns false. A refusal is a
// [*refusal], everything else that goes wrong an [*unreachable].
func (r *remote) ask(ctx context.Context, endpoint string, q *ask, yield func(reply) bool) error {
	if q.question.Kind == store.AskKey {
		p, err := r.askRow(ctx, endpoint, q)
		if err == nil {
			yield(p)
		}
		return err
	}
	if err := r.avoid.check(endpoint, q); err != nil {
		return err
	}
	err := r.askNow(ctx, endpoint, q, yield)
	r.note(ctx, endpoint, q, err)
	return err
}

// note remembers whether an instance has answered.
func (r *remote) note(ctx context.Context, endpoint string, q *ask, err error) {
	no, refused := errors.AsType[*refusal](err)
	switch {
	case err == nil, refused && (no.code == refusedBehind || no.code == refusedStale || !no.retriable()):
		r.avoid.answered(endpoint, q)
	case refused:
		r.avoid.failed(endpoint, q, err, false)
	case ctx.Err() == nil: // else it is not the instance's fault
		r.avoid.failed(endpoint, q, err, true)
	}
}

// askNow is ask, whatever became of the last attempt.
func (r *remote) askNow(ctx context.Context, endpoint string, q *ask, yield func(reply) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := r.clock.AfterFunc(attemptMax, func() { cancel(errSilent) })
	defer silence.Stop()
	body, err := r.do(ctx, http.MethodPost, endpoint, queryAskPath, appendAsk(nil, q))
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	for {
		p, err := readFrame(body)
		if no, ok := errors.AsType[*refusal](err); ok {
			return no
		}
		if err != nil {
			return r.failed(ctx, endpoint, err)
		}
		p.info.Instance, p.info.Partition = endpoint, q.partition
		if !silence.Stop() {
			return r.failed(ctx, endpoint, errSilent)
		}
		more := yield(p) // it may take as long as it likes
		silence.Reset(attemptMax)
		if p.page.Next == nil {
			drain(body)
			return nil
		}
		if !more {
			return nil
		}
	}
}

// errSilent ends the wait for an instance.
var errSilent = fmt.Errorf("no answer within %v", attemptMax)

// cluster asks an instance who has what.
func (r *remote) cluster(ctx context.Context, endpoint string) (*cluster, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, attemptMax, errSilent)
	defer cancel()
	body, err := r.do(ctx, http.MethodGet, endpoint, queryClusterPath, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(io.LimitReader(body, clusterBytesMax))
	if err != nil {
		return nil, r.failed(ctx, endpoint, err)
	}
	m, err := decodeMetadata(data)
	if err != nil {
		return nil, r.failed(ctx, endpoint, err)
	}
	return newCluster(m), nil
}

// do sends a request and returns the body of its answer.
func (r *remote) do(ctx context.Context, method, endpoint, path string, send []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.scheme+"://"+endpoint+path, bytes.NewReader(send))
	if err != nil {
		return nil, &unreachable{endpoint: endpoint, err: err, final: true}
	}
	req.Header.Set("Content-Type", queryContentType)
	res, err := r.client.Do(req)
	if err != nil {
		return nil, r.failed(ctx, endpoint, err)
	}
	kind := res.Header.Get("Content-Type")
	if res.StatusCode == http.StatusOK && kind == queryContentType {
		return res.Body, nil
	}
	excerpt, _ := io.ReadAll(io.LimitReader(res.Body, excerptBytesMax))
	_ = res.Body.Close()
	far := &unreachable{endpoint: endpoint, err: fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(excerpt)))}
	switch {
	case res.StatusCode == http.StatusOK:
		far.err = fmt.Errorf("it answers with %q: is App.QueryHandler mounted at %s?", kind, QueryPath)
	case res.StatusCode >= http.StatusInternalServerError, res.StatusCode == http.StatusTooManyRequests:
	case res.StatusCode == http.StatusNotFound: // its server may be up before it has mounted the handler
		far.err = fmt.Errorf("%s: is App.QueryHandler mounted at %s?", res.Status, QueryPath)
	default:
		far.final = true
	}
	return nil, far
}

func (r *remote) failed(ctx context.Context, endpoint string, err error) error {
	if cause := endOf(ctx); cause != nil {
		err = cause
	}
	return &unreachable{endpoint: endpoint, err: err}
}
