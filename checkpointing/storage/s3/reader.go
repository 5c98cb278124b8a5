package s3

import (
	"context"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/internal/clock"
)

// reader reads an object, and goes on behind the last byte if a connection breaks. The object must be the same: if
// somebody replaced it meanwhile, the read fails.
type reader struct {
	s     *Storage
	name  string
	get   func(from int64, etag string) (*s3.GetObjectOutput, error)
	pause func(failures int, err error) error
	ended func() error
	body  io.ReadCloser
	etag  string
	at    int64
	bytes int64 // of the object
	fails int   // in a row
}

func (s *Storage) newReader(ctx context.Context, client *s3.Client, name string) *reader {
	return &reader{
		s: s, name: name, ended: ctx.Err,
		get: func(from int64, etag string) (*s3.GetObjectOutput, error) {
			in := &s3.GetObjectInput{Bucket: &s.config.Bucket, Key: s.key(name)}
			if from > 0 {
				in.Range, in.IfMatch = aws.String(fmt.Sprintf("bytes=%d-", from)), aws.String(etag)
			}
			return client.GetObject(ctx, in)
		},
		pause: func(failures int, err error) error { return s.pause(ctx, failures, err) },
	}
}

// pause waits before another attempt.
func (s *Storage) pause(ctx context.Context, failures int, err error) error {
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
}

// ReadRange reads a part of an object in one request, and again if the connection breaks.
func (s *Storage) ReadRange(ctx context.Context, name string, offset int64, p []byte) error {
	client, err := s.begin(ctx, name)
	if err == nil && offset < 0 {
		err = fmt.Errorf("the offset %d is below 0", offset)
	}
	if err != nil {
		return s.fail("read", name, err)
	}
	if len(p) == 0 {
		return nil
	}
	in := &s3.GetObjectInput{
		Bucket: &s.config.Bucket, Key: s.key(name),
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+int64(len(p))-1)),
	}
	for fails := 1; ; fails++ {
		out, err := client.GetObject(ctx, in)
		if err != nil {
			return s.fail("read", name, err) // the client has tried again already
		}
		_, err = io.ReadFull(out.Body, p)
		_ = out.Body.Close() // all that is asked for was read, or it is broken
		switch {
		case err == nil:
			return nil
		case aws.ToInt64(out.ContentLength) < int64(len(p)):
			// Not by way of fail, to which this is a connection that broke.
			return &storage.Error{Storage: s.String(), Op: "read", Name: name, Err: io.ErrUnexpectedEOF}
		case fails >= s.config.Attempts:
			return s.fail("read", name, err)
		}
		if err := s.pause(ctx, fails, err); err != nil {
			return s.fail("read", name, err)
		}
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
	if err := r.ended(); err != nil {
		return 0, r.s.fail("read", r.name, err)
	}
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
		if !r.s.retryer.IsErrorRetryable(err) {
			return r.s.fail("read", r.name, err)
		}
		cause = err
	}
}

func (r *reader) Close() error { return r.body.Close() }

// eof takes the place of a body that failed.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
