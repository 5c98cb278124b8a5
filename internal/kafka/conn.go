package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"

	"github.com/tidemarkio/tidemark/eos"
)

// conns are the connections of one user (a producer, a fetcher, the group member, the admin), one per broker.
//
// Kafka serves the requests of one connection in order, so users do not share: a fetch that waits half a second for
// data would hold back a commit behind it.
//
// A connection that failed is dropped and never repaired; the next get opens another one. Safe for concurrent use.
type conns struct {
	client      *Client
	purpose     string // for error messages
	readTimeout time.Duration

	mu struct {
		sync.Mutex
		closed  bool
		slots   map[int32]*slot
		opening map[*dialer]struct{} // so that Close need not wait for a broker that does not answer
	}
}

// slot holds the connection to one broker. Opening takes its turn, so that a dead broker delays only its own users.
type slot struct {
	turn chan struct{} // capacity 1: who put a token holds the slot
	conn *conn         // nil: not connected. Owned by the holder of turn.
}

// newConns returns an empty set of connections. readTimeout bounds the wait for one answer: it must exceed what the
// broker may wait by request (max wait of a fetch, rebalance timeout of a join). 0 is the client's Net.ReadTimeout.
// Close the set when done; Client.Close closes what is left.
func (c *Client) newConns(purpose string, readTimeout time.Duration) *conns {
	s := &conns{client: c, purpose: purpose, readTimeout: readTimeout}
	s.mu.slots = make(map[int32]*slot)
	s.mu.opening = make(map[*dialer]struct{})
	c.track(s)
	return s
}

// get returns the connection to a broker, opening it if need be. Errors are *connError, ctx's, or errClosed.
func (s *conns) get(ctx context.Context, brokerID int32) (*conn, error) {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return nil, errClosed
	}
	sl := s.mu.slots[brokerID]
	if sl == nil {
		sl = &slot{turn: make(chan struct{}, 1)}
		s.mu.slots[brokerID] = sl
	}
	s.mu.Unlock()

	select {
	case sl.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("kafka: connect to broker %d: %w", brokerID, context.Cause(ctx))
	}
	defer func() { <-sl.turn }()

	addr, ok := s.client.address(brokerID)
	if !ok {
		return nil, &connError{Purpose: s.purpose, Addr: fmt.Sprintf("#%d", brokerID), Err: errUnknownBroker}
	}
	if c := sl.conn; c != nil {
		if !c.dead.Load() && c.addr == addr {
			return c, nil
		}
		sl.conn = nil
		c.close()
	}
	c, err := s.open(ctx, brokerID, addr)
	if err != nil {
		return nil, err
	}
	sl.conn = c // if Close runs now, it waits for our turn and closes it
	return c, nil
}

// open dials, shakes hands (TLS, SASL) and asks for the broker's versions.
func (s *conns) open(ctx context.Context, brokerID int32, addr string) (*conn, error) {
	conf := *s.client.conf
	if s.readTimeout > 0 {
		conf.Net.ReadTimeout = s.readTimeout
	}
	dialCtx, cancel := context.WithCancel(ctx) // apart from ctx: cutting a failed connection is not the caller's end
	defer cancel()
	d := &dialer{cancel: cancel, dial: s.client.dial}
	if d.dial == nil {
		nd := net.Dialer{Timeout: conf.Net.DialTimeout, KeepAlive: conf.Net.KeepAlive, LocalAddr: conf.Net.LocalAddr}
		d.dial = func(network, addr string) (net.Conn, error) { return nd.DialContext(dialCtx, network, addr) }
	}
	conf.Net.Proxy.Enable, conf.Net.Proxy.Dialer = true, d
	if !s.beginOpen(d) {
		return nil, errClosed
	}
	defer s.endOpen(d)
	c := &conn{
		brokerID: brokerID, addr: addr, purpose: s.purpose, dialer: d,
		turn: make(chan struct{}, 1), broker: sarama.NewBroker(addr),
	}
	stop := context.AfterFunc(ctx, d.cut)
	defer stop()
	err := c.broker.Open(&conf)
	if err == nil {
		_, err = c.broker.Connected()
	}
	if err != nil {
		c.close()
		return nil, c.failed(ctx, err)
	}
	return c, nil
}

func (s *conns) beginOpen(d *dialer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.closed {
		s.mu.opening[d] = struct{}{}
	}
	return !s.mu.closed
}

func (s *conns) endOpen(d *dialer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.opening, d)
}

// Close closes all connections; requests in flight fail. Idempotent.
func (s *conns) Close() error {
	s.mu.Lock()
	slots := s.mu.slots
	s.mu.closed, s.mu.slots = true, nil
	for d := range s.mu.opening {
		d.cut()
	}
	s.mu.Unlock()
	s.client.untrack(s)
	for _, sl := range slots {
		sl.turn <- struct{}{} // nobody holds it for long: what was being opened is cut
		if sl.conn != nil {
			sl.conn.close()
			sl.conn = nil
		}
		<-sl.turn
	}
	return nil
}

// dropIdle closes connections that were not used for a while, so that the next request does not meet one that the
// broker is closing; it tells whether there were any. Not while requests are under way.
func (s *conns) dropIdle(after time.Duration) (dropped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.mu.slots {
		select {
		case sl.turn <- struct{}{}:
			if sl.conn != nil && sl.conn.idle() > after {
				sl.conn.close()
				sl.conn = nil
				dropped = true
			}
			<-sl.turn
		default:
		}
	}
	return dropped
}

