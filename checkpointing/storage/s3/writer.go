package s3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

// abortTimeout bounds the clean-up after an upload that is given up; Sweep does it later if it fails.
const abortTimeout = 10 * time.Second

// writer sends full parts while the next one is filled.
type writer struct {
	s         *Storage
	client    *s3.Client
	name      string
	exclusive bool
	used      bool
	part      *[]byte // being filled
	upload    *string // its id; nil as long as the first part is not full

	// The context of Create bounds all parts; it is kept in these, as it outlives Create.
	begin  func() (*s3.CreateMultipartUploadOutput, error)
	send   func(*s3.UploadPartInput) (*s3.UploadPartOutput, error)
	broken func() error // why parts cannot be sent any more
	cancel context.CancelCauseFunc
	group  *errgroup.Group

	mu struct {
		sync.Mutex
		parts []types.CompletedPart
	}
	next int32 // number of the next part, from 1
}

func newWriter(ctx context.Context, s *Storage, client *s3.Client, name string, exclusive bool) *writer {
	ctx, cancel := context.WithCancelCause(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.config.PartsInFlight)
	return &writer{
		s: s, client: client, name: name, exclusive: exclusive, part: s.buffer(), cancel: cancel, group: group, next: 1,
		begin: func() (*s3.CreateMultipartUploadOutput, error) {
			return client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
				Bucket: &s.config.Bucket, Key: s.key(name), ContentType: aws.String("application/octet-stream"),
			})
		},
		send: func(in *s3.UploadPartInput) (*s3.UploadPartOutput, error) { return client.UploadPart(ctx, in) },
		broken: func() error {
			if ctx.Err() == nil {
				return nil
			}
			return context.Cause(ctx)
		},
	}
}

func (s *Storage) buffer() *[]byte {
	if b, ok := s.buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, s.config.PartBytes)
	return &b
}

func (s *Storage) release(b *[]byte) {
	*b = (*b)[:0]
	s.buffers.Put(b)
}

func (w *writer) Write(p []byte) (n int, err error) {
	if w.used {
		return 0, w.s.fail("write", w.name, storage.ErrUsed)
	}
	for {
		if err := w.broken(); err != nil {
			return n, w.s.fail("write", w.name, err)
		}
		if len(p) == 0 {
			return n, nil
		}
		if len(*w.part) == cap(*w.part) {
			if err := w.sendPart(); err != nil {
				return n, w.s.fail("write", w.name, err)
			}
		}
		m := min(len(p), cap(*w.part)-len(*w.part))
		*w.part = append(*w.part, p[:m]...)
		n, p = n+m, p[m:]
	}
}

// sendPart hands a part over to a goroutine; it waits while too many are on their way.
func (w *writer) sendPart() error {
	if w.upload == nil {
		out, err := w.begin()
		if err != nil {
			return err
		}
		w.upload = out.UploadId
	}
	if w.next > partsMax {
		return fmt.Errorf("the object has more than %d parts of %d bytes: raise PartBytes", partsMax, w.s.config.PartBytes)
	}
	part, number := w.part, w.next
	w.part, w.next = w.s.buffer(), w.next+1
	w.group.Go(func() error {
		defer w.s.release(part)
		out, err := w.send(&s3.UploadPartInput{
			Bucket: &w.s.config.Bucket, Key: w.s.key(w.name), UploadId: w.upload, PartNumber: &number,
			Body: bytes.NewReader(*part), ContentLength: aws.Int64(int64(len(*part))),
		})
		if err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mu.parts = append(w.mu.parts, types.CompletedPart{ETag: out.ETag, PartNumber: &number})
		return nil
	})
	return nil
}

// Commit publishes the object: by one request if it is small, else by declaring the parts to be one.
func (w *writer) Commit(ctx context.Context) error {
	if w.used {
		return w.s.fail("commit", w.name, storage.ErrUsed)
	}
	stop := context.AfterFunc(ctx, func() { w.cancel(context.Cause(ctx)) })
	defer stop()
	err := w.commit(ctx)
	if err != nil {
		err = errors.Join(w.s.fail("commit", w.name, err), w.Abort(ctx))
	}
	w.finish()
	return err
}

func (w *writer) commit(ctx context.Context) error {
	if err := w.broken(); err != nil {
		return err
	}
	var unlessThere *string
	if w.exclusive {
		unlessThere = aws.String("*")
	}
	if w.upload == nil {
		_, err := w.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &w.s.config.Bucket, Key: w.s.key(w.name), Body: bytes.NewReader(*w.part), IfNoneMatch: unlessThere,
			ContentLength: aws.Int64(int64(len(*w.part))), ContentType: aws.String("application/octet-stream"),
		})
		return err
	}
	if len(*w.part) > 0 {
		if err := w.sendPart(); err != nil {
			return err
		}
	}
	if err := w.group.Wait(); err != nil {
		return err
	}
	w.mu.Lock()
	parts := w.mu.parts
	w.mu.Unlock()
	slices.SortFunc(parts, func(a, b types.CompletedPart) int { return cmp.Compare(*a.PartNumber, *b.PartNumber) })
	_, err := w.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &w.s.config.Bucket, Key: w.s.key(w.name), UploadId: w.upload, IfNoneMatch: unlessThere,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err == nil {
		w.upload = nil
	}
	return err
}

// Abort drops the parts.
func (w *writer) Abort(ctx context.Context) error {
	if w.used {
		return nil
	}
	w.cancel(context.Canceled)
	_ = w.group.Wait() // that parts could not be sent does not matter any more
	upload := w.upload
	w.finish()
	if upload == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_, err := w.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &w.s.config.Bucket, Key: w.s.key(w.name), UploadId: upload,
	})
	if gone(err) {
		return nil
	}
	return w.s.fail("abort", w.name, err)
}

// finish gives back what the writer holds.
func (w *writer) finish() {
	if w.used {
		return
	}
	w.used = true
	w.cancel(context.Canceled)
	w.s.release(w.part)
	w.part = nil
}

// gone says that an upload does not exist any more.
func gone(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == "NoSuchUpload"
}
