package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/processor/worker"
	"github.com/tidemarkio/tidemark/record"
)

const (
	protocolType = "consumer"
	// protocolName never changes: what evolves is versioned inside the user data, so that a rolling upgrade never meets
	// INCONSISTENT_GROUP_PROTOCOL.
	protocolName = "tidemark"
	// subscriptionVersion has owned partitions (1), their generation (2) and the rack (3).
	subscriptionVersion = 3
	assignmentVersion   = 3
)

// joinAndSync joins until a sync brought an assignment.
func (s *session) joinAndSync(ctx context.Context) (worker.GroupAssignment, error) {
	for {
		s.unsettled()
		a, err := s.round(ctx)
		switch {
		case err == nil:
			s.pause.next, s.failures = 0, 0
			return a, nil
		case ctx.Err() != nil:
			return a, context.Cause(ctx)
		case errors.Is(err, errRebalance):
			s.conf.Logger.Debug("kafka: the group moved on during the join", slog.String("group", s.conf.GroupID))
			s.reason = "rebalance in progress"
		default:
			return a, err
		}
		if err := s.pause.wait(ctx); err != nil {
			return a, err
		}
	}
}

// round is one join and its sync.
func (s *session) round(ctx context.Context) (worker.GroupAssignment, error) {
	select {
	case <-s.rejoin: // what was asked for before now, this join does
	default:
	}
	topics, userData := s.handler.Subscription()
	sub := &sarama.ConsumerGroupMemberMetadata{
		Version: subscriptionVersion, Topics: topics, UserData: userData,
		OwnedPartitions: toOwned(s.owned()), GenerationID: s.ownedGeneration,
	}
	res, err := s.join(ctx, sub)
	if err != nil {
		return worker.GroupAssignment{}, err
	}
	req := &sarama.SyncGroupRequest{
		Version: 5, GroupId: s.conf.GroupID, GenerationId: res.GenerationId, MemberId: res.MemberId,
		GroupInstanceId: s.instance(), ProtocolType: new(protocolType), ProtocolName: new(protocolName),
	}
	if res.LeaderId == res.MemberId {
		if err := s.assign(ctx, res, req); err != nil {
			return worker.GroupAssignment{}, err
		}
	}
	a, err := s.sync(ctx, req)
	if err == nil {
		s.ownedGeneration = res.GenerationId
	}
	return a, err
}

// join sends JoinGroup until the coordinator has answered it for good. The answer comes when all members have joined.
func (s *session) join(
	ctx context.Context, sub *sarama.ConsumerGroupMemberMetadata,
) (*sarama.JoinGroupResponse, error) {
	for {
		req := sarama.NewJoinGroupRequest(kafkaVersion)
		req.GroupId, req.MemberId, req.GroupInstanceId = s.conf.GroupID, s.Member().MemberID, s.instance()
		req.SessionTimeout = int32(s.conf.SessionTimeout.Milliseconds())
		req.RebalanceTimeout = int32(s.conf.RebalanceTimeout.Milliseconds())
		req.ProtocolType, req.Reason = protocolType, &s.reason
		if err := req.AddGroupProtocolMetadata(protocolName, sub); err != nil {
			return nil, fmt.Errorf("kafka: group %q: subscription: %w", s.conf.GroupID, err)
		}
		sent := time.Now()
		res, err := ask(ctx, s.Group, s.joins, (*sarama.Broker).JoinGroup, req)
		switch {
		case err != nil:
		case res.Err == sarama.ErrNoError:
			// The broker answered just now, although we asked long ago: it counts from here.
			s.joined(res.MemberId, res.GenerationId, time.Now())
			s.conf.Logger.Info("kafka: joined the group", slog.String("group", s.conf.GroupID),
				slog.String("member", res.MemberId), slog.Int("generation", int(res.GenerationId)),
				slog.Bool("leader", res.LeaderId == res.MemberId), slog.Duration("took", time.Since(sent)),
				slog.String("reason", s.reason))
			return res, nil
		case res.Err == sarama.ErrMemberIdRequired: // KIP-394: the id first, then the join
			s.invited(res.MemberId)
			continue
		default:
			err = res.Err
		}
		if err := s.tryAgain(ctx, "join", err); err != nil {
			return nil, err
		}
	}
}

