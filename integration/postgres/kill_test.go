package postgres_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	sinks "github.com/tidemarkio/tidemark/eos/postgres"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/integration/postgres"
)

// killsInCI is how many kills a run has; TIDEMARK_TEST_KILLS asks for more.
const killsInCI = 8

// scenario is an application that writes to PostgreSQL, and the load that a test puts on it.
type scenario struct {
	t        *testing.T
	cluster  *broker.Cluster
	database *postgres.Database
	app      string
	in, out  string
	dir      string
	sent     int
	rnd      *rand.Rand
}

func newScenario(t *testing.T) *scenario {
	s := &scenario{
		t: t, database: postgres.Start(t), cluster: broker.Start(t), app: broker.Name(t, "app"), in: broker.Name(t, "in"),
		out: broker.Name(t, "out"), dir: t.TempDir(),
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s.rnd = rand.New(rand.NewPCG(seed, 0))
	s.database.Exec(t, `CREATE TABLE events (key text, value text);
		CREATE TABLE counts (key text PRIMARY KEY, n bigint);
		CREATE TABLE last_counts (key text PRIMARY KEY, n bigint, tidemark_partition integer, tidemark_epoch bigint)`)
	s.cluster.CreateTopic(t, s.in, 4, nil)
	s.cluster.CreateTopic(t, s.out, 4, nil)
	return s
}

const keys = 17

// send produces n records, keys in turn, each with a value of its own.
func (s *scenario) send(n int) {
	records := make([]broker.Record, n)
	for i := range records {
		records[i] = broker.Record{
			Partition: -1, Key: fmt.Appendf(nil, "key-%02d", s.sent%keys), Value: []byte(strconv.Itoa(s.sent)),
		}
		s.sent++
	}
	s.cluster.Produce(s.t, s.in, records...)
}

// instance is a process of the application.
type instance struct {
	cmd   *exec.Cmd
	name  string
	kill  string
	at    time.Time // when to kill it from outside
	log   bytes.Buffer
	ended chan struct{}
}

// start starts an instance, on what its life before has left, that will die as kill says.
func (s *scenario) start(name, kill string) *instance {
	s.t.Helper()
	exe, err := os.Executable()
	require.NoError(s.t, err)
	i := &instance{cmd: exec.Command(exe), name: name, kill: kill, ended: make(chan struct{})}
	i.cmd.Env = append(os.Environ(), "TIDEMARK_TEST_INSTANCE=1", "TIDEMARK_TEST_NAME="+name, "TIDEMARK_TEST_APP="+s.app,
		"TIDEMARK_TEST_IN="+s.in, "TIDEMARK_TEST_OUT="+s.out, "TIDEMARK_TEST_STATE="+filepath.Join(s.dir, name),
		"TIDEMARK_TEST_DATABASE="+s.database.URL, "TIDEMARK_TEST_KILL="+kill,
		"TIDEMARK_TEST_BROKERS="+strings.Join(s.cluster.Bootstrap(), ","))
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	i.cmd.Stderr = &i.log
	require.NoError(s.t, i.cmd.Start())
	go func() {
		defer close(i.ended)
		_ = i.cmd.Wait()
	}()
	s.t.Cleanup(func() {
		_ = i.cmd.Process.Kill()
		<-i.ended
		if dir := os.Getenv("TIDEMARK_TEST_LOGS"); dir != "" {
			name := filepath.Join(dir, fmt.Sprintf("%s-%s-%d.log", s.app, name, i.cmd.Process.Pid))
			require.NoError(s.t, os.WriteFile(name, i.log.Bytes(), 0o600))
		}
	})
	return i
}

// doomed starts an instance that will die in a random step, or at a random time.
func (s *scenario) doomed(name string) *instance {
	// Sometimes the state and the identity are lost too: another instance takes over.
	if s.rnd.IntN(8) == 0 {
		name += "x"
	}
	if n := s.rnd.IntN(len(killSteps) + 3); n < len(killSteps) {
		i := s.start(name, fmt.Sprintf("%s:%d", killSteps[n], 1+s.rnd.IntN(6)))
		i.at = time.Now().Add(15 * time.Second) // the step may not come
		return i
	}
	i := s.start(name, "")
	i.kill, i.at = "time", time.Now().Add(time.Duration(500+s.rnd.IntN(4000))*time.Millisecond)
	return i
}

// TestSinkKill9 kills instances in every step of a commit with PostgreSQL: each row is there exactly once, and nothing
// stays prepared.
func TestSinkKill9(t *testing.T) {
	s := newScenario(t)
	kills := killsInCI
	if n := os.Getenv("TIDEMARK_TEST_KILLS"); n != "" {
		var err error
		kills, err = strconv.Atoi(n)
		require.NoError(t, err)
	}
	instances := []*instance{s.doomed("a"), s.doomed("b")}
	died := make(map[string]int)
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for total := 0; total < kills; {
		s.send(50)
		<-pause.C
		for n, i := range instances {
			select {
			case <-i.ended:
			default:
				if time.Now().Before(i.at) {
					continue
				}
				i.kill = "time"
				require.NoError(t, i.cmd.Process.Kill())
				<-i.ended
			}
			status, ok := i.cmd.ProcessState.Sys().(syscall.WaitStatus)
			require.True(t, ok && status.Signal() == syscall.SIGKILL, "%s: %s\n%s", i.kill, i.cmd.ProcessState, i.log.String())
			step, _, _ := strings.Cut(i.kill, ":")
			died[step]++
			total++
			instances[n] = s.doomed(i.name[:1])
		}
	}
	for _, i := range instances {
		require.NoError(t, i.cmd.Process.Kill())
		<-i.ended
		died["time"]++
	}
	t.Logf("%d records, kills: %v", s.sent, died)
	s.send(100)
	survivors := []*instance{s.start("a", ""), s.start("b", "")}
	s.check()
	for _, i := range survivors {
		require.NoError(t, i.cmd.Process.Signal(syscall.SIGTERM))
		<-i.ended
		require.True(t, i.cmd.ProcessState.Success(), "%s\n%s", i.cmd.ProcessState, i.log.String())
	}
	s.check()
}

// check waits until everything is committed, and verifies it.
func (s *scenario) check() {
	s.t.Helper()
	s.cluster.AwaitCommitted(s.t, s.app, s.in, 90*time.Second)
	require.Eventually(s.t, func() bool { return len(s.prepared()) == 0 }, 30*time.Second, 50*time.Millisecond,
		"prepared and never ended: %v", s.prepared())
	all := fmt.Sprintf("%d %d", s.sent, s.sent)
	require.Equal(s.t, []string{all}, s.database.Lines(s.t, "SELECT count(*), count(DISTINCT value) FROM events"))
	var want []string
	for k := range keys {
		want = append(want, fmt.Sprintf("key-%02d %d", k, (s.sent-k+keys-1)/keys))
	}
	require.Equal(s.t, want, s.database.Lines(s.t, "SELECT key, n FROM counts ORDER BY key"))
	require.Equal(s.t, want, s.database.Lines(s.t, "SELECT key, n FROM last_counts ORDER BY key"))
	last := make(map[string]uint64)
	for _, r := range s.cluster.ReadCommitted(s.t, s.out) {
		n := binary.BigEndian.Uint64(r.Value)
		require.Equal(s.t, last[string(r.Key)]+1, n)
		last[string(r.Key)] = n
	}
}

func (s *scenario) prepared() []string {
	var names []string
	left, err := sinks.Prepared(s.t.Context(), s.database.URL, s.app)
	require.NoError(s.t, err)
	for _, n := range left {
		names = append(names, n.String())
	}
	return names
}
