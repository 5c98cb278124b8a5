package registry_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde/registry"
)

func TestNaming(t *testing.T) {
	for _, c := range []struct {
		naming       registry.Naming
		record, want string
		err          string
	}{
		{naming: registry.Value("orders"), want: "orders-value"},
		{naming: registry.Key("orders"), record: "shop.Order", want: "orders-key"},
		{naming: registry.Record(), record: "shop.Order", want: "shop.Order"},
		{naming: registry.TopicRecord("orders"), record: "shop.Order", want: "orders-shop.Order"},
		{naming: registry.Subject("any"), record: "shop.Order", want: "any"},
		{naming: registry.Naming{}, err: "no subject: use registry.Value(topic)"},
		{naming: registry.Value(""), err: "the topic is empty"},
		{naming: registry.Key(""), err: "the topic is empty"},
		{naming: registry.TopicRecord(""), record: "r", err: "the topic is empty"},
		{naming: registry.TopicRecord("orders"), err: "the schema has no name"},
		{naming: registry.Record(), err: "the schema has no name"},
		{naming: registry.Subject(""), err: "the subject is empty"},
	} {
		got, err := c.naming.SubjectOf(c.record)
		if c.err != "" {
			require.ErrorContains(t, err, c.err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}

func TestConfigMistakes(t *testing.T) {
	_, err := registry.New(registry.Config{})
	require.EqualError(t, err, "registry: Config.URLs is empty: name at least one, such as http://localhost:8081")
	_, err = registry.New(registry.Config{
		URLs: []string{
			"localhost:8081", "http://", "http://ann:secret@host", "http://ann:secret@host:port", "https://ok/path",
		},
		Registration: 3, Password: "secret", TLS: &tls.Config{MinVersion: tls.VersionTLS12}, Transport: http.DefaultTransport,
		BearerToken: func() (string, error) { return "", nil },
		Timeout:     -1, RequestTimeout: -1, RetryBackoff: -1,
	})
	for _, want := range []string{
		`URLs[0] is "localhost:8081": want http:// or https:// and a host`, `URLs[1] is "http://"`,
		"URLs[2] contains credentials", "URLs[3] is not a URL", "Registration is 3", "Password is set without Username",
		"BearerToken and Username are both set", "TLS and Transport are both set", "RequestTimeout is negative",
		"Config.Timeout is negative", "RetryBackoff is negative",
	} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "secret")
	require.NotContains(t, err.Error(), "URLs[4]")
	require.Equal(t, "register lookup latest registration 7", registry.Register.String()+" "+registry.Lookup.String()+
		" "+registry.Latest.String()+" "+registry.Registration(7).String())
}