// conn is one connection to one broker.
type conn struct {
	brokerID int32
	addr     string
	purpose  string
	broker   *sarama.Broker
	dialer   *dialer
	// turn lets one synchronous call at a time through. sarama would let them wait for its lock, where no context ends
	// the wait.
	turn     chan struct{}
	dead     atomic.Bool // the next get opens another connection
	answered atomic.Bool // a request was answered after the handshake
	lastUse  atomic.Int64
}

// call sends a request and waits for its answer: call(ctx, c, (*sarama.Broker).EndTxn, request). If ctx ends meanwhile
// the connection is cut. An error means that the connection is lost and the request may have been executed
// (*connError), or that it could not be sent at all (encoding, unsupported version).
func call[Q, R any](ctx context.Context, c *conn, method func(*sarama.Broker, Q) (R, error), req Q) (R, error) {
	var zero R
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return zero, fmt.Errorf("kafka: %s: %w", c.addr, context.Cause(ctx))
	}
	defer func() { <-c.turn }()
	stop := context.AfterFunc(ctx, c.cut)
	res, err := method(c.broker, req)
	stop()
	if err == nil {
		c.answered.Store(true)
		c.lastUse.Store(time.Now().UnixNano())
		return res, nil
	}
	if encodingError(err) {
		return zero, fmt.Errorf("kafka: %s (%s): %w", c.addr, c.purpose, err)
	}
	c.close()
	return zero, c.failed(ctx, err)
}

// encodingError tells whether a request could not be sent because it cannot be expressed: the connection is intact.
func encodingError(err error) bool {
	var encoding sarama.PacketEncodingError
	return errors.As(err, &encoding) || errors.Is(err, sarama.ErrUnsupportedVersion)
}

// idle tells how long the connection was not used.
func (c *conn) idle() time.Duration {
	last := c.lastUse.Load()
	if last == 0 {
		return 0
	}
	return time.Duration(time.Now().UnixNano() - last)
}

// cut ends the connection from any goroutine: requests in flight fail at once.
func (c *conn) cut() {
	c.dead.Store(true)
	c.dialer.cut()
}

// close cuts and releases the connection. Not from a produce callback: it waits for the goroutine that runs those.
func (c *conn) close() {
	c.cut()
	_ = c.broker.Close() // of a socket that is closed already
}

// failed explains why the connection was lost.
func (c *conn) failed(ctx context.Context, err error) error {
	e := &connError{Purpose: c.purpose, Addr: c.addr, Err: err}
	if cause := context.Cause(ctx); cause != nil {
		e.Err = fmt.Errorf("%w (%w)", cause, err)
	} else if errors.Is(err, sarama.ErrSASLAuthenticationFailed) {
		e.Err = fmt.Errorf("%w: %w", eos.ErrFatal, err)
		e.Hint = "the broker refuses these credentials: check mechanism, user and password"
	} else if !c.answered.Load() && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET)) {
		e.Hint = "the broker closed the connection before its first answer: does this listener expect TLS or SASL, " +
			"or other credentials?"
	}
	return e
}

// connError says that a connection could not be opened or was lost. A request that was under way may have been
// executed.
type connError struct {
	Purpose string
	Addr    string
	Hint    string
	Err     error
}

func (e *connError) Error() string {
	s := "kafka: connection to " + e.Addr + " (" + e.Purpose + "): " + e.Err.Error()
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

func (e *connError) Unwrap() error { return e.Err }

// isConnLost tells whether an error says that a connection was lost or never came about, rather than that a broker
// answered with an error.
func isConnLost(err error) bool {
	var e *connError
	return errors.As(err, &e)
}

// dialer opens the socket of one connection for sarama, so that we can cut it: sarama itself holds its lock while it
// waits for an answer and cannot be interrupted.
type dialer struct {
	cancel context.CancelFunc // ends the dialling
	dial   func(network, addr string) (net.Conn, error)

	mu struct {
		sync.Mutex
		cut    bool
		socket net.Conn
	}
}

// Dial implements proxy.Dialer.
func (d *dialer) Dial(network, addr string) (net.Conn, error) {
	socket, err := d.dial(network, addr)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.cut {
		return nil, errors.Join(net.ErrClosed, socket.Close())
	}
	d.mu.socket = socket
	return socket, nil
}

func (d *dialer) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.cut = true
	d.cancel()
	if d.mu.socket != nil {
		_ = d.mu.socket.Close()
	}
}

// noMetrics swallows sarama's metrics: they cost a lock and a random number per request and topic, and the first meter
// starts a goroutine that nobody can stop.
type noMetrics struct{}

func (noMetrics) Each(func(string, any))            {}
func (noMetrics) Get(string) any                    { return nil }
func (noMetrics) GetAll() map[string]map[string]any { return nil }
func (noMetrics) Register(string, any) error        { return nil }
func (noMetrics) RunHealthchecks()                  {}
func (noMetrics) Unregister(string)                 {}
func (noMetrics) UnregisterAll()                    {}
func (noMetrics) GetOrRegister(_ string, m any) any {
	switch m.(type) {
	case func() metrics.Counter, metrics.Counter:
		return metrics.NilCounter{}
	case func() metrics.Meter, metrics.Meter:
		return metrics.NilMeter{}
	case func() metrics.Histogram, metrics.Histogram:
		return metrics.NilHistogram{}
	}
	return m
}
