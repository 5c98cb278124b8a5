package kafka

import (
	"context"
	"log/slog"
	"time"

	"github.com/IBM/sarama"
)

// leaveTimeout bounds the goodbye; the group finds out by itself otherwise.
const leaveTimeout = 500 * time.Millisecond

// runHeartbeats confirms the membership until ctx ends or the membership is lost.
func (s *session) runHeartbeats(ctx context.Context, lose context.CancelCauseFunc) {
	pause := backoff{first: 20 * time.Millisecond, max: min(time.Second, s.conf.HeartbeatInterval)}
	next := s.heartbeatInterval()
	for {
		t := time.NewTimer(next)
		select {
		case <-t.C:
		case <-s.hurry:
			t.Stop()
			next = s.heartbeatInterval()
			continue
		case <-ctx.Done():
			t.Stop()
			return
		}
		ok, err := s.heartbeat(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			lose(err)
			return
		}
		next = s.heartbeatInterval()
		if ok {
			pause.next = 0
		} else {
			next = pause.step()
		}
	}
}

// heartbeat sends one. ok: the coordinator knows us. An error ends the membership.
func (s *session) heartbeat(ctx context.Context) (ok bool, err error) {
	member := s.Member()
	if member.Generation < 0 {
		return true, nil // not joined yet
	}
	s.mu.Lock()
	phase, expires := s.mu.phase, s.mu.confirmed.Add(s.conf.SessionTimeout)
	s.mu.Unlock()

	sent := time.Now()
	if !sent.Before(expires) {
		return false, s.lost(errSessionExpired)
	}
	short, cancel := context.WithDeadline(ctx, earliest(expires, sent.Add(s.conf.SessionTimeout/3)))
	defer cancel()
	res, err := ask(short, s.Group, s.beats, (*sarama.Broker).Heartbeat, &sarama.HeartbeatRequest{
		Version: 4, GroupId: s.conf.GroupID, GenerationId: member.Generation, MemberId: member.MemberID,
		GroupInstanceId: s.instance(),
	})
	if err != nil { // the session timeout, not a lost connection, ends the membership
		s.conf.Logger.Debug("kafka: heartbeat failed, retrying", slog.String("group", s.conf.GroupID), slog.Any("err", err))
		return false, nil
	}
	return s.heard(res.Err, phase, sent)
}

// heard weighs the answer to a heartbeat of the given phase.
func (s *session) heard(code sarama.KError, phase int, sent time.Time) (ok bool, err error) {
	var verdict error
	if code != sarama.ErrNoError {
		verdict = s.verdict("heartbeat", code)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.phase != phase {
		return true, nil // a join, sync or loss came between: that one knows better
	}
	switch {
	case code == sarama.ErrNoError:
		s.mu.confirmed = sent
	case verdict == nil:
		if staleCoordinator(code) {
			s.client.forgetCoordinator(sarama.CoordinatorGroup, s.conf.GroupID)
		}
		return false, nil
	case code == sarama.ErrRebalanceInProgress:
		s.mu.confirmed = sent
		if s.mu.stable {
			select {
			case s.rebalance <- struct{}{}:
			default:
			}
		}
	case code == sarama.ErrIllegalGeneration && !s.mu.stable:
		// The join completed on the broker and its answer is on the way to us.
	default:
		return false, verdict
	}
	return true, nil
}

func (s *session) instance() *string {
	if s.conf.InstanceID == "" {
		return nil
	}
	return &s.conf.InstanceID
}

// leave says goodbye, unless we are a static member that means to come back.
func (s *session) leave(ctx context.Context) {
	member := s.Member()
	s.forget(nil)
	if member.MemberID == "" || s.conf.InstanceID != "" && !s.conf.LeaveOnClose && !s.refused {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	reason := "closed"
	_, err := ask(ctx, s.Group, s.beats, (*sarama.Broker).LeaveGroup, &sarama.LeaveGroupRequest{
		Version: 5, GroupId: s.conf.GroupID, MemberId: member.MemberID,
		Members: []sarama.MemberIdentity{{MemberId: member.MemberID, GroupInstanceId: s.instance(), Reason: &reason}},
	})
	if err != nil {
		s.conf.Logger.Info("kafka: could not leave the group, its session timeout applies",
			slog.String("group", s.conf.GroupID), slog.Any("err", err))
	}
}

// ask sends a request to the group's coordinator. A stale coordinator is forgotten, the caller tries again.
func ask[Q, R any](
	ctx context.Context, g *Group, over *conns, method func(*sarama.Broker, Q) (R, error), req Q,
) (R, error) {
	var zero R
	id, err := g.client.coordinator(ctx, sarama.CoordinatorGroup, g.conf.GroupID)
	if err != nil {
		return zero, err
	}
	conn, err := over.get(ctx, id)
	if err == nil {
		var res R
		if res, err = call(ctx, conn, method, req); err == nil {
			return res, nil
		}
	}
	if isConnLost(err) {
		g.client.forgetCoordinator(sarama.CoordinatorGroup, g.conf.GroupID)
	}
	return zero, err
}
