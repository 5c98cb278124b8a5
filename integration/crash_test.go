package integration

import (
	"encoding/binary"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/integration/broker"
)

// Two instances under load are killed at random moments and started again on what they left behind.
func TestKill9(t *testing.T) {
	for _, topology := range []string{"count", "repartition"} {
		t.Run(topology, func(t *testing.T) {
			s := newScenario(t, broker.Start(t))
			s.topology = topology
			dir := t.TempDir()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			instances := []*instance{s.start("a", dir), s.start("b", dir)}
			for range 6 {
				s.send(2000)
				victim := rnd.IntN(len(instances))
				instances[victim].awaitRunning()
				s.send(2000)
				<-time.After(time.Duration(rnd.IntN(200)) * time.Millisecond) // the random moment
				instances[victim].kill()
				instances[victim] = s.start(instances[victim].name, dir)
			}
			s.send(1000)
			s.check()
			for _, i := range instances {
				i.stop()
			}
			checkCounts(t, s.cluster.ReadCommitted(t, s.out), s.sent)
		})
	}
}

// An instance sleeps for longer than its session; another takes its tasks over; then it wakes up in the middle of what
// it was doing: a zombie.
func TestZombie(t *testing.T) {
	t.Parallel()
	s := newScenario(t, broker.Start(t))
	dir := t.TempDir()
	a, b := s.start("a", dir), s.start("b", dir)
	a.awaitRunning()
	b.awaitRunning()
	for range 2 {
		s.send(5000)
		a.signal(syscall.SIGSTOP)
		s.send(5000)
		s.cluster.AwaitCommitted(t, s.app, s.in, 90*time.Second) // b has taken over
		s.send(5000)
		a.signal(syscall.SIGCONT)
		s.send(5000)
		s.check()
	}
	a.stop()
	b.stop()
}

// A machine is lost with its state: the other instance restores from the changelog.
func TestStateDirectoryLost(t *testing.T) {
	t.Parallel()
	s := newScenario(t, broker.Start(t))
	a := s.start("a", t.TempDir())
	a.awaitRunning()
	s.send(10_000)
	s.cluster.AwaitCommitted(t, s.app, s.in, 60*time.Second)
	a.kill()
	s.send(3000)
	s.start("c", t.TempDir()).awaitRunning()
	s.send(3000)
	s.check()
}

// The broker is killed and comes back, several times, in the middle of transactions.
func TestBrokerKill9(t *testing.T) {
	s := newScenario(t, broker.StartPrivate(t))
	dir := t.TempDir()
	a, b := s.start("a", dir), s.start("b", dir)
	a.awaitRunning()
	b.awaitRunning()
	for range 3 { // bench/crash.sh broker has many
		s.send(20_000) // processing it takes longer than the produce: the kill hits transactions
		s.cluster.Kill9(t)
		s.cluster.Restart(t)
	}
	s.send(1000)
	s.check()
	a.stop()
	b.stop()
	require.NotZero(t, s.sent)
}

// An instance closes, and its state directory is deleted with its identity. Its successor does not wait for the session
// of a member that will not come back: a session is five minutes here.
func TestStateDirectoryDeletedAfterClose(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	s.session = 5 * time.Minute
	a := s.start("a", t.TempDir())
	a.awaitRunning()
	s.send(5000)
	s.cluster.AwaitCommitted(t, s.app, s.in, 60*time.Second)
	a.stop()
	s.send(1000)
	b := s.start("a", t.TempDir())
	b.awaitRunning()
	s.check()
	b.stop()
}

// At least once: a crash may repeat records, and loses none.
func TestAtLeastOnceKill9(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	s.guarantee = "at_least_once"
	dir := t.TempDir()
	a := s.start("a", dir)
	for range 3 {
		a.awaitRunning()
		s.send(3000)
		a.kill()
		a = s.start("a", dir)
	}
	s.send(1000)
	s.cluster.AwaitCommitted(t, s.app, s.in, 90*time.Second)
	a.stop()
	counts := make(map[string]uint64)
	for _, r := range s.cluster.ReadCommitted(t, s.out) {
		counts[string(r.Key)] = max(counts[string(r.Key)], binary.BigEndian.Uint64(r.Value))
	}
	var total uint64
	for key, n := range counts {
		require.GreaterOrEqual(t, n, uint64(s.sent/s.keys), "%s", key)
		total += n
	}
	require.GreaterOrEqual(t, total, uint64(s.sent))
}
