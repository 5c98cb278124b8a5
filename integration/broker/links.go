package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"testing"
)

// Links are the connections of each client, by its client id, to an embedded cluster: a test can interrupt those of one
// application of several in its process, which looks to the others as if its machine were paused or lost.
type Links struct {
	mu    sync.Mutex
	links map[string]*link
}

// link are the connections of a client.
type link struct {
	held  chan struct{} // nil, or closed when the client may go on
	lost  bool
	conns map[*linkConn]bool
}

// StartLinked returns an embedded cluster of this test alone, and the links of its clients. It ends with the test.
func StartLinked(t testing.TB) (*Cluster, *Links) {
	t.Helper()
	l := &Links{links: make(map[string]*link)}
	c := &Cluster{listen: l.listen}
	if err := c.startFake(); err != nil {
		t.Fatalf("broker: %v", err)
	}
	t.Cleanup(c.Stop)
	return c, l
}

// Hold lets nothing of a client through until the returned function is called: neither what it sends nor the answers.
func (l *Links) Hold(client string) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held, at := make(chan struct{}), l.of(client)
	if at.held == nil {
		at.held = held
	}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if at.held == held {
			at.held = nil
		}
		close(held)
	})
}

// Cut breaks the connections of a client; it may connect again.
func (l *Links) Cut(client string) { l.cut(client, false) }

// Lose breaks the connections of a client for ever.
func (l *Links) Lose(client string) { l.cut(client, true) }

func (l *Links) cut(client string, lost bool) {
	l.mu.Lock()
	at := l.of(client)
	at.lost = at.lost || lost
	conns := at.conns
	at.conns = make(map[*linkConn]bool)
	l.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
}

// of returns the link of a client. Called with the lock held.
func (l *Links) of(client string) *link {
	if l.links[client] == nil {
		l.links[client] = &link{conns: make(map[*linkConn]bool)}
	}
	return l.links[client]
}

// join adds a connection to those of its client, which it has just told.
func (l *Links) join(c *linkConn, client string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.of(client)
	if at.lost {
		return errors.New("broker: the link is lost")
	}
	at.conns[c], c.link = true, at
	return nil
}

func (l *Links) listen(network, address string) (net.Listener, error) {
	in, err := net.Listen(network, address) //nolint:noctx // ends with the cluster
	return &linkListener{Listener: in, links: l}, err
}

type linkListener struct {
	net.Listener
	links *Links
}

func (l *linkListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &linkConn{Conn: conn, links: l.links, in: bufio.NewReader(conn), closed: make(chan struct{})}, nil
}

// linkConn is the broker's end of a connection.
type linkConn struct {
	net.Conn
	links  *Links
	in     *bufio.Reader
	link   *link // nil until the first request came; guarded by links.mu
	once   sync.Once
	closed chan struct{}
}

// Read reads what the client sends.
func (c *linkConn) Read(p []byte) (int, error) {
	if c.link == nil { // only reads set it, and there is one at a time
		if err := c.introduce(); err != nil {
			_ = c.Close()
			return 0, err
		}
	}
	if err := c.pass(); err != nil {
		return 0, err
	}
	n, err := c.in.Read(p)
	if err == nil {
		err = c.pass() // it came while the link was held
	}
	return n, err
}

// introduce learns the client from the header of its first request: size i32, key i16, version i16, correlation i32,
// client id as a string with its length i16.
func (c *linkConn) introduce() error {
	const before = 14
	head, err := c.in.Peek(before)
	if err != nil {
		return err
	}
	n := max(int(int16(binary.BigEndian.Uint16(head[before-2:]))), 0) // -1: none
	if head, err = c.in.Peek(before + n); err != nil {
		return err
	}
	return c.links.join(c, string(head[before:]))
}

// Write sends an answer.
func (c *linkConn) Write(p []byte) (int, error) {
	if err := c.pass(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// pass waits while the link is held.
func (c *linkConn) pass() error {
	for {
		var held chan struct{}
		c.links.mu.Lock()
		if c.link != nil {
			held = c.link.held
		}
		c.links.mu.Unlock()
		if held == nil {
			return nil
		}
		select {
		case <-held:
		case <-c.closed:
			return net.ErrClosed
		}
	}
}

// Close closes the connection.
func (c *linkConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.links.mu.Lock()
		if c.link != nil {
			delete(c.link.conns, c)
		}
		c.links.mu.Unlock()
	})
	return c.Conn.Close()
}
