package integration

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/broker"
)

// TestRebalanceStorm has instances come, close, crash, pause for longer than their sessions, come back, and lose their
// connections and partitions, at random moments under load. Whatever happened: every input has exactly one output, no
// task is assigned or committed by two members of one generation, nothing hangs, and no goroutine is left.
//
// What is done follows from the seed, when exactly it happens does not.
//
//	go test ./integration -run TestRebalanceStorm -v -runs 200 -seed 1
func TestRebalanceStorm(t *testing.T) {
	ofSeeds(t, func(t *testing.T, seed uint64) { newStorm(t, seed).run() })
}

const (
	// stormSession is as short as a busy machine allows: a pause and a crash take longer than that.
	stormSession = 1500 * time.Millisecond
	// stormPatience is how long nothing may be committed at the end.
	stormPatience = 60 * time.Second
	instancesMax  = 4
)

// storm is one run.
type storm struct {
	*scenario
	r       *rand.Rand
	links   *broker.Links
	watch   *generations
	states  string
	before  map[string]int // goroutines by what they do
	life    stormLife
	next    int
	live    []*stormInstance
	ended   []*stormInstance // their state directories may be used again
	pending sync.WaitGroup
	faults  []*kfake.FaultHandle
	did     []string
}

// stormLife is how the instances of a run behave.
type stormLife struct {
	Topology            string
	Workers, CommitMs   int
	Dynamic, LeaveGroup bool
	Standbys            int
}

// stormInstance is an App, and the state directory that outlives it.
type stormInstance struct {
	*app
	name   string // its state directory
	client string
}

func newStorm(t *testing.T, seed uint64) *storm {
	t.Helper()
	before := goroutines()
	c, links := broker.StartLinked(t)
	s := &storm{
		scenario: newScenario(t, c), r: rand.New(rand.NewPCG(seed, 7)), links: links, states: t.TempDir(), before: before,
	}
	s.session = stormSession
	s.watch = watchGenerations(c.Fake(), s.app)
	s.life = stormLife{
		Topology: []string{"count", "repartition"}[s.r.IntN(2)], Workers: 1 + s.r.IntN(2), CommitMs: 10 + s.r.IntN(50),
		Dynamic: s.r.IntN(2) == 0, LeaveGroup: s.r.IntN(2) == 0, Standbys: s.r.IntN(3),
	}
	t.Logf("life: %+v", s.life)
	return s
}

func (s *storm) run() {
	began := time.Now()
	s.join()
	s.join()
	stop := s.feed()
	for range 6 + s.r.IntN(6) {
		<-time.After(ms(s.r.IntN(700)))
		s.disturb()
	}
	s.pending.Wait() // pauses are over
	if len(s.live) == 0 {
		s.join()
	}
	stop()
	for _, fault := range s.faults { // the test reads now
		fault.Remove()
	}
	s.drain()
	s.check()
	for _, i := range slices.Clone(s.live) {
		s.leave(i)
	}
	s.pending.Wait()
	checkCounts(s.t, s.cluster.ReadCommitted(s.t, s.out), s.sent)
	require.Empty(s.t, s.watch.violations())
	s.cluster.Stop()
	s.awaitNoGoroutines()
	s.t.Logf("%s: %d inputs, %v; %s", time.Since(began).Round(time.Millisecond), s.sent, s.did, s.watch)
}

// disturb lets something happen.
func (s *storm) disturb() {
	var i *stormInstance
	if len(s.live) > 0 {
		i = s.live[s.r.IntN(len(s.live))]
	}
	switch draw := s.r.IntN(12); {
	case i == nil || draw < 3 && len(s.live) < instancesMax:
		s.join()
	case draw < 5:
		s.leave(i)
	case draw < 7:
		s.crash(i)
	case draw < 9:
		s.pause(i)
	case draw < 10:
		s.did = append(s.did, "cut "+i.client)
		s.links.Cut(i.client)
	default:
		s.losePartition()
	}
}

// join starts an instance, half the time on what another has left.
func (s *storm) join() {
	i := &stormInstance{name: fmt.Sprintf("dir-%d", s.next)}
	if n := len(s.ended); n > 0 && s.r.IntN(2) == 0 {
		at := s.r.IntN(n)
		i.name = s.ended[at].name
		s.ended = slices.Delete(s.ended, at, at+1)
	}
	i.client = fmt.Sprintf("client-%d", s.next)
	s.next++
	s.did = append(s.did, fmt.Sprintf("join %s in %s", i.client, i.name))
	build := countTopology
	if s.life.Topology == "repartition" {
		build = repartitionTopology
	}
	i.app = s.scenario.run(build(s.in, s.out), tidemark.Config{
		ApplicationID: s.app, Brokers: s.cluster.Bootstrap(), StateDir: filepath.Join(s.states, i.name),
		ClientID: i.client, Workers: s.life.Workers, CacheBytesMax: -1, CommitInterval: ms(s.life.CommitMs),
		FlushInterval: 200 * time.Millisecond, SessionTimeout: s.session, RebalanceTimeout: 4 * time.Second,
		TransactionTimeout: 4 * time.Second, MetadataMaxAge: time.Second, CloseTimeout: 5 * time.Second,
		DynamicMembership: s.life.Dynamic, LeaveGroupOnClose: s.life.LeaveGroup,
		Restart: tidemark.RestartFixedDelay(1000, 100*time.Millisecond), StandbyReplicas: s.life.Standbys,
		AcceptableRecoveryLag: int64(1 + s.r.IntN(1000)),
	})
	s.live = append(s.live, i)
}

