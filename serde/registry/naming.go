package registry

import "errors"

// Naming says under which subject a serde's schema is registered. Make it with [Value], [Key], [Record],
// [TopicRecord] or [Subject]; it is given once, to the serde, which uses it for every topic.
type Naming struct {
	topic    string
	strategy strategy
	made     bool // tells the zero value apart
}

type strategy int

const (
	byTopicValue strategy = iota
	byTopicKey
	byRecord
	byTopicRecord
	fixed
)

// Value is the subject topic-value (TopicNameStrategy, the default of Confluent's serdes): Value("orders").
func Value(topic string) Naming { return Naming{topic, byTopicValue, true} }

// Key is the subject topic-key (TopicNameStrategy).
func Key(topic string) Naming { return Naming{topic, byTopicKey, true} }

// Record is the full name of the type as a subject, the same for all topics (RecordNameStrategy): the name of an Avro
// record or Protobuf message with its namespace, the title of a JSON schema.
func Record() Naming { return Naming{"", byRecord, true} }

// TopicRecord is topic-name, with the full name of the type (TopicRecordNameStrategy).
func TopicRecord(topic string) Naming { return Naming{topic, byTopicRecord, true} }

// Subject is the subject as it is.
func Subject(name string) Naming { return Naming{name, fixed, true} }

// SubjectOf returns the subject for a type with that full name, which may be "" if the type has none.
func (n Naming) SubjectOf(record string) (string, error) {
	switch {
	case !n.made:
		return "", errors.New("registry: no subject: use registry.Value(topic), or another Naming")
	case n.strategy == fixed && n.topic == "":
		return "", errors.New("registry: the subject is empty")
	case n.strategy != byRecord && n.topic == "":
		return "", errors.New("registry: no subject: the topic is empty")
	case (n.strategy == byRecord || n.strategy == byTopicRecord) && record == "":
		return "", errors.New("registry: no subject: the schema has no name (the name of an Avro record, the title of a " +
			"JSON schema); give it one, or use registry.Value(topic)")
	}
	switch n.strategy {
	case byTopicKey:
		return n.topic + "-key", nil
	case byRecord:
		return record, nil
	case byTopicRecord:
		return n.topic + "-" + record, nil
	case fixed:
		return n.topic, nil
	default: // byTopicValue
		return n.topic + "-value", nil
	}
}
