package eos

// Guarantee says what a crash may do to outputs and state (processing.guarantee).
type Guarantee int

const (
	// ExactlyOnceV2 commits outputs, changelogs and input offsets in one Kafka transaction (KIP-447). The default.
	ExactlyOnceV2 Guarantee = iota
	// AtLeastOnce flushes outputs and changelogs, then commits input offsets: a crash between the two repeats records.
	AtLeastOnce
)

// String returns Kafka Streams' name of the guarantee.
func (g Guarantee) String() string {
	switch g {
	case ExactlyOnceV2:
		return "exactly_once_v2"
	case AtLeastOnce:
		return "at_least_once"
	}
	return "unknown"
}
