package kafka

import (
	"context"
	"fmt"
	"strings"

	"github.com/IBM/sarama"
)

// GroupState returns the state of a consumer group, as the broker names it, and how many members it has. A group that
// does not exist is "Dead".
func (a *Admin) GroupState(ctx context.Context, group string) (state string, members int, err error) {
	g, err := a.describe(ctx, group)
	if err != nil {
		return "", 0, adminError(fmt.Sprintf("describe group %q", group), "DESCRIBE on this group", err)
	}
	return g.State, len(g.Members), nil
}

// DeleteTopics deletes topics and returns when the metadata does not show them any more. One that does not exist is no
// error.
func (a *Admin) DeleteTopics(ctx context.Context, topics []string) error {
	if len(topics) == 0 {
		return nil
	}
	err := retry(ctx, defaultBackoff(), func() error {
		controller, err := a.client.controller(ctx)
		if err != nil {
			return err
		}
		res, err := callBroker(ctx, a.conns, controller, (*sarama.Broker).DeleteTopics,
			&sarama.DeleteTopicsRequest{Version: 1, Topics: topics, Timeout: a.cfg.RequestTimeout})
		if err != nil {
			a.client.forgetController()
			return err
		}
		for _, code := range res.TopicErrorCodes {
			if code != sarama.ErrNoError && code != sarama.ErrUnknownTopicOrPartition {
				return code
			}
		}
		return nil
	})
	if err == nil {
		err = retry(ctx, defaultBackoff(), func() error {
			left, err := a.Partitions(ctx, topics)
			if err == nil && len(left) > 0 {
				err = sarama.ErrRequestTimedOut // the broker is still at it
			}
			return err
		})
	}
	if err != nil {
		return adminError("delete topics "+strings.Join(topics, ", "), "DELETE on these topics", err)
	}
	return nil
}
