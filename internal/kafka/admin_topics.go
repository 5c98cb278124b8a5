package kafka

import (
	"context"
	"strings"

	"github.com/IBM/sarama"
)

// Topics returns the number of partitions of every topic that this principal may describe, without those that are
// internal to Kafka.
func (a *Admin) Topics(ctx context.Context) (map[string]int32, error) {
	counts := make(map[string]int32)
	err := retry(ctx, defaultBackoff(), func() error {
		res, err := a.client.metadata(ctx)
		if err != nil {
			return err
		}
		clear(counts)
		for _, t := range res.Topics {
			known := t.Err == sarama.ErrNoError || t.Err == sarama.ErrLeaderNotAvailable
			if known && len(t.Partitions) > 0 && !t.IsInternal && !strings.HasPrefix(t.Name, "__") {
				counts[t.Name] = int32(len(t.Partitions))
			}
		}
		return nil
	})
	if err != nil {
		return nil, adminError("list topics", "DESCRIBE on the topics that match", err)
	}
	return counts, nil
}
