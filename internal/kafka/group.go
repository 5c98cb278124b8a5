package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
)

var _ worker.Group = (*Group)(nil)

// GroupConfig configures a [Group].
type GroupConfig struct {
	// GroupID is the application id (group.id). Mandatory.
	GroupID string
	// InstanceID makes the member static (group.instance.id): if it comes back within the session timeout it gets its
	// assignment back and nobody else notices. Defaults to none: a dynamic member.
	InstanceID string
	// SessionTimeout is how long the group waits for a silent member (session.timeout.ms). After the same time without
	// an answer we consider ourselves expelled. Defaults to 45 s.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the group waits for a member to hand over and rejoin (max.poll.interval.ms).
	// Defaults to 60 s.
	RebalanceTimeout time.Duration
	// HeartbeatInterval is also how fast a member notices a rebalance (heartbeat.interval.ms). Defaults to a 15th of
	// SessionTimeout, at most 500 ms. While a hand-over is under way it is [worker.PendingHeartbeat] at most.
	HeartbeatInterval time.Duration
	// LeaveOnClose makes a static member leave the group when Run ends; dynamic members always do.
	LeaveOnClose bool
	// Logger defaults to none.
	Logger *slog.Logger
}

// heartbeatMax is the largest default of HeartbeatInterval. It is what an instance that was killed adds to its session
// timeout until the others know, and costs a broker two small requests a second.
const heartbeatMax = 500 * time.Millisecond

func (c GroupConfig) withDefaults() GroupConfig {
	c.SessionTimeout = cmp.Or(c.SessionTimeout, 45*time.Second)
	c.RebalanceTimeout = cmp.Or(c.RebalanceTimeout, 60*time.Second)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, min(c.SessionTimeout/15, heartbeatMax))
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c GroupConfig) validate() error {
	var errs []error
	if c.GroupID == "" {
		errs = append(errs, errors.New("kafka: group: no group id"))
	}
	if c.SessionTimeout < 0 || c.RebalanceTimeout < 0 || c.HeartbeatInterval < 0 {
		errs = append(errs, errors.New("kafka: group: a timeout is negative"))
	}
	if c.HeartbeatInterval > c.SessionTimeout/3 {
		errs = append(errs, fmt.Errorf("kafka: group: heartbeat interval %v: use at most a third of the session timeout %v",
			c.HeartbeatInterval, c.SessionTimeout))
	}
	return errors.Join(errs...)
}

// Group is a member of a consumer group: classic protocol, type "consumer", cooperative (KIP-429), static if it has an
// instance id (KIP-345). The assignor is the caller's.
//
//	         ┌────────────── rejoin asked, REBALANCE_IN_PROGRESS ─────────────┐
//	         ▼                                                                │
//	Run ──► join ──► (leader: Assign) ──► sync ──► Assigned ──► wait for a reason
//	         ▲            │                │          │            │
//	         └── Lost ◄───┴── session expired, UNKNOWN_MEMBER_ID, ─┘
//	                          ILLEGAL_GENERATION
//
// Run's goroutine walks this path and makes all calls of the handler. A second goroutine heartbeats from the first join
// to the end, on its own connection: also while a join or a sync waits at the broker, so that our own clock always
// knows when the coordinator last confirmed us. That is the protection against being a zombie: no confirmation for a
// session timeout means that the others have our tasks.
//
// Not sarama.ConsumerGroup: it stops and restarts everything on each rebalance and brings its own consumers.
type Group struct {
	client *Client
	conf   GroupConfig
	rejoin chan string // capacity 1

	mu struct {
		sync.Mutex
		memberID   string
		generation int32 // -1: not a member
		// phase counts joins, syncs and losses. The answer to a heartbeat of an earlier phase proves that we were
		// alive, but what it says is out of date.
		phase int
		// stable: synced; a heartbeat's REBALANCE_IN_PROGRESS is news.
		stable bool
		// confirmed is when the last request that the coordinator answered well was sent.
		confirmed time.Time
		// hurried is until when heartbeats are frequent: another rebalance is about to come.
		hurried time.Time
	}
}

// NewGroup does no I/O.
func NewGroup(client *Client, conf GroupConfig) (*Group, error) {
	conf = conf.withDefaults()
	if err := conf.validate(); err != nil {
		return nil, err
	}
	g := &Group{client: client, conf: conf, rejoin: make(chan string, 1)}
	g.mu.generation = -1
	return g, nil
}

// Member implements [worker.Group].
func (g *Group) Member() eos.Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return eos.Member{
		GroupID: g.conf.GroupID, MemberID: g.mu.memberID, InstanceID: g.conf.InstanceID, Generation: g.mu.generation,
	}
}

// Rejoin implements [worker.Group]. Several calls before the next join make one rebalance.
func (g *Group) Rejoin(reason string) {
	select {
	case g.rejoin <- reason:
	default:
	}
}

