package s3

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// S3's own limits for the parts of an upload.
const (
	partBytesMin = 5 << 20
	partBytesMax = 5 << 30
	partsMax     = 10_000
)

// Config says which bucket, and how. Only Bucket is required.
type Config struct {
	// Bucket has to exist.
	Bucket string
	// Prefix stands before the names of all objects, with a slash between them. Defaults to none.
	Prefix string
	// Endpoint is the URL of another service than Amazon's: https://minio.example.com:9000. With http:// nothing is
	// encrypted on the way.
	Endpoint string
	// Region defaults to that of the environment or the shared configuration, or with an Endpoint to us-east-1.
	Region string
	// Credentials defaults to AWS's chain: see the package.
	Credentials aws.CredentialsProvider
	// VirtualHost puts the bucket into the host name also with an Endpoint. Without one it always is there.
	VirtualHost bool
	// PartBytes is how much is sent at a time, and held in memory for each part in flight. An object may have 10,000
	// parts. At least 5 MiB. Defaults to 8 MiB: objects up to 80 GiB.
	PartBytes int64
	// PartsInFlight is how many parts of one object are sent at the same time. Defaults to 2.
	PartsInFlight int
	// Attempts is how often a request is tried before it fails, with growing pauses. Defaults to 5.
	Attempts int
	// StallTimeout is how long a connection may go without a byte before the request counts as failed. Defaults to 30 s.
	StallTimeout time.Duration
}

func (c Config) withDefaults() Config {
	if c.PartBytes == 0 {
		c.PartBytes = 8 << 20
	}
	if c.PartsInFlight == 0 {
		c.PartsInFlight = 2
	}
	if c.Attempts == 0 {
		c.Attempts = 5
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = 30 * time.Second
	}
	c.Prefix = strings.Trim(c.Prefix, "/")
	return c
}

// validate returns all that is wrong.
func (c Config) validate() error {
	var errs []error
	add := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("s3: "+format, args...))
		}
	}
	add(c.Bucket != "" && !strings.ContainsAny(c.Bucket, "/?#@ "), "Bucket is %q: want the name of a bucket", c.Bucket)
	if c.Prefix != "" {
		err := storage.CheckName(c.Prefix)
		add(err == nil, "Prefix: %w", err)
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		add(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil,
			"Endpoint is %q: want http://HOST:PORT or https://HOST:PORT, without credentials", redacted(c.Endpoint))
	}
	add(c.PartBytes >= partBytesMin && c.PartBytes <= partBytesMax, "PartBytes is %d: want %d to %d", c.PartBytes,
		partBytesMin, int64(partBytesMax))
	add(c.PartsInFlight > 0, "PartsInFlight is %d: want 1 or more", c.PartsInFlight)
	add(c.Attempts > 0, "Attempts is %d: want 1 or more", c.Attempts)
	add(c.StallTimeout > 0, "StallTimeout is %v: want more than 0", c.StallTimeout)
	return errors.Join(errs...)
}

// redacted hides what may be a password.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil {
		return "…" // it goes to logs
	}
	return raw
}

// ParseURL understands s3://BUCKET/PREFIX, with the options endpoint, region, virtual-host (true or false), part-bytes,
// parts-in-flight, attempts and stall-timeout (as in 30s) behind a question mark:
//
//	s3://checkpoints/prod?endpoint=https://minio.example.com:9000
//
// Credentials are refused, since such URLs are printed; see [Config.Credentials].
func ParseURL(raw string) (Config, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.Opaque != "" {
		return Config{}, fmt.Errorf("s3: %q is no URL of the form s3://BUCKET/PREFIX?endpoint=…", redacted(raw))
	}
	if u.User != nil {
		return Config{}, errors.New("s3: the URL has credentials in it; give them in the environment or in ~/.aws")
	}
	c := Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	options, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Config{}, fmt.Errorf("s3: options of %s: %w", redacted(raw), err)
	}
	for option, values := range options {
		if err := c.set(option, values[len(values)-1]); err != nil {
			return Config{}, fmt.Errorf("s3: option %s of %s: %w", option, redacted(raw), err)
		}
	}
	return c, c.withDefaults().validate()
}

func (c *Config) set(option, value string) (err error) {
	switch option {
	case "endpoint":
		c.Endpoint = value
	case "region":
		c.Region = value
	case "virtual-host":
		c.VirtualHost, err = strconv.ParseBool(value)
	case "part-bytes":
		c.PartBytes, err = strconv.ParseInt(value, 10, 64)
	case "parts-in-flight":
		c.PartsInFlight, err = strconv.Atoi(value)
	case "attempts":
		c.Attempts, err = strconv.Atoi(value)
	case "stall-timeout":
		c.StallTimeout, err = time.ParseDuration(value)
	default:
		err = errors.New(
			"unknown; there are endpoint, region, virtual-host, part-bytes, parts-in-flight, attempts and stall-timeout")
	}
	return err
}
