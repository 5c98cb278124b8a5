package storage

import (
	"context"
	"math"

	"golang.org/x/time/rate"
)

// burstBytes is what a limited writer may write at once: large enough that a token bucket costs nothing, small enough
// that the network sees an even flow.
const burstBytes = 64 << 10

// RateLimited is a [Storage] whose writers share a limit. Make one with [RateLimit].
type RateLimited struct {
	Storage
	limiter *rate.Limiter
}

// RateLimit bounds what all writers of s write together to bytesPerSecond. Reads are not limited: a restore has to be
// fast. Zero and less mean no limit.
func RateLimit(s Storage, bytesPerSecond int64) *RateLimited {
	l := &RateLimited{Storage: s, limiter: rate.NewLimiter(rate.Inf, burstBytes)}
	l.SetBytesPerSecond(bytesPerSecond)
	return l
}

// SetBytesPerSecond changes the limit, also for writers at work. Zero and less mean no limit.
func (l *RateLimited) SetBytesPerSecond(n int64) {
	if n <= 0 {
		n = math.MaxInt64
	}
	if n == math.MaxInt64 {
		l.limiter.SetLimit(rate.Inf)
		return
	}
	l.limiter.SetLimit(rate.Limit(n))
}

// Create begins an object whose writes wait for their turn, or for the end of ctx.
func (l *RateLimited) Create(ctx context.Context, name string, o CreateOptions) (Writer, error) {
	w, err := l.Storage.Create(ctx, name, o)
	if err != nil {
		return nil, err
	}
	return &limitedWriter{Writer: w, wait: func(n int) error {
		if err := l.limiter.WaitN(ctx, n); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return &Error{Storage: l.String(), Op: "write", Name: name, Err: err}
		}
		return nil
	}}, nil
}

// ReadRange reads from the storage below, without a limit.
func (l *RateLimited) ReadRange(ctx context.Context, name string, offset int64, p []byte) error {
	return ReadRange(ctx, l.Storage, name, offset, p)
}

// Sweep sweeps the storage below.
func (l *RateLimited) Sweep(ctx context.Context, prefix string, abandoned func(string) bool) ([]string, error) {
	return Sweep(ctx, l.Storage, prefix, abandoned)
}

type limitedWriter struct {
	Writer
	wait func(n int) error
}

func (w *limitedWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		piece := p[n:min(len(p), n+burstBytes)]
		if err := w.wait(len(piece)); err != nil {
			return n, err
		}
		m, err := w.Writer.Write(piece)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
