package integration

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/integration/broker"
)

// scenario is an application, its topics, and the load that a test puts on it.
type scenario struct {
	t          *testing.T
	cluster    *broker.Cluster
	app        string
	in, out    string
	partitions int32
	topology   string
	guarantee  string // default: exactly_once_v2
	// checkpoints is the directory of the storage for them; "": none are made.
	checkpoints string
	session     time.Duration
	// standbys is how many each task has.
	standbys int
	sent     int
	keys     int
}

func newScenario(t *testing.T, c *broker.Cluster) *scenario {
	s := &scenario{
		t: t, cluster: c, app: broker.Name(t, "app"), in: broker.Name(t, "in"), out: broker.Name(t, "out"),
		partitions: 4, session: 6 * time.Second, keys: 97,
	}
	c.CreateTopic(t, s.in, s.partitions, nil)
	c.CreateTopic(t, s.out, s.partitions, nil)
	return s
}

// send produces n records, keys in turn.
func (s *scenario) send(n int) {
	records := make([]broker.Record, n)
	for i := range records {
		key := fmt.Sprintf("key-%02d", s.sent%s.keys)
		records[i] = broker.Record{
			Partition: -1, Key: []byte(key), Value: []byte(string(rune('a'+s.sent%7)) + "-value"),
		}
		s.sent++
	}
	s.cluster.Produce(s.t, s.in, records...)
}

// check waits until there is an output for every input, and verifies them.
func (s *scenario) check() {
	s.t.Helper()
	s.cluster.AwaitCommitted(s.t, s.app, s.in, 90*time.Second)
	var outputs []broker.Record
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
		// Behind a repartition topic the outputs of committed inputs are still to come.
		if outputs = s.cluster.ReadCommitted(s.t, s.out); len(outputs) >= s.sent {
			break
		}
	}
	checkCounts(s.t, outputs, s.sent)
}

// checkCounts verifies that the outputs of each key are 1, 2, 3 and so on, and that there is one for each input record.
func checkCounts(t *testing.T, outputs []broker.Record, inputs int) {
	t.Helper()
	last := make(map[string]uint64)
	for _, r := range outputs {
		n := binary.BigEndian.Uint64(r.Value)
		require.Equal(t, last[string(r.Key)]+1, n, "count of %q at %d-%d", r.Key, r.Partition, r.Offset)
		last[string(r.Key)] = n
	}
	require.Len(t, outputs, inputs, "each input record has exactly one output")
}

// instance is a process of the application.
type instance struct {
	t       *testing.T
	cmd     *exec.Cmd
	name    string
	running chan struct{} // closed once it has tasks and all of them run
	ended   chan struct{}
	// coordinates says whether it coordinates checkpoints.
	coordinates atomic.Bool
	// tasks is how many it runs, standbys how many follow their changelogs, and lag how far these are behind in all.
	tasks, standbys, lag atomic.Int64
	mu                   sync.Mutex
	log                  []string
	restored             []restoredStore
}

// restoredStore is what an instance tells when it has restored a store.
type restoredStore struct {
	task, base string
	records    int64
}

// start starts an instance with a state directory of its own, which outlives it.
func (s *scenario) start(name, stateDir string) *instance {
	s.t.Helper()
	return s.launch(name, "TIDEMARK_TEST_INSTANCE=1", "TIDEMARK_TEST_NAME="+name, "TIDEMARK_TEST_APP="+s.app,
		"TIDEMARK_TEST_IN="+s.in, "TIDEMARK_TEST_OUT="+s.out, "TIDEMARK_TEST_STATE="+filepath.Join(stateDir, name),
		"TIDEMARK_TEST_TOPOLOGY="+s.topology, "TIDEMARK_TEST_GUARANTEE="+s.guarantee,
		"TIDEMARK_TEST_CHECKPOINTS="+s.checkpoints, fmt.Sprintf("TIDEMARK_TEST_STANDBYS=%d", s.standbys),
		fmt.Sprintf("TIDEMARK_TEST_SESSION_MS=%d", s.session.Milliseconds()),
		"TIDEMARK_TEST_BROKERS="+strings.Join(s.cluster.Bootstrap(), ","))
}

