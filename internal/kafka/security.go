package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// Security is how a client proves who it is.
type Security struct {
	ClientID  string
	TLS       *tls.Config // nil: plain text
	Mechanism string      // "", PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER
	User      string
	Password  string
	Token     func() (string, error) // for OAUTHBEARER
}

// Sarama translates it.
func (s Security) Sarama() (*sarama.Config, error) {
	conf := sarama.NewConfig()
	if s.ClientID != "" {
		conf.ClientID = s.ClientID
	}
	if s.TLS != nil {
		conf.Net.TLS.Enable, conf.Net.TLS.Config = true, s.TLS
	}
	if s.Mechanism == "" {
		return conf, nil
	}
	conf.Net.SASL.Enable = true
	conf.Net.SASL.Mechanism = sarama.SASLMechanism(s.Mechanism)
	conf.Net.SASL.User, conf.Net.SASL.Password = s.User, s.Password
	switch s.Mechanism {
	case sarama.SASLTypePlaintext:
	case sarama.SASLTypeSCRAMSHA256:
		conf.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA256} }
	case sarama.SASLTypeSCRAMSHA512:
		conf.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA512} }
	case sarama.SASLTypeOAuth:
		if s.Token == nil {
			return nil, errors.New("kafka: SASL OAUTHBEARER needs a token function")
		}
		conf.Net.SASL.TokenProvider = tokenFunc(s.Token)
		return conf, nil
	default:
		return nil, fmt.Errorf("kafka: unknown SASL mechanism %q: want PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
			s.Mechanism)
	}
	if s.User == "" {
		return nil, fmt.Errorf("kafka: SASL %s needs a user", s.Mechanism)
	}
	return conf, nil
}

// scramClient lets sarama use the scram library.
type scramClient struct {
	hash         scram.HashGeneratorFcn
	conversation *scram.ClientConversation
}

// Begin implements sarama.SCRAMClient.
func (c *scramClient) Begin(user, password, authzID string) error {
	client, err := c.hash.NewClient(user, password, authzID)
	if err != nil {
		return fmt.Errorf("kafka: SCRAM: %w", err)
	}
	c.conversation = client.NewConversation()
	return nil
}

// Step implements sarama.SCRAMClient.
func (c *scramClient) Step(challenge string) (string, error) { return c.conversation.Step(challenge) }

// Done implements sarama.SCRAMClient.
func (c *scramClient) Done() bool { return c.conversation.Done() }

type tokenFunc func() (string, error)

// Token implements sarama.AccessTokenProvider.
func (f tokenFunc) Token() (*sarama.AccessToken, error) {
	t, err := f()
	if err != nil {
		return nil, err
	}
	return &sarama.AccessToken{Token: t}, nil
}
