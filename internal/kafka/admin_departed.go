package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// A static member stays in its group after it has closed, so that its restart finds its tasks. If it does not come back
// under its name, because its state directory and the name in it are gone, its tasks would wait for its session to end.
// So it leaves word in the offsets' metadata when it closes, and a newcomer lets it go (KIP-345, removeMembers).

// CommitOffsets commits offsets plainly, in the name of a member.
func (a *Admin) CommitOffsets(
	ctx context.Context, m eos.Member, offsets map[record.TopicPartition]eos.Offset,
) error {
	p, err := NewProducer(a.client, ProducerConfig{GroupID: m.GroupID, Logger: a.cfg.Logger})
	if err != nil {
		return err
	}
	return errors.Join(p.commitOffsets(ctx, m, offsets), p.Close())
}

// RemoveMembers takes static members out of a group. Those that are not in it are skipped.
func (a *Admin) RemoveMembers(ctx context.Context, group string, instanceIDs []string) error {
	err := retry(ctx, defaultBackoff(), func() error {
		broker, err := a.client.coordinator(ctx, sarama.CoordinatorGroup, group)
		if err != nil {
			return err
		}
		req := &sarama.LeaveGroupRequest{Version: 4, GroupId: group}
		for _, id := range instanceIDs {
			req.Members = append(req.Members, sarama.MemberIdentity{GroupInstanceId: &id})
		}
		res, err := callBroker(ctx, a.conns, broker, (*sarama.Broker).LeaveGroup, req)
		if err == nil {
			err = codeError(res.Err)
		}
		if staleCoordinator(err) {
			a.client.forgetCoordinator(sarama.CoordinatorGroup, group)
		}
		if err != nil {
			return err
		}
		for _, m := range res.Members {
			if m.Err != sarama.ErrNoError && m.Err != sarama.ErrUnknownMemberId {
				return m.Err
			}
		}
		return nil
	})
	if err != nil {
		return adminError(fmt.Sprintf("remove members %v from group %q", instanceIDs, group), "READ on this group", err)
	}
	return nil
}
