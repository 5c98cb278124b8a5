package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/tidemarkio/tidemark/integration/broker"
)

// An application counts over TLS, with SASL on top; what it wrote is read back over TLS by another client.
func TestTLS(t *testing.T) {
	if broker.Start(t).Real() {
		t.Skip("the real broker of the harness has no TLS listener: see the embedded one")
	}
	server, client := certificates(t)
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "in", "out"), kfake.TLS(server),
		kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "user", "secret"), kfake.Superuser("PLAIN", "user", "secret"))
	require.NoError(t, err)
	t.Cleanup(fake.Close)
	s := &scenario{t: t, cluster: broker.Start(t), app: broker.Name(t, "app"), session: 6 * time.Second}
	cfg := s.config()
	cfg.Brokers, cfg.TLS = fake.ListenAddrs(), client
	cfg.SASL.Mechanism, cfg.SASL.User, cfg.SASL.Password = "SCRAM-SHA-512", "user", "secret"
	app := s.run(countTopology("in", "out"), cfg)
	app.awaitRunning()
	other, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.DialTLSConfig(client),
		kgo.SASL(plain.Auth{User: "user", Pass: "secret"}.AsMechanism()), kgo.ConsumeTopics("out"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer other.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	in := &kgo.Record{Topic: "in", Key: []byte("k"), Value: []byte("v")}
	require.NoError(t, other.ProduceSync(ctx, in).FirstErr())
	fetches := other.PollFetches(ctx)
	require.NoError(t, fetches.Err())
	require.Equal(t, []byte{0, 0, 0, 0, 0, 0, 0, 1}, fetches.Records()[0].Value)
	app.close()
}

// certificates returns a server's configuration with a new certificate of its own, and a client's that trusts it.
func certificates(t *testing.T) (server, client *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	server = &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
	return server, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
}