// assign asks the handler for the assignment of all members and puts it into the sync request.
func (s *session) assign(ctx context.Context, res *sarama.JoinGroupResponse, req *sarama.SyncGroupRequest) error {
	subs, err := res.GetMembers()
	if err != nil {
		return fmt.Errorf("kafka: group %q: subscription of a member: %w", s.conf.GroupID, err)
	}
	members := make([]worker.GroupMember, 0, len(res.Members))
	for _, m := range res.Members {
		sub := subs[m.MemberId]
		member := worker.GroupMember{
			MemberID: m.MemberId, Topics: sub.Topics, UserData: sub.UserData, Generation: sub.GenerationID,
			Owned: fromOwned(sub.OwnedPartitions), Leader: m.MemberId == res.LeaderId,
		}
		if sub.Version < 2 {
			member.Generation = -1
		}
		if m.GroupInstanceId != nil {
			member.InstanceID = *m.GroupInstanceId
		}
		members = append(members, member)
	}
	assignments, err := s.handler.Assign(ctx, members)
	if err != nil {
		return fmt.Errorf("kafka: group %q: assign: %w", s.conf.GroupID, err)
	}
	for _, m := range members {
		a := assignments[m.MemberID]
		topics := make(map[string][]int32)
		for _, tp := range a.Partitions {
			topics[tp.Topic] = append(topics[tp.Topic], tp.Partition)
		}
		err := req.AddGroupAssignmentMember(m.MemberID, &sarama.ConsumerGroupMemberAssignment{
			Version: assignmentVersion, Topics: topics, UserData: a.UserData,
		})
		if err != nil {
			return fmt.Errorf("kafka: group %q: assignment: %w", s.conf.GroupID, err)
		}
	}
	return nil
}

// sync sends SyncGroup until the coordinator has answered it. The answer comes when the leader has assigned.
func (s *session) sync(ctx context.Context, req *sarama.SyncGroupRequest) (worker.GroupAssignment, error) {
	for {
		res, err := ask(ctx, s.Group, s.joins, (*sarama.Broker).SyncGroup, req)
		if err == nil && res.Err != sarama.ErrNoError {
			err = res.Err
		}
		if err == nil {
			s.settled(time.Now())
			return toAssignment(res)
		}
		if err := s.tryAgain(ctx, "sync", err); err != nil {
			return worker.GroupAssignment{}, err
		}
	}
}

// tryAgain waits before a retry, or says why there is none. The heartbeats watch the session meanwhile.
func (s *session) tryAgain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if staleCoordinator(err) {
		s.client.forgetCoordinator(sarama.CoordinatorGroup, s.conf.GroupID)
	}
	var code sarama.KError
	if !isConnLost(err) {
		if !errors.As(err, &code) {
			return fmt.Errorf("kafka: group %q: %s: %w", s.conf.GroupID, what, err)
		}
		if final := s.verdict(what, code); final != nil {
			return final
		}
	}
	s.failures++
	level := slog.LevelDebug
	if s.failures%30 == 3 { // a coordinator that moves takes a few attempts; what takes longer somebody should know
		level = slog.LevelWarn
	}
	s.conf.Logger.Log(ctx, level, "kafka: joining the group failed, retrying", slog.String("group", s.conf.GroupID),
		slog.String("request", what), slog.Any("err", err))
	return s.pause.wait(ctx)
}

// toAssignment decodes what the leader sent. A member that the leader did not know gets nothing.
func toAssignment(res *sarama.SyncGroupResponse) (worker.GroupAssignment, error) {
	m, err := res.GetMemberAssignment()
	if err != nil {
		return worker.GroupAssignment{}, fmt.Errorf("kafka: assignment from the group's leader: %w", err)
	}
	if m == nil {
		return worker.GroupAssignment{}, nil
	}
	a := worker.GroupAssignment{UserData: m.UserData}
	for topic, partitions := range m.Topics {
		for _, p := range partitions {
			a.Partitions = append(a.Partitions, record.TopicPartition{Topic: topic, Partition: p})
		}
	}
	slices.SortFunc(a.Partitions, record.TopicPartition.Compare)
	return a, nil
}

func toOwned(tps []record.TopicPartition) []*sarama.OwnedPartition {
	var owned []*sarama.OwnedPartition
	tps = slices.Clone(tps)
	slices.SortFunc(tps, record.TopicPartition.Compare)
	for _, tp := range tps {
		if n := len(owned); n == 0 || owned[n-1].Topic != tp.Topic {
			owned = append(owned, &sarama.OwnedPartition{Topic: tp.Topic})
		}
		last := owned[len(owned)-1]
		last.Partitions = append(last.Partitions, tp.Partition)
	}
	return owned
}

func fromOwned(owned []*sarama.OwnedPartition) []record.TopicPartition {
	var tps []record.TopicPartition
	for _, o := range owned {
		for _, p := range o.Partitions {
			tps = append(tps, record.TopicPartition{Topic: o.Topic, Partition: p})
		}
	}
	return tps
}
