package s3

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/tidemarkio/tidemark/internal/clock"
)

// attemptPauseMax bounds the pause between two attempts of one request. Whoever calls tries again after longer ones.
const attemptPauseMax = 5 * time.Second

// client makes the client when it is first needed: that reads the environment and files.
func (s *Storage) client(ctx context.Context) (*s3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.client != nil {
		return s.mu.client, nil
	}
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithHTTPClient(httpClient(s.config.StallTimeout)),
		awsconfig.WithRetryer(func() aws.Retryer { return s.retryer }),
		awsconfig.WithLogger(logging.Nop{}),
	}
	if s.config.Region != "" {
		options = append(options, awsconfig.WithRegion(s.config.Region))
	} else if s.config.Endpoint != "" {
		options = append(options, awsconfig.WithDefaultRegion("us-east-1"))
	}
	if s.config.Credentials != nil {
		options = append(options, awsconfig.WithCredentialsProvider(s.config.Credentials))
	}
	loaded, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	s.mu.client = s3.NewFromConfig(loaded, func(o *s3.Options) {
		// Checksums of S3's newer kind are not understood everywhere. What is sent is protected by its signature, what is
		// read by the SHA-256 in manifests.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if s.config.Endpoint != "" {
			o.BaseEndpoint = aws.String(s.config.Endpoint)
			o.UsePathStyle = !s.config.VirtualHost
		}
	})
	return s.mu.client, nil
}

func newRetryer(attempts int) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = attempts, attemptPauseMax
	})
}

// httpClient makes connections that fail when nothing moves for a while: a request has no other time limit, since how
// long it takes depends on its size.
func httpClient(stall time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		dial := t.DialContext
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &stallConn{Conn: conn, timeout: stall, clock: clock.System()}, nil
		}
	})
}

// stallConn is a connection on which each read and write has to get somewhere within the timeout.
type stallConn struct {
	net.Conn
	timeout time.Duration
	clock   clock.Clock
}

func (c *stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(c.clock.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *stallConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(c.clock.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
