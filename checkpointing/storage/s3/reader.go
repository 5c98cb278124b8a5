package s3

import (
	"context"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tidemarkio/tidemark/internal/clock"
)

// reader reads an object, and goes on behind the last byte if a connection breaks. The object must be the same: if
// somebody replaced it meanwhile, the read fails.
type reader struct {
	s     *Storage
	name  string
	get   func(from int64, etag string) (*s3.GetObjectOutput, error)
	pause func(failures int, err error) error
	body  io.ReadCloser
	etag  string
	at    int64
	bytes int64 // of the object
	fails int   // in a row
}

func (s *Storage) newReader(ctx context.Context, client *s3.Client, name string) *reader {
	return &reader{
		s: s, name: name,
		get: func(from int64, etag string) (*s3.GetObjectOutput, error) {
			in := &s3.GetObjectInput{Bucket: &s.config.Bucket, Key: s.key(name)}
			if from > 0 {
				in.Range, in.IfMatch = aws.String(fmt.Sprintf("bytes=%d-", from)), aws.String(etag)
			}
			return client.GetObject(ctx, in)
		},
		pause: func(failures int, err error) error {
			d, delayErr := s.retryer.RetryDelay(failures, err)
			if delayErr != nil {
				return delayErr
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-clock.System().After(d):
				return nil
			}
		},
	}
}

func (r *reader) open() error {
	out, err := r.get(r.at, r.etag)
	if err != nil {
		return err
	}
	if r.at == 0 {
		r.etag, r.bytes = aws.ToString(out.ETag), aws.ToInt64(out.ContentLength)
	}
	r.body = out.Body
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		n, err := r.body.Read(p)
		r.at += int64(n)
		if n > 0 {
			r.fails = 0
		}
		if err == io.EOF && r.at < r.bytes { //nolint:errorlint // io.EOF is an answer and never wrapped
			err = io.ErrUnexpectedEOF
		}
		switch {
		case err == nil, n > 0 && r.at < r.bytes:
			if err != nil {
				err = r.reopen(err)
			}
			return n, err
		case err == io.EOF: //nolint:errorlint // as above
			return n, io.EOF
		}
		if err := r.reopen(err); err != nil {
			return n, err
		}
	}
}

// reopen goes on after a failure, unless there were too many in a row. Errors of the request itself were retried by
// the client.
func (r *reader) reopen(cause error) error {
	_ = r.body.Close() // it is broken already
	r.body = io.NopCloser(eof{})
	for {
		r.fails++
		if r.fails >= r.s.config.Attempts {
			return r.s.fail("read", r.name, cause)
		}
		if err := r.pause(r.fails, cause); err != nil {
			return r.s.fail("read", r.name, err)
		}
		err := r.open()
		if err == nil {
			return nil
		}
		if !bool(r.s.retryer.IsErrorRetryable(err)) {
			return r.s.fail("read", r.name, err)
		}
		cause = err
	}
}

func (r *reader) Close() error { return r.body.Close() }

// eof takes the place of a body that failed.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
