package changelog

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

// TopicName returns <application-id>-<store>-changelog, Kafka Streams' name.
func TopicName(applicationID, store string) string { return applicationID + "-" + store + "-changelog" }

// RepartitionTopicName returns the physical name of a topic between two sub-topologies, whose logical name ends in
// "-repartition", or in "-topic" if it belongs to a foreign-key join.
func RepartitionTopicName(applicationID, logical string) string { return applicationID + "-" + logical }

// AdditionalRetention is how much longer a changelog keeps rows that expire than their store does, since the broker
// goes by its own clock (Kafka Streams' windowstore.changelog.additional.retention.ms).
const AdditionalRetention = 24 * time.Hour

// TopicConfig returns the configuration of a new changelog topic: compacted, of a store whose rows expire also deleted
// by age, with the user's overrides on top. retention is the store's, 0 if nothing expires.
func TopicConfig(retention time.Duration, overrides map[string]string) map[string]string {
	c := map[string]string{
		"cleanup.policy": "compact",
		// Kafka Streams' setting: timestamps are the records' own.
		"message.timestamp.type": "CreateTime",
	}
	if retention > 0 {
		c["cleanup.policy"] = "compact,delete"
		c["retention.ms"] = strconv.FormatInt((retention + AdditionalRetention).Milliseconds(), 10)
	}
	maps.Copy(c, overrides)
	return c
}

// WithHistory adds to the overrides of a changelog's configuration what a versioned store needs: the topic is not
// compacted where the store still finds old versions, and a day longer, since the broker goes by its own clock
// (KIP-889). history is the store's, 0 of other stores. The user's own min.compaction.lag.ms wins.
func WithHistory(history time.Duration, overrides map[string]string) map[string]string {
	const lag = "min.compaction.lag.ms"
	if _, given := overrides[lag]; history <= 0 || given {
		return overrides
	}
	c := map[string]string{lag: strconv.FormatInt(compactionLag(history), 10)}
	maps.Copy(c, overrides)
	return c
}

func compactionLag(history time.Duration) int64 {
	return history.Milliseconds() + AdditionalRetention.Milliseconds()
}

// RepartitionTopicConfig returns the configuration of a new repartition topic: records are kept until the consumer has
// committed them and the runtime deletes them, never by age.
func RepartitionTopicConfig() map[string]string {
	return map[string]string{
		"cleanup.policy":         "delete",
		"retention.ms":           "-1",
		"message.timestamp.type": "CreateTime",
	}
}

// TopicError says that an internal topic exists, but not as the topology needs it.
type TopicError struct {
	Topic string
	What  string // what is wrong
	Hint  string // what to do
}

func (e *TopicError) Error() string {
	return fmt.Sprintf("changelog: internal topic %q %s: %s", e.Topic, e.What, e.Hint)
}

// CheckPartitions compares the partition count of an existing internal topic with what the topology needs.
func CheckPartitions(topic string, have, want int32) error {
	if have == want {
		return nil
	}
	return &TopicError{
		Topic: topic,
		What:  fmt.Sprintf("has %d partitions, and the topology needs %d", have, want),
		Hint: "the number of input partitions has changed since the topic was made, or the topic was made by hand; " +
			"restore the old number of input partitions, or use a new application id; after a start from a savepoint with " +
			"other numbers of partitions the topology has to ask for the same (topology.Partitions)",
	}
}

// CheckPolicy compares the clean-up policy of an existing changelog with what keeps state complete.
func CheckPolicy(topic string, config map[string]string, retention time.Duration, overrides map[string]string) error {
	want := TopicConfig(retention, overrides)["cleanup.policy"]
	have := config["cleanup.policy"]
	if have == "" || samePolicy(have, want) {
		return nil
	}
	return &TopicError{
		Topic: topic,
		What:  fmt.Sprintf("has cleanup.policy=%s, and must have %s", have, want),
		Hint: "records that the broker deletes are missing from the next restore; set it with " +
			"kafka-configs --alter --entity-type topics --entity-name " + topic +
			" --add-config cleanup.policy=[" + want + "]",
	}
}

// Forgets returns the settings by which a topic deletes records by age or size, "" if it does not.
func Forgets(config map[string]string) string {
	if policy := config["cleanup.policy"]; policy == "" || samePolicy(policy, "compact") {
		return ""
	}
	for _, limit := range []string{"retention.ms", "retention.bytes"} {
		if v := config[limit]; v != "" && v != "-1" {
			return fmt.Sprintf("cleanup.policy=%s and %s=%s", config["cleanup.policy"], limit, v)
		}
	}
	return ""
}

// CheckHistory refuses an existing changelog of a versioned store that is compacted while the store still finds old
// versions, unless the user wants it so.
func CheckHistory(
	topic string, config map[string]string, history time.Duration, overrides map[string]string,
) error {
	const lag = "min.compaction.lag.ms"
	have, err := strconv.ParseInt(config[lag], 10, 64)
	readable := err == nil // else the broker did not tell
	if _, given := overrides[lag]; !readable || history <= 0 || given || have >= history.Milliseconds() {
		return nil
	}
	return &TopicError{
		Topic: topic,
		What:  fmt.Sprintf("has %s=%d, and its store keeps a history of %v", lag, have, history),
		Hint: fmt.Sprintf("versions that compaction removes are missing from the next restore; set it with "+
			"kafka-configs --alter --entity-type topics --entity-name %s --add-config %s=%d", topic, lag,
			compactionLag(history)),
	}
}

// CheckRepartitionPolicy refuses a compacted repartition topic: of two records of a key the older one could vanish
// before it is consumed.
func CheckRepartitionPolicy(topic string, config map[string]string) error {
	have := config["cleanup.policy"]
	if have == "" || samePolicy(have, "delete") {
		return nil
	}
	return &TopicError{
		Topic: topic,
		What:  fmt.Sprintf("has cleanup.policy=%s, and must have delete", have),
		Hint: "compaction removes records before they are consumed; set it with " +
			"kafka-configs --alter --entity-type topics --entity-name " + topic + " --add-config cleanup.policy=delete",
	}
}

func samePolicy(a, b string) bool {
	has := func(list, policy string) bool {
		for p := range strings.SplitSeq(list, ",") {
			if strings.TrimSpace(p) == policy {
				return true
			}
		}
		return false
	}
	return has(a, "compact") == has(b, "compact") && has(a, "delete") == has(b, "delete")
}

// DeleteRetention returns how long the topic keeps tombstones (delete.retention.ms, 24 hours by default).
func DeleteRetention(config map[string]string) time.Duration {
	ms, err := strconv.ParseInt(config["delete.retention.ms"], 10, 64)
	if err != nil || ms < 0 {
		return 24 * time.Hour
	}
	return time.Duration(ms) * time.Millisecond
}