// Run implements [worker.Group]. It returns nil when ctx ends. Run may be called again, not concurrently.
func (g *Group) Run(ctx context.Context, handler worker.GroupHandler) error {
	s := &session{
		Group: g, handler: handler, rebalance: make(chan struct{}, 1), hurry: make(chan struct{}, 1), reason: "start",
		ownedGeneration: -1,
		joins:           g.client.newConns("group", g.conf.RebalanceTimeout+10*time.Second),
		beats:           g.client.newConns("heartbeat", g.conf.SessionTimeout/3),
	}
	defer func() {
		_ = s.joins.Close()
		_ = s.beats.Close()
	}()
	for {
		err := s.membership(ctx)
		switch {
		case ctx.Err() != nil:
			s.leave(context.WithoutCancel(ctx))
			return nil
		case !isLost(err):
			s.leave(context.WithoutCancel(ctx))
			return err
		}
		g.conf.Logger.Warn("kafka: membership lost, joining again", slog.String("group", g.conf.GroupID),
			slog.Any("err", err))
	}
}

// session is one Run. Owned by its goroutine, except where noted.
type session struct {
	*Group
	handler   worker.GroupHandler
	joins     *conns // join and sync: the broker holds back the answers
	beats     *conns
	rebalance chan struct{} // capacity 1, written by the heartbeats
	hurry     chan struct{} // capacity 1, read by the heartbeats
	reason    string        // of the next join (KIP-800)
	// assigned: the handler has seen an assignment since the last Lost.
	assigned        bool
	refused         bool // the handler cannot live with its assignment: there is nothing to come back for
	ownedGeneration int32
	pause           backoff
	failures        int // of join and sync, in a row
}

// membership is the time from joining to losing the membership, or to the end. It returns a lostError, or an error that
// ends Run.
func (s *session) membership(ctx context.Context) error {
	ctx, lose := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer lose(nil)
	wg.Go(func() { s.runHeartbeats(ctx, lose) })
	s.pause = backoff{first: 20 * time.Millisecond, max: time.Second}
	err := s.rounds(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause // the heartbeats know why; what the interrupted call says is a consequence
	}
	lose(nil)
	wg.Wait() // nothing of this membership may speak after Lost
	if isLost(err) || isFenced(err) {
		s.forget(err)
		if s.assigned {
			s.assigned, s.ownedGeneration = false, -1
			s.handler.Lost(err)
		}
	}
	return err
}

// rounds joins again and again, as long as the membership holds.
func (s *session) rounds(ctx context.Context) error {
	for {
		a, err := s.joinAndSync(ctx)
		if err != nil {
			return err
		}
		s.assigned = true
		next, err := s.handler.Assigned(ctx, a)
		if err != nil {
			s.refused = true
			return fmt.Errorf("kafka: group %q: assignment: %w", s.conf.GroupID, err)
		}
		s.expect(next.Pending)
		if next.Rejoin {
			s.reason = "partitions handed over"
			continue
		}
		select {
		case s.reason = <-s.rejoin:
		case <-s.rebalance:
			s.reason = "rebalance in progress"
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// expect makes heartbeats frequent while another rebalance is about to come: those that wait for a task would notice it
// a heartbeat interval late, and the task would stand still meanwhile.
func (s *session) expect(rebalance bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.hurried = time.Time{}
	if !rebalance {
		return
	}
	s.mu.hurried = time.Now().Add(s.conf.RebalanceTimeout)
	select {
	case s.hurry <- struct{}{}:
	default:
	}
}

// heartbeatInterval is how long to wait for the next heartbeat.
func (s *session) heartbeatInterval() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.mu.hurried) {
		return min(s.conf.HeartbeatInterval, worker.PendingHeartbeat)
	}
	return s.conf.HeartbeatInterval
}

// invited keeps the id that the coordinator gave us for the join to come, so that a close meanwhile can take it back.
func (s *session) invited(memberID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.memberID = memberID
}

// joined adopts the identity of a completed join.
func (s *session) joined(memberID string, generation int32, sent time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.memberID, s.mu.generation = memberID, generation
	s.mu.phase++
	s.mu.confirmed = sent
}

// unsettled begins a join: what heartbeats say about rebalances is no news until the sync.
func (s *session) unsettled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.phase++
	s.mu.stable = false
}

// settled ends a sync.
func (s *session) settled(sent time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.phase++
	s.mu.stable, s.mu.confirmed = true, sent
	select {
	case <-s.rebalance: // of the phase before
	default:
	}
}

// forget drops the identity after a loss. Only ILLEGAL_GENERATION leaves us our member id: the coordinator knows it,
// and joining under a new one would leave a ghost in the group until its session expires. A static member always gets
// a new one.
func (s *session) forget(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.phase++
	s.mu.generation, s.mu.stable = -1, false
	if !keepsMemberID(err) || s.conf.InstanceID != "" {
		s.mu.memberID = ""
	}
}

// owned returns what goes into the subscription.
func (s *session) owned() []record.TopicPartition {
	if !s.assigned {
		return nil
	}
	return s.handler.Owned()
}

// ConfirmedUntil returns until when nobody else can have got our partitions: a session timeout behind the last request
// that the coordinator answered well was sent. Zero: we are no member.
func (g *Group) ConfirmedUntil() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.generation < 0 {
		return time.Time{}
	}
	return g.mu.confirmed.Add(g.conf.SessionTimeout)
}