// leave closes an instance in order.
func (s *storm) leave(i *stormInstance) {
	s.did = append(s.did, "leave "+i.client)
	s.end(i)
}

// crash abandons an instance: the broker never hears of it again, and what it goes on doing reaches nobody.
func (s *storm) crash(i *stormInstance) {
	s.did = append(s.did, "crash "+i.client)
	s.links.Lose(i.client)
	s.end(i)
}

func (s *storm) end(i *stormInstance) {
	s.live = slices.DeleteFunc(s.live, func(j *stormInstance) bool { return j == i })
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = i.app.app.Close()
		<-i.done
	}()
	select {
	case <-closed:
	case <-time.After(stormPatience):
		s.fail("%s does not close", i.client)
	}
	s.ended = append(s.ended, i)
}

// pause holds an instance up for longer than its session, while other things happen; then it goes on as if nothing
// had been: a zombie.
func (s *storm) pause(i *stormInstance) {
	s.did = append(s.did, "pause "+i.client)
	release := s.links.Hold(i.client)
	long := s.session + ms(s.r.IntN(2000))
	s.pending.Go(func() {
		<-time.After(long)
		release()
	})
}

// losePartition has the broker say for a while that it does not lead a partition.
func (s *storm) losePartition() {
	topics := []string{s.in, s.out, s.app + "-counts-changelog"}
	topic, partition := topics[s.r.IntN(len(topics))], int32(s.r.IntN(int(s.partitions)))
	s.did = append(s.did, fmt.Sprintf("lose %s-%d", topic, partition))
	keys := []kmsg.Key{kmsg.Fetch, kmsg.ListOffsets}
	if topic != s.in { // the test's own producer does not try again
		keys = append(keys, kmsg.Produce)
	}
	s.faults = append(s.faults, s.cluster.Fake().Fault(kfake.Fault{
		Keys: keys, Topic: topic, Partitions: []int32{partition}, Err: kerr.NotLeaderForPartition, Count: 1 + s.r.IntN(20),
	}))
}

// feed sends records until the returned function is called.
func (s *storm) feed() (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			s.send(50)
			select {
			case <-end:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	stop = sync.OnceFunc(func() { close(end); done.Wait() })
	s.t.Cleanup(stop)
	return stop
}

// drain waits until all inputs are committed, as long as there is progress.
func (s *storm) drain() {
	s.t.Helper()
	last, since := int64(-1), time.Now()
	for {
		var committed, end int64
		for tp, offset := range s.cluster.CommittedOffsets(s.t, s.app) {
			if tp.Topic == s.in {
				committed += offset
			}
		}
		for _, offset := range s.cluster.EndOffsets(s.t, s.in) {
			end += offset
		}
		switch {
		case committed >= end:
			return
		case committed > last:
			last, since = committed, time.Now()
		case time.Since(since) > stormPatience:
			s.fail("%d of %d records are committed, and no more for %s", committed, end, stormPatience)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// fail ends the test with what all goroutines do.
func (s *storm) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Logf("what happened: %v\ngoroutines:\n%s", s.did, stacks())
	for _, i := range s.live {
		s.t.Logf("log of %s:\n%s", i.client, i.log)
	}
	s.t.Fatalf(format, args...)
}

// awaitNoGoroutines waits until all goroutines are gone that came with the run.
func (s *storm) awaitNoGoroutines() {
	s.t.Helper()
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		left = nil
		for what, n := range goroutines() {
			if n > s.before[what] {
				left = append(left, fmt.Sprintf("%d times:\n%s", n-s.before[what], what))
			}
		}
		if len(left) == 0 {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	s.t.Fatalf("goroutines are left: %v\n%s", s.did, strings.Join(left, "\n"))
}

func stacks() string {
	var b strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&b, 2)
	return b.String()
}

// goroutines counts those of the library, of its client, of the store and of the embedded broker, by where they are
// started.
func goroutines() map[string]int {
	n := make(map[string]int)
	for stack := range strings.SplitSeq(stacks(), "\n\n") {
		_, by, found := strings.Cut(stack, "\ncreated by ")
		if !found || strings.Contains(by, "testing.") || strings.Contains(by, "go-metrics") { // one a process
			continue
		}
		by, _, _ = strings.Cut(by, " in goroutine")
		n[by]++
	}
	return n
}
