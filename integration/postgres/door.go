package postgres

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Door leads to the server. Tests close it, and cut what goes through it.
type Door struct {
	// URL connects through it.
	URL string

	mu     sync.Mutex
	closed bool
	pairs  map[[2]net.Conn]bool
	// after counts down bytes of requests until the door closes by itself, -1: never.
	after int
	// delivered says that the request with which it closes still reaches the server.
	delivered bool
}

// Door makes an open door to the database.
func (d *Database) Door(t testing.TB) *Door {
	t.Helper()
	u, err := url.Parse(d.URL)
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends with the test
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
	to := u.Host
	u.Host = l.Addr().String()
	door := &Door{URL: u.String(), pairs: make(map[[2]net.Conn]bool), after: -1}
	t.Cleanup(func() {
		_ = l.Close()
		door.Close()
	})
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go door.lead(client, to)
		}
	}()
	return door
}

func (d *Door) lead(client net.Conn, to string) {
	server, err := net.Dial("tcp", to) //nolint:noctx // ends with the test
	if err != nil {
		_ = client.Close()
		return
	}
	pair := [2]net.Conn{client, server}
	d.mu.Lock()
	closed := d.closed
	d.pairs[pair] = true
	d.mu.Unlock()
	if closed {
		d.cut(pair)
		return
	}
	go func() {
		_, _ = io.Copy(client, server)
		d.cut(pair)
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := client.Read(buf)
		closes, deliver := d.passes(n)
		if closes {
			_ = client.Close() // the answer finds nobody
		}
		if deliver {
			_, _ = server.Write(buf[:n])
		}
		if closes {
			d.Close()
			return
		}
		if err != nil {
			d.cut(pair)
			return
		}
	}
}

// passes counts a request's bytes, and tells whether the door closes with it.
func (d *Door) passes(n int) (closes, deliver bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.after < 0 {
		return false, true
	}
	d.after -= n
	return d.after < 0, d.after >= 0 || d.delivered
}

func (d *Door) cut(pair [2]net.Conn) {
	_, _ = pair[0].Close(), pair[1].Close()
	d.mu.Lock()
	delete(d.pairs, pair)
	d.mu.Unlock()
}

// Close cuts everything that goes through, and lets nothing through any more.
func (d *Door) Close() {
	d.mu.Lock()
	d.closed, d.after = true, -1
	var pairs [][2]net.Conn
	for p := range d.pairs {
		pairs = append(pairs, p)
	}
	d.mu.Unlock()
	for _, p := range pairs {
		d.cut(p)
	}
}

// CloseAfter closes the door when so many bytes of requests have come: with delivered, the last request still reaches
// the server, and only its answer is lost.
func (d *Door) CloseAfter(bytes int, delivered bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.after, d.delivered = bytes, delivered
}

// Open lets new connections through again.
func (d *Door) Open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed, d.after = false, -1
}
