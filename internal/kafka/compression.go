package kafka

import (
	"fmt"

	"github.com/IBM/sarama"
)

// ParseCompression translates a compression.type.
func ParseCompression(name string) (sarama.CompressionCodec, error) {
	var codec sarama.CompressionCodec
	if err := codec.UnmarshalText([]byte(name)); err != nil {
		return 0, fmt.Errorf("kafka: %w", err)
	}
	return codec, nil
}