// launch starts this test binary as an instance, which learns from its environment what to do.
func (s *scenario) launch(name string, env ...string) *instance {
	s.t.Helper()
	exe, err := os.Executable()
	require.NoError(s.t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	require.NoError(s.t, err)
	logs, err := cmd.StderrPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	i := &instance{t: s.t, cmd: cmd, name: name, running: make(chan struct{}), ended: make(chan struct{})}
	var read sync.WaitGroup
	read.Go(func() {
		var once sync.Once
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var running, restoring int
			_, err := fmt.Sscanf(lines.Text(), "TASKS %d %d", &running, &restoring)
			if err == nil && running > 0 && restoring == 0 {
				once.Do(func() { close(i.running) })
			}
			if err == nil {
				i.tasks.Store(int64(running))
			}
			var following, lag int64
			if _, err := fmt.Sscanf(lines.Text(), "STANDBYS %d %d", &following, &lag); err == nil {
				i.standbys.Store(following)
				i.lag.Store(lag)
			}
			var r restoredStore
			if _, err := fmt.Sscanf(lines.Text(), "RESTORED %s %s %d", &r.task, &r.base, &r.records); err == nil {
				i.mu.Lock()
				i.restored = append(i.restored, r)
				i.mu.Unlock()
			}
			if told, is := strings.CutPrefix(lines.Text(), "COORDINATES "); is {
				i.coordinates.Store(told == "true")
			}
		}
	})
	read.Go(func() {
		for lines := bufio.NewScanner(logs); lines.Scan(); {
			i.mu.Lock()
			i.log = append(i.log, lines.Text())
			i.mu.Unlock()
		}
	})
	go func() {
		defer close(i.ended)
		read.Wait()
		_ = cmd.Wait()
	}()
	s.t.Cleanup(func() {
		i.kill()
		if dir := os.Getenv("TIDEMARK_TEST_LOGS"); dir != "" {
			name := filepath.Join(dir, fmt.Sprintf("%s-%s-%d.log", s.app, name, cmd.Process.Pid))
			require.NoError(s.t, os.WriteFile(name, []byte(strings.Join(i.log, "\n")), 0o600))
		}
		if s.t.Failed() {
			i.mu.Lock()
			defer i.mu.Unlock()
			s.t.Logf("log of instance %s (pid %d), last lines:\n%s", name, cmd.Process.Pid,
				strings.Join(i.log[max(0, len(i.log)-60):], "\n"))
		}
	})
	return i
}

// awaitRunning waits until the instance processes.
func (i *instance) awaitRunning() {
	i.t.Helper()
	select {
	case <-i.running:
	case <-i.ended:
		i.t.Fatalf("instance %s ended before it was running", i.name)
	case <-time.After(90 * time.Second):
		i.t.Fatalf("instance %s is not running after 90 s", i.name)
	}
}

// kill is kill -9.
func (i *instance) kill() {
	_ = i.cmd.Process.Signal(syscall.SIGKILL)
	<-i.ended
}

// stop asks it to close and waits.
func (i *instance) stop() {
	i.t.Helper()
	require.NoError(i.t, i.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-i.ended:
	case <-time.After(60 * time.Second):
		i.t.Fatalf("instance %s does not close", i.name)
	}
	require.Equal(i.t, 0, i.cmd.ProcessState.ExitCode(), "instance %s", i.name)
}

// lines returns what it has logged so far.
func (i *instance) lines() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.log)
}

// restores returns what it has restored so far.
func (i *instance) restores() []restoredStore {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.restored)
}

func (i *instance) signal(sig syscall.Signal) {
	i.t.Helper()
	require.NoError(i.t, i.cmd.Process.Signal(sig))
}
