package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	startTimeout      = 4 * time.Minute // the first start downloads the jars
	sessionTimeoutMin = 200 * time.Millisecond
	heap              = "384m"
)

// Cluster is a cluster of one broker.
type Cluster struct {
	real bool
	addr string
	dir  string // of its data; a private embedded cluster and every real one has one
	// listen is what an embedded cluster listens with; nil: net.Listen.
	listen func(network, address string) (net.Listener, error)

	mu   sync.Mutex
	fake *kfake.Cluster // nil while killed, and when real
}

// shared is the cluster that Start hands out.
type shared struct {
	once    sync.Once
	cluster *Cluster
	err     error
	skip    string
}

var common shared //nolint:gochecknoglobals // one broker for the test binary; one per test would take seconds each

// Start returns the cluster that all tests of this binary share.
func Start(t testing.TB) *Cluster {
	t.Helper()
	common.once.Do(func() {
		if common.skip = missing(); common.skip == "" {
			common.cluster, common.err = open("")
		}
	})
	unavailable(t, common.skip)
	if common.err != nil {
		t.Fatalf("broker: %v", common.err)
	}
	return common.cluster
}

// StartPrivate returns a cluster of this test alone, which it may kill. It ends with the test.
func StartPrivate(t testing.TB) *Cluster {
	t.Helper()
	unavailable(t, missing())
	c, err := open(t.TempDir())
	if err != nil {
		t.Fatalf("broker: %v", err)
	}
	t.Cleanup(c.Stop)
	return c
}

// wantReal tells whether the tests ask for a real broker.
func wantReal() bool { return os.Getenv("TIDEMARK_INTEGRATION") == "real" }

// missing says what a real broker needs and this machine lacks.
func missing() string {
	if !wantReal() {
		return ""
	}
	for _, tool := range []string{"java", "mvn", "flock", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is not installed"
		}
	}
	return ""
}

func unavailable(t testing.TB, why string) {
	t.Helper()
	switch {
	case why == "":
	case os.Getenv("TIDEMARK_REQUIRE_KAFKA") == "1":
		t.Fatalf("broker: a real Kafka is required (TIDEMARK_REQUIRE_KAFKA=1), but %s", why)
	default:
		fmt.Fprintf(os.Stderr, "\n*** SKIPPED %s: TIDEMARK_INTEGRATION=real, but %s ***\n", t.Name(), why)
		t.Skipf("TIDEMARK_INTEGRATION=real, but %s", why)
	}
}

// open starts a cluster. One without a folder gets what it needs below the system's temporary folder.
func open(dir string) (*Cluster, error) {
	c := &Cluster{real: wantReal(), dir: dir}
	if !c.real {
		return c, c.startFake()
	}
	if dir == "" {
		var err error
		if c.dir, err = os.MkdirTemp("", "tidemark-kafka-"); err != nil {
			return nil, err
		}
	} else {
		c.dir = filepath.Join(dir, "kafka") // kafka.sh removes it, the test's own folder stays
	}
	return c, c.startReal()
}

func (c *Cluster) startFake() error {
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(sessionTimeoutMin)}
	if c.dir != "" {
		opts = append(opts, kfake.DataDir(filepath.Join(c.dir, "kfake")))
	}
	if c.listen != nil {
		opts = append(opts, kfake.ListenFn(c.listen))
	}
	if c.addr != "" { // a restart
		_, port, err := net.SplitHostPort(c.addr)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			return err
		}
		opts = append(opts, kfake.Ports(n))
	}
	fake, err := kfake.NewCluster(opts...)
	if err != nil {
		return fmt.Errorf("start the embedded broker: %w", err)
	}
	c.fake, c.addr = fake, fake.ListenAddrs()[0]
	return nil
}

func (c *Cluster) startReal() error {
	out, err := c.script("start", "--heap", heap, "--owner", strconv.Itoa(os.Getpid()),
		"--set", fmt.Sprintf("group.min.session.timeout.ms=%d", sessionTimeoutMin.Milliseconds()),
		// After kill -9 the controller refuses the broker until the session of its former life is over (9 s by default).
		"--set", "broker.session.timeout.ms=3000", "--set", "broker.heartbeat.interval.ms=500")
	if err != nil {
		return err
	}
	c.addr = strings.TrimSpace(out)
	return nil
}

// script runs bench/kafka/kafka.sh.
func (c *Cluster) script(command string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("cannot find kafka.sh: this binary has no source paths")
	}
	path := filepath.Join(filepath.Dir(here), "..", "..", "bench", "kafka", "kafka.sh")
	cmd := exec.CommandContext(ctx, "bash", append([]string{path, command, "--dir", c.dir}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("kafka.sh %s: %w\n%s", command, err, stderr.String())
	}
	return string(out), nil
}

// Bootstrap returns the addresses of the brokers.
func (c *Cluster) Bootstrap() []string { return []string{c.addr} }

// Real tells whether this is an Apache Kafka.
func (c *Cluster) Real() bool { return c.real }

// Fake returns the embedded broker for fault injection, nil if this is a real one or it is killed.
func (c *Cluster) Fake() *kfake.Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fake
}

// Kill9 ends the broker at once and cuts all connections. The embedded one keeps everything it acknowledged; a real
// one keeps what it had written, as after kill -9. Only for private clusters.
func (c *Cluster) Kill9(t testing.TB) {
	t.Helper()
	if c == common.cluster {
		t.Fatal("broker: other tests use this cluster, take one with StartPrivate")
	}
	if c.real {
		if _, err := c.script("kill"); err != nil {
			t.Fatalf("broker: %v", err)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fake != nil {
		c.fake.Close()
		c.fake = nil
	}
}

// Restart brings a killed broker back, at the same address and with its data, and waits until it answers.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	var err error
	if c.real {
		err = c.startReal()
	} else {
		c.mu.Lock()
		err = c.startFake()
		c.mu.Unlock()
	}
	if err != nil {
		t.Fatalf("broker: %v", err)
	}
	conf := config()
	client, err := sarama.NewClient(c.Bootstrap(), conf)
	if err != nil {
		t.Fatalf("broker: does not answer after its restart: %v", err)
	}
	_ = client.Close()
}

// Stop ends the cluster and removes its data.
func (c *Cluster) Stop() {
	if c.real {
		if _, err := c.script("stop", "--wipe"); err != nil {
			fmt.Fprintln(os.Stderr, "broker:", err)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fake != nil {
		c.fake.Close()
		c.fake = nil
	}
}
