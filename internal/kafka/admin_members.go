package kafka

import (
	"context"
	"fmt"

	"github.com/IBM/sarama"
)

// GroupMember is a member of a consumer group as its coordinator describes it. Subscription and Assignment are the user
// data of both.
type GroupMember struct {
	MemberID, InstanceID     string
	Subscription, Assignment []byte
}

// DescribeMembers returns the state of a consumer group, as the broker names it, and its members. In other states than
// "Stable" the coordinator keeps subscriptions and assignments to itself: the members are of no use then.
func (a *Admin) DescribeMembers(ctx context.Context, group string) (state string, members []GroupMember, err error) {
	g, err := a.describe(ctx, group)
	if err != nil {
		return "", nil, adminError(fmt.Sprintf("describe group %q", group), "DESCRIBE on this group", err)
	}
	for id, m := range g.Members {
		member := GroupMember{MemberID: id}
		if m.GroupInstanceId != nil {
			member.InstanceID = *m.GroupInstanceId
		}
		if subscription, err := m.GetMemberMetadata(); err == nil && subscription != nil {
			member.Subscription = subscription.UserData
		}
		if assignment, err := m.GetMemberAssignment(); err == nil && assignment != nil {
			member.Assignment = assignment.UserData
		}
		members = append(members, member)
	}
	return g.State, members, nil
}

// describe asks the coordinator.
func (a *Admin) describe(ctx context.Context, group string) (g *sarama.GroupDescription, err error) {
	err = retry(ctx, defaultBackoff(), func() error {
		broker, err := a.client.coordinator(ctx, sarama.CoordinatorGroup, group)
		if err != nil {
			return err
		}
		res, err := callBroker(ctx, a.conns, broker, (*sarama.Broker).DescribeGroups,
			&sarama.DescribeGroupsRequest{Version: 4, Groups: []string{group}})
		if isConnLost(err) {
			a.client.forgetCoordinator(sarama.CoordinatorGroup, group)
		}
		if err != nil {
			return err
		}
		if len(res.Groups) != 1 {
			return errUnknownInternal
		}
		g = res.Groups[0]
		if staleCoordinator(g.Err) {
			a.client.forgetCoordinator(sarama.CoordinatorGroup, group)
		}
		if g.Err != sarama.ErrNoError && g.Err != sarama.ErrGroupIDNotFound {
			return g.Err
		}
		return nil
	})
	return g, err
}
